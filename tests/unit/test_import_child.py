"""What prepares an import: all of the archive is read before anything of the data folder changes."""

import os
import zipfile

import pytest
from archives import FILES, archive, digest, entry

from reactor_unit import import_swap
from reactor_unit.errors import ConfigError, Conflict, NoRoom, StorageFault, UnitError
from reactor_unit.home import DataFolder
from reactor_unit.import_swap import JOURNAL, NEW
from reactor_unit.workers import import_child

RECORD = {"task_id": "t1", "name": "import_archive", "status": "in_progress", "accepted_at": "x", "accepted_stamp": 1.0}


@pytest.fixture
def folder(tmp_path):
    home = DataFolder(tmp_path / "dot")
    home.create()
    home.imports.mkdir()
    (home.plugins / "old.py").write_text("old")
    return home


def prepared(folder, content, check=lambda path: None, progress=lambda *args: None):
    upload = folder.imports / "upload-1"
    upload.write_bytes(b"head" + content + b"tail")
    args = {"path": str(upload), "start": 4, "length": len(content)}
    return import_child.prepare(RECORD, args, folder, "pio01", check, progress)


def refused(folder, kind, content=None, **kwargs):
    before = digest(folder.path)
    with pytest.raises(kind) as caught:
        prepared(folder, content or archive("pio01"), **kwargs)
    assert digest(folder.path) == before
    assert os.listdir(folder.imports) == []
    assert import_swap.finish(folder, lambda: None) is None
    assert digest(folder.path) == before
    return caught.value


def test_a_good_archive_is_unpacked_beside_and_nothing_changes_before_the_next_start(folder):
    before = digest(folder.path)
    told = []
    result = prepared(
        folder,
        archive("pio01", None, entry("logs/old.log"), entry("empty/", 0o40755, b"")),
        progress=lambda *args: told.append(args),
    )
    assert result["entries"] == 5
    assert digest(folder.path) == before
    assert sorted(os.listdir(folder.imports)) == [JOURNAL, NEW]
    new = folder.imports / NEW
    assert {path.relative_to(new).as_posix() for path in new.rglob("*")} == {
        "config.ini",
        "plugins",
        "plugins/mine.txt",
        "empty",
    }
    assert all((new / name).read_bytes() == content for name, content in FILES.items())
    assert (new / "config.ini").stat().st_mode & 0o777 == 0o640
    assert told[-1][2] == "writing to the disk"


def test_damage_anywhere_is_seen_before_anything_changes(folder):
    content = bytearray(archive("pio01", {**FILES, "a": os.urandom(5000)}, compression=zipfile.ZIP_STORED))
    content[content.index(b"PK\x01\x02") - 1000] ^= 1
    assert "damaged" in refused(folder, UnitError, bytes(content)).message


def test_damage_in_what_is_not_unpacked_is_seen_too(folder):
    content = bytearray(archive("pio01", {**FILES, "logs/a": b"a" * 500}, compression=zipfile.ZIP_STORED))
    content[content.index(b"aaaa") + 3] ^= 1
    assert "damaged" in refused(folder, UnitError, bytes(content)).message


def test_an_archive_of_another_unit_is_refused_here_as_well(folder):
    assert "pio02" in refused(folder, UnitError, archive("pio02")).message


def test_a_configuration_that_no_unit_starts_with_is_refused(folder):
    seen = []

    def check(path):
        seen.append((path / "config.ini").read_bytes())
        raise ConfigError("config.ini line 2 is broken")

    error = refused(folder, UnitError, check=check)
    assert seen == [FILES["config.ini"]]
    assert "line 2" in error.cause


def test_a_disk_without_room_for_both_is_refused(folder, monkeypatch):
    real = os.statvfs(folder.path)
    few = os.statvfs_result([*real[:4], 100, *real[5:]])
    monkeypatch.setattr(os, "statvfs", lambda path: few)
    refused(folder, NoRoom)


def test_a_disk_that_fills_up_midway_is_a_refusal(folder, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", full)
    monkeypatch.setattr(import_child, "WRITE_THROUGH_BYTES", 100)
    assert "No space left" in refused(folder, StorageFault).message


def test_a_part_of_the_folder_on_another_disk_is_refused(folder, monkeypatch):
    monkeypatch.setattr(import_child, "_device_of", lambda path: len(path.parts) if path.name == "storage" else 1)
    assert "storage" in refused(folder, Conflict).message


def test_a_link_to_another_disk_is_renamed_like_a_file(folder):
    (folder.path / "big").symlink_to("/proc")
    prepared(folder, archive("pio01"))
    import_swap.finish(folder, lambda: None)
    assert not os.path.lexists(folder.path / "big")
