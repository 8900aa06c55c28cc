"""Archives: what is read of them, and every reason not to take one."""

import io
import os
import stat
import struct
import zipfile

import pytest
from archives import FILES, archive, entry, metadata

from reactor_unit.archive_check import MAX_ENTRIES, check_archive
from reactor_unit.export import METADATA_FILE
from reactor_unit.zip_reader import PIECE_BYTES, BadArchive, ZipReader
from reactor_unit.zip_stream import Entry, stream_zip

UNIT = "pio01"


@pytest.fixture
def opened(tmp_path):
    """Open bytes as an archive in the middle of a file, as it lies in a form."""
    descriptors = []

    def open_(content, before=b"before\r\n", behind=b"\r\n--xyz--"):
        path = tmp_path / f"{len(descriptors)}"
        path.write_bytes(before + content + behind)
        descriptors.append(os.open(path, os.O_RDONLY))
        return ZipReader(descriptors[-1], len(before), len(content))

    yield open_
    for descriptor in descriptors:
        os.close(descriptor)


def read(reader):
    contents = {}
    for member in reader.members():
        pieces = []
        reader.read_through(member, pieces.append)
        assert all(len(piece) <= PIECE_BYTES for piece in pieces)
        contents[member.name] = b"".join(pieces)
    return contents


def streamed(*entries):
    return b"".join(stream_zip(entries))


def named(name, **more):
    return archive(None, {**FILES, METADATA_FILE: metadata(name, **more)})


ROWS = {"table.csv": b"2031-03-04T05:06:07Z,od.90,0.5\n" * 9000, "empty": b"", "noise": os.urandom(3 * PIECE_BYTES + 7)}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_zipfile_packs_comes_out_as_it_was(opened, compression):
    assert read(opened(archive(None, ROWS, compression=compression))) == ROWS


def test_what_the_unit_packs_comes_out_as_it_was(opened):
    files = [Entry(name, 0, stat.S_IFREG | 0o644, io.BytesIO(content), len(content)) for name, content in ROWS.items()]
    folder = Entry("plugins/", 0, stat.S_IFDIR | 0o755)
    assert read(opened(streamed(folder, *files))) == {"plugins/": b"", **ROWS}


def test_zip64_is_understood(opened):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed, packed.open("a", "w", force_zip64=True) as file:
        file.write(b"content")
    assert read(opened(out.getvalue())) == {"a": b"content"}
    # The record of a whole archive whose numbers do not fit, in front of the short one that says so.
    small = archive(None, {"a": b"content"})
    size, offset = struct.unpack_from("<LL", small, len(small) - 10)
    end = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, offset)
    end += struct.pack("<4sLQL", b"PK\x06\x07", 0, offset + size, 1)
    end += struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    assert read(opened(small[:-22] + end)) == {"a": b"content"}


def test_well_packed_content_comes_in_pieces_of_bounded_size(opened):
    assert read(opened(archive(None, {"zeros": bytes(20 * PIECE_BYTES)})))["zeros"] == bytes(20 * PIECE_BYTES)


def test_an_archive_with_a_comment_is_taken(opened):
    out = io.BytesIO(archive(UNIT))
    with zipfile.ZipFile(out, "a") as packed:
        packed.comment = b"PK\x05\x06 is how an end begins"
    assert check_archive(opened(out.getvalue()), UNIT).entries == 3


@pytest.mark.parametrize("content", [archive(UNIT), archive(None), named(""), named(UNIT, metadata_version=9)])
def test_archives_of_this_unit_and_those_that_name_none_are_taken(opened, content):
    assert check_archive(opened(content), UNIT).content_bytes >= sum(map(len, FILES.values()))


BAD = {
    "another unit": (archive("pio02"), "unit 'pio02', and this is 'pio01'"),
    "metadata no JSON": (archive(None, {**FILES, METADATA_FILE: b"{"}), "cannot be read"),
    "metadata no UTF-8": (archive(None, {**FILES, METADATA_FILE: b'{"name": "\xff"}'}), "cannot be read"),
    "metadata no object": (archive(None, {**FILES, METADATA_FILE: b"[]"}), "no JSON object"),
    "metadata large": (archive(None, {**FILES, METADATA_FILE: b" " * 70_000}), "70"),
    "no configuration": (archive(UNIT, {"a": b""}), "config.ini"),
    "one folder around all": (archive(UNIT, {".pioreactor/config.ini": b""}), "config.ini"),
    "climbing": (archive(UNIT, None, entry("../evil")), "leads out"),
    "climbing inside": (archive(UNIT, None, entry("plugins/../../evil")), "leads out"),
    "absolute": (archive(UNIT, None, entry("/etc/evil")), "absolute"),
    "backslash": (archive(UNIT, None, entry("..\\evil")), "no path"),
    "NUL": (archive(UNIT, None, entry("a\0b")), "no path"),
    "newline": (archive(UNIT, None, entry("a\nb")), "no path"),
    "dot": (archive(UNIT, None, entry("a/./b")), "no path"),
    "double slash": (archive(UNIT, None, entry("a//b")), "no path"),
    "no name": (archive(UNIT, None, entry("")), "no path"),
    "long name": (archive(UNIT, None, entry("n" * 256)), "255"),
    "deep": (archive(UNIT, None, entry("d/" * 64 + "f")), "64 folders"),
    "link": (archive(UNIT, None, entry("l", stat.S_IFLNK | 0o777, b"/etc/passwd")), "is a link"),
    "device": (archive(UNIT, None, entry("d", stat.S_IFBLK | 0o600, b"")), "neither a file nor a folder"),
    "pipe": (archive(UNIT, None, entry("p", stat.S_IFIFO | 0o600, b"")), "neither a file nor a folder"),
    "folder called a file": (archive(UNIT, None, entry("f", stat.S_IFDIR | 0o700, b"")), "neither a file nor a folder"),
    "folder with content": (archive(UNIT, None, entry("f/", stat.S_IFDIR | 0o700, b"x")), "folder with content"),
    "the same name twice": (archive(UNIT, None, entry("a"), entry("a")), "twice"),
    "configuration twice": (archive(UNIT, None, entry("config.ini")), "twice"),
    "a file and a folder": (archive(UNIT, None, entry("a"), entry("a/b")), "a file and a folder"),
    "a folder and a file": (archive(UNIT, None, entry("a/b"), entry("a")), "twice"),
    "bomb by ratio": (archive(UNIT, {**FILES, "bomb": bytes(17 << 20)}), "would grow"),
    "bomb by number": (archive(UNIT, {**FILES, **{f"f{i}": b"" for i in range(MAX_ENTRIES)}}), "entries"),
    "another method": (archive(UNIT, compression=zipfile.ZIP_BZIP2), "method 12"),
    "no archive": (b"GIF89a" * 100, "not a zip archive"),
    "nothing": (b"", "not a zip archive"),
    "cut": (archive(UNIT)[:-30], "not a zip archive"),
    "begins later": (archive(UNIT)[7:], "not where"),
    "something before": (b"#!/bin/sh\n" + archive(UNIT), "not where"),
}


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=BAD)
def test_a_bad_archive_is_refused_and_told_why(opened, content, words):
    with pytest.raises(BadArchive) as caught:
        check_archive(opened(content), UNIT)
    assert words in caught.value.message


def patched(content, mark, offset, form, value, which=0):
    """Return an archive with one number changed in the `which`th record that begins with `mark`."""
    at = -1
    for _ in range(which + 1):
        at = content.index(mark, at + 1)
    data = bytearray(content)
    struct.pack_into(form, data, at + offset, value)
    return bytes(data)


CENTRAL, LOCAL = b"PK\x01\x02", b"PK\x03\x04"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (patched(archive(UNIT), CENTRAL, 8, "<H", 1), "encrypted"),
        (patched(archive(UNIT), CENTRAL, 8, "<H", 0x2000), "encrypted"),
        (patched(archive(UNIT), CENTRAL, 24, "<L", 0xFFFFFFF0), "would grow"),
        (patched(archive(UNIT), CENTRAL, 42, "<L", 0, which=1), "overlap"),  # two records of one content
        (patched(archive(UNIT), b"PK\x05\x06", 10, "<H", 2), "several parts"),
        (patched(patched(archive(UNIT), b"PK\x05\x06", 10, "<H", 2), b"PK\x05\x06", 8, "<H", 2), "other entries"),
    ],
)
def test_a_directory_that_lies_is_seen_before_anything_is_unpacked(opened, content, words):
    with pytest.raises(BadArchive) as caught:
        check_archive(opened(content), UNIT)
    assert words in caught.value.message


def test_the_sum_of_all_sizes_is_bounded(opened):
    content = archive(None, {f"f{i}": os.urandom(99) for i in range(9)} | FILES, compression=zipfile.ZIP_STORED)
    for which in range(9):
        content = patched(content, CENTRAL, 20, "<LL".replace("LL", "L"), 0x3FFFFFFF, which)
        content = patched(content, CENTRAL, 24, "<L", 0x3FFFFFFF, which)
    with pytest.raises(BadArchive, match="8590 MB at most"):
        check_archive(opened(content), UNIT)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (patched(archive(None, ROWS), CENTRAL, 16, "<L", 1), "checksum"),
        (patched(archive(None, ROWS), CENTRAL, 24, "<L", 10), "longer"),
        (patched(archive(None, ROWS), CENTRAL, 24, "<L", 9_000_000), "size"),
        (patched(archive(None, ROWS), LOCAL, 0, "<L", 0), "not where"),
        (patched(archive(None, ROWS), LOCAL, 30, "<B", 0x58), "not where"),  # another name
        (patched(archive(None, ROWS), LOCAL, 6, "<H", 1), "encrypted"),
        (patched(archive(None, ROWS), LOCAL, 28, "<H", 60_000), "overlap"),
        (patched(archive(None, ROWS), LOCAL, 45, "<Q", 0), "cannot be unpacked"),
    ],
)
def test_content_that_is_not_what_the_directory_says_is_seen_when_it_is_read(opened, content, words):
    reader = opened(content)
    with pytest.raises(BadArchive) as caught:
        read(reader)
    assert words in caught.value.message


def test_names_that_differ_in_case_are_two_files_as_they_are_in_a_data_folder(opened):
    assert check_archive(opened(archive(UNIT, None, entry("A"), entry("a"))), UNIT).entries == 5
