"""What every SQLite file of the web process has to stand: damage, full disks, locks, kills, use after the end."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import fill_disk

from reactor_unit.errors import StorageFault
from reactor_unit.sqlite_store import SqliteStore, check_columns


class Numbers(SqliteStore):
    """The least that a store can be: numbers, each with a text of some length."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "The numbers")

    def put(self, *numbers: int, text: str = "") -> None:
        with self._transaction() as database:
            database.executemany("INSERT INTO numbers VALUES (?, ?)", [(number, text) for number in numbers])

    def read(self) -> list[int]:
        with self._session() as database:
            return [number for number, _ in database.execute("SELECT number, text FROM numbers ORDER BY number")]

    def synchronous(self) -> int:
        with self._session() as database:
            return int(database.execute("PRAGMA synchronous").fetchone()[0])

    def _prepare(self, database: sqlite3.Connection) -> None:
        database.execute("CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY, text TEXT)")
        check_columns(database, "numbers", {"number", "text"})


OpenStore = Callable[..., Numbers]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "numbers.sqlite"


@pytest.fixture
def open_store(path: Path) -> Iterator[OpenStore]:
    stores: list[Numbers] = []

    def opened(at: Path = path) -> Numbers:
        stores.append(Numbers(at))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    "content",
    [b"x" * 5000, b"SQLite format 3\x00" + b"\xff" * 8000, bytes(4096)],
    ids=["text", "torn", "zeros"],
)
def test_a_corrupt_file_is_moved_aside(
    open_store: OpenStore, path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content)
    store = open_store()
    store.put(1)
    assert store.read() == [1]
    (aside,) = path.parent.glob("numbers.sqlite.corrupt-*[0-9]Z")
    assert aside.read_bytes() == content
    assert str(aside) in caplog.text


def test_a_table_of_something_else_is_moved_aside(open_store: OpenStore, path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE numbers (id INTEGER PRIMARY KEY)")
    other.close()
    store = open_store()
    store.put(1)
    assert store.read() == [1]
    assert list(path.parent.glob("*.corrupt-*Z"))


def damaged_at_work(open_store: OpenStore, path: Path) -> Numbers:
    """Return a store whose file was damaged after it was opened."""
    store = open_store()
    store.put(*range(500), text="x" * 3000)
    store.close()
    store = open_store()
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    return store


def test_damage_found_while_at_work_heals_by_the_next_call(open_store: OpenStore, path: Path) -> None:
    store = damaged_at_work(open_store, path)
    with pytest.raises(StorageFault):
        store.read()
    store.put(1)
    assert store.read() == [1]


def test_damage_that_cannot_be_mended_at_once_is_mended_later(
    open_store: OpenStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves no room for a fresh file; the store must not stay closed for that."""
    store = damaged_at_work(open_store, path)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        for _ in range(2):
            with pytest.raises(StorageFault, match="cannot be replaced"):
                store.read()
    with pytest.raises(StorageFault, match=r"malformed|corrupt"):
        store.read()
    assert store.read() == []
    store.put(1)
    assert store.read() == [1]


def test_a_file_that_somebody_holds_is_a_storage_fault_soon(open_store: OpenStore, path: Path) -> None:
    store = open_store()
    store.put(1)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    with pytest.raises(StorageFault, match="locked"):
        store.put(2)
    assert time.monotonic() - started < 4.5  # SQLite's own is 5 s
    assert store.read() == [1]
    holder.execute("ROLLBACK")
    holder.close()
    store.put(2)
    assert store.read() == [1, 2]


def test_a_folder_that_is_not_there_is_a_storage_fault(open_store: OpenStore, tmp_path: Path) -> None:
    with pytest.raises(StorageFault, match="unable to open database file"):
        open_store(tmp_path / "missing" / "numbers.sqlite")


def test_a_closed_store_says_so(open_store: OpenStore) -> None:
    store = open_store()
    store.close()
    store.close()
    with pytest.raises(StorageFault, match="closed"):
        store.put(1)
    with pytest.raises(StorageFault, match="closed"):
        store.read()


def test_a_full_disk_is_a_storage_fault_until_there_is_room(open_store: OpenStore, small_disk: Path) -> None:
    store = open_store(small_disk / "numbers.sqlite")
    store.put(0)
    filler = fill_disk(small_disk)
    written = [0]

    def fill() -> None:
        for number in range(1, 200):
            store.put(number, text="x" * 5000)
            written.append(number)

    with pytest.raises(StorageFault, match="database or disk is full"):
        fill()
    assert store.read() == written
    filler.unlink()
    store.put(500)
    assert store.read() == [*written, 500]


def test_a_commit_is_synced_to_the_disk(open_store: OpenStore) -> None:
    """A power cut cannot be played here; SQLite's promise for FULL, its number 2, is that a commit survives one."""
    assert open_store().synchronous() == 2


def test_threads_share_it(open_store: OpenStore) -> None:
    store = open_store()

    def write(first: int) -> None:
        for number in range(first, first + 20):
            store.put(number)

    threads = [threading.Thread(target=write, args=(20 * index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read() == list(range(80))
