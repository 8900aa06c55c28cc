"""A row for every job that ran, in a SQLite file that survives a power cut."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reactor_unit.errors import Json
from reactor_unit.sqlite_faults import Damaged
from reactor_unit.sqlite_store import SqliteStore, check_columns

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


class JobHistory(SqliteStore):
    """The table of jobs. What `put` and `mark_lost` return from is on the disk; of the rest the base class tells."""

    def __init__(self, path: Path, *, max_rows: int = MAX_ROWS, at_once: bool = True) -> None:
        super().__init__(path, "The job history", at_once=at_once)
        self._max_rows = max_rows

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

    def _prepare(self, database: sqlite3.Connection) -> None:
        if database.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise Damaged("quick_check found damage")
        database.execute(_SCHEMA)
        check_columns(database, "jobs", set(_COLUMNS))


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
