from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest

from reactor_unit import clock


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2031, 3, 4, 5, 6, 7, 89_000, UTC), "2031-03-04T05:06:07.089Z"),
        (datetime(2031, 3, 4, 5, 6, 7, 999_999, UTC), "2031-03-04T05:06:07.999Z"),
        (datetime(2031, 3, 4, 1, 6, 7, 0, timezone(timedelta(hours=-4))), "2031-03-04T05:06:07.000Z"),
    ],
    ids=["milliseconds", "cut off, not rounded into the next second", "another zone"],
)
def test_a_timestamp_is_utc_with_milliseconds(at: datetime, text: str) -> None:
    assert clock.utc_timestamp(at) == text


def test_a_timestamp_without_a_time_is_now() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    at = datetime.fromisoformat(clock.utc_timestamp())
    assert before <= at <= datetime.now(UTC)


def test_processes_share_the_boot_clock() -> None:
    before = clock.boot_clock()
    code = "from reactor_unit.clock import boot_clock; print(repr(boot_clock()))"
    other = float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
    assert before < other < clock.boot_clock()


def test_the_boot_id_is_a_name_without_white_space() -> None:
    assert clock.boot_id() == clock.boot_id()
    assert len(clock.boot_id().split()) == 1
