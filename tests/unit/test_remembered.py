"""What jobs remember: its way through the supervisor's buffer, and the web process that writes and recalls it."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from harness import DEADLINE_S, wait_for

from reactor_unit.errors import StorageFault
from reactor_unit.persistent_cache import PersistentCache, Value
from reactor_unit.remembered import Remembered
from reactor_unit.workers.remember_buffer import IN_A_MESSAGE, RememberBuffer


class World:
    def __init__(self, path: Path, pause_s: float = 60.0) -> None:
        self.cache = PersistentCache(path / "cache.sqlite")
        self.acknowledged: list[int] = []
        self.remembered = Remembered(self.acknowledged.append, pause_s)
        self.remembered.use(self.cache)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_waits_is_recalled_over_what_is_stored(world: World) -> None:
    world.cache.put("od_blank", "E1", "old")
    world.cache.put("growth_rate", "E1", 0.3)
    world.cache.put("growth_rate", "E2", 0.9)
    world.remembered.add(1, [["od_blank", "E1", "new"]])
    assert world.remembered.recall(["od_blank", "growth_rate", "no_such"], "E1") == {
        "od_blank": "new",
        "growth_rate": 0.3,
    }
    world.remembered.add(2, [["growth_rate", "E1", None]])
    assert world.remembered.recall(["growth_rate"], "E1") == {}


def test_what_is_written_is_acknowledged_and_deleted_where_it_says_so(world: World) -> None:
    world.cache.put("growth_rate", "E1", 0.3)
    world.remembered.add(2, [["growth_rate", "E1", None], ["od_blank", "E1", '{"2": 0.1}']])
    world.remembered.write()
    assert world.cache.items("growth_rate") == {}
    assert world.cache.items("od_blank") == {"E1": '{"2": 0.1}'}
    assert world.acknowledged == [2]
    world.remembered.write()
    assert world.acknowledged == [2]  # there was nothing more


class Failing(PersistentCache):
    """A cache on a full disk."""

    full = True

    def put(self, cache: str, key: str, value: Value) -> None:
        if self.full:
            raise StorageFault("no room")
        super().put(cache, key, value)


def test_what_cannot_be_written_is_kept_and_written_later(tmp_path: Path) -> None:
    world = World(tmp_path)
    failing = Failing(tmp_path / "full.sqlite")
    world.remembered.use(failing)
    world.remembered.add(1, [["od_blank", "E1", "a"]])
    world.remembered.write()
    assert world.acknowledged == []
    assert world.remembered.recall(["od_blank"], "E1") == {"od_blank": "a"}
    failing.full = False
    world.remembered.write()
    assert world.acknowledged == [1]
    assert failing.items("od_blank") == {"E1": "a"}


def test_the_first_is_written_at_once_and_the_rest_when_it_ends(world: World) -> None:
    writer = threading.Thread(target=world.remembered.write_for_ever)
    writer.start()
    world.remembered.add(1, [["od_filtered", "E1", 1.0]])
    wait_for(lambda: world.acknowledged == [1], "the first writing")
    for number in range(2, 50):
        world.remembered.add(number, [["od_filtered", "E1", float(number)]])
    assert world.acknowledged == [1]  # an SD card must last
    world.remembered.close()
    writer.join(DEADLINE_S)
    assert not writer.is_alive()
    assert world.cache.items("od_filtered") == {"E1": 49.0}
    assert world.acknowledged[-1] == 49


def test_a_cache_that_is_no_database_is_a_storage_fault(tmp_path: Path) -> None:
    (tmp_path / "cache.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(StorageFault):
        World(tmp_path).remembered.recall(["od_blank"], "E1")


def test_numbers_keep_their_type_for_other_programs(world: World, tmp_path: Path) -> None:
    world.remembered.add(1, [["growth_rate", "E1", 0.25]])
    world.remembered.write()
    with sqlite3.connect(tmp_path / "cache.sqlite") as database:
        assert database.execute("SELECT key, value FROM cache_growth_rate").fetchall() == [("E1", 0.25)]


# The supervisor's buffer


def sent(buffer: RememberBuffer) -> list[Any]:
    found = []
    while (message := buffer.message()) is not None:
        found += message["values"]
        buffer.sent(message)
    return found


def test_only_the_newest_value_of_each_is_kept_and_sent() -> None:
    buffer = RememberBuffer()
    for value in range(1000):
        buffer.add("E1", {"od_filtered": value})
    buffer.add("E2", {"od_filtered": 5, "growth_rate": None})
    assert sent(buffer) == [["od_filtered", "E1", 999], ["od_filtered", "E2", 5], ["growth_rate", "E2", None]]
    assert sent(buffer) == []


def test_what_is_not_acknowledged_is_sent_to_the_next_web_process() -> None:
    buffer = RememberBuffer()
    buffer.add("E1", {"a": 1, "b": 2})
    sent(buffer)
    buffer.acknowledged(1)
    buffer.rewind()
    assert sent(buffer) == [["b", "E1", 2]]
    buffer.acknowledged(2)
    buffer.rewind()
    assert sent(buffer) == []


def test_a_value_that_changed_after_it_was_sent_is_not_acknowledged_with_it() -> None:
    buffer = RememberBuffer()
    buffer.add("E1", {"a": 1})
    sent(buffer)
    buffer.add("E1", {"a": 2})
    buffer.acknowledged(1)
    assert sent(buffer) == [["a", "E1", 2]]


def test_many_values_go_in_several_messages() -> None:
    buffer = RememberBuffer()
    for number in range(IN_A_MESSAGE + 5):
        buffer.add(f"E{number}", {"a": number})
    message = buffer.message()
    assert message is not None
    assert len(message["values"]) == IN_A_MESSAGE
    assert len(sent(buffer)) == IN_A_MESSAGE + 5
