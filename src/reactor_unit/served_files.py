"""The data folder as it may be seen and changed over the network: every rule about paths, in one place."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from reactor_unit.config import CONFIG_FILE, UNIT_CONFIG_FILE
from reactor_unit.confined import ConfinedFolder, FileForbidden, NoSuchFile, Place, outside
from reactor_unit.errors import Forbidden
from reactor_unit.home import BACKUPS_FOLDER, IMPORT_FOLDER, LOCK_FILE, TEMPORARY_SUFFIX
from reactor_unit.vial import VIAL_FILE

FLAG = "DISALLOW_UI_FILE_SYSTEM"
MAX_NAME_BYTES = 255

_DATABASE = re.compile(r"\.(sqlite3?|db3?)([-.].*)?", re.DOTALL)  # with -wal, -shm, -journal, .backup, .corrupt-...
_LIVE_DATABASE = re.compile(r".*\.(sqlite3?|db3?)", re.DOTALL)
_SECRET_FOLDERS = frozenset({".ssh", ".gnupg", ".aws", ".docker", ".kube"})
_SECRET_NAMES = frozenset({".netrc", ".pgpass", ".htpasswd", ".git-credentials", ".pypirc", ".npmrc"})
_SECRET_SUFFIXES = (".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".gpg")
_SECRET_PREFIXES = (".env", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519")
_SECRET_WORD = re.compile(
    r"(token|secret|password|passwd|credential|(api|private|secret|access|auth|host|signing)[-_. ]?key)s?(?![a-z])"
)
_UNIT_NEEDS = frozenset(
    {CONFIG_FILE, UNIT_CONFIG_FILE, LOCK_FILE, "plugins/api_plugins_allowlist.json", f"storage/{VIAL_FILE}"}
)
DISALLOWING = "disallow_"  # beginning of the names of all flag files


@dataclass(frozen=True)
class Listing:
    """What a folder holds: its absolute path, and sorted names."""

    current: str
    dirs: list[str]
    files: list[str]


class ServedFiles:
    """What may be listed, read and removed of the data folder `path`. Opens nothing until it is asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = ConfinedFolder(path)

    def check_allowed(self) -> None:
        """Raise Forbidden where the owner put the flag file that keeps the network from the file system."""
        try:
            is_there = stat.S_ISREG(os.lstat(self.path / FLAG).st_mode)
        except OSError:
            return
        if is_there:
            raise Forbidden(
                "This unit's files are not open to the network.",
                cause=f"The file {FLAG} is in its data folder.",
                remediation=f"Whoever owns the unit may remove {FLAG} there.",
            )

    def look(self, path: str) -> Listing | BinaryIO:
        """Return what may be seen in a folder, or a file, open to be read. Raises NoSuchFile, FileForbidden."""
        parts = path_parts(path)
        if parts and is_database(parts[-1]):
            raise _forbidden_database(path)
        with self.find(parts) as place:
            return self._listed(place, path) if place.is_folder else self._opened(place, path)

    def open(self, parts: Sequence[str]) -> BinaryIO:
        """Open a file to read it. Raises NoSuchFile, FileForbidden; databases are forbidden."""
        with self.find(parts) as place:
            return self._opened(place, "/".join(parts))

    def _listed(self, place: Place, path: str) -> Listing:
        dirs, files = [], []
        for name, mode in _scanned(place, path):
            kind = self._kind((*place.names, name), mode)
            if kind == stat.S_IFDIR and name != "__pycache__":
                dirs.append(name)
            elif kind == stat.S_IFREG:
                files.append(name)
        return Listing(str(self.path / path), dirs, files)

    def _opened(self, place: Place, shown: str) -> BinaryIO:
        if not place.is_file:
            raise NoSuchFile(f"{shown} is not a file.")
        if self._is_database(place):
            raise _forbidden_database(shown)
        try:
            return place.open()
        except OSError as ex:
            raise FileForbidden(f"{shown} cannot be read: {ex.strerror}.") from ex

    def removable(self, filepath: str) -> tuple[str, ...]:
        """Return the path's components below the data folder, if it may be removed; whether it is there shows later.

        `filepath` is relative to the data folder, or absolute and in it; `~` is the home folder of the unit's user.
        Raises FileForbidden, NoSuchFile for what can be no path.
        """
        parts = path_parts(self._folder.below(os.path.expanduser(filepath)))
        _check_not_needed(parts, filepath)
        for name in parts:
            _check_name(name, filepath)
        if parts and is_database(parts[-1]):
            raise _forbidden_database(filepath)
        try:
            with self.find(parts) as place:
                self._check_removable(place, filepath)
        except NoSuchFile:
            pass
        return parts

    def remove(self, filepath: str) -> None:
        """Delete a file; of a link, the file that it leads to. Raises NoSuchFile, FileForbidden, OSError."""
        with self.find(self.removable(filepath)) as place:
            self._check_removable(place, filepath)
            if not place.is_file:
                raise FileForbidden(f"{filepath} is not a file.", remediation="Name one file; folders are not removed.")
            place.unlink()

    def _check_removable(self, place: Place, shown: str) -> None:
        _check_not_needed(place.names, shown)
        if place.is_file and self._is_database(place):
            raise _forbidden_database(shown)

    def walk(self, parts: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
        """Yield the components of everything and what it is: S_IFDIR, S_IFREG, or 0 for what is not shown.

        Parents come first, names in order. A link to a file counts as that file; linked folders are not entered.
        Databases are among the files. Raises NoSuchFile when the folder itself is gone.
        """
        with self.find(parts) as place:
            entries = _scanned(place, "/".join(parts))
        for name, mode in entries:
            path = (*parts, name)
            kind = self._kind(path, mode)
            if kind == stat.S_IFREG or (kind == stat.S_IFDIR and not stat.S_ISLNK(mode)):
                yield path, kind
            else:
                yield path, 0
                continue
            if kind == stat.S_IFDIR:
                try:
                    yield from self.walk(path)
                except (NoSuchFile, FileForbidden):  # it went away, or is closed to us
                    yield path, 0

    def find(self, parts: Sequence[str]) -> Place:
        """Walk down `parts`. Raises NoSuchFile, and FileForbidden for what is never shown."""
        return self._folder.find(parts, _check_name)

    def _kind(self, parts: tuple[str, ...], mode: int) -> int:
        """Return what a path leads to, as the type in a mode; 0 for what is not shown."""
        if not is_plain(parts[-1]) or is_secret(parts[-1]) or is_temporary(parts[-1]):
            return 0
        if not stat.S_ISLNK(mode):
            return stat.S_IFMT(mode)
        try:
            with self.find(parts) as place:
                return 0 if self._is_database(place) else stat.S_IFMT(place.status.st_mode)
        except (NoSuchFile, FileForbidden):
            return 0

    def _is_database(self, place: Place) -> bool:
        """Return whether a file is a database by its real name, or by another name that it has."""
        if not place.is_file:
            return False
        if is_database(place.names[-1]):
            return True
        if place.status.st_nlink == 1:
            return False
        identity = (place.status.st_dev, place.status.st_ino)
        return any(identity == found for found in self._databases())

    def _databases(self) -> Iterator[tuple[int, int]]:
        for folder, _, names in os.walk(self.path):
            for name in filter(is_database, names):
                try:
                    found = os.lstat(os.path.join(folder, name))
                except OSError:
                    continue
                yield found.st_dev, found.st_ino


def path_parts(path: str) -> tuple[str, ...]:
    """Return the components of a path relative to the data folder; the empty path is the folder itself.

    Raises FileForbidden for one that climbs, NoSuchFile for what can be no path.
    """
    if not path:
        return ()
    parts = tuple(path.split("/"))
    if ".." in parts:
        raise outside(path)
    if not all(map(is_plain, parts)):
        raise NoSuchFile(f"{path!r} can be no path in the data folder.")
    return parts


def is_plain(name: str) -> bool:
    """Return whether `name` can be asked for: printable text that is no way to another folder."""
    if name in ("", ".", "..") or "\\" in name or "\ufffd" in name or not name.isprintable():
        return False
    return len(name.encode()) <= MAX_NAME_BYTES


def is_database(name: str) -> bool:
    """Return whether a file of this name is a database or belongs to one.

    >>> [is_database(name) for name in ("a.sqlite", "A.SQLite-wal", "a.db.corrupt-2031", "notes.txt")]
    [True, True, True, False]
    """
    return _DATABASE.search(name.casefold()) is not None


def is_live_database(name: str) -> bool:
    """Return whether a file of this name is the database itself, and no companion or copy of it.

    >>> [is_live_database(name) for name in ("a.sqlite", "a.sqlite-wal", "a.sqlite.backup")]
    [True, False, False]
    """
    return _LIVE_DATABASE.fullmatch(name.casefold()) is not None


def is_temporary(name: str) -> bool:
    """Return whether what has this name is the unit's own business: just being written, or part of an import."""
    return name.endswith(TEMPORARY_SUFFIX) or name in (IMPORT_FOLDER, BACKUPS_FOLDER)


def is_secret(name: str) -> bool:
    """Return whether a file or folder of this name holds keys, tokens or passwords.

    >>> [is_secret(name) for name in (".ssh", "server.PEM", "api_token.txt", "tokenizer.py", "config.ini")]
    [True, True, True, False, False]
    """
    name = name.casefold()
    return (
        name in _SECRET_FOLDERS
        or name in _SECRET_NAMES
        or name.endswith(_SECRET_SUFFIXES)
        or name.startswith(_SECRET_PREFIXES)
        or _SECRET_WORD.search(name) is not None
    )


def _check_name(name: str, shown: str) -> None:
    if is_secret(name):
        raise FileForbidden(f"{shown} is not served: files named {name!r} hold keys or tokens.")
    if is_temporary(name):
        raise NoSuchFile(f"There is no {shown} in the data folder.")


def _check_not_needed(parts: Sequence[str], shown: str) -> None:
    """Raise FileForbidden for what the unit needs to start, or what keeps it and others safe."""
    path = "/".join(parts).casefold()
    own_state = len(parts) == 2 and path.startswith("storage/") and path.endswith(".json")
    if path in _UNIT_NEEDS or own_state or path.startswith(DISALLOWING):
        raise FileForbidden(f"{shown} is not removed: the unit needs it.", remediation="Log in to the unit instead.")


def _scanned(place: Place, shown: str) -> list[tuple[str, int]]:
    try:
        return place.scan()
    except OSError as ex:
        raise FileForbidden(f"The folder {shown or '.'} cannot be read: {ex.strerror}.") from ex


def _forbidden_database(shown: str) -> FileForbidden:
    return FileForbidden(
        f"{shown} is a database of the unit.",
        cause="A database that is in use cannot be read or removed as a file.",
        remediation="Download the archive of the data folder: it holds whole copies of all databases.",
    )
