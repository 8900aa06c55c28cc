"""The data folder as an archive, made while it is sent."""

from __future__ import annotations

import io
import json
import logging
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from reactor_unit.clock import utc_timestamp
from reactor_unit.config import Config
from reactor_unit.confined import FileForbidden, NoSuchFile
from reactor_unit.errors import ConfigError, StorageFault
from reactor_unit.home import LOCK_FILE
from reactor_unit.served_files import ServedFiles, is_database, is_live_database, is_temporary
from reactor_unit.sqlite_faults import is_corrupt
from reactor_unit.sqlite_snapshot import snapshot
from reactor_unit.zip_stream import Entry, file_entry, stream_zip

METADATA_FILE = "pioreactor_export_metadata.json"
METADATA_VERSION = 1
SPARE_BYTES = 16 * 1024 * 1024  # of the disk, beside the largest database's copy
_LEFT_OUT = frozenset({METADATA_FILE, LOCK_FILE, "storage/pioreactor.sqlite.backup"})
_COMPANIONS = ("-wal", "-shm", "-journal")  # of a database; what is in them is in its copy

log = logging.getLogger(__name__)


class Export:
    """Archives of a unit's data folder.

    `version` is that of the program, such as `0.1.0`; `load_config` reads the configuration as it is now.
    """

    def __init__(self, files: ServedFiles, unit_name: str, version: str, load_config: Callable[[], Config]) -> None:
        self._files = files
        self._unit_name = unit_name
        self._version = version
        self._load_config = load_config

    def check(self) -> None:
        """See whether an archive can be made. Raises Forbidden, and StorageFault where a database finds no room."""
        self._files.check_allowed()
        disk = os.statvfs(self._files.path)
        free = disk.f_bavail * disk.f_frsize
        needed = max(self._database_sizes(), default=0) + SPARE_BYTES
        if needed > SPARE_BYTES and free < needed:
            raise StorageFault(
                f"The disk has {free / 1e6:.0f} MB free; an archive needs {needed / 1e6:.0f} MB while it is made.",
                cause="The largest database is copied before it is put into the archive.",
            )

    def pieces(self) -> Iterator[bytes]:
        """Yield the archive. Raises OSError, sqlite3.Error when it cannot become whole."""
        return stream_zip(self._entries())

    def metadata(self) -> dict[str, Any]:
        """Return what the archive says about itself."""
        try:
            leader = self._load_config().leader_hostname(self._unit_name)
        except ConfigError as ex:  # the more reason to have the archive
            log.warning("The archive cannot name the leader: %s", ex)
            leader = "unknown"
        return {
            "metadata_version": METADATA_VERSION,
            "name": self._unit_name,
            "leader_hostname": leader,
            "is_leader": leader == self._unit_name,
            "app_version": self._version,
            "exported_at_utc": utc_timestamp(),
        }

    def _entries(self) -> Iterator[Entry]:
        for parts, kind in self._files.walk():
            name = "/".join(parts)
            if name in _LEFT_OUT or "__pycache__" in parts or _is_companion(parts[-1]) or is_temporary(parts[-1]):
                continue
            if kind == stat.S_IFDIR:
                yield Entry(f"{name}/", _modified_at(self._files.path / name), stat.S_IFDIR | 0o755)
            elif kind == stat.S_IFREG:
                if (file := self._opened(parts, name)) is not None:
                    yield file_entry(name, file)
            else:
                log.warning("%r is left out of the archive: no file or folder that is shown.", name)
        data = json.dumps(self.metadata()).encode()
        yield Entry(METADATA_FILE, time.time(), stat.S_IFREG | 0o644, io.BytesIO(data), len(data))

    def _opened(self, parts: tuple[str, ...], name: str) -> BinaryIO | None:
        try:
            if not is_database(parts[-1]):
                return self._files.open(parts)
            with self._files.find(parts) as place:
                if not place.is_file:
                    return None
                copy = None
                if is_live_database(parts[-1]):
                    copy = self._copied(self._files.path.joinpath(*place.names))
                return copy or place.open()
        except (
            NoSuchFile,
            FileForbidden,
        ) as ex:  # the latter: what nobody may read, such as another name of a database
            log.warning("%s is left out of the archive: %s", name, ex)
        return None

    def _copied(self, path: Path) -> BinaryIO | None:
        """Return a copy of a database; None when it is none, and may be taken as the file it is."""
        try:
            return snapshot(path, self._files.path)  # where the unit clears up at its start
        except sqlite3.Error as ex:
            if is_corrupt(ex):
                log.warning("%s goes into the archive as it is: %s.", path, ex)
                return None
            raise

    def _database_sizes(self) -> Iterator[int]:
        for parts, kind in self._files.walk():
            if kind == stat.S_IFREG and is_live_database(parts[-1]):
                try:
                    yield (self._files.path.joinpath(*parts)).lstat().st_size
                except OSError:
                    continue


def _is_companion(name: str) -> bool:
    return is_database(name) and name.casefold().endswith(_COMPANIONS)


def _modified_at(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return time.time()
