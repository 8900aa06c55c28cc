"""A row for every job that ran, in a SQLite file that survives a power cut."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reactor_unit.errors import Json, StorageFault
from reactor_unit.sqlite_faults import LOCK_TIMEOUT_S, Damaged, fault, is_corrupt, move_aside

MAX_ROWS = 10_000

_COLUMNS = (
    "job_id", "unit", "experiment", "job_name", "job_source", "started_at", "is_running", "leader", "pid",
    "is_long_running_job", "ended_at", "state", "cause", "options",
)  # fmt: skip
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    job_id INTEGER PRIMARY KEY,
    unit TEXT,
    experiment TEXT,
    job_name TEXT NOT NULL,
    job_source TEXT,
    started_at TEXT,
    is_running INTEGER NOT NULL,
    leader TEXT,
    pid INTEGER,
    is_long_running_job INTEGER NOT NULL,
    ended_at TEXT,
    state TEXT,
    cause TEXT,
    options TEXT
)
"""
_UPSERT = (
    f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' for _ in _COLUMNS)}) "
    f"ON CONFLICT (job_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS[1:])} "
    "WHERE jobs.ended_at IS NULL OR excluded.ended_at IS NOT NULL"
)


class JobHistory:
    """The table of jobs. What `put` and `mark_lost` return from is on the disk.

    One object serves all threads of one process; two processes take turns. A file that cannot be read is moved aside
    and a fresh one made. Other trouble is a StorageFault, and so is any call after `close`, which may be called twice.
    """

    def __init__(self, path: Path, *, max_rows: int = MAX_ROWS) -> None:
        self._path = Path(path)
        self._what = f"The job history {path}"
        self._max_rows = max_rows
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        try:
            self._database = _opened(self._path)
        except sqlite3.Error as ex:
            if not is_corrupt(ex):
                raise fault(self._what, ex) from ex
            self._database = self._replaced(ex)

    def put(self, rows: Sequence[Json]) -> None:
        """Write job rows, all or none; a row that has ended is never set running again.

        A row holds the table's columns; `options` is a JSON value, what is missing is null, and other keys are left
        out. `job_id` may be text or a number.
        """
        values = [_values(row) for row in rows]
        with self._transaction() as database:
            database.executemany(_UPSERT, values)
            database.execute(
                "DELETE FROM jobs WHERE ended_at IS NOT NULL AND job_id <= (SELECT max(job_id) FROM jobs) - ?",
                (self._max_rows,),
            )

    def recent(self, limit: int) -> list[Json]:
        """Return the last rows, newest first, with `job_id` as text and `options` as a JSON value."""
        with self._session() as database:
            found = database.execute(
                f"SELECT {', '.join(_COLUMNS)} FROM jobs ORDER BY job_id DESC LIMIT ?", (limit,)
            ).fetchall()
        return [_row(values) for values in found]

    def last_job_id(self) -> int:
        """Return the highest job id that was ever given and is still kept; 0 in a new file."""
        with self._session() as database:
            return int(database.execute("SELECT coalesce(max(job_id), 0) FROM jobs").fetchone()[0])

    def mark_lost(self, ended_at: str, cause: str) -> int:
        """End every job that is still running, as `lost`; return how many.

        For the start of a supervisor: nothing it did not start itself can be running then.
        """
        with self._transaction() as database:
            return database.execute(
                "UPDATE jobs SET is_running = 0, ended_at = ?, state = 'lost', cause = ? WHERE ended_at IS NULL",
                (ended_at, cause),
            ).rowcount

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    @contextlib.contextmanager
    def _session(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._database is None:
                raise StorageFault(f"{self._what} is closed.")
            try:
                yield self._database
            except sqlite3.Error as ex:
                if is_corrupt(ex):
                    self._database.close()
                    self._database = None
                    self._database = self._replaced(ex)
                raise fault(self._what, ex) from ex

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._session() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # SQLite has ended it already, as it does on a full disk
                    database.execute("ROLLBACK")
                raise

    def _replaced(self, reason: Exception) -> sqlite3.Connection:
        aside = self._path.with_name(f"{self._path.name}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
        move_aside(self._path, aside, self._what, reason)
        try:
            return _opened(self._path)
        except sqlite3.Error as ex:
            raise fault(self._what, ex) from ex


def _opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        for pragma in ("journal_mode = wal", "synchronous = full", "cache_size = 64", "wal_autocheckpoint = 64"):
            database.execute(f"PRAGMA {pragma}").fetchall()
        if database.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise Damaged("quick_check found damage")
        database.execute(_SCHEMA)
        have = {column[1] for column in database.execute("PRAGMA table_info(jobs)")}
        if not have.issuperset(_COLUMNS):
            raise Damaged(f"the table jobs lacks {', '.join(sorted(set(_COLUMNS) - have))}")
    except BaseException:
        database.close()
        raise
    return database


def _values(row: Json) -> list[Any]:
    values = {name: row.get(name) for name in _COLUMNS}
    values["job_id"] = int(row["job_id"])
    values["is_running"] = int(bool(row.get("is_running")) and row.get("ended_at") is None)
    values["is_long_running_job"] = int(bool(row.get("is_long_running_job")))
    if values["options"] is not None:
        values["options"] = json.dumps(values["options"], separators=(",", ":"), ensure_ascii=False)
    return list(values.values())


def _row(values: Sequence[Any]) -> Json:
    row = dict(zip(_COLUMNS, values, strict=True))
    row["job_id"] = str(row["job_id"])
    row["options"] = None if row["options"] is None else json.loads(row["options"])
    return row
