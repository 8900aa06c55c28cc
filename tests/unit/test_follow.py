"""New readings as they come: each once, over pages, delays and short outages."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import pytest

from reactor_unit import follow
from reactor_unit.client import OUTAGE_S, Reading, UnitClient, UnitUnreachable
from reactor_unit.clock import timestamp_of, unix_seconds
from reactor_unit.follow import followed


class FakeUnit:
    """Has readings by time; `grow` says what is new at each question, an exception is raised instead of an answer."""

    def __init__(self, *grow: Any) -> None:
        self.grow = list(grow)
        self.found: list[Reading] = []
        self.now = 0.0

    def readings(self, _names: Any, *, since: str | float | None = None, limit: int | None = None) -> list[Reading]:
        new = self.grow.pop(0) if self.grow else KeyboardInterrupt()
        if isinstance(new, BaseException):
            raise new
        self.found = sorted([*self.found, *rows(*new)], key=lambda one: one["timestamp"])
        begin = float("-inf") if since is None else unix_seconds(since) if isinstance(since, str) else since
        later = [one for one in self.found if unix_seconds(one["timestamp"]) >= begin]
        count = limit or 1000
        return later[-count:] if since is None else later[:count]


def rows(*times: float) -> list[Reading]:
    return [{"timestamp": timestamp_of(at), "name": "od", "value": at} for at in times]


def values(unit: FakeUnit, **how: Any) -> list[list[float]]:
    """Return the batches until the unit has nothing more to say."""

    def sleep(seconds: float) -> None:
        unit.now += seconds

    batches = []
    with contextlib.suppress(KeyboardInterrupt):
        for batch in followed(cast(UnitClient, unit), [], sleep=sleep, clock=lambda: unit.now, **how):
            batches.append([one["value"] for one in batch])
    return batches


def test_each_reading_comes_once() -> None:
    assert values(FakeUnit([1, 2], [], [3], [4, 5])) == [[1, 2], [3], [4, 5]]


def test_a_reading_that_is_told_late_comes_too() -> None:
    assert values(FakeUnit([100, 102], [101])) == [[100, 102], [101]]


def test_what_the_limit_left_out_stays_out() -> None:
    assert values(FakeUnit([1, 2, 3], [4]), limit=2) == [[2, 3], [4]]


def test_a_unit_without_readings_is_waited_for() -> None:
    assert values(FakeUnit([], [], [1])) == [[1]]


def test_pages_are_read_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "PAGE", 20)
    batches = values(FakeUnit(range(0, 200, 2), *[[] for _ in range(12)]), since=timestamp_of(0), limit=10)
    assert [value for batch in batches for value in batch] == list(range(0, 200, 2))


def test_a_short_outage_is_no_end() -> None:
    away = UnitUnreachable("No unit answers.", remediation="Wait.")
    assert values(FakeUnit([1], away, away, [2])) == [[1], [2]]


def test_a_long_outage_is() -> None:
    away = [UnitUnreachable("No unit answers.", remediation="Wait.") for _ in range(int(OUTAGE_S) + 3)]
    unit = FakeUnit([1], *away)

    def sleep(seconds: float) -> None:
        unit.now += seconds

    with pytest.raises(UnitUnreachable):
        list(followed(cast(UnitClient, unit), [], sleep=sleep, clock=lambda: unit.now))
