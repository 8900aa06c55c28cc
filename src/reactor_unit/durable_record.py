"""A small JSON object that several processes share, in a file that survives `kill -9` and a power cut."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from reactor_unit import strict_json
from reactor_unit.errors import Json, StorageFault, Unavailable

SLOT_BYTES = 4096  # one page: the kernel copies it in one go
BLANK = b" "  # where nothing was written yet; a block that a disk has lost is zeros
LOCK_WITHIN_S = 1.0
_FLOCK = "@hhqqi"  # struct flock64: type, whence, start, length, pid
_FIRST_LOCK = 1 << 20  # locks lie on bytes that the file does not have
_RETRY_S = 0.005


class BrokenRecord(StorageFault):
    """The file holds no value that can be read."""


class DurableRecord:
    """One JSON object in two slots of a file that is never made longer.

    A value that has to survive a power cut is written `to_disk`. One that need not is only handed to the kernel, which
    spares an SD card: then a power cut brings back the last value that was written `to_disk`, or a later one. No slot
    is overwritten before the other one is on the disk. Since the file keeps its length, a full disk stops no writing,
    only the first.

    Read and write inside `locked`. Besides there are numbered places that a process can hold for as long as it lives.
    All locks are the kernel's and end with their process. Open it after the fork.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        self._held: set[int] = set()
        self._thread = threading.Lock()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who reads and writes.

        Raises Unavailable when another process does for a second, StorageFault when there can be no file.
        """
        with self._thread:
            try:
                self._open()
                self._lock()
                yield
            finally:
                if self._descriptor >= 0 and self._held:
                    self._set_lock(fcntl.F_UNLCK, 0)
                elif self._descriptor >= 0:
                    os.close(self._descriptor)
                    self._descriptor = -1

    def read(self) -> Json | None:
        """Return the value, None when there never was one. Raises BrokenRecord, StorageFault."""
        newest = self._newest()
        return None if newest is None else newest[1]["value"]

    def write(self, value: Json, *, to_disk: bool) -> None:
        """Have this value from now on; on return of a write `to_disk` it is there. Raises StorageFault."""
        try:
            newest = self._newest()
        except BrokenRecord:
            newest = None
        slot, number = 0, 1
        if newest is not None:
            slot, record = newest
            slot = 1 - slot if record["to_disk"] else slot
            number = record["number"] + 1
        text = strict_json.dumps({"number": number, "to_disk": to_disk, "value": value})
        data = b"%08x %s\n" % (zlib.crc32(text), text)
        if len(data) > SLOT_BYTES:
            raise ValueError(f"the value takes {len(data)} bytes, more than {SLOT_BYTES}")
        try:
            os.pwrite(self._descriptor, data.ljust(SLOT_BYTES), slot * SLOT_BYTES)
            if to_disk:
                os.fdatasync(self._descriptor)
        except OSError as ex:
            raise StorageFault(f"{self.path} cannot be written: {ex.strerror}.") from ex

    # Places

    def hold(self, place: int) -> None:
        """Hold a place until `let_go`, or the end of this process; inside `locked`."""
        self._set_lock(fcntl.F_WRLCK, 1 + place)
        self._held.add(place)

    def let_go(self, place: int) -> None:
        """Hold a place no more. Idempotent; inside `locked`."""
        if place in self._held:
            self._held.discard(place)
            self._set_lock(fcntl.F_UNLCK, 1 + place)

    def is_held(self, place: int) -> bool:
        """Return whether a living process, this one included, holds a place; inside `locked`."""
        if place in self._held:
            return True
        try:
            self._set_lock(fcntl.F_WRLCK, 1 + place)
        except BlockingIOError:
            return True
        self._set_lock(fcntl.F_UNLCK, 1 + place)
        return False

    def close(self) -> None:
        """Let go of all places. May be called twice."""
        with self._thread:
            self._held.clear()
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    # The file

    def _open(self) -> None:
        if self._descriptor >= 0:
            return
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self.path, flags, 0o640)
        except OSError as ex:
            raise StorageFault(f"{self.path} cannot be opened: {ex.strerror}.") from ex

    def _lock(self) -> None:
        deadline = time.monotonic() + LOCK_WITHIN_S
        while True:
            try:
                self._set_lock(fcntl.F_WRLCK, 0)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"{self.path} is in use by another process.", remediation="Try again in a moment."
                    ) from None
            time.sleep(_RETRY_S)

    def _set_lock(self, kind: int, number: int) -> None:
        request = struct.pack(_FLOCK, kind, os.SEEK_SET, _FIRST_LOCK + number, 1, 0)
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, request)
        except OSError as ex:
            if ex.errno in (errno.EAGAIN, errno.EACCES):
                raise BlockingIOError from ex
            raise StorageFault(f"{self.path} cannot be locked: {ex.strerror}.") from ex

    def _newest(self) -> tuple[int, Json] | None:
        """Return the slot of the newest value and what is in it; None for a file without one."""
        try:
            content = os.pread(self._descriptor, 2 * SLOT_BYTES, 0)
            if len(content) < 2 * SLOT_BYTES:
                self._allocate()
                content = content.ljust(2 * SLOT_BYTES, BLANK)
        except OSError as ex:
            raise StorageFault(f"{self.path} cannot be used: {ex.strerror}.") from ex
        slots = (content[:SLOT_BYTES], content[SLOT_BYTES:])
        records = [(record["number"], slot, record) for slot, data in enumerate(slots) if (record := _parsed(data))]
        if records:
            _, slot, record = max(records, key=lambda found: found[0])
            return slot, record
        if content.strip(BLANK):
            raise BrokenRecord(f"What is in {self.path} cannot be read.")
        return None

    def _allocate(self) -> None:
        """Give the file its length, on the disk: what is written into it later needs no more room."""
        size = os.fstat(self._descriptor).st_size
        os.pwrite(self._descriptor, BLANK * (2 * SLOT_BYTES - size), size)
        os.fsync(self._descriptor)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _parsed(data: bytes) -> Json | None:
    """Return what a slot holds, None when it is empty or broken."""
    checksum, _, text = data.rstrip().partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        record: Json = strict_json.loads(text)
    except strict_json.BadJson:
        return None
    return record
