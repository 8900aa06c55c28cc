"""Readings on the disk: order, bounds, and what a database can suffer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import killed_writer

from reactor_unit import reading_store
from reactor_unit.errors import StorageFault
from reactor_unit.reading_store import DAY_S, ReadingStore
from reactor_unit.series import Reading

OpenStore = Callable[..., ReadingStore]
NOW = 1_800_000_000.0


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[OpenStore]:
    opened: list[ReadingStore] = []

    def open_one(path: Path = tmp_path / "readings.sqlite", **options: Any) -> ReadingStore:
        store = ReadingStore(path, **options)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> ReadingStore:
    return open_store()


def series(count: int, name: str = "od", first_at: float = NOW) -> list[Reading]:
    return [Reading(first_at + number, name, float(number)) for number in range(count)]


def everything(store: ReadingStore) -> list[Reading]:
    return list(store.read(store.names(), -1e12, 1e12))


def test_readings_are_read_as_they_were_written_and_after_opening_again(
    store: ReadingStore, open_store: OpenStore
) -> None:
    written = [Reading(NOW + 0.123, "od.90.2", 0.1 + 0.2), Reading(NOW + 1, "stirring.measured_rpm", 500.0)]
    store.put(written, NOW)
    assert everything(store) == written
    store.close()
    again = open_store()
    assert everything(again) == written
    assert again.names() == ["od.90.2", "stirring.measured_rpm"]


def test_the_same_readings_written_twice_are_there_once(store: ReadingStore) -> None:
    store.put(series(5), NOW)
    store.put([*series(5), Reading(NOW, "rpm", 1.0)], NOW)
    assert sorted(everything(store)) == sorted([*series(5), Reading(NOW, "rpm", 1.0)])


@pytest.mark.parametrize("newest_first", [False, True])
def test_more_than_a_chunk_comes_whole_and_in_order(
    store: ReadingStore, monkeypatch: pytest.MonkeyPatch, newest_first: bool
) -> None:
    monkeypatch.setattr(reading_store, "CHUNK", 7)
    written = sorted([*series(40, "a"), *series(40, "b"), *series(40, "c")])
    store.put(written, NOW)
    found = list(store.read({"a", "c"}, NOW + 3, NOW + 35, newest_first=newest_first))
    wanted = [one for one in written if one.name != "b" and NOW + 3 <= one.at < NOW + 35]
    assert sorted(found) == wanted
    times = [one.at for one in found]
    assert times == sorted(times, reverse=newest_first)


def test_a_name_that_is_not_there_has_no_readings(store: ReadingStore) -> None:
    store.put(series(3), NOW)
    assert list(store.read({"nothing"}, 0, 1e12)) == []


def test_what_is_too_old_goes_and_the_rest_stays(open_store: OpenStore) -> None:
    store = open_store(keep_days=2)
    store.put([*series(10, first_at=NOW - 3 * DAY_S), *series(10)], NOW - 3 * DAY_S)
    assert len(everything(store)) == 20
    store.put(series(1, "new"), NOW)
    assert {one.at for one in everything(store)} == {NOW + number for number in range(10)}


def test_pruning_goes_in_steps(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_store, "PRUNE_STEP", 10)
    store = open_store(keep_days=1)
    store.put(series(25, first_at=NOW - 30 * DAY_S), NOW - 30 * DAY_S)
    left = []
    for number in range(3):
        store.put([Reading(NOW, "new", float(number))], NOW)
        left.append(len(everything(store)) - 1)
    assert left == [15, 5, 0]


def test_the_size_is_bounded_and_the_newest_stay(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(max_mb=0.25)
    for batch in range(60):
        store.put(series(500, first_at=NOW + batch * 500), NOW)
    assert store.used_bytes() <= 0.25 * 1024 * 1024 + 500 * 40
    size = sum(path.stat().st_size for path in tmp_path.glob("readings.sqlite*"))
    assert size <= 2 * 0.25 * 1024 * 1024 + 64 * 4096 * 2
    times = [one.at for one in everything(store)]
    assert len(times) > 2000
    assert times == [NOW + number for number in range(30_000)][-len(times) :]


def test_damage_found_while_at_work_heals_by_the_next_call(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store()
    for batch in range(10):
        store.put(series(500, first_at=NOW + 500 * batch), NOW)
    store.close()
    store = open_store()
    path = tmp_path / "readings.sqlite"
    with open(path, "r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * (path.stat().st_size - 3 * 4096))
    with pytest.raises(StorageFault):
        everything(store)
    store.put(series(3), NOW)
    assert everything(store) == series(3)


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from reactor_unit.reading_store import ReadingStore
from reactor_unit.series import Reading
store, number = ReadingStore(Path(sys.argv[1])), int(sys.argv[2])
while True:
    store.put([Reading(float(n), "od", 1.0) for n in range(number, number + 50)], 0.0)
    print(number + 49, flush=True)
    number += 50
"""


def test_a_killed_writer_loses_no_batch_that_it_acknowledged(open_store: OpenStore, tmp_path: Path) -> None:
    number = 1
    for trial in range(6):
        acknowledged = killed_writer(WRITE_FOR_EVER, tmp_path / "readings.sqlite", number, after_lines=1 + trial)
        store = open_store()
        kept = [int(one.at) for one in everything(store)]
        store.close()
        assert kept == list(range(1, len(kept) + 1))
        assert len(kept) % 50 == 0
        assert len(kept) >= acknowledged
        number = len(kept) + 1
