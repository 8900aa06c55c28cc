"""What the archive of the data folder holds: everything a person needs, databases whole, no secret, no way out."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import threading
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import pytest

from reactor_unit import export as export_module
from reactor_unit.config import load_config
from reactor_unit.errors import ConfigError, Forbidden, StorageFault
from reactor_unit.export import METADATA_FILE, Export
from reactor_unit.served_files import FLAG, ServedFiles
from reactor_unit.sqlite_snapshot import snapshot


@pytest.fixture
def dot(tmp_path: Path) -> Path:
    dot = tmp_path / "dot"
    (dot / "storage" / "calibrations" / "od90").mkdir(parents=True)
    (dot / "plugins" / "__pycache__").mkdir(parents=True)
    (dot / "config.ini").write_text("[cluster.topology]\nleader_hostname=lead1\n")
    (dot / "storage" / "calibrations" / "od90" / "a.yaml").write_text("a: 1")
    (dot / "plugins" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (dot / ".image_info").write_text("hidden")
    return dot


@pytest.fixture
def export(dot: Path) -> Export:
    return Export(ServedFiles(dot), "pio01", "0.1.0", lambda: load_config(dot))


@pytest.fixture
def database(dot: Path) -> Iterator[sqlite3.Connection]:
    """A database in use: one row is in its file, one in its log only."""
    with closing(sqlite3.connect(dot / "storage" / "used.sqlite", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = wal")
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.execute("CREATE TABLE t (x)")
        database.execute("INSERT INTO t VALUES (1)")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("INSERT INTO t VALUES (2)")
        yield database


def archive(export: Export) -> zipfile.ZipFile:
    found = zipfile.ZipFile(io.BytesIO(b"".join(export.pieces())))
    assert found.testzip() is None
    assert len(set(found.namelist())) == len(found.namelist())
    return found


def rows(archive: zipfile.ZipFile, name: str, tmp_path: Path) -> list[Any]:
    (tmp_path / "copy.sqlite").write_bytes(archive.read(name))
    with closing(sqlite3.connect(tmp_path / "copy.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [x for (x,) in database.execute("SELECT x FROM t ORDER BY x")]


def leftovers(dot: Path) -> list[str]:
    return [path.name for path in dot.rglob("*reactor-unit-tmp")]


def test_everything_is_in_it_and_the_metadata_come_last(export: Export) -> None:
    found = archive(export)
    assert found.namelist() == [
        ".image_info", "config.ini", "plugins/", "storage/", "storage/calibrations/", "storage/calibrations/od90/",
        "storage/calibrations/od90/a.yaml", METADATA_FILE,
    ]  # fmt: skip
    assert found.read("storage/calibrations/od90/a.yaml") == b"a: 1"
    metadata = json.loads(found.read(METADATA_FILE))
    assert metadata.pop("exported_at_utc").endswith("Z")
    assert metadata == {
        "metadata_version": 1, "name": "pio01", "leader_hostname": "lead1", "is_leader": False, "app_version": "0.1.0",
    }  # fmt: skip


def test_a_unit_without_a_leader_is_its_own(export: Export, dot: Path) -> None:
    (dot / "config.ini").write_text("")
    assert (export.metadata()["leader_hostname"], export.metadata()["is_leader"]) == ("pio01", True)


def test_a_broken_configuration_keeps_nobody_from_the_archive(dot: Path) -> None:
    def broken() -> NoReturn:
        raise ConfigError("config.ini, line 3: what is this?")

    found = archive(Export(ServedFiles(dot), "pio01", "0.1.0", broken))
    assert json.loads(found.read(METADATA_FILE))["leader_hostname"] == "unknown"
    assert "config.ini" in found.namelist()


def test_what_another_units_import_left_does_not_stand_twice(export: Export, dot: Path) -> None:
    (dot / METADATA_FILE).write_text('{"name": "other"}')
    assert json.loads(archive(export).read(METADATA_FILE))["name"] == "pio01"


@pytest.mark.usefixtures("database")
def test_a_database_in_use_is_whole_and_its_companions_are_left_out(export: Export, dot: Path, tmp_path: Path) -> None:
    """Catches who takes the file as it lies there: the second row is not in it."""
    found = archive(export)
    assert rows(found, "storage/used.sqlite", tmp_path) == [1, 2]
    assert [name for name in found.namelist() if "sqlite" in name] == ["storage/used.sqlite"]
    assert leftovers(dot) == []


def test_a_database_is_one_moments_while_others_write(export: Export, database: sqlite3.Connection, dot: Path) -> None:
    """Each row's twin is written in the same transaction."""
    database.execute("CREATE TABLE twin (x)")
    database.execute("INSERT INTO twin SELECT x FROM t")
    ended = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(dot / "storage" / "used.sqlite", isolation_level=None)) as writer:
            for x in range(3, 100_000):
                if ended.is_set():
                    return
                writer.execute("BEGIN")
                writer.execute("INSERT INTO t VALUES (?)", (x,))
                writer.execute("INSERT INTO twin VALUES (?)", (x,))
                writer.execute("COMMIT")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(20):
            with snapshot(dot / "storage" / "used.sqlite", dot) as copy:
                (dot / "copy").write_bytes(copy.read())
            with closing(sqlite3.connect(dot / "copy")) as copied:
                left = copied.execute("SELECT count(*), max(x) FROM t").fetchone()
                assert left == copied.execute("SELECT count(*), max(x) FROM twin").fetchone()
            (dot / "copy").unlink()
    finally:
        ended.set()
        thread.join()


def test_a_database_without_readers_goes_in_as_well(export: Export, dot: Path, tmp_path: Path) -> None:
    """One that a killed program left: what it had committed is in its log."""
    pid = os.fork()
    if pid == 0:
        database = sqlite3.connect(dot / "storage" / "left.sqlite", isolation_level=None)
        database.execute("PRAGMA journal_mode = wal")
        database.execute("CREATE TABLE t (x)")
        database.execute("INSERT INTO t VALUES (7)")
        os._exit(0)
    os.waitpid(pid, 0)
    assert (dot / "storage" / "left.sqlite-wal").stat().st_size > 0
    assert rows(archive(export), "storage/left.sqlite", tmp_path) == [7]


def test_what_is_no_database_goes_in_as_it_is(export: Export, dot: Path) -> None:
    (dot / "storage" / "odd.sqlite").write_bytes(b"not a database " * 100)
    (dot / "storage" / "odd.sqlite.corrupt-20310304T050607Z").write_bytes(b"old")
    (dot / "storage" / "pioreactor.sqlite.backup").write_bytes(b"left out")
    found = archive(export)
    assert found.read("storage/odd.sqlite") == b"not a database " * 100
    assert found.read("storage/odd.sqlite.corrupt-20310304T050607Z") == b"old"
    assert "storage/pioreactor.sqlite.backup" not in found.namelist()
    assert leftovers(dot) == []


def test_a_database_that_cannot_be_copied_ends_the_archive(
    export: Export, dot: Path, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reactor_unit.sqlite_snapshot.LOCKED_AT_MOST_S", 0.3)
    database.execute("PRAGMA journal_mode = delete")
    database.execute("BEGIN EXCLUSIVE")
    pieces = []
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        pieces.extend(export.pieces())
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(b"".join(pieces)))
    assert leftovers(dot) == []


def test_secrets_links_that_leave_and_odd_things_are_left_out(export: Export, dot: Path, tmp_path: Path) -> None:
    before = archive(export).namelist()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").write_text("x")
    (dot / ".ssh").mkdir()
    (dot / ".ssh" / "known_hosts").write_text("x")
    (dot / "api_token").write_text("x")
    (dot / "way").symlink_to("../outside")
    (dot / "file").symlink_to("../outside/x")
    (dot / "dangling").symlink_to("nothing")
    (dot / "storage" / "in").symlink_to("calibrations")
    (dot / ".reactor-unit.lock").write_text("1")
    (dot / ".config.ini.abc.reactor-unit-tmp").write_text("half")
    (dot / "back\\slash").write_text("x")
    (dot / os.fsdecode(b"no-\xff-text")).write_text("x")
    os.mkfifo(dot / "pipe")
    assert archive(export).namelist() == before


def test_a_link_to_a_file_inside_is_stored_as_the_file(export: Export, dot: Path) -> None:
    (dot / "link").symlink_to("storage/calibrations/od90/a.yaml")
    (dot / "database").symlink_to("storage/x.sqlite")
    with closing(sqlite3.connect(dot / "storage" / "x.sqlite")) as database:
        database.execute("CREATE TABLE t (x)")
    found = archive(export)
    assert found.read("link") == b"a: 1"
    assert not found.infolist()[found.namelist().index("link")].external_attr >> 16 & 0o020000
    assert "database" not in found.namelist()


def test_a_file_that_goes_away_is_left_out(export: Export, dot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (dot / "gone").write_text("x")
    real = ServedFiles.open

    def remove_first(files: ServedFiles, parts: tuple[str, ...]) -> Any:
        if parts == ("gone",):
            (dot / "gone").unlink()
        return real(files, parts)

    monkeypatch.setattr(ServedFiles, "open", remove_first)
    found = archive(export)
    assert "gone" not in found.namelist()
    assert "storage/calibrations/od90/a.yaml" in found.namelist()


def test_a_folder_that_goes_away_is_left_out(export: Export, dot: Path) -> None:
    (dot / "aa").mkdir()
    (dot / "aa" / "x").write_bytes(os.urandom(200_000))
    (dot / "bb").mkdir()
    (dot / "bb" / "y").write_text("y")
    stream = export.pieces()
    pieces = [next(stream)]
    (dot / "bb" / "y").unlink()
    (dot / "bb").rmdir()
    pieces.extend(stream)
    found = zipfile.ZipFile(io.BytesIO(b"".join(pieces)))
    assert found.testzip() is None
    assert "bb/y" not in found.namelist()


@pytest.mark.usefixtures("database")
def test_nothing_is_left_when_the_client_goes_away(export: Export, dot: Path) -> None:
    for taken in range(3):
        stream = export.pieces()
        for _ in range(taken):
            next(stream, None)
        stream.close()  # type: ignore[attr-defined]
        assert leftovers(dot) == []
    assert len([fd for fd in os.listdir("/proc/self/fd") if "snapshot" in _target(fd)]) == 0


def _target(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


def test_the_flag_and_too_little_room_refuse_it(
    export: Export, dot: Path, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    export.check()
    monkeypatch.setattr(export_module, "SPARE_BYTES", 10**18)
    with pytest.raises(StorageFault, match="MB free"):
        export.check()
    (dot / FLAG).touch()
    with pytest.raises(Forbidden):
        export.check()
