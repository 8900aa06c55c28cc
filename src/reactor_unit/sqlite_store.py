"""One SQLite file of the web process: opened, checked, shared by its threads, and replaced when it cannot be read."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from reactor_unit.errors import StorageFault
from reactor_unit.sqlite_faults import LOCK_TIMEOUT_S, Damaged, fault, is_corrupt, move_aside

PRAGMAS = ("journal_mode = wal", "synchronous = full", "cache_size = 64", "wal_autocheckpoint = 64")


class SqliteStore(ABC):
    """What is written in a transaction is on the disk.

    One object serves all threads of one process; two processes take turns. A file that cannot be read is moved aside
    and a fresh one made, at once or, where that is not possible, with a later call. Other trouble is a StorageFault,
    and so is any call after `close`, which may be called twice. `what` names the store in messages, as in "The job
    history". It is opened `at_once`, or with the first call.
    """

    def __init__(self, path: Path, what: str, *, at_once: bool = True) -> None:
        self._path = Path(path)
        self._what = f"{what} {path}"
        self._lock = threading.Lock()
        self._is_closed = False
        self._database: sqlite3.Connection | None = None
        if at_once:
            self._connect()

    @abstractmethod
    def _prepare(self, database: sqlite3.Connection) -> None:
        """Make the tables that are missing; raise Damaged for those that this program did not make."""

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._is_closed = True
            self._let_go()

    @contextlib.contextmanager
    def _session(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._is_closed:
                raise StorageFault(f"{self._what} is closed.")
            database = self._connect()
            try:
                yield database
            except sqlite3.Error as ex:
                if is_corrupt(ex):
                    self._let_go()
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

    def _connect(self) -> sqlite3.Connection:
        """Return the connection; open the file, or a fresh one in its place, when there is none."""
        if self._database is None:
            try:
                self._database = self._open()
            except sqlite3.Error as ex:
                if not is_corrupt(ex):
                    raise fault(self._what, ex) from ex
                self._database = self._replaced(ex)
        return self._database

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            for pragma in PRAGMAS:
                database.execute(f"PRAGMA {pragma}").fetchall()
            self._prepare(database)
        except BaseException:
            database.close()
            raise
        return database

    def _replaced(self, reason: Exception) -> sqlite3.Connection:
        aside = self._path.with_name(f"{self._path.name}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
        move_aside(self._path, aside, self._what, reason)
        try:
            return self._open()
        except sqlite3.Error as ex:
            raise fault(self._what, ex) from ex

    def _let_go(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def check_columns(database: sqlite3.Connection, table: str, wanted: set[str]) -> None:
    """Raise Damaged when a table lacks columns."""
    lacking = wanted - {column[1] for column in database.execute(f"PRAGMA table_info({table})")}
    if lacking:
        raise Damaged(f"the table {table} lacks {', '.join(sorted(lacking))}")
