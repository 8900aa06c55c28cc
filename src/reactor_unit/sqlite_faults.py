"""What a SQLite database can suffer, and what becomes of one that cannot be read."""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path

from reactor_unit.errors import StorageFault

LOCK_TIMEOUT_S = 0.5  # of every wait for another's lock

_log = logging.getLogger(__name__)


class Damaged(sqlite3.DatabaseError):
    """The database holds what this program did not write."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def is_corrupt(ex: Exception) -> bool:
    """Return whether the database itself is broken, so that trying again cannot help."""
    return getattr(ex, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def first_error(ex: Exception) -> Exception:
    """Return the error that came first: on a full disk SQLite ends a transaction, and then its ROLLBACK fails too."""
    while isinstance(ex.__context__, sqlite3.Error):
        ex = ex.__context__
    return ex


def fault(what: str, reason: object) -> StorageFault:
    """Return the error for a client. `what` names the database, as in "The task store"."""
    return StorageFault(f"{what} cannot be used: {reason}.", retry_after_s=1.0)


def move_aside(path: Path, aside: Path, what: str, reason: Exception) -> None:
    """Rename a database that cannot be read, a file or a folder, to make room for a new one; the log names it.

    Raises StorageFault when that is not possible.
    """
    _log.error("%s cannot be read (%s). It is now %s; a new one is made.", what, reason, aside)
    try:
        os.replace(path, aside)
        for suffix in ("-wal", "-shm"):  # belong to the file that is gone
            if os.path.exists(f"{path}{suffix}"):
                os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    except OSError as ex:
        raise StorageFault(f"{what} cannot be replaced: {ex.strerror}.") from ex
