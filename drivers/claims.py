"""Who drives which output: a claim is a lock on a byte range of one file, which the kernel drops with its process."""

import contextlib
import fcntl
import os
import struct
from pathlib import Path

from .errors import HardwareFault
from .leases import Lease, LeaseTable, chip_output, slot_of

_LABEL_BYTES = 64  # in the file, for each output: who holds it, for a refusal's message
_FLOCK = "@hhqqi"  # struct flock64: type, whence, start, length, pid; the same on all of Linux's platforms here


class OutputClaimed(HardwareFault):
    """Another process, or another part of this one, drives the output."""


class Claims:
    """The claims of one process. `close()` gives all of them back and may be called twice.

    `path` is a file in the run directory that all processes of a board share, `holder` what this process calls
    itself in a refusal to others ("stirring"). The locks belong to this opening of the file (F_OFD_SETLK), so two
    openings exclude each other even within one process, and a forked child that closes it takes nothing away.
    """

    def __init__(self, path: Path, holder: str, leases: LeaseTable) -> None:
        self.leases = leases
        self._path = path
        self._holder = holder
        self._descriptor = -1
        self._held: dict[str, Lease] = {}

    def claim(self, output: str, lasting_s: float | None = None) -> Lease:
        """Be the one who drives an output; return its lease, which lasts `lasting_s` or as planned for each use.

        Raises OutputClaimed that names the holder.
        """
        if output in self._held:
            raise OutputClaimed(f"{output} is already open in this process.", remediation="Close it first.")
        self._lock(output)
        try:
            lease = self._held[output] = self.leases.take(output, lasting_s)
        except HardwareFault:
            self._set_lock(fcntl.F_UNLCK, output)
            raise
        return lease

    def claim_chip(self, address: int) -> None:
        """Be the one who changes the settings of an I2C chip, until `close`. Idempotent; raises OutputClaimed."""
        self._lock(chip_output(address))

    def release(self, output: str) -> None:
        """Give an output back that is off. Idempotent."""
        lease = self._held.pop(output, None)
        if lease is not None:
            lease.release()
            self._set_lock(fcntl.F_UNLCK, output)

    def held(self, output: str) -> Lease | None:
        """Return the lease of an output that this object has claimed, None when it has not."""
        return self._held.get(output)

    def close(self) -> None:
        """Give the locks back. What was not released, since it may be on, stays this process's in the table."""
        descriptor, self._descriptor = self._descriptor, -1
        self._held.clear()
        if descriptor != -1:
            os.close(descriptor)

    def _lock(self, output: str) -> None:
        if self._descriptor == -1:
            self._descriptor = self._open()
        try:
            self._set_lock(fcntl.F_WRLCK, output)
        except BlockingIOError as ex:
            raise OutputClaimed(
                f"{output} is in use by {self._who_holds(output)}.", remediation="Stop that first, then try again."
            ) from ex
        label = f"{self._holder} (process {os.getpid()})".encode()[:_LABEL_BYTES]
        with contextlib.suppress(OSError):  # a full disk: the lock holds, and others are told less
            os.pwrite(self._descriptor, label.ljust(_LABEL_BYTES), slot_of(output) * _LABEL_BYTES)

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as ex:
            raise HardwareFault(
                f"The file of claims {self._path} cannot be opened.",
                cause=str(ex),
                remediation="Check that the run directory exists and belongs to this user.",
            ) from ex

    def _set_lock(self, kind: int, output: str) -> None:
        request = struct.pack(_FLOCK, kind, os.SEEK_SET, slot_of(output) * _LABEL_BYTES, _LABEL_BYTES, 0)
        fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, request)

    def _who_holds(self, output: str) -> str:
        label = os.pread(self._descriptor, _LABEL_BYTES, slot_of(output) * _LABEL_BYTES)
        return label.strip(b" \0").decode(errors="replace") or "another process"
