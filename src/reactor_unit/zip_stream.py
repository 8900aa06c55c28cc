"""A zip archive as a stream: its size in memory is that of one piece and a short record of each file.

Sizes and checksums stand behind each file's content (general purpose flag 3), since they are known only then; files and
archives of more than 4 GiB have the Zip64 fields. The format is that of PKWARE's APPNOTE, version 6.3.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from reactor_unit.home import open_regular

PIECE_BYTES = 64 * 1024
LEVEL = 1  # higher levels take 2 to 6 times as long and save a tenth of the size
WINDOW_BITS = -15  # 32 KiB, and deflate without a header of its own

_DEFLATED = 8
_STORED = 0
_FLAGS = 0x0800 | 0x0008  # names in UTF-8, sizes behind the content
_MADE_ON_UNIX = 3 << 8
_VERSION = 20
_VERSION_ZIP64 = 45
_LARGE = 0xFFFFFFFF
_LARGE_COUNT = 0xFFFF
_GROWTH_BYTES = 16 * 1024 * 1024  # by more than this no 4 GiB grow when they cannot be compressed
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """A file of an archive, open, of which at most `size` bytes are taken; without `content`, a folder."""

    name: str
    modified_at: float  # unix seconds
    mode: int
    content: BinaryIO | None = None
    size: int = 0


def file_entry(name: str, file: BinaryIO) -> Entry:
    """Return the entry of an open file, as large as it is now."""
    status = os.fstat(file.fileno())
    return Entry(name, status.st_mtime, status.st_mode, file, status.st_size)


def opened(files: Iterable[tuple[str, Path]]) -> Iterator[Entry]:
    """Open each file, given as a name and a path, when its turn comes. What cannot be opened is left out and logged."""
    for name, path in files:
        try:
            file = open_regular(path)
        except OSError as ex:
            log.error("%s is left out of the archive: %s.", path, ex.strerror)
            continue
        yield file_entry(name, file)


def stream_zip(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Yield an archive of `entries` in pieces; each content is closed when it has been taken.

    A file that becomes shorter meanwhile is taken as it then is. An error while one is read ends the archive without
    its directory, so that nobody takes it for whole.
    """
    writer = _Writer()
    waiting, size = [], 0
    for entry in entries:
        with entry.content or contextlib.nullcontext():
            for piece in writer.entry(entry):
                waiting.append(piece)
                size += len(piece)
                if size >= PIECE_BYTES:
                    yield b"".join(waiting)
                    waiting, size = [], 0
    waiting.extend(writer.end())
    yield b"".join(waiting)


class _Writer:
    """The records of an archive, in their order."""

    def __init__(self) -> None:
        self._offset = 0
        self._count = 0
        self._central = bytearray()

    def entry(self, entry: Entry) -> Iterator[bytes]:
        """Yield an entry's header, content, and what is known behind it."""
        name = entry.name.encode()
        method = _STORED if entry.content is None else _DEFLATED
        is_zip64 = entry.size > _LARGE - _GROWTH_BYTES
        version = _VERSION_ZIP64 if is_zip64 else _VERSION
        shape = (_FLAGS if entry.content else _FLAGS & ~0x0008, method, *_dos_time(entry.modified_at))
        extra = struct.pack("<HHQQ", 1, 16, 0, 0) if is_zip64 else b""
        known = _LARGE if is_zip64 else 0
        head = _LOCAL.pack(b"PK\x03\x04", version, *shape, 0, known, known, len(name), len(extra)) + name + extra
        offset = self._offset
        yield self._told(head)
        checksum = size = packed_size = 0
        if entry.content is not None:
            packer = zlib.compressobj(LEVEL, zlib.DEFLATED, WINDOW_BITS)
            while size < entry.size and (piece := entry.content.read(min(PIECE_BYTES, entry.size - size))):
                checksum = zlib.crc32(piece, checksum)
                size += len(piece)
                if packed := packer.compress(piece):
                    packed_size += len(packed)
                    yield self._told(packed)
            packed = packer.flush()
            packed_size += len(packed)
            sizes = "<4sLQQ" if is_zip64 else "<4sLLL"
            yield self._told(packed + struct.pack(sizes, b"PK\x07\x08", checksum, packed_size, size))
        self._remember(entry, name, shape, checksum, packed_size, size, offset)

    def _told(self, data: bytes) -> bytes:
        self._offset += len(data)
        return data

    def _remember(
        self,
        entry: Entry,
        name: bytes,
        shape: tuple[int, ...],
        checksum: int,
        packed_size: int,
        size: int,
        offset: int,
    ) -> None:
        """Add the directory's record of an entry; what does not fit into 32 bits goes into its extra field."""
        numbers = (size, packed_size, offset)
        large = [number for number in numbers if number >= _LARGE]
        extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
        size, packed_size, offset = (min(number, _LARGE) for number in numbers)
        attributes = (entry.mode & 0xFFFF) << 16 | (0x10 if stat.S_ISDIR(entry.mode) else 0)
        version = _VERSION_ZIP64 if large else _VERSION
        self._central += _CENTRAL.pack(
            b"PK\x01\x02",
            _MADE_ON_UNIX | version,
            version,
            *shape,
            checksum,
            packed_size,
            size,
            len(name),
            len(extra),
            0,
            0,
            0,
            attributes,
            offset,
        )
        self._central += name + extra
        self._count += 1

    def end(self) -> Iterator[bytes]:
        """Yield the archive's directory and its end."""
        length, offset, count = len(self._central), self._offset, self._count
        yield bytes(self._central)
        if count >= _LARGE_COUNT or length >= _LARGE or offset >= _LARGE:
            versions = (_MADE_ON_UNIX | _VERSION_ZIP64, _VERSION_ZIP64)
            yield struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, *versions, 0, 0, count, count, length, offset)
            yield struct.pack("<4sLQL", b"PK\x06\x07", 0, offset + length, 1)
        shown = min(count, _LARGE_COUNT)
        yield struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, shown, shown, min(length, _LARGE), min(offset, _LARGE), 0)


def _dos_time(unix_s: float) -> tuple[int, int]:
    """Return local time and date as a zip has them: in steps of 2 s, within 1980 to 2107."""
    year, month, day, hour, minute, second = time.localtime(unix_s)[:6]
    if year < 1980:
        return 0, 1 << 5 | 1
    if year > 2107:
        return 23 << 11 | 59 << 5 | 29, 127 << 9 | 12 << 5 | 31
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day
