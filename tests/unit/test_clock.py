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


class Computer:
    """A computer whose two clocks are set by hand."""

    def __init__(self) -> None:
        self.monotonic_s = 1000.0
        self.time_s = datetime(2031, 3, 4, tzinfo=UTC).timestamp()

    def clock(self, speed: float) -> clock.UnitClock:
        return clock.UnitClock(speed, real_monotonic=lambda: self.monotonic_s, real_time=lambda: self.time_s)

    def pass_s(self, seconds: float) -> None:
        self.monotonic_s += seconds
        self.time_s += seconds


@pytest.mark.parametrize("speed", [0.5, 1.0, 60.0])
def test_a_units_clocks_run_at_its_speed_from_the_wall_time_of_its_start(speed: float) -> None:
    computer = Computer()
    unit_clock = computer.clock(speed)
    started_at, began_s = unit_clock.utc_now(), unit_clock.monotonic()
    assert clock.utc_timestamp(started_at) == "2031-03-04T00:00:00.000Z"
    computer.pass_s(10.0)
    assert unit_clock.monotonic() - began_s == pytest.approx(10.0 * speed)
    assert unit_clock.utc_now() - started_at == timedelta(seconds=10.0 * speed)
    assert unit_clock.real_seconds(10.0 * speed) == 10.0


def test_at_real_speed_a_unit_has_the_systems_clocks() -> None:
    computer = Computer()
    unit_clock = computer.clock(1.0)
    computer.time_s += 3600.0  # somebody sets the clock
    computer.monotonic_s += 5.0
    assert unit_clock.monotonic() == 1005.0
    assert clock.utc_timestamp(unit_clock.utc_now()) == "2031-03-04T01:00:00.000Z"


def test_a_jump_of_the_wall_clock_moves_timestamps_and_no_interval() -> None:
    unit_clock = Computer().clock(60.0)
    at, monotonic_s = unit_clock.utc_now(), unit_clock.monotonic()
    unit_clock.wall_offset_s = lambda: 86400.0
    assert unit_clock.utc_now() - at == timedelta(days=1)
    assert unit_clock.monotonic() == monotonic_s
