"""The named caches that outlive the unit: tables `cache_<name>` of one SQLite file, as the reference has them."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reactor_unit.sqlite_faults import LOCK_TIMEOUT_S, fault, is_corrupt, move_aside

Value = str | int | float | bytes


class PersistentCache:
    """The caches of one file, for the one process that writes it. Safe to call from several threads.

    A cache is a table that is made with its first entry, and the file likewise: reading makes nothing. What `put` and
    `delete` return from is on the disk. A file that cannot be read is moved aside, and the log names it; other trouble
    is a StorageFault. Nothing is kept open between two calls, so an entry that another program changes is seen.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._what = f"The persistent cache {path}"
        self._lock = threading.Lock()

    def items(self, cache: str) -> dict[str, Value]:
        """Return all entries of a cache."""
        with self._lock, self._faults():
            return _items(self._path, cache)

    def get(self, cache: str, key: str) -> Value | None:
        """Return an entry, or None when there is none."""
        return self.items(cache).get(key)

    def put(self, cache: str, key: str, value: Value) -> None:
        """Set an entry."""
        with self._lock, self._faults(), _writable(self._path) as database:
            database.execute(f"CREATE TABLE IF NOT EXISTS {_table(cache)} (key PRIMARY KEY, value BLOB)")
            database.execute(
                f"INSERT INTO {_table(cache)} (key, value) VALUES (?, ?) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, value),
            )

    def delete(self, cache: str, key: str) -> None:
        """Remove an entry; nothing happens where there is none."""
        with self._lock, self._faults():
            if key in _items(self._path, cache):
                with _writable(self._path) as database:
                    database.execute(f"DELETE FROM {_table(cache)} WHERE key = ?", (key,))

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as ex:
            if is_corrupt(ex):
                aside = self._path.with_name(f"{self._path.name}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
                move_aside(self._path, aside, self._what, ex)
            raise fault(self._what, ex) from ex


def _items(path: Path, cache: str) -> dict[str, Value]:
    if not path.exists():
        return {}
    uri = f"file:{quote(str(path))}?mode=ro"
    try:
        return _read_items(uri, cache)
    except sqlite3.OperationalError:
        wal = path.with_name(f"{path.name}-wal")
        if wal.exists() and wal.stat().st_size > 0:
            raise
        # On a full disk there is no room for the index of a log that is empty: all there is stands in the file.
        return _read_items(f"{uri}&immutable=1", cache)


def _read_items(uri: str, cache: str) -> dict[str, Value]:
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT_S)) as database:
        known = database.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (f"cache_{cache}",))
        if known.fetchone() is None:
            return {}
        return {_text(key): value for key, value in database.execute(f"SELECT key, value FROM {_table(cache)}")}


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[sqlite3.Connection]:
    """Return a connection in a transaction that ends on the disk.

    Write-ahead logging lets others read while this writes, and the other way round.
    """
    with contextlib.closing(sqlite3.connect(path, timeout=LOCK_TIMEOUT_S, isolation_level=None)) as database:
        for pragma in ("journal_mode = wal", "synchronous = full"):
            database.execute(f"PRAGMA {pragma}").fetchall()
        database.execute("BEGIN IMMEDIATE")
        yield database
        database.execute("COMMIT")


def _table(cache: str) -> str:
    return '"cache_' + cache.replace('"', '""') + '"'


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
