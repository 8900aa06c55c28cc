"""A folder that no path leaves: not by `..`, not by a link, not by a change at the wrong moment.

A path is walked one component at a time, each opened below the one before it and never followed: a link is read and
walked like the rest. So nothing outside the folder is ever opened, however the folder changes meanwhile.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from reactor_unit.errors import Forbidden, NotFound

MAX_LINKS = 40
MAX_DEPTH = 64  # folders; each holds a descriptor while a path is walked

CheckName = Callable[[str, str], None]


class NoSuchFile(NotFound):
    """Nothing that is served has this path."""

    default_remediation = "List the folder to see what there is."


class FileForbidden(Forbidden):
    """The path leads to what is never shown, out of the data folder, or to what the unit needs."""

    default_remediation = "Log in to the unit if you need this file."


class Place:
    """Where a path leads: a descriptor that reads nothing (O_PATH), and the real names on the way. Close it."""

    def __init__(self, descriptors: list[int], names: tuple[str, ...]) -> None:
        self._descriptors = descriptors
        self.names = names
        self.status = os.fstat(descriptors[-1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, ex: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a file, and no pipe, socket or device."""
        return stat.S_ISREG(self.status.st_mode)

    def open(self) -> BinaryIO:
        """Open the file to read it. Raises OSError."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        return open(os.open(f"/proc/self/fd/{self._descriptors[-1]}", flags), "rb", buffering=0)

    def scan(self) -> list[tuple[str, int]]:
        """Return name and mode of each entry of the folder, sorted; links are not followed. Raises OSError."""
        folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._descriptors[-1])
        try:
            with os.scandir(folder) as entries:
                return sorted((entry.name, _mode_of(entry)) for entry in entries)
        finally:
            os.close(folder)

    def unlink(self) -> None:
        """Delete the file. Raises OSError; for a folder too."""
        os.unlink(self.names[-1], dir_fd=self._descriptors[-2])

    def close(self) -> None:
        """Give the descriptors back. May be called twice."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def _mode_of(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_mode
    except OSError:
        return 0  # it is gone


class ConfinedFolder:
    """The folder `path`, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, parts: Sequence[str], check_name: CheckName) -> Place:
        """Walk from the folder down `parts`; `check_name` is told each real name and the path, and may raise.

        Raises NoSuchFile, and FileForbidden for what leads out of the folder or may not be read.
        """
        shown = "/".join(parts)
        walk = _Walk()
        try:
            walk.enter(str(self._path), os.O_DIRECTORY)
            self._go(walk, parts, shown, check_name)
        except BaseException as ex:
            walk.close()
            if isinstance(ex, PermissionError):
                raise FileForbidden(f"{shown} cannot be read: {ex.strerror}.") from ex
            if isinstance(ex, OSError):
                raise NoSuchFile(f"There is no {shown} in the data folder.") from ex
            raise
        return Place(walk.descriptors, tuple(walk.names[1:]))

    def below(self, path: str) -> str:
        """Return a path relative to the folder. Raises FileForbidden for an absolute one that is not in it."""
        if not path.startswith("/"):
            return path
        for root in (str(self._path), os.path.realpath(self._path)):
            if path == root or path.startswith(f"{root}/"):
                return path[len(root) + 1 :]
        raise outside(path)

    def _go(self, walk: _Walk, parts: Sequence[str], shown: str, check_name: CheckName) -> None:
        waiting, links = list(reversed(parts)), 0
        while waiting:
            name = waiting.pop()
            if name == "..":  # of a link: no other path has one
                if len(walk.names) == 1:
                    raise outside(shown)
                walk.leave()
                continue
            if len(walk.names) > MAX_DEPTH:
                raise NoSuchFile(f"{shown} is more than {MAX_DEPTH} folders deep.")
            check_name(name, shown)
            walk.enter(name, os.O_NOFOLLOW)
            target = walk.link_target()
            if target is None:
                continue
            links += 1
            if links > MAX_LINKS:
                raise NoSuchFile(f"{shown} is not there: its links lead in a circle.")
            walk.leave(to_root=target.startswith("/"))
            waiting.extend(reversed(self._link_parts(target, shown)))

    def _link_parts(self, target: str, shown: str) -> list[str]:
        try:
            below = self.below(target)
        except FileForbidden:
            raise outside(shown) from None
        return [part for part in below.split("/") if part not in ("", ".")]


class _Walk:
    """Where a walk is: a descriptor and a name for each step from the root."""

    def __init__(self) -> None:
        self.descriptors: list[int] = []
        self.names: list[str] = []

    def enter(self, name: str, flags: int) -> None:
        above = self.descriptors[-1] if self.descriptors else None
        self.descriptors.append(os.open(name, os.O_PATH | os.O_CLOEXEC | flags, dir_fd=above))
        self.names.append(name)

    def link_target(self) -> str | None:
        """Return where the link leads that was entered last; None when it is no link."""
        found = self.descriptors[-1]
        return os.readlink("", dir_fd=found) if stat.S_ISLNK(os.fstat(found).st_mode) else None

    def leave(self, *, to_root: bool = False) -> None:
        """Go back a step, or all."""
        left = 1 if to_root else len(self.names) - 1
        while len(self.names) > left:
            self.names.pop()
            os.close(self.descriptors.pop())

    def close(self) -> None:
        while self.descriptors:
            os.close(self.descriptors.pop())


def outside(shown: str) -> FileForbidden:
    """Return the error for a path that leaves its folder."""
    return FileForbidden(
        f"{shown} leads out of the data folder.", remediation="Use a path below the data folder, without `..`."
    )
