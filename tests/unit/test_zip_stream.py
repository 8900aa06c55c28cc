"""An archive that is made while it is sent: whole for every reader, small in memory, never short without saying so."""

from __future__ import annotations

import io
import os
import random
import stat
import subprocess
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactor_unit.zip_stream import PIECE_BYTES, Entry, file_entry, opened, stream_zip

NOON_2031 = time.mktime((2031, 3, 4, 12, 6, 8, 0, 0, -1))


def entry(name: str, data: bytes, *, modified_at: float = NOON_2031, size: int | None = None) -> Entry:
    return Entry(name, modified_at, stat.S_IFREG | 0o640, io.BytesIO(data), len(data) if size is None else size)


def archive_of(*entries: Entry) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(b"".join(stream_zip(entries))))
    assert archive.testzip() is None
    return archive


def test_an_archive_of_nothing_is_one() -> None:
    assert archive_of().namelist() == []


@pytest.mark.parametrize("data", [b"", b"x", b"text " * 100_000, random.Random(1).randbytes(3 * PIECE_BYTES + 1)])
def test_what_goes_in_comes_out(data: bytes) -> None:
    assert archive_of(entry("a", data)).read("a") == data


def test_names_times_modes_and_folders_are_kept() -> None:
    archive = archive_of(Entry("é/", NOON_2031, stat.S_IFDIR | 0o750), entry("é/ß.yaml", b"x"))
    folder, file = archive.infolist()
    assert (folder.filename, folder.is_dir(), folder.external_attr >> 16) == ("é/", True, stat.S_IFDIR | 0o750)
    assert (file.filename, file.external_attr >> 16) == ("é/ß.yaml", stat.S_IFREG | 0o640)
    assert file.date_time == (2031, 3, 4, 12, 6, 8)


@pytest.mark.parametrize(("modified_at", "year"), [(-1e9, 1980), (0.0, 1980), (1e11, 2107)])
def test_times_that_a_zip_does_not_have_become_the_nearest(modified_at: float, year: int) -> None:
    assert archive_of(entry("a", b"", modified_at=modified_at)).infolist()[0].date_time[0] == year


def test_the_usual_program_reads_it(tmp_path: Path) -> None:
    data = b"".join(stream_zip([entry("a", b"a" * 200_000), entry("b/c", random.Random(1).randbytes(200_000))]))
    (tmp_path / "x.zip").write_bytes(data)
    done = subprocess.run(["unzip", "-t", "x.zip"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "No errors detected" in done.stdout


def test_a_file_that_grows_is_taken_as_large_as_it_was() -> None:
    assert archive_of(entry("a", b"abcdef", size=3)).read("a") == b"abc"


def test_a_file_that_becomes_shorter_is_taken_as_it_is_then() -> None:
    assert archive_of(entry("a", b"abc", size=10**6), entry("b", b"b")).read("a") == b"abc"


def test_an_error_in_the_middle_leaves_no_archive() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("the disk is gone")

    pieces = []
    stream = stream_zip([entry("a", b"a"), Entry("b", 0.0, stat.S_IFREG, Broken(), 10)])
    with pytest.raises(OSError, match="the disk is gone"):
        pieces.extend(stream)
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(b"".join(pieces)))


def test_content_is_closed_when_it_was_taken_and_when_nobody_wants_it_any_more() -> None:
    first, second = io.BytesIO(b"a"), io.BytesIO(random.Random(1).randbytes(4 * PIECE_BYTES))
    stream = stream_zip([Entry("a", 0.0, 0, first, 1), Entry("b", 0.0, 0, second, 4 * PIECE_BYTES)])
    next(stream)  # type: ignore[call-overload]
    assert first.closed
    assert not second.closed
    stream.close()  # type: ignore[attr-defined]
    assert second.closed


class Zeros(io.RawIOBase):
    """Gigabytes of nothing."""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return bytes(size)


@pytest.mark.parametrize("size", [2**32 - 2**24 + 1, 2**32 - 1, 2**32, 2**32 + 5])
def test_a_file_of_4_gib_has_the_large_fields(size: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only the records are under test: nothing is packed, so that it takes a moment."""
    import reactor_unit.zip_stream as module

    class Packer:
        def compress(self, data: bytes) -> bytes:
            return b""

        def flush(self) -> bytes:
            return b"\x03\x00"  # deflate's nothing

    monkeypatch.setattr(module, "PIECE_BYTES", 2**24)
    monkeypatch.setattr(module.zlib, "crc32", lambda data, value=0: 7)
    monkeypatch.setattr(module.zlib, "compressobj", lambda *words: Packer())
    data = b"".join(stream_zip([Entry("big", 0.0, stat.S_IFREG, Zeros(), size), entry("b", b"b")]))  # type: ignore[arg-type]
    big, small = zipfile.ZipFile(io.BytesIO(data)).infolist()
    assert (big.file_size, big.compress_size) == (size, 2)
    descriptor = data[big.header_offset + 30 + 3 + 20 + 2 :]
    assert descriptor[:8] == b"PK\x07\x08" + (7).to_bytes(4, "little")
    assert int.from_bytes(descriptor[16:24], "little") == size
    assert descriptor[24:26] == b"PK"
    assert small.header_offset == big.header_offset + 30 + 3 + 20 + 2 + 24


def test_what_begins_behind_4_gib_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import reactor_unit.zip_stream as module

    monkeypatch.setattr(module._Writer, "__init__", _far_along)
    data = b"".join(stream_zip([entry("a", b"abc")]))
    (found,) = zipfile.ZipFile(_Shifted(data)).infolist()
    assert found.header_offset == 2**32 + 9
    assert data[-98:-94] == b"PK\x06\x06"


def _far_along(writer: object) -> None:
    vars(writer).update(_offset=2**32 + 9, _count=0, _central=bytearray())


class _Shifted(io.BytesIO):
    """A file of which the first 4 GiB are not there: reading begins behind them."""

    def seek(self, offset: int, whence: int = 0) -> int:
        shift = 2**32 + 9
        return shift + super().seek(max(0, offset - shift) if whence == 0 else offset, whence)

    def tell(self) -> int:
        return 2**32 + 9 + super().tell()


def test_more_files_than_16_bits_count() -> None:
    archive = archive_of(*(Entry(f"{number}/", 0.0, stat.S_IFDIR) for number in range(65_600)))
    assert len(archive.namelist()) == 65_600


def test_memory_is_that_of_a_piece_and_a_record_for_each_file(tmp_path: Path) -> None:
    """Catches who keeps content, or an object for each file."""
    content = random.Random(1).randbytes(2 * PIECE_BYTES)

    def entries() -> Iterator[Entry]:
        for number in range(2_000):
            yield entry(f"folder/file-{number}", content)

    tracemalloc.start()
    try:
        sizes = [len(piece) for piece in stream_zip(entries())]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert max(sizes) < 4 * PIECE_BYTES
    assert sum(sizes) > 200e6
    assert peak < 2e6


def test_what_cannot_be_opened_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    names = ["a", "folder", "gone", "pipe"]
    assert archive_of(*opened((name, tmp_path / name) for name in names)).namelist() == ["a"]


def test_an_open_file_is_an_entry_with_its_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    os.utime(path, (NOON_2031, NOON_2031))
    with path.open("rb") as file:
        found = file_entry("b", file)
    assert (found.name, found.size, found.modified_at, stat.S_IMODE(found.mode)) == (
        "b", 3, NOON_2031, stat.S_IMODE(path.stat().st_mode),
    )  # fmt: skip
