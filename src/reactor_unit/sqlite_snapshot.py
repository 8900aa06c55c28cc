"""A whole copy of a SQLite database that others write meanwhile."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from reactor_unit.home import TEMPORARY_SUFFIX
from reactor_unit.sqlite_faults import LOCK_TIMEOUT_S

LOCKED_AT_MOST_S = 10.0  # by another program; the unit's own databases (in WAL mode) are never locked to readers
CACHE_PAGES = 64


def snapshot(path: Path, folder: Path) -> BinaryIO:
    """Return a copy of the database at `path`, open and already deleted: closing it gives its room back.

    It holds what was committed when the copy began. It lies in `folder`, as large as the database. Raises
    sqlite3.Error, also when `path` is no database, and OSError.
    """
    descriptor, name = tempfile.mkstemp(prefix=".snapshot.", suffix=TEMPORARY_SUFFIX, dir=folder)
    try:
        copy = open(descriptor, "rb")  # noqa: SIM115 (the caller's)
        try:
            _copy(path, name)
        except BaseException:
            copy.close()
            raise
    finally:
        os.unlink(name)
    return copy


def _copy(path: Path, name: str) -> None:
    uri = f"file:{quote(str(path))}?mode=rw"  # not `ro`: that cannot recover what a killed writer left half done
    with closing(sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT_S)) as source:
        source.execute(f"PRAGMA cache_size = {CACHE_PAGES}")
        with closing(sqlite3.connect(name, isolation_level=None)) as target:
            for pragma in ("journal_mode = off", "synchronous = off", f"cache_size = {CACHE_PAGES}"):
                target.execute(f"PRAGMA {pragma}")
            source.backup(target, progress=_not_locked_for_ever(time.monotonic() + LOCKED_AT_MOST_S))


def _not_locked_for_ever(deadline: float) -> Callable[[int, int, int], None]:
    """Return what ends a copy that comes no further: all pages are one step, so a second one has met a lock."""

    def check(status: int, remaining: int, total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > deadline:
            raise sqlite3.OperationalError("another program keeps it locked")

    return check
