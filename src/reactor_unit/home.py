"""The unit's folders on disk: data folder, run directory, atomic writes, and the locks that keep a second unit out."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from reactor_unit.config import CONFIG_FILE, INITIAL_CONFIG
from reactor_unit.errors import AlreadyServing, ConfigError, StorageFault

LOCK_FILE = ".reactor-unit.lock"
BOARD_LOCK_FILE = "reactor-unit-board.lock"
_MACHINE_WIDE = (Path("/run/lock"), Path("/tmp"))  # the lock file is opened without following links
TEMPORARY_SUFFIX = ".reactor-unit-tmp"
IMPORT_FOLDER = ".reactor-unit-import"  # an import on its way: upload, what is to come in, journal
BACKUPS_FOLDER = ".reactor-unit-backups"  # what was there before the last imports
_FOLDER_MODE = 0o750  # config.ini may hold passwords: the owner's, and readable for the owner's group
_PID_WAIT_S = 0.2  # how long a holder may take from taking a lock to writing its pid

_log = logging.getLogger(__name__)


class DataFolder:
    """The folder with everything that outlives the unit: configuration, `storage/`, `plugins/`, `logs/`."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser().absolute()

    @classmethod
    def find(cls, flag: str | None, environ: Mapping[str, str]) -> DataFolder:
        """Return the folder named on the command line, else by DOT_PIOREACTOR, else `~/.pioreactor`."""
        return cls(flag or environ.get("DOT_PIOREACTOR") or Path.home() / ".pioreactor")

    @property
    def storage(self) -> Path:
        """Folder of databases, calibrations and estimators."""
        return self.path / "storage"

    @property
    def plugins(self) -> Path:
        """Folder of single-file plugins."""
        return self.path / "plugins"

    @property
    def log_file(self) -> Path:
        """The log that all processes of the unit share."""
        return self.path / "logs" / "reactor-unit.log"

    @property
    def job_history(self) -> Path:
        """Database with a row for every run job."""
        return self.storage / "reactor_unit.sqlite"

    @property
    def faults(self) -> Path:
        """File with the latched faults."""
        return self.storage / "faults.json"

    @property
    def imports(self) -> Path:
        """Folder of an import on its way, which may not be there."""
        return self.path / IMPORT_FOLDER

    @property
    def backups(self) -> Path:
        """Folder of what earlier imports replaced, which may not be there."""
        return self.path / BACKUPS_FOLDER

    @property
    def readings(self) -> Path:
        """Database with the history of readings."""
        return self.storage / "readings.sqlite"

    def create(self) -> None:
        """Make the folder, its sub-folders and a first `config.ini` where they are missing; change nothing else.

        The parent must exist: a mistyped `--dot` or a disk that is not mounted should not quietly become an empty
        unit. For the same reason a folder that has been in use but lost its `config.ini` is a ConfigError: built-in
        defaults may name other pumps than the lost file did. Raises StorageFault when the disk refuses.
        """
        self.create_root()
        for folder in (self.storage, self.plugins):
            _make_folder(folder)
        config = self.path / CONFIG_FILE
        if os.path.lexists(config):
            return
        if any(self.storage.glob("*.sqlite")):
            raise ConfigError(
                f"{config} is missing, but this data folder has been in use.",
                remediation=f"Put {CONFIG_FILE} back. An empty one is accepted: it stands for the built-in defaults.",
            )
        write_atomically(config, INITIAL_CONFIG.encode())

    def check(self) -> None:
        """Raise StorageFault where something else is in the place of a sub-folder; make nothing."""
        for folder in (self.storage, self.plugins):
            if os.path.lexists(folder) and not folder.is_dir():
                raise _no_folder(folder)

    def create_root(self) -> None:
        """Make the folder itself and that of the logs, where they are missing. Raises StorageFault."""
        _make_folder(self.path)
        _make_folder(self.log_file.parent)

    def remove_leftovers(self) -> None:
        """Delete temporary files of writers that were killed; for the holder of the folder's lock only.

        What cannot be deleted stays, and the log names it.
        """
        for folder in (
            self.path,
            self.storage,
            *self.storage.glob("calibrations/*"),
            *self.storage.glob("estimators/*"),
        ):
            for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
                try:
                    path.unlink(missing_ok=True)
                except OSError as ex:  # it is in nobody's way
                    _log.warning("The temporary file %s cannot be deleted: %s.", path, ex.strerror)

    def lock(self) -> Lock:
        """Return the lock that one serving unit holds on this folder."""
        return Lock(self.path / LOCK_FILE, f"The data folder {self.path}")


def _no_folder(path: Path) -> StorageFault:
    return StorageFault(f"{path} is not a folder.", remediation="Move it away, or name another folder.")


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=_FOLDER_MODE)
    except FileExistsError:
        if not path.is_dir():
            raise _no_folder(path) from None
    except FileNotFoundError as ex:
        raise StorageFault(
            f"The folder {path} cannot be made: {path.parent} does not exist.",
            remediation="Check the path for typing errors; make the parent folder first; is the disk mounted?",
        ) from ex
    except OSError as ex:
        raise StorageFault(f"The folder {path} cannot be made: {ex.strerror}.") from ex


def write_atomically(path: Path, data: bytes, *, mode: int = 0o640) -> None:
    """Replace the file at `path` by one with the content `data`; all of it or nothing, also across a power cut.

    On return it is on the disk. A file that exists keeps its permissions, a new one gets `mode`; a symbolic link
    stays and its target is replaced. Raises StorageFault, and then the old file is untouched.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:200]}.{os.urandom(6).hex()}{TEMPORARY_SUFFIX}")
    try:
        with open(temporary, "xb", opener=_private_opener) as file:
            try:
                os.fchmod(file.fileno(), _mode_of(target, mode))
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        sync_folder(target.parent)
    except OSError as ex:
        raise StorageFault(f"{path} cannot be written: {ex.strerror}.") from ex


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read it. A folder, pipe or device is an OSError, and none is waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "It is not a file", str(path))
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _mode_of(path: Path, otherwise: int) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return otherwise


def sync_folder(path: Path) -> None:
    """Have the names in a folder on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as ex:
        if ex.errno != errno.EINVAL:  # some file systems cannot sync a folder, and need not
            raise
    finally:
        os.close(descriptor)


def run_directory(data_folder: Path, environ: Mapping[str, str]) -> Path:
    """Return, and make, the folder for what is true only while the unit runs; one for each data folder.

    It lies in RUNTIME_DIRECTORY, else in XDG_RUNTIME_DIR if that is a folder of ours, else in TMPDIR or /tmp. Its mode
    is 0700. Raises ConfigError when it would lie inside the data folder, StorageFault when it is a link, belongs to
    somebody else, is open to others, or cannot be made.
    """
    home = Path(data_folder).resolve()
    uid = os.geteuid()
    name = f"reactor-unit-{uid}-{hashlib.blake2b(os.fsencode(home), digest_size=8).hexdigest()}"
    base = _run_base(environ, uid)
    if base == home or home in base.parents:
        raise ConfigError(
            f"The run directory would lie in {base}, inside the data folder {home}.",
            remediation="Set RUNTIME_DIRECTORY or XDG_RUNTIME_DIR to a folder outside it.",
        )
    path = base / name
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as ex:
        raise StorageFault(f"The run directory {path} cannot be made: {ex.strerror}.") from ex
    refusal = _why_unsafe(found, uid)
    if refusal:
        raise StorageFault(f"The run directory {path} {refusal}.", remediation="Remove it, then start again.")
    return path


def _run_base(environ: Mapping[str, str], uid: int) -> Path:
    given = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]  # systemd separates several by colons
    if given:
        return Path(given).resolve()
    session = environ.get("XDG_RUNTIME_DIR", "")
    if session and os.path.isdir(session) and os.stat(session).st_uid == uid:
        return Path(session).resolve()
    return Path(environ.get("TMPDIR") or "/tmp").resolve()  # what is made in it is checked


def _why_unsafe(found: os.stat_result, uid: int) -> str:
    if stat.S_ISLNK(found.st_mode):
        return "is a symbolic link"
    if not stat.S_ISDIR(found.st_mode):
        return "is not a folder"
    if found.st_uid != uid:
        return f"belongs to user {found.st_uid}, not to {uid}"
    if found.st_mode & 0o077:
        return f"is open to other users (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""


class Lock:
    """A kernel lock on a file (`flock`) that holds the pid of its owner.

    The kernel drops it when the last descriptor of the opening is closed, however the owner ends, so no lock is ever
    stale. A forked child inherits that opening and would keep the lock alive after its parent, so children close the
    descriptor when they are forked (by number, see `workers/children.py`). That takes nothing from the parent.
    """

    def __init__(self, path: Path, what: str, *, mode: int = 0o640) -> None:
        self.path = path
        self._what = what
        self._mode = mode
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the lock and write our pid into the file.

        Raises AlreadyServing that names the holder's pid, StorageFault when the file cannot be used.
        """
        if self._descriptor >= 0:
            return
        try:
            self._descriptor = self._open_locked()
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as ex:
            self._close()
            raise StorageFault(f"The lock file {self.path} cannot be used: {ex.strerror}.") from ex

    def release(self) -> None:
        """Give the lock back, for all processes that inherited it. May be called twice."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self._close()

    def let_go(self) -> None:
        """Leave the lock to another process that inherited it; nothing happens to one that is not held."""
        self._close()

    def fileno(self) -> int:
        """Return the descriptor while the lock is held, else -1."""
        return self._descriptor

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open_locked(self) -> int:
        while True:
            descriptor = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same_file(descriptor, self.path):
                    return descriptor
            except BlockingIOError:
                holder = _read_pid(descriptor)
                os.close(descriptor)
                by = f"process {holder}" if holder else "another process"
                raise AlreadyServing(f"{self._what} is already in use by {by}.") from None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # the file was replaced between opening and locking it

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            # Without O_CREAT first: in a sticky folder the kernel refuses O_CREAT on a file of somebody else.
            return os.open(self.path, flags)
        except FileNotFoundError:
            descriptor = os.open(self.path, flags | os.O_CREAT, self._mode)
            if os.fstat(descriptor).st_uid == os.geteuid():
                os.fchmod(descriptor, self._mode)
            return descriptor


def board_lock(folder: Path | None = None) -> Lock:
    """Return the lock on this machine's one board, in a place that all users of the machine share.

    Any user may take it, so the file is writable for all; it holds nothing but a pid.
    """
    folder = folder or next((path for path in _MACHINE_WIDE if path.is_dir()), _MACHINE_WIDE[-1])
    return Lock(folder / BOARD_LOCK_FILE, "The reactor board of this machine", mode=0o666)


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _read_pid(descriptor: int) -> int | None:
    deadline = time.monotonic() + _PID_WAIT_S
    while True:
        text = os.pread(descriptor, 20, 0).strip()
        if text.isdigit():
            return int(text)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.01)
