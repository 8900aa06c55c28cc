"""The process that prepares an import: checks the archive, unpacks it beside the data folder's content, says so."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reactor_unit import errors, import_swap
from reactor_unit.archive_check import MB, Contents, check_archive
from reactor_unit.channel import Channel, Message
from reactor_unit.export import METADATA_FILE
from reactor_unit.home import DataFolder
from reactor_unit.import_swap import NEW, OWN_NAMES
from reactor_unit.zip_reader import BadArchive, Member, ZipReader

SPARE_BYTES = 32 << 20  # of the disk, for the unit's own work meanwhile
BLOCK_BYTES = 4096  # what a small file takes at least
WRITE_THROUGH_BYTES = 8 << 20  # what may wait for the disk; the memory of a small machine must not fill with it
PROGRESS_EVERY_S = 0.5
NICENESS = 10  # jobs go first
FOLDER_MODE, FILE_MODE = 0o750, 0o640

Progress = Callable[[float, float, str], None]
CheckFolder = Callable[[Path], object]

log = logging.getLogger(__name__)


def run(channel: Channel, request: Message, folder: DataFolder, unit_name: str, check: CheckFolder) -> None:
    """Be the child that prepares an import; see `ImportDesk`. `check(path)` raises where no unit starts with it."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: os._exit(1))  # what it leaves is cleared later
    os.nice(NICENESS)

    def progress(done: float, total: float, message: str) -> None:
        channel.send({"progress": {"done": done, "total": total, "message": message}})

    if "record" not in request:
        clear(request["args"], folder)
        os._exit(0)
    try:
        result = prepare(request["record"], request["args"], folder, unit_name, check, progress)
        answer: Message = {"result": result}
    except Exception as ex:
        if not isinstance(ex, errors.UnitError):
            log.exception("The import failed.")
        answer = {"error": errors.from_exception(ex).to_dict()}
    channel.send(answer)
    os._exit(0)


def prepare(
    record: dict[str, Any],
    args: dict[str, Any],
    folder: DataFolder,
    unit_name: str,
    check: CheckFolder,
    progress: Progress,
) -> dict[str, Any]:
    """Have the next start of the unit bring in the archive that `args` name; return what will be the task's result.

    Raises BadArchive, StorageFault and what `check` raises; then nothing was changed, and nothing is left.
    """
    upload, new = Path(args["path"]), folder.imports / NEW
    import_swap.abandon(folder)  # what an earlier one left
    try:
        descriptor = os.open(upload, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            archive = ZipReader(descriptor, args["start"], args["length"])
            contents = check_archive(archive, unit_name)
            _check_disk(folder.path, contents)
            _check_mounts(folder.path)
            new.mkdir(mode=FOLDER_MODE)
            _Unpacking(archive, new, contents, progress).run()
        finally:
            os.close(descriptor)
        progress(contents.content_bytes, contents.content_bytes, "writing to the disk")
        os.sync()
        _check_new(new, check)
        result = {"entries": contents.entries, "bytes": contents.content_bytes}
        upload.unlink()
        import_swap.begin(folder, record, result)
    except BaseException as ex:
        clear(args, folder)
        if isinstance(ex, OSError):
            raise errors.StorageFault(f"The archive cannot be unpacked: {ex.strerror or ex}.", cause=str(ex)) from ex
        raise
    return result


def clear(args: dict[str, Any], folder: DataFolder) -> None:
    """Have nothing come in, and delete what there is of an import."""
    import_swap.abandon(folder)
    Path(args["path"]).unlink(missing_ok=True)


def _check_new(new: Path, check: CheckFolder) -> None:
    try:
        check(new)
    except errors.UnitError as ex:
        raise BadArchive(
            "This unit would not start with what is in the archive.",
            cause=f"{ex.message} {ex.cause if ex.cause != ex.message else ''}".strip(),
            remediation="Correct it where the archive comes from, and make another archive.",
        ) from ex


def _check_disk(path: Path, contents: Contents) -> None:
    disk = os.statvfs(path)
    free = disk.f_bavail * disk.f_frsize
    needed = contents.content_bytes + contents.entries * BLOCK_BYTES + SPARE_BYTES
    if free < needed:
        raise errors.NoRoom(
            f"The disk has {free / MB:.0f} MB free; the archive needs {needed / MB:.0f} MB to be unpacked.",
            cause="What is there now stays until all of the new content is, and as a backup after that.",
        )


def _check_mounts(path: Path) -> None:
    """Refuse a data folder of which a part is another file system: it could not be exchanged in one go."""
    device = _device_of(path)
    for name in os.listdir(path):
        if name not in OWN_NAMES and _device_of(path / name) != device:
            raise errors.Conflict(
                f"{name} in the data folder is another file system.",
                cause="An import renames what is there, and nothing can be renamed from one disk to another.",
                remediation="Stop the unit and exchange the data by hand.",
            )


def _device_of(path: Path) -> int:
    return path.lstat().st_dev


class _Unpacking:
    """All entries of a checked archive on their way into the empty folder `new`; all are read, whatever is written."""

    def __init__(self, archive: ZipReader, new: Path, contents: Contents, progress: Progress) -> None:
        self._archive = archive
        self._new = new
        self._contents = contents
        self._progress = progress
        self._done = 0
        self._unwritten = 0
        self._next_progress = 0.0

    def run(self) -> None:
        """Unpack. Raises BadArchive, OSError."""
        for member in self._archive.members():
            top = member.name.partition("/")[0]
            if top in OWN_NAMES or member.name == METADATA_FILE:
                self._archive.read_through(member, self._count)
            elif member.is_folder:
                self._make(self._new / member.name)
            else:
                self._unpack(member)

    def _make(self, folder: Path) -> None:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)

    def _unpack(self, member: Member) -> None:
        path = self._new / member.name
        self._make(path.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, FILE_MODE)
        except FileExistsError:
            raise BadArchive(f"This disk cannot tell {member.name!r} from another name in the archive.") from None
        with open(descriptor, "wb") as file:

            def take(piece: bytes) -> None:
                file.write(piece)
                self._count(piece)
                self._unwritten += len(piece)
                if self._unwritten >= WRITE_THROUGH_BYTES:
                    self._unwritten = 0
                    file.flush()
                    os.fdatasync(descriptor)
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

            self._archive.read_through(member, take)

    def _count(self, piece: bytes) -> None:
        self._done += len(piece)
        now = time.monotonic()
        if now >= self._next_progress:
            self._next_progress = now + PROGRESS_EVERY_S
            self._progress(self._done, max(1, self._contents.content_bytes), "unpacking")
