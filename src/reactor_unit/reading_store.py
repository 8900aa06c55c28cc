"""The readings of the last weeks, in a SQLite file that is bounded by age and by size."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from reactor_unit.series import Reading
from reactor_unit.sqlite_store import SqliteStore, check_columns

KEEP_DAYS = 30.0
MAX_MB = 50.0
PRUNE_STEP = 2000  # readings deleted with one batch at most, which holds fewer: pruning keeps up and never takes long
CHUNK = 500  # readings that are in memory at once while many are read
DAY_S = 86_400.0

# Clustered by time: a batch is written to the end of the file, a span of time is read from one place, and what is too
# old is at the beginning. The same reading written twice is one reading.
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    "CREATE TABLE IF NOT EXISTS readings (at REAL NOT NULL, series INTEGER NOT NULL, value REAL NOT NULL, "
    "PRIMARY KEY (at, series)) WITHOUT ROWID",
)
_COLUMNS = {"series": {"id", "name"}, "readings": {"at", "series", "value"}}


class ReadingStore(SqliteStore):
    """Readings by time. What `put` returns from is on the disk; of everything else the base class tells."""

    def __init__(self, path: Path, *, keep_days: float = KEEP_DAYS, max_mb: float = MAX_MB) -> None:
        super().__init__(path, "The history of readings")
        self._keep_s = keep_days * DAY_S
        self._max_bytes = max_mb * 1024 * 1024

    def put(self, readings: Sequence[Reading], now: float | None = None) -> None:
        """Write readings, all or none, and delete some of what is too old or too much at `now` (unix seconds)."""
        now = time.time() if now is None else now
        with self._transaction() as database:
            names = {reading.name for reading in readings}
            database.executemany("INSERT OR IGNORE INTO series (name) VALUES (?)", [(name,) for name in names])
            ids = dict(database.execute("SELECT name, id FROM series"))
            database.executemany(
                "INSERT OR REPLACE INTO readings VALUES (?, ?, ?)",
                [(reading.at, ids[reading.name], reading.value) for reading in readings],
            )
            _prune(database, now - self._keep_s)
            if _used_bytes(database) > self._max_bytes:
                _prune(database, math.inf)

    def names(self) -> list[str]:
        """Return the name of every series there ever was in this file."""
        with self._session() as database:
            return [name for (name,) in database.execute("SELECT name FROM series ORDER BY name")]

    def read(
        self, names: Collection[str], since: float, until: float, *, newest_first: bool = False
    ) -> Iterator[Reading]:
        """Yield the readings of these series with `since` <= at < `until`, in the order of time.

        They are fetched in chunks, so that neither memory nor a lock is held for long.
        """
        after: tuple[float, int] | None = None
        while True:
            chunk = self._chunk(names, since, until, after, newest_first)
            for at, series, name, value in chunk:
                after = (at, series)
                yield Reading(at, name, value)
            if len(chunk) < CHUNK:
                return

    def _chunk(
        self,
        names: Collection[str],
        since: float,
        until: float,
        after: tuple[float, int] | None,
        newest_first: bool,
    ) -> list[tuple[float, int, str, float]]:
        order, beyond = ("DESC", "<") if newest_first else ("ASC", ">")
        with self._session() as database:
            known = {series: name for series, name in database.execute("SELECT id, name FROM series") if name in names}
            if not known:
                return []
            begin = f"AND (at, series) {beyond} (?, ?) " if after is not None else ""
            rows = database.execute(
                f"SELECT at, series, value FROM readings WHERE at >= ? AND at < ? {begin}"
                f"AND series IN ({', '.join('?' for _ in known)}) ORDER BY at {order}, series {order} LIMIT ?",
                (since, until, *(after or ()), *known, CHUNK),
            ).fetchall()
        return [(at, series, known[series], value) for at, series, value in rows]

    def used_bytes(self) -> int:
        """Return how much of the file holds something; the rest is used again before it grows."""
        with self._session() as database:
            return _used_bytes(database)

    def _prepare(self, database: sqlite3.Connection) -> None:
        for statement in _SCHEMA:
            database.execute(statement)
        for table, columns in _COLUMNS.items():
            check_columns(database, table, columns)


def _prune(database: sqlite3.Connection, before: float) -> None:
    """Delete the oldest readings from before a time, PRUNE_STEP of them at most."""
    database.execute(
        "DELETE FROM readings WHERE at < ? AND at <= "
        "(SELECT max(at) FROM (SELECT at FROM readings ORDER BY at LIMIT ?))",
        (before, PRUNE_STEP),
    )


def _used_bytes(database: sqlite3.Connection) -> int:
    pages, free, size = (
        int(database.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size
