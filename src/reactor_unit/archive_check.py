"""What an archive must be to replace a unit's data folder: all that can be said before it is unpacked."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import Any

from reactor_unit import strict_json
from reactor_unit.config import CONFIG_FILE
from reactor_unit.confined import MAX_DEPTH
from reactor_unit.export import METADATA_FILE
from reactor_unit.served_files import MAX_NAME_BYTES, is_plain
from reactor_unit.zip_reader import BadArchive, Member, ZipReader, kind_of

MB = 1_000_000
MAX_ENTRIES = 20_000
MAX_CONTENT_BYTES = 8 << 30
MAX_RATIO = 200  # of the sizes with and without packing; tables of readings have 20
RATIO_COUNTS_FROM = 16 << 20  # bytes of an entry: a small one does no harm
MAX_METADATA_BYTES = 64 * 1024


@dataclass(frozen=True)
class Contents:
    """What an archive holds, by its directory."""

    entries: int
    content_bytes: int


def check_archive(archive: ZipReader, unit_name: str) -> Contents:
    """Return what is in an archive that this unit takes.

    Raises BadArchive for one that is broken, would write where it must not, is of another unit, or is too large.
    """
    if archive.count > MAX_ENTRIES:
        raise BadArchive(f"The archive has {archive.count} entries; this unit takes {MAX_ENTRIES} at most.")
    names = _Names()
    content_bytes, metadata, has_config = 0, None, False
    for member in archive.members():
        names.add(member.name)
        _check_kind(member)
        _check_ratio(member)
        content_bytes += member.size
        has_config = has_config or member.name == CONFIG_FILE
        metadata = member if member.name == METADATA_FILE else metadata
    if content_bytes > MAX_CONTENT_BYTES:
        raise BadArchive(
            f"The archive would be {content_bytes / MB:.0f} MB unpacked; this unit takes "
            f"{MAX_CONTENT_BYTES / MB:.0f} MB at most."
        )
    archive.check_places()
    if metadata is not None:
        _check_unit(_metadata(archive, metadata), unit_name)
    if not has_config:
        raise BadArchive(
            f"The archive has no {CONFIG_FILE} at its top: it is not that of a data folder.",
            cause="A unit does not start without its configuration.",
        )
    return Contents(archive.count, content_bytes)


class _Names:
    """Names that have been seen, as numbers: a set of texts would be ten times as large."""

    def __init__(self) -> None:
        self._files: set[int] = set()
        self._folders: set[int] = set()

    def add(self, name: str) -> None:
        """Take note of an entry. Raises BadArchive for a name that leaves the folder, or cannot be beside others."""
        path = name.removesuffix("/")
        parts = path.split("/")
        if name.startswith("/") or not all(map(is_plain, parts)):
            raise _refused(name, parts)
        if len(parts) > MAX_DEPTH:
            raise BadArchive(f"{name!r} is more than {MAX_DEPTH} folders deep.")
        key = hash(path)
        if key in self._files or (key in self._folders and path == name):
            raise BadArchive(f"{name!r} is in the archive twice.")
        for depth in range(1, len(parts)):
            self._add_folder("/".join(parts[:depth]))
        if path == name:
            self._files.add(key)
        else:
            self._add_folder(path)

    def _add_folder(self, path: str) -> None:
        key = hash(path)
        if key in self._files:
            raise BadArchive(f"{path!r} is a file and a folder in the archive.")
        self._folders.add(key)


def _refused(name: str, parts: list[str]) -> BadArchive:
    if name.startswith("/"):
        return BadArchive(f"{name!r} is an absolute path.")
    if ".." in parts:
        return BadArchive(f"{name!r} leads out of the data folder.")
    if any(len(part.encode()) > MAX_NAME_BYTES for part in parts):
        return BadArchive(f"{name[:100]!r}... has a name of more than {MAX_NAME_BYTES} bytes.")
    return BadArchive(f"{name!r} can be no path in a data folder.")


def _check_kind(member: Member) -> None:
    """Raise BadArchive for links, devices and the like, and for a folder with content."""
    kind = kind_of(member)
    if kind == stat.S_IFLNK:
        raise BadArchive(f"{member.name!r} is a link.", remediation="Send an archive with files in the place of links.")
    if kind not in (0, stat.S_IFDIR if member.is_folder else stat.S_IFREG):
        raise BadArchive(f"{member.name!r} is neither a file nor a folder, or not what its name says.")
    if member.is_folder and member.size:
        raise BadArchive(f"{member.name!r} is a folder with content.")


def _check_ratio(member: Member) -> None:
    if member.size > RATIO_COUNTS_FROM and member.size > MAX_RATIO * member.packed_size:
        raise BadArchive(
            f"{member.name!r} would grow from {member.packed_size} to {member.size} bytes.",
            cause=f"More than {MAX_RATIO} times is not what the files of a unit do.",
        )


def _metadata(archive: ZipReader, member: Member) -> dict[str, Any]:
    if member.size > MAX_METADATA_BYTES:
        raise BadArchive(f"{METADATA_FILE} has {member.size} bytes; {MAX_METADATA_BYTES} are taken.")
    pieces: list[bytes] = []
    archive.read_through(member, pieces.append)
    try:
        found = strict_json.loads(b"".join(pieces))
    except ValueError as ex:
        raise BadArchive(f"{METADATA_FILE} in the archive cannot be read: {ex}.") from ex
    if not isinstance(found, dict):
        raise BadArchive(f"{METADATA_FILE} in the archive is no JSON object.")
    return found


def _check_unit(metadata: dict[str, Any], unit_name: str) -> None:
    name = metadata.get("name")
    if name and name != unit_name:
        raise BadArchive(
            f"The archive is of the unit {str(name)[:100]!r}, and this is {unit_name!r}.",
            remediation=f"Send it to that unit, or import an archive that {unit_name} made.",
        )
