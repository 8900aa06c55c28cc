"""A zip archive read as a stream: its directory record by record, its content piece by piece, and nothing trusted.

The format is that of PKWARE's APPNOTE, version 6.3. What this unit or the reference system writes is understood: stored
and deflated entries, Zip64, sizes behind the content. All else is refused, encryption first of all.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reactor_unit.errors import InvalidRequest

PIECE_BYTES = 64 * 1024

_STORED, _DEFLATED = 0, 8
_ENCRYPTED_FLAGS = 0x0001 | 0x0040 | 0x2000  # content, strongly, the directory's
_PATCH_FLAG = 0x0020
_UTF8_FLAG = 0x0800
_LARGE, _LARGE_COUNT = 0xFFFFFFFF, 0xFFFF
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_WINDOW_BITS = -15
_ZIP64_EXTRA = 1


class BadArchive(InvalidRequest):
    """The file is not an archive that this unit takes; nothing of it was used."""

    default_remediation = "Send an archive as `reactor-unit export` or a Pioreactor makes it."


@dataclass(frozen=True)
class Member:
    """One entry as the archive's directory has it; `is_folder` by its name."""

    name: str
    mode: int  # of unix, 0 where it has none
    method: int
    crc: int
    packed_size: int
    size: int
    offset: int  # of its local header

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.name.endswith("/")


class ZipReader:
    """The archive that lies in `length` bytes of an open file, from `start` on.

    `count` is how many entries it says it has. Raises BadArchive wherever it is not what it says.
    """

    def __init__(self, descriptor: int, start: int = 0, length: int | None = None) -> None:
        self._descriptor = descriptor
        self._start = start
        self.length = os.fstat(descriptor).st_size - start if length is None else length
        self.count, self._directory_size, self._directory_at = self._find_directory()
        self._offsets: array[int] | None = None

    # The directory

    def _read(self, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0 or offset + length > self.length:
            raise BadArchive("The archive is cut: a part of it lies behind its end.")
        data = os.pread(self._descriptor, length, self._start + offset)
        if len(data) != length:
            raise BadArchive("The archive became shorter while it was read.")
        return data

    def _find_directory(self) -> tuple[int, int, int]:
        tail_size = min(self.length, _END.size + 0xFFFF)
        tail = self._read(self.length - tail_size, tail_size)
        at = tail.rfind(b"PK\x05\x06")
        while at >= 0 and not self._ends_at(tail, at):
            at = tail.rfind(b"PK\x05\x06", 0, at)
        if at < 0:
            raise BadArchive("This is not a zip archive, or its end is missing.")
        _, disk, first_disk, here, count, size, offset, _ = _END.unpack_from(tail, at)
        end = self.length - tail_size + at
        if _LARGE_COUNT in (here, count) or _LARGE in (size, offset):
            disk, first_disk, here, count, size, offset, end = self._find_directory64(end)
        if disk or first_disk or here != count:
            raise BadArchive("The archive is one of several parts.")
        if offset + size != end:
            raise BadArchive("The archive's directory is not where its end says.")
        return count, size, offset

    @staticmethod
    def _ends_at(tail: bytes, at: int) -> bool:
        """Return whether an end record begins here whose comment reaches exactly to the end of the file."""
        if len(tail) - at < _END.size:
            return False
        return int(_END.unpack_from(tail, at)[7]) == len(tail) - at - _END.size

    def _find_directory64(self, end: int) -> tuple[int, int, int, int, int, int, int]:
        mark, disk, at, disks = _LOCATOR.unpack(self._read(end - _LOCATOR.size, _LOCATOR.size))
        if mark != b"PK\x06\x07" or disk or disks > 1:
            raise BadArchive("The archive's Zip64 end is not there.")
        record = _END64.unpack(self._read(at, _END64.size))
        mark, length, _, _, disk, first_disk, here, count, size, offset = record
        if mark != b"PK\x06\x06" or at + 12 + length != end - _LOCATOR.size:
            raise BadArchive("The archive's Zip64 end is not there.")
        return disk, first_disk, here, count, size, offset, at

    def members(self) -> Iterator[Member]:
        """Yield the entries of the directory, one after the other."""
        at, end = self._directory_at, self._directory_at + self._directory_size
        for _ in range(self.count):
            member, length = self._member(at, end)
            yield member
            at += length
        if at != end:
            raise BadArchive(f"The archive's directory has other entries than the {self.count} it says.")

    def _member(self, at: int, end: int) -> tuple[Member, int]:
        head = _CENTRAL.unpack(self._read(at, _CENTRAL.size))
        mark, _, _, flags, method, _, _, crc, packed_size, size, name_size, extra_size, note_size = head[:13]
        disk, _, attributes, offset = head[13:]
        length = _CENTRAL.size + name_size + extra_size + note_size
        if mark != b"PK\x01\x02" or at + length > end or disk not in (0, _LARGE_COUNT):
            raise BadArchive("The archive's directory is broken.")
        rest = self._read(at + _CENTRAL.size, name_size + extra_size)
        name = _decoded(rest[:name_size])
        if flags & (_ENCRYPTED_FLAGS | _PATCH_FLAG):
            raise BadArchive(f"{name!r} is encrypted.", remediation="Send an archive without a password.")
        if method not in (_STORED, _DEFLATED):
            raise BadArchive(f"{name!r} is packed by method {method}; stored and deflated are taken.")
        size, packed_size, offset = _large_numbers(name, rest[name_size:], (size, packed_size, offset))
        if method == _STORED and size != packed_size:
            raise BadArchive(f"{name!r} is stored, and has two sizes.")
        return Member(name, attributes >> 16, method, crc, packed_size, size, offset), length

    # The content

    def check_places(self) -> None:
        """Raise BadArchive where entries overlap each other or the directory: such archives are bombs."""
        spans = sorted((member.offset, _least_length(member)) for member in self.members())
        ends = [*(offset for offset, _ in spans[1:]), self._directory_at]
        for (offset, length), end in zip(spans, ends, strict=False):
            if offset + length > end:
                raise BadArchive("Entries of the archive overlap.", cause=f"At byte {offset}.")
        self._offsets = array("Q", (offset for offset, _ in spans))

    def read_through(self, member: Member, take: Callable[[bytes], object]) -> None:
        """Give `take` the content in pieces; what it got is the content only when this returns.

        Raises BadArchive for a checksum or a size that is wrong, as soon as it is too long.
        """
        at = self._content_at(member)
        crc, left, packed_left = 0, member.size, member.packed_size
        unpacker = zlib.decompressobj(_WINDOW_BITS) if member.method == _DEFLATED else None
        try:
            while packed_left:
                packed = self._read(at, min(PIECE_BYTES, packed_left))
                at, packed_left = at + len(packed), packed_left - len(packed)
                for piece in _unpacked(unpacker, packed):
                    left -= len(piece)
                    if left < 0:
                        raise BadArchive(f"{member.name!r} is longer than the archive says.")
                    crc = zlib.crc32(piece, crc)
                    take(piece)
        except zlib.error as ex:
            raise BadArchive(f"{member.name!r} cannot be unpacked: {ex}.") from ex
        if unpacker is not None and member.packed_size and not unpacker.eof:
            raise BadArchive(f"{member.name!r} is cut.")
        if left or crc != member.crc:
            raise BadArchive(f"{member.name!r} is damaged: its {'size' if left else 'checksum'} is not the archive's.")

    def _content_at(self, member: Member) -> int:
        """Return where the content begins; the header before it must say the same as the directory."""
        head = _LOCAL.unpack(self._read(member.offset, _LOCAL.size))
        mark, _, flags, method, *_, name_size, extra_size = head
        name = self._read(member.offset + _LOCAL.size, name_size)
        if mark != b"PK\x03\x04" or _decoded(name) != member.name or method != member.method:
            raise BadArchive(f"{member.name!r} is not where the archive's directory says.")
        if flags & _ENCRYPTED_FLAGS:
            raise BadArchive(f"{member.name!r} is encrypted.", remediation="Send an archive without a password.")
        at: int = member.offset + _LOCAL.size + name_size + extra_size
        if at + member.packed_size > self._next_offset(member.offset):
            raise BadArchive("Entries of the archive overlap.", cause=f"At {member.name!r}.")
        return at

    def _next_offset(self, offset: int) -> int:
        if self._offsets is None:
            self.check_places()
        assert self._offsets is not None
        index = bisect_right(self._offsets, offset)
        return self._offsets[index] if index < len(self._offsets) else self._directory_at


def _least_length(member: Member) -> int:
    return _LOCAL.size + len(member.name.encode()) + member.packed_size


def _unpacked(unpacker: zlib._Decompress | None, packed: bytes) -> Iterator[bytes]:
    """Yield pieces of bounded size, however well they were packed."""
    if unpacker is None:
        yield packed
        return
    piece = b""
    while packed or len(piece) == PIECE_BYTES:  # with all of the input taken, there may be more of the output
        piece = unpacker.decompress(packed, PIECE_BYTES)
        packed = unpacker.unconsumed_tail
        if unpacker.unused_data or (unpacker.eof and packed):
            raise BadArchive("An entry of the archive has more behind its content.")
        if piece:
            yield piece


def _decoded(name: bytes) -> str:
    """Return a name as text: UTF-8, whatever the flag says, since all who write for Linux write that."""
    try:
        return name.decode()
    except UnicodeDecodeError as ex:
        raise BadArchive(f"The name {name!r} in the archive is not UTF-8.") from ex


def _large_numbers(name: str, extra: bytes, numbers: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return size, packed size and offset; those that do not fit into 32 bits are in the Zip64 field."""
    large: list[int] = []
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if at + 4 + length > len(extra):
            break
        if kind == _ZIP64_EXTRA:
            large = list(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
        at += 4 + length
    try:
        size, packed_size, offset = (large.pop(0) if number == _LARGE else number for number in numbers)
    except IndexError:
        raise BadArchive(f"{name!r} lacks its Zip64 sizes.") from None
    return size, packed_size, offset


def kind_of(member: Member) -> int:
    """Return what an entry says it is, as the type in a mode; 0 where it says nothing."""
    return stat.S_IFMT(member.mode)
