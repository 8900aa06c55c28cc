"""Readings from disk and memory together: batches, order, the newest, and a disk that fails."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest
from harness import DEADLINE_S, wait_for

from reactor_unit import reading_history
from reactor_unit.errors import StorageFault
from reactor_unit.reading_history import WRITE_EVERY_S, WRITE_FROM, ReadingHistory
from reactor_unit.reading_store import ReadingStore
from reactor_unit.series import Reading


class CountingStore(ReadingStore):
    """A real store that keeps its batches' sizes and fails when told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.batches: list[int] = []
        self.fails = False

    def put(self, readings: Sequence[Reading], now: float | None = None) -> None:
        if self.fails:
            raise StorageFault("The disk is full.")
        super().put(readings, 0.0)
        self.batches.append(len(readings))


class World:
    def __init__(self, path: Path) -> None:
        self.now = 100.0
        self.acknowledged: list[int] = []
        self.store = CountingStore(path)
        self.history = ReadingHistory(self.acknowledged.append, clock=lambda: self.now)
        self.history.use(self.store)

    def found(
        self,
        patterns: Collection[str] = (),
        since: float | None = None,
        until: float | None = None,
        limit: int = 1000,
    ) -> list[Reading]:
        return list(self.history.read(patterns, since, until, limit))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "readings.sqlite")
    yield world
    world.store.close()


def od(*times: float, name: str = "od") -> list[Reading]:
    return [Reading(at, name, at * 10) for at in times]


def test_what_waits_in_memory_is_found(world: World) -> None:
    world.history.add(1, od(1, 2))
    assert world.found() == od(1, 2)
    assert world.history.names() == ["od"]
    assert world.store.names() == []


def test_disk_and_memory_are_one_row_in_the_order_of_time(world: World) -> None:
    world.history.add(1, od(1, 3, 5))
    world.history.write()
    world.history.add(4, od(4, 2, 6))  # a job may tell a little late
    assert world.found() == od(1, 2, 3, 4, 5, 6)
    assert world.found(since=2, until=5) == od(2, 3, 4)


def test_a_reading_that_is_on_the_disk_and_still_in_memory_comes_once(world: World) -> None:
    world.store.put(od(1, 2, 3))
    world.history.add(1, od(2, 3, 4))
    assert world.found() == od(1, 2, 3, 4)
    assert world.found(limit=3) == od(2, 3, 4)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 7])
def test_the_newest_or_with_since_the_first(world: World, limit: int) -> None:
    both = sorted([*od(1, 2, 3), *od(1, 2, 3, name="rpm")])
    world.history.add(1, both[:3])
    world.history.write()
    world.history.add(4, both[3:])
    assert world.found(limit=limit) == both[-limit:]
    assert world.found(since=1, limit=limit) == both[:limit]
    assert world.found(until=3, limit=2) == both[2:4]


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ((), {"od.45.1", "od.90.2", "odd", "rpm"}),
        (("od.*",), {"od.45.1", "od.90.2"}),
        (("od.90.2", "rpm"), {"od.90.2", "rpm"}),
        (("*",), {"od.45.1", "od.90.2", "odd", "rpm"}),
        (("od",), set()),
    ],
)
def test_names_and_patterns(world: World, patterns: tuple[str, ...], names: set[str]) -> None:
    for number, name in enumerate(("od.45.1", "od.90.2", "odd", "rpm"), 1):
        world.history.add(number, od(number, name=name))
        if number == 2:
            world.history.write()
    assert {one.name for one in world.found(patterns)} == names


def test_batches_are_bounded_and_acknowledged_when_written(world: World) -> None:
    world.history.add(1, od(*range(WRITE_FROM + 20)))
    assert world.acknowledged == []
    world.history.write()
    assert world.store.batches == [WRITE_FROM, 20]
    assert world.acknowledged == [WRITE_FROM, WRITE_FROM + 20]
    assert len(world.found()) == WRITE_FROM + 20


def test_readings_that_are_sent_again_are_taken_once(world: World) -> None:
    world.history.add(1, od(1, 2))
    world.history.add(1, od(1, 2, 3))
    world.history.write()
    assert world.store.batches == [3]


def test_a_disk_that_fails_loses_nothing_and_is_told_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.store.fails = True
    for number in range(1, 4):
        world.history.add(number, od(number))
        world.history.write()
    assert len(caplog.records) == 1
    assert "The disk is full" in caplog.text
    assert world.found() == od(1, 2, 3)
    assert world.acknowledged == []
    world.store.fails = False
    world.history.write()
    assert world.acknowledged == [3]
    assert "written again" not in caplog.records[0].message


def test_memory_is_bounded_when_nothing_can_be_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_history, "MAX_WAITING", 50)
    history = ReadingHistory(lambda _number: None)
    for first in range(1, 1001, 10):
        history.add(first, od(*range(first, first + 10)))
    assert list(history.read((), None, None, 1000)) == od(*range(951, 1001))


def test_without_a_store_nothing_is_acknowledged_and_the_newest_are_found() -> None:
    acknowledged: list[int] = []
    history = ReadingHistory(acknowledged.append)
    history.add(1, od(1, 2))
    history.close()
    assert acknowledged == []
    assert list(history.read((), None, None, 10)) == od(1, 2)


def test_without_a_store_the_writer_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    times = itertools.chain([0.0], itertools.repeat(100.0))
    history = ReadingHistory(lambda _number: None, lambda: next(times))
    writes: list[bool] = []

    def write() -> None:
        writes.append(True)
        time.sleep(0.01)

    monkeypatch.setattr(history, "write", write)
    history.add(1, od(1.0))
    writer = threading.Thread(target=history.write_for_ever)
    writer.start()
    writer.join(0.1)
    history.close()
    writer.join(DEADLINE_S)
    assert len(writes) <= 2  # both at the end


@pytest.fixture
def writing(world: World) -> Iterator[World]:
    thread = threading.Thread(target=world.history.write_for_ever)
    thread.start()
    yield world
    world.history.close()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_a_batch_is_written_when_there_are_enough_readings(writing: World) -> None:
    writing.history.add(1, od(*range(WRITE_FROM)))
    wait_for(lambda: writing.store.batches == [WRITE_FROM], "a batch")


def test_a_few_readings_are_written_when_their_time_has_come(writing: World) -> None:
    writing.history.add(1, od(1))
    writing.now += WRITE_EVERY_S
    writing.history.add(2, od(2))  # wakes the thread, which looks at the clock of the test
    wait_for(lambda: writing.store.batches == [2], "a batch")


def test_the_end_writes_what_waits_and_closes_the_store(writing: World) -> None:
    writing.history.add(1, od(1, 2, 3))
    writing.history.close()
    assert writing.acknowledged == [3]
    with pytest.raises(StorageFault, match="closed"):
        writing.store.names()
