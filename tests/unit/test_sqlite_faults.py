from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from reactor_unit.errors import StorageFault
from reactor_unit.sqlite_faults import Damaged, fault, first_error, is_corrupt, move_aside


@pytest.mark.parametrize(
    ("code", "corrupt"),
    [
        (sqlite3.SQLITE_CORRUPT, True),
        (sqlite3.SQLITE_CORRUPT | 2 << 8, True),
        (sqlite3.SQLITE_NOTADB, True),
        (sqlite3.SQLITE_FULL, False),
        (sqlite3.SQLITE_BUSY, False),
        (None, False),
    ],
    ids=["corrupt", "an extended code", "no database", "full", "busy", "none"],
)
def test_only_damage_is_corrupt(code: int | None, corrupt: bool) -> None:
    error = sqlite3.DatabaseError("x")
    if code is not None:
        error.sqlite_errorcode = code
    assert is_corrupt(error) is corrupt


def test_what_was_written_by_another_is_corrupt() -> None:
    assert is_corrupt(Damaged("a row"))


def test_the_first_error_is_the_one_to_tell() -> None:
    def fail() -> None:
        try:
            raise sqlite3.OperationalError("disk is full")
        finally:
            raise sqlite3.OperationalError("no transaction")

    with pytest.raises(sqlite3.OperationalError) as caught:
        fail()
    assert str(fault("It", first_error(caught.value))) == "It cannot be used: disk is full."


def test_a_file_is_moved_with_its_companions(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for suffix in ("", "-wal"):
        (tmp_path / f"a{suffix}").write_text(suffix)
    move_aside(tmp_path / "a", tmp_path / "b", "The history", Damaged("torn"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "b-wal"]
    assert caplog.messages == [f"The history cannot be read (torn). It is now {tmp_path / 'b'}; a new one is made."]


def test_what_cannot_be_moved_is_a_storage_fault(tmp_path: Path) -> None:
    with pytest.raises(StorageFault, match="The history cannot be replaced: No such file"):
        move_aside(tmp_path / "a", tmp_path / "b", "The history", Damaged("torn"))
