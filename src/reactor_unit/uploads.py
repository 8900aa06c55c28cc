"""Bodies that are too large for memory: who may send one, how large it may be, and where it lies meanwhile.

All of that is decided when the headers are there. The body then goes into a file on the data folder's disk, written by
a thread of its own: a slow card must not keep the web server's loop from other requests.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from reactor_unit.errors import BodyTooLarge, InvalidRequest, NoRoom, RateLimited, StorageFault, UnitError
from reactor_unit.multipart import Part, PartFinder, boundary_of

UPLOAD = "reactor_unit.upload"  # key in a WSGI environment
PREFIX = "upload-"
SPARE_BYTES = 32 << 20  # of the disk, which no upload takes
MAX_WAITING_BYTES = 512 * 1024  # that the client has sent and that are not written; then nothing more is read of it
WRITE_THROUGH_BYTES = 8 << 20  # what may wait for the disk in the kernel's memory
AGAIN_AFTER_S = 10.0
MB = 1_000_000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EarlyAnswer:
    """An answer that is given when only the headers of a request are there."""

    status: str
    body: bytes
    retry_after_s: float | None = None


class UploadGate(Protocol):
    """Who may send an upload."""

    def look(self, environ: Mapping[str, Any]) -> EarlyAnswer | None:
        """Return the answer to a request whose body need not be sent; None where it is to come."""

    def refusal(self, error: UnitError) -> EarlyAnswer:
        """Return an error as an answer."""


class Uploads:
    """The uploads that POST requests to `path` bring, one at a time, into `folder`."""

    def __init__(self, path: str, folder: Path, max_bytes: int, gate: UploadGate) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.gate = gate
        self._folder = folder
        self._place = threading.BoundedSemaphore(1)

    def begin(self, environ: Mapping[str, Any], length: int, wake: Callable[[], None]) -> Upload:
        """Return a place for a body; `length` is what the client says, 0 when it does not.

        `wake` is called when the writer has caught up. Raises UnitError for a body that is not to be sent.
        """
        boundary = boundary_of(environ.get("CONTENT_TYPE", ""))
        if length > self.max_bytes:
            raise BodyTooLarge(
                f"The body has {length} bytes; this unit takes {self.max_bytes} here.",
                remediation="Send a smaller archive, or raise [http] max_upload_mb.",
            )
        if not self._place.acquire(blocking=False):
            raise RateLimited("An upload is under way, and this unit takes one at a time.", retry_after_s=AGAIN_AFTER_S)
        try:
            self._remove_left()
            check_room(self._folder.parent, length)
            return Upload(self._new_file(), boundary, wake, self._place.release)
        except BaseException as ex:
            self._place.release()
            if isinstance(ex, OSError):
                raise StorageFault(f"The upload cannot be stored: {ex.strerror or ex}.") from ex
            raise

    def _new_file(self) -> BinaryIO:
        self._folder.mkdir(mode=0o750, exist_ok=True)
        path = self._folder / f"{PREFIX}{os.urandom(6).hex()}"
        file = open(path, "xb+", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file

    def _remove_left(self) -> None:
        """Delete what a killed web process left: what nobody holds."""
        for path in self._folder.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError), open(path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def check_room(folder: Path, length: int) -> None:
    """Raise NoRoom where the disk has no room for so many bytes more."""
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free < length + SPARE_BYTES:
        raise NoRoom(
            f"The disk has {free / MB:.0f} MB free; the upload needs {(length + SPARE_BYTES) / MB:.0f} MB.",
            cause=f"{SPARE_BYTES / MB:.0f} MB stay free for the unit's own work.",
        )


class Upload:
    """One body on its way into a file; what waitress knows as a buffer. `failure` is why it cannot be stored."""

    def __init__(self, file: BinaryIO, boundary: bytes, wake: Callable[[], None], release: Callable[[], None]) -> None:
        self._file = file
        self.path = Path(file.name)
        self.failure: UnitError | None = None
        self._finder = PartFinder(boundary)
        self._wake = wake
        self._release: Callable[[], None] | None = release
        self._received = 0
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._was_behind = False
        self._unsynced = 0
        self._changed = threading.Condition()
        self._is_closed = False
        self._is_kept = False
        self._writer = threading.Thread(target=self._write, name="upload", daemon=True)
        self._writer.start()

    def __len__(self) -> int:
        return self._received

    @property
    def is_behind(self) -> bool:
        """Whether the disk has to catch up before more is read."""
        return self._waiting_bytes >= MAX_WAITING_BYTES

    def append(self, data: bytes) -> None:
        """Take the next bytes."""
        with self._changed:
            self._received += len(data)
            if self.failure is None:
                self._waiting.append(data)
                self._waiting_bytes += len(data)
                self._was_behind = self._was_behind or self.is_behind
                self._changed.notify_all()

    def getfile(self) -> BinaryIO:
        """Return the file when all of it is there."""
        self._wait_written()
        self._file.seek(0)
        return self._file

    def part(self, name: str) -> Part:
        """Return the form's one file of this name. Raises InvalidRequest, and what kept the body from being stored."""
        self._wait_written()
        if self.failure is not None:
            raise self.failure
        found = [part for part in self._finder.parts(self._file.fileno()) if part.name == name]
        if len(found) != 1 or not found[0].file_name:
            raise InvalidRequest(
                f'The form has {len(found)} files "{name}"; it must have one, with the name of a file.',
                remediation=f"Send it as `curl -F {name}=@FILE` does.",
            )
        return found[0]

    def fileno(self) -> int:
        """Return the file's descriptor."""
        return self._file.fileno()

    def keep(self) -> None:
        """Leave the file to somebody else when this is closed."""
        self._is_kept = True

    def close(self) -> None:
        """Let go of the file, and delete it unless it is kept. May be called twice."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()
        if not self._is_kept:
            self.path.unlink(missing_ok=True)

    def let_go(self) -> None:
        """Close one that has come, and return when there is room for another; for a thread that may wait."""
        self.close()
        self._writer.join()

    def _wait_written(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting_bytes or self.failure is not None or self._is_closed)

    def _write(self) -> None:
        try:
            while (data := self._next()) is not None:
                self._store(data)
                with self._changed:
                    self._waiting_bytes -= len(data)
                    self._changed.notify_all()
                    has_caught_up = self._was_behind and not self.is_behind
                    self._was_behind = self.is_behind
                if has_caught_up:
                    self._wake()
        except (OSError, UnitError) as ex:
            self._fail(ex)
        finally:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed)
            with contextlib.suppress(OSError):  # what the disk refused before, it refuses again; the file is closed
                self._file.close()
            release, self._release = self._release, None
            if release is not None:
                release()

    def _next(self) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            return None if self._is_closed else self._waiting.popleft()

    def _store(self, data: bytes) -> None:
        self._finder.feed(data)
        self._file.write(data)
        self._unsynced += len(data)
        if not self._waiting:
            self._file.flush()
        if self._unsynced >= WRITE_THROUGH_BYTES:
            self._unsynced = 0
            check_room(self.path.parent, 0)
            self._file.flush()
            os.fdatasync(self._file.fileno())
            os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def _fail(self, ex: Exception) -> None:
        failure = ex if isinstance(ex, UnitError) else NoRoom(f"The upload cannot be stored: {ex}.")
        log.error("An upload was given up. %s", failure.message)
        with self._changed:
            self.failure = failure
            self._waiting.clear()
            self._waiting_bytes = 0
            self._changed.notify_all()
        self._wake()
