"""The persistent cache keeps the reference system's layout, and no reader holds up the writer."""

from __future__ import annotations

import logging
import sqlite3
import threading

import pytest

from reactor_unit.errors import StorageFault
from reactor_unit.persistent_cache import PersistentCache


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache é?#.sqlite"


@pytest.fixture
def cache(path):
    return PersistentCache(path)


def test_entries_are_kept(cache, path):
    cache.put("active", "od", "a")
    cache.put("active", "od", "b")
    cache.put("active", "media_pump", "c")
    cache.put("other", "od", b"\x00")
    assert cache.items("active") == {"od": "b", "media_pump": "c"}
    assert cache.get("active", "od") == "b"
    assert cache.get("active", "x") is None
    assert cache.get("other", "od") == b"\x00"
    cache.delete("active", "od")
    cache.delete("active", "od")
    assert PersistentCache(path).items("active") == {"media_pump": "c"}


def test_reading_makes_nothing(cache, path):
    assert cache.items("active") == {}
    cache.delete("active", "od")
    assert not path.exists()


def test_the_table_is_the_references(cache, path):
    cache.put("active_calibrations", "od90", "name")
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT key, value, typeof(value) FROM cache_active_calibrations").fetchall() == [
            ("od90", "name", "text")
        ]
    database.close()


def test_an_entry_of_the_reference_is_found_and_changed(cache, path):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE cache_active (key TEXT PRIMARY KEY, value BLOB)")
        database.execute("INSERT INTO cache_active VALUES ('od90', 'theirs')")
        database.execute("CREATE TABLE cache_others (key TEXT PRIMARY KEY, value BLOB)")
    assert cache.items("active") == {"od90": "theirs"}
    cache.put("active", "od90", "ours")
    assert database.execute("SELECT * FROM cache_active").fetchall() == [("od90", "ours")]
    database.close()


def test_a_reader_that_stands_still_holds_up_no_writer(cache, path):
    cache.put("active", "od", "a")
    reader = sqlite3.connect(f"file:{path.parent}/cache%20é%3F%23.sqlite?mode=ro", uri=True)
    cursor = reader.execute("SELECT * FROM cache_active")
    cursor.fetchone()  # the read transaction stays open
    cache.put("active", "od", "b")
    assert cache.items("active") == {"od": "b"}
    reader.close()


def test_a_writer_that_stands_still_holds_up_no_reader(cache, path):
    cache.put("active", "od", "a")
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE cache_active SET value = 'b'")
    assert cache.items("active") == {"od": "a"}
    with pytest.raises(StorageFault, match="locked"):
        cache.put("active", "od", "c")
    writer.close()


@pytest.mark.parametrize(
    "call", [lambda c: c.items("active"), lambda c: c.put("active", "od", "a")], ids=["get", "put"]
)
def test_a_broken_file_is_moved_aside_and_the_next_call_works(cache, path, call, caplog):
    path.write_bytes(b"no database at all" * 100)
    with caplog.at_level(logging.ERROR), pytest.raises(StorageFault):
        call(cache)
    assert "corrupt" in caplog.text
    assert len(list(path.parent.glob("*.corrupt-*"))) == 1
    call(cache)


def test_a_folder_that_is_missing_is_a_fault(tmp_path):
    with pytest.raises(StorageFault):
        PersistentCache(tmp_path / "none" / "x.sqlite").put("active", "od", "a")


def test_threads_take_turns(cache):
    threads = [threading.Thread(target=cache.put, args=("active", f"od{number}", "a")) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache.items("active")) == 20
