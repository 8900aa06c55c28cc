"""What files said when they were read last, for as long as they are the same files."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

MAX_CACHED_BYTES = 8 * 1024 * 1024
_RECENT_NS = 100_000_000  # a file this young may change again within one tick of the file system's clock
_ENTRY_BYTES = 500  # of an entry besides its content


@dataclass(frozen=True)
class Reading:
    """What a file says, as ready JSON; for one that cannot be used, the problem in words instead."""

    json: bytes = b""
    problem: str = ""


class FileCache:
    """Readings of files, kept until inode, time of change or size differ. Safe to call from several threads.

    `read` is called for a file that is new or changed. Beyond `max_bytes` nothing more is kept, only read.
    """

    def __init__(self, read: Callable[[Path], Reading], max_bytes: int = MAX_CACHED_BYTES) -> None:
        self._read = read
        self._max_bytes = max_bytes
        self._kept: dict[str, dict[str, tuple[tuple[int, int, int], Reading]]] = {}  # folder -> name -> stamp, reading
        self._bytes = 0
        self._lock = threading.Lock()

    def reading(self, folder: str, name: str, status: os.stat_result) -> Reading:
        """Return what the file `name` in `folder` says; `status` is its own, or its target's if it is a link."""
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        kept = self._kept.get(folder, {}).get(name)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        reading = self._read(Path(folder, name))
        with self._lock:
            self._drop(folder, name)
            if abs(time.time_ns() - status.st_mtime_ns) > _RECENT_NS:
                self._keep(folder, name, stamp, reading)
        return reading

    def forget_others(self, folder: str, names: Collection[str]) -> None:
        """Drop what is kept of the folder's files that are gone; `names` are those there are."""
        if len(self._kept.get(folder, ())) > len(names):
            with self._lock:
                for name in self._kept[folder].keys() - set(names):
                    self._drop(folder, name)

    def _keep(self, folder: str, name: str, stamp: tuple[int, int, int], reading: Reading) -> None:
        size = len(reading.json) + _ENTRY_BYTES
        if self._bytes + size <= self._max_bytes:
            self._kept.setdefault(folder, {})[name] = (stamp, reading)
            self._bytes += size

    def _drop(self, folder: str, name: str) -> None:
        old = self._kept.get(folder, {}).pop(name, None)
        if old is not None:
            self._bytes -= len(old[1].json) + _ENTRY_BYTES
