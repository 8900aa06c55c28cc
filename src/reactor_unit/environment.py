"""The virtual environment the unit runs from, and how it is changed: beside itself, then by one rename.

A change is prepared in a copy of the environment (hard links, so it costs no space), tried there, and put in place by
the exchange of two folders, which the kernel does at once or not at all. So whatever is killed, and when, leaves either
what was there or what was tried; and to put back what was there is the same exchange again.

Standard library only: this is what runs when a version of the program does not.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHANGE_FOLDER = ".reactor-unit-change"
MARK = "reactor_unit_change.txt"  # in the packages of an update: says which one it is
TRIAL, OVER = "trial", "over"  # states of a record: the new version has to prove itself; the outcome is known
LISTENER = "REACTOR_UNIT_LISTENER"  # the variable that names the descriptor of a listening socket
MODE = 0o700
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h

Record = dict[str, Any]


class CannotChange(Exception):
    """The environment cannot be changed; the message says why."""


class BeingChanged(CannotChange):
    """Somebody else changes it now."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment: `prefix` is its folder, `packages` that with the distributions, below `prefix`."""

    prefix: Path
    packages: Path

    @classmethod
    def current(cls) -> Environment:
        """Return the environment of this process. Raises CannotChange where it is not a virtual one."""
        packages = Path(sys.prefix, "lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
        if sys.prefix == sys.base_prefix or not packages.is_dir():
            raise CannotChange("The unit does not run from a virtual environment.")
        return cls(Path(sys.prefix), packages)

    @property
    def folder(self) -> Path:
        """Where a change is prepared."""
        return self.prefix / CHANGE_FOLDER

    @property
    def copy(self) -> Environment:
        """The environment in which a change is prepared; after the exchange it has what was there before."""
        prefix = self.folder / "environment"
        return Environment(prefix, prefix / self.packages.relative_to(self.prefix))

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.prefix / "bin" / "python"

    @property
    def record_path(self) -> Path:
        """The file that tells of the last update."""
        return self.folder / "update.json"

    # One change at a time

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who changes this environment. Raises CannotChange."""
        descriptor = self.lock()
        try:
            yield
        finally:
            os.close(descriptor)

    def lock(self) -> int:
        """Return the descriptor of a lock that ends with it, and with all that inherited it. Raises CannotChange."""
        try:
            self.folder.mkdir(mode=MODE, exist_ok=True)
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as ex:
            raise CannotChange(f"The unit may not change {self.prefix}: {ex.strerror}.") from ex
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as ex:
            os.close(descriptor)
            raise BeingChanged(f"{self.prefix} is being changed already.") from ex
        return descriptor

    # The copy

    def make_copy(self) -> Environment:
        """Make the copy as the environment is now, in the place of any that is there. Raises CannotChange."""
        copy = self.copy
        try:
            self.drop_copy()
            for folder in (self.packages, self.prefix / "bin"):
                _link_tree(folder, copy.prefix / folder.relative_to(self.prefix))
            copy.python.unlink(missing_ok=True)
            copy.python.symlink_to(os.path.realpath(self.python))
            shutil.copyfile(self.prefix / "pyvenv.cfg", copy.prefix / "pyvenv.cfg")
            if (self.prefix / "lib64").is_symlink():
                (copy.prefix / "lib64").symlink_to(os.readlink(self.prefix / "lib64"))
        except OSError as ex:
            raise CannotChange(f"A copy of {self.prefix} cannot be made: {ex}.") from ex
        return copy

    def drop_copy(self) -> None:
        """Delete the copy. Raises OSError."""
        if self.copy.prefix.exists():
            shutil.rmtree(self.copy.prefix)

    def exchange(self) -> None:
        """Put the copy's packages in the place of the environment's, which go into the copy, at once. Raises OSError.

        What the copy has is on the disk before.
        """
        os.sync()
        names = [os.fsencode(self.packages), os.fsencode(self.copy.packages)]
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) != 0:
            number = ctypes.get_errno() or errno.EIO
            raise OSError(number, os.strerror(number), str(self.packages))
        os.sync()

    def scripts(self) -> set[str]:
        """Return the names of the commands."""
        return set(os.listdir(self.prefix / "bin"))

    def take_scripts(self, before: set[str]) -> None:
        """Have the commands that the copy has gained since `before`, and none that it has lost. Raises OSError."""
        copy = self.copy
        after = copy.scripts()
        for name in after - before:
            source, target = copy.prefix / "bin" / name, self.prefix / "bin" / name
            if source.is_file() and not source.is_symlink():
                text = source.read_bytes().replace(os.fsencode(copy.prefix), os.fsencode(self.prefix))
                target.write_bytes(text)
                target.chmod(0o755)
        for name in before - after:
            (self.prefix / "bin" / name).unlink(missing_ok=True)

    # The record of an update

    def read_record(self) -> Record | None:
        """Return what is known of the last update; None where there is none, or it cannot be read."""
        try:
            record = json.loads(self.record_path.read_bytes())
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def write_record(self, record: Record) -> None:
        """Write the record, at once and durably. Raises OSError."""
        temporary = self.record_path.with_suffix(".new")
        with open(temporary, "wb") as file:
            file.write(json.dumps(record).encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.record_path)

    def is_in_place(self, update_id: str) -> bool:
        """Return whether the packages of this update are those of the environment now."""
        try:
            return (self.packages / MARK).read_text().strip() == update_id
        except OSError:
            return False

    def put_back(self, record: Record, error: str, cause: str) -> None:
        """Have what was there before this update, and write down why. Raises OSError."""
        if self.is_in_place(record["id"]):
            self.exchange()
        said = {"error": error, "cause": cause, "version": record["from"]}
        self.write_record({**record, "state": OVER, "failed": said})


def put_back_what_never_ran() -> None:
    """At the start of a unit: an update nobody watches any more did not prove itself. Put back what was there.

    Then this process becomes the command it is, of the version that was put back.
    """
    try:
        environment = Environment.current()
        record = environment.read_record()
        if record is None or record.get("state") != TRIAL:
            return
        with environment.locked():
            is_new = environment.is_in_place(record["id"])
            cause = "What watched its first start was ended with it." if is_new else "It was ended before the restart."
            environment.put_back(record, f"The version {record['to']} did not start.", cause)
    except BeingChanged:  # it is watched: this is its first start
        return
    except (CannotChange, OSError, KeyError) as ex:
        print(f"An update that did not prove itself could not be undone: {ex}", file=sys.stderr)
        return
    if is_new:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _link_tree(source: Path, target: Path) -> None:
    """Make `target` a copy of the folder `source`, in which every file is the same file under a second name."""
    target.mkdir(mode=0o755, parents=True)
    with os.scandir(source) as entries:
        for entry in entries:
            other = target / entry.name
            if entry.is_dir(follow_symlinks=False):
                _link_tree(Path(entry.path), other)
            else:
                os.link(entry.path, other, follow_symlinks=False)
    with suppress(OSError):
        shutil.copymode(source, target)
