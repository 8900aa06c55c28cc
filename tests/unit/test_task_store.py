from __future__ import annotations

import os
import pickle
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diskcache
import pytest
from harness import fill_disk, killed_writer
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit import task_store
from reactor_unit.errors import IdempotencyKeyReused, RequestInFlight, StorageFault
from reactor_unit.gateway_protocol import SavedAnswer
from reactor_unit.task_store import MAX_AGE_S, TaskStore

ANSWER = SavedAnswer("202 Accepted", [["location", "/unit_api/task_results/1"]], '{"task_id":"1"}')


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


OpenStore = Callable[..., TaskStore]


@pytest.fixture
def open_store(tmp_path: Path, clock: Clock) -> Iterator[OpenStore]:
    opened: list[TaskStore] = []

    def open_one(directory: Path = tmp_path / "tasks", **options: Any) -> TaskStore:
        store = TaskStore(directory, **{"boot_clock": clock, "boot_id": "this boot", **options})
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> TaskStore:
    return open_store()


def record(task_id: str = "1", status: str = "pending", stamp: float = 1000.0, **more: Any) -> dict[str, Any]:
    return {"task_id": task_id, "status": status, "accepted_stamp": stamp, **more}


def database(tmp_path: Path) -> sqlite3.Connection:
    return sqlite3.connect(tmp_path / "tasks" / "cache.db", isolation_level=None)


# Records


def test_a_record_is_read_as_it_was_written_and_after_opening_again(store: TaskStore, open_store: OpenStore) -> None:
    written = record(args={"x": [1, 2.5, None, True, "ü\n"]}, result=None)
    assert store.put(written)
    assert store.get("1") == written
    store.close()
    assert open_store().get("1") == written


def test_an_unknown_task_is_none(store: TaskStore) -> None:
    assert store.get("1") is None
    assert store.get("boot") is None


def test_reading_does_not_consume_and_what_was_read_is_the_readers(store: TaskStore) -> None:
    store.put(record(result={"a": 1}))
    first = store.get("1")
    assert first is not None
    first["result"]["a"] = 2
    assert store.get("1") == record(result={"a": 1})


@pytest.mark.parametrize("first", ["complete", "failed"])
@pytest.mark.parametrize("later", ["pending", "in_progress", "complete", "failed"])
def test_the_first_final_record_wins(store: TaskStore, first: str, later: str) -> None:
    assert store.put(record(status="in_progress"))
    assert store.put(record(status=first, by="first"))
    assert not store.put(record(status=later, by="later"))
    assert store.get("1") == record(status=first, by="first")


def test_of_many_threads_one_ends_a_task(store: TaskStore) -> None:
    start = threading.Barrier(8)
    won: list[int] = []

    def end(number: int) -> None:
        start.wait()
        if store.put(record(status="complete", by=number)):
            won.append(number)

    threads = [threading.Thread(target=end, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("1") == record(status="complete", by=won[0])
    assert len(won) == 1


def test_a_store_opened_beside_this_one_keeps_the_same_promise(store: TaskStore, open_store: OpenStore) -> None:
    other = open_store()
    other.put(record(status="failed"))
    assert not store.put(record(status="complete"))


def test_threads_share_one_connection(store: TaskStore) -> None:
    found: list[Any] = []
    store.put(record())
    before = len(os.listdir("/proc/self/fd"))
    threads = [threading.Thread(target=lambda: found.append(store.get("1"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [record()] * 4
    assert len(os.listdir("/proc/self/fd")) == before


# Age and number


def test_a_record_is_kept_for_24_hours_of_boot_clock_time(
    store: TaskStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(record(status="complete"))
    monkeypatch.setattr(time, "time", lambda: 4e9)  # the wall clock jumps decades ahead
    clock.now += MAX_AGE_S
    assert store.get("1") == record(status="complete")
    clock.now += 1
    assert store.get("1") is None
    assert store.unfinished() == []


def test_what_expired_is_deleted_by_the_next_write(store: TaskStore, clock: Clock, tmp_path: Path) -> None:
    store.put(record("old"))
    store.finish_answer("old", "f", ANSWER)
    clock.now += MAX_AGE_S + 1
    store.put(record("new", stamp=clock.now))
    store.finish_answer("new", "f", ANSWER)
    connection = database(tmp_path)
    keys = {key for (key,) in connection.execute("SELECT key FROM Cache")}
    connection.close()
    assert keys == {"boot", "task:new", "answer:new"}


@pytest.mark.parametrize("reopened", [False, True], ids=["at work", "opened again"])
def test_the_oldest_finished_records_go_when_there_are_too_many(open_store: OpenStore, reopened: bool) -> None:
    store = open_store(max_records=5)
    store.put(record("p1"))
    for number in range(4):
        store.put(record(f"c{number}", "complete", stamp=1001.0 + number))
    if reopened:
        store.close()
        store = open_store(max_records=5)
    store.put(record("p2"))
    store.put(record("c9", "failed", stamp=1009.0))
    kept = [name for name in ("p1", "c0", "c1", "c2", "c3", "p2", "c9") if store.get(name)]
    assert kept == ["p1", "c2", "c3", "p2", "c9"]


def test_unfinished_records_are_never_given_up_for_room(open_store: OpenStore) -> None:
    store = open_store(max_records=3)
    for number in range(6):
        store.put(record(str(number)))
    assert [one["task_id"] for one in store.unfinished()] == list("012345")


def test_the_store_is_bounded_in_bytes(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(max_bytes=300_000)
    store.begin_answer("key", "f")
    store.finish_answer("key", "f", ANSWER)
    for number in range(50):
        store.put(record(str(number), "complete", result="x" * 100_000, stamp=1001.0))
    assert [number for number in range(50) if store.get(str(number))] == [48, 49]
    assert store.begin_answer("key", "g2") is None  # the answer was older than every record: it went first
    assert (tmp_path / "tasks" / "cache.db").stat().st_size < 600_000
    assert (tmp_path / "tasks" / "cache.db-wal").stat().st_size < 2_000_000


def test_an_expired_id_may_be_used_again(store: TaskStore, clock: Clock) -> None:
    store.put(record(status="complete"))
    clock.now += MAX_AGE_S + 1
    assert store.put(record(stamp=clock.now))
    assert store.get("1") == record(stamp=clock.now)


def test_unfinished_records_are_listed_oldest_first(store: TaskStore, open_store: OpenStore) -> None:
    for name, status in (("a", "pending"), ("b", "complete"), ("c", "in_progress"), ("d", "failed")):
        store.put(record(name, status))
    store.close()
    assert [one["task_id"] for one in open_store().unfinished()] == ["a", "c"]


def test_another_boot_finds_nothing(store: TaskStore, open_store: OpenStore) -> None:
    store.put(record())
    store.begin_answer("key", "f")
    store.close()
    next_boot = open_store(boot_id="next boot")
    assert next_boot.get("1") is None
    assert next_boot.unfinished() == []
    assert next_boot.begin_answer("key", "other") is None


# JSON only


@pytest.mark.parametrize(
    "value", [{1, 2}, b"x", object(), float("nan"), "\ud800"], ids=["set", "bytes", "object", "NaN", "half a character"]
)
def test_what_is_not_json_is_refused_and_changes_nothing(store: TaskStore, value: Any) -> None:
    store.put(record(by="first"))
    with pytest.raises(TypeError):
        store.put(record(status="complete", result=value))
    assert store.get("1") == record(by="first")
    assert [one["task_id"] for one in store.unfinished()] == ["1"]
    assert store.put(record(status="complete"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda children: st.lists(children, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(json_values)
def test_any_json_goes_through_the_disk_unchanged(value: Any) -> None:
    disk = task_store.JsonDisk("/nowhere")
    size, mode, filename, text = disk.store(value, False)
    assert disk.fetch(mode, filename, text, False) == value
    assert size == len(text)


def test_a_deeply_nested_result_is_read_after_opening_again(
    store: TaskStore, open_store: OpenStore, tmp_path: Path
) -> None:
    nested: list[Any] = []
    for _ in range(100):
        nested = [nested]
    store.put(record(status="complete", result=nested))
    store.close()
    reopened = open_store()
    assert reopened.get("1") == record(status="complete", result=nested)
    assert not (tmp_path / "tasks.corrupt").exists()


def test_a_result_without_bottom_is_refused(store: TaskStore) -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(TypeError):
        store.put(record(status="complete", result=nested))
    assert store.put(record())


def test_opening_reads_no_value(store: TaskStore, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        store.put(record(str(number), "complete", result="x" * 25_000))
    store.finish_answer("key", "f", ANSWER)
    store.close()
    read: list[Any] = []
    fetch = task_store.JsonDisk.fetch

    def spy(self: Any, mode: int, filename: str | None, value: Any, is_file: bool) -> Any:
        read.append(value)
        return fetch(self, mode, filename, value, is_file)

    monkeypatch.setattr(task_store.JsonDisk, "fetch", spy)
    assert open_store().unfinished() == []
    assert read == ['"this boot"']


@pytest.mark.parametrize("tag", [None, 7, "", "1.0", "x final", "1.0 perhaps", "1.0 final more"], ids=repr)
def test_a_row_with_a_wrong_tag_is_moved_aside(
    store: TaskStore, open_store: OpenStore, tmp_path: Path, tag: Any
) -> None:
    store.put(record())
    store.close()
    connection = database(tmp_path)
    connection.execute("UPDATE Cache SET tag = ? WHERE key = 'task:1'", (tag,))
    connection.close()
    assert open_store().get("1") is None
    assert (tmp_path / "tasks.corrupt").is_dir()


@pytest.mark.parametrize("key", [1, b"x", ("a",), None], ids=repr)
def test_keys_are_text(key: Any) -> None:
    with pytest.raises(TypeError):
        task_store.JsonDisk("/nowhere").put(key)


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


PLANT_VALUE = "INSERT OR REPLACE INTO Cache (key, raw, mode, value) VALUES ('task:1', 1, 4, ?)"
# 4 is diskcache's mode of a pickled value, raw 0 that of a pickled key.
PLANT_KEY = "INSERT INTO Cache (key, raw, mode, value) VALUES (?, 0, 1, '{}')"


def test_the_bomb_would_go_off(tmp_path: Path) -> None:
    with diskcache.Cache(str(tmp_path / "plain")) as cache:
        cache["x"] = Bomb(tmp_path / "exploded")
        cache.get("x")
    assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize("statement", [PLANT_VALUE, PLANT_KEY], ids=["value", "key"])
@pytest.mark.parametrize("when", ["before opening", "while open"])
def test_a_planted_pickle_is_never_unpickled(
    open_store: OpenStore, tmp_path: Path, statement: str, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store()
    store.put(record("2"))
    if when == "before opening":
        store.close()
    connection = database(tmp_path)
    connection.execute(statement, (pickle.dumps(Bomb(tmp_path / "exploded")),))
    connection.close()
    if when == "before opening":
        store = open_store()
        assert "cannot be read" in caplog.text
    elif statement == PLANT_VALUE:
        with pytest.raises(StorageFault, match="not JSON"):
            store.get("1")
    assert store.put(record())
    assert store.get("1") == record()
    assert not (tmp_path / "exploded").exists()


# Answers to idempotent requests


def test_the_first_answer_is_given_again(store: TaskStore, open_store: OpenStore) -> None:
    assert store.begin_answer("key", "f") is None
    store.finish_answer("key", "f", ANSWER)
    assert store.begin_answer("key", "f") == ANSWER
    store.close()
    assert open_store().begin_answer("key", "f") == ANSWER


def test_a_second_request_meanwhile_is_told_to_wait(store: TaskStore) -> None:
    store.begin_answer("key", "f")
    with pytest.raises(RequestInFlight):
        store.begin_answer("key", "f")


@pytest.mark.parametrize("finished", [False, True], ids=["in flight", "answered"])
def test_a_key_with_another_request_is_refused(store: TaskStore, finished: bool) -> None:
    store.begin_answer("key", "f")
    if finished:
        store.finish_answer("key", "f", ANSWER)
    with pytest.raises(IdempotencyKeyReused):
        store.begin_answer("key", "g")


def test_an_abandoned_key_is_free(store: TaskStore) -> None:
    store.begin_answer("key", "f")
    store.abandon_answer("key")
    store.abandon_answer("key")
    assert store.begin_answer("key", "g") is None


def test_a_saved_answer_is_not_abandoned_nor_replaced(store: TaskStore) -> None:
    store.begin_answer("key", "f")
    store.finish_answer("key", "f", ANSWER)
    store.abandon_answer("key")
    store.finish_answer("key", "f", SavedAnswer("500", [], ""))
    assert store.begin_answer("key", "f") == ANSWER


def test_a_late_answer_does_not_take_a_key_that_changed_hands(store: TaskStore) -> None:
    store.begin_answer("key", "f")
    store.abandon_answer("key")
    store.begin_answer("key", "g")
    store.finish_answer("key", "f", ANSWER)
    with pytest.raises(RequestInFlight):
        store.begin_answer("key", "g")


def test_what_a_dead_web_process_left_unanswered_is_free(store: TaskStore, open_store: OpenStore) -> None:
    store.finish_answer("answered", "f", ANSWER)
    store.begin_answer("left", "f")
    store.close()
    successor = open_store()
    assert successor.begin_answer("left", "g") is None
    assert successor.begin_answer("answered", "f") == ANSWER


def test_a_request_being_answered_is_not_on_the_disk(store: TaskStore, tmp_path: Path) -> None:
    store.begin_answer("key", "f")
    connection = database(tmp_path)
    keys = [key for (key,) in connection.execute("SELECT key FROM Cache")]
    connection.close()
    assert keys == ["boot"]


def test_a_claim_expires_and_an_expired_answer_is_replaced(store: TaskStore, clock: Clock) -> None:
    for _ in range(2):
        assert store.begin_answer("key", "f") is None
        clock.now += MAX_AGE_S + 1
    store.finish_answer("key", "f", ANSWER)  # as old as its claim
    assert store.begin_answer("key", "g") is None
    store.finish_answer("key", "g", ANSWER)
    assert store.begin_answer("key", "g") == ANSWER


def test_an_answer_is_kept_for_24_hours(store: TaskStore, clock: Clock) -> None:
    store.begin_answer("key", "f")
    clock.now += 60
    store.finish_answer("key", "f", ANSWER)
    clock.now += MAX_AGE_S - 60
    assert store.begin_answer("key", "f") == ANSWER
    clock.now += 1
    assert store.begin_answer("key", "g") is None


def test_answers_are_bounded_in_number(open_store: OpenStore) -> None:
    store = open_store(max_records=3)
    for number in range(5):
        store.begin_answer(str(number), "f")
        store.finish_answer(str(number), "f", ANSWER)
    assert store.begin_answer("4", "f") == ANSWER
    assert store.begin_answer("0", "another request, since the first is forgotten") is None


def test_of_many_threads_one_carries_a_request_out(store: TaskStore) -> None:
    start = threading.Barrier(8)
    outcomes: list[str] = []

    def ask() -> None:
        start.wait()
        try:
            outcomes.append("mine" if store.begin_answer("key", "f") is None else "answered")
        except RequestInFlight:
            outcomes.append("in flight")

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["in flight"] * 7 + ["mine"]


# Trouble


def test_the_folder_is_private(open_store: OpenStore, tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir(mode=0o755)
    open_store()
    assert stat.S_IMODE((tmp_path / "tasks").stat().st_mode) == 0o700


@pytest.mark.parametrize("action", ["write", "open", "open the first time"])
def test_a_database_that_somebody_holds_is_a_storage_fault_soon(
    open_store: OpenStore, tmp_path: Path, action: str
) -> None:
    if action == "open the first time":
        (tmp_path / "tasks").mkdir()
        store = None
    else:
        store = open_store()
        store.put(record(by="first"))
    holder = database(tmp_path)
    holder.execute("BEGIN IMMEDIATE")
    if store is None:
        holder.execute("CREATE TABLE t (x)")
    started = time.monotonic()
    if store is not None and action == "write":
        assert store.get("1") == record(by="first")  # readers go on
        with pytest.raises(StorageFault, match="locked"):
            store.put(record())
    else:
        store = open_store(boot_id="another")  # a unit starts without it
        with pytest.raises(StorageFault, match="locked"):
            store.get("1")
    assert time.monotonic() - started < 4.5  # SQLite's own is 5 s, diskcache's 60 s
    holder.execute("ROLLBACK")
    holder.close()
    store.put(record(by="second"))


@pytest.mark.parametrize(
    "content", [b"x" * 5000, b"SQLite format 3\x00" + b"\xff" * 8000, bytes(4096)], ids=["text", "torn", "zeros"]
)
def test_a_corrupt_database_is_moved_aside(
    open_store: OpenStore, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "cache.db").write_bytes(content)
    store = open_store()
    store.put(record())
    assert store.get("1") == record()
    assert "cannot be read" in caplog.text
    assert (tmp_path / "tasks.corrupt" / "cache.db").read_bytes() == content


def test_a_database_of_another_disk_class_is_moved_aside(open_store: OpenStore, tmp_path: Path) -> None:
    with diskcache.Cache(str(tmp_path / "tasks"), disk=diskcache.JSONDisk, disk_compress_level=6) as other:
        other["task:1"] = record()
    assert open_store().get("1") is None
    assert (tmp_path / "tasks.corrupt").is_dir()


def test_damage_found_while_at_work_heals_by_the_next_call(
    open_store: OpenStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store()
    for number in range(300):  # more than SQLite keeps in memory
        store.put(record(str(number), "complete", result="x" * 3000))
    store.close()
    store = open_store()
    path = tmp_path / "tasks" / "cache.db"
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(StorageFault):
        [store.get(str(number)) for number in range(300)]
    store.put(record("new"))
    assert store.get("new") == record("new")
    assert "cannot be read" in caplog.text


def test_a_closed_store_says_so(store: TaskStore) -> None:
    store.close()
    store.close()
    with pytest.raises(StorageFault, match="closed"):
        store.get("1")


def test_a_folder_that_cannot_be_made_is_a_storage_fault_until_it_can(open_store: OpenStore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = open_store(tmp_path / "file" / "tasks")
    for _ in range(2):
        with pytest.raises(StorageFault):
            store.put(record())
    (tmp_path / "file").unlink()
    store.put(record())
    assert store.get("1") == record()


class FailingCommit:
    """A connection whose next COMMIT fails and leaves the transaction open, as an I/O error can."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._fails = True

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        if statement == "COMMIT" and self._fails:
            self._fails = False
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(statement, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def test_a_commit_that_fails_is_taken_back_whole_and_blocks_nothing(open_store: OpenStore) -> None:
    store = open_store(max_records=2)
    store.put(record("old", "complete"))
    store.put(record("new"))
    store._cache._connection = FailingCommit(store._cache._connection)
    with pytest.raises(StorageFault, match="disk I/O error"):
        store.put(record("third", "complete"))
    assert [name for name in ("old", "new", "third") if store.get(name)] == ["old", "new"]
    store._cache._connection = FailingCommit(store._cache._connection)
    with pytest.raises(StorageFault, match="disk I/O error"):
        store.put(record("new", "complete"))
    assert store.unfinished() == [record("new")]
    assert store.put(record("new", "failed"))
    assert store.unfinished() == []


def test_a_full_disk_is_a_storage_fault_until_there_is_room(open_store: OpenStore, small_disk: Path) -> None:
    store = open_store(small_disk / "tasks")
    store.put(record("kept", "complete"))
    filler = fill_disk(small_disk)
    stored: list[str] = []

    def fill() -> None:
        for number in range(200):
            store.put(record(str(number), result="x" * 5000))
            stored.append(str(number))

    with pytest.raises(StorageFault, match="database or disk is full"):
        fill()
    assert store.get("kept") == record("kept", "complete")
    assert [one["task_id"] for one in store.unfinished()] == stored
    filler.unlink()
    assert store.put(record("after"))
    assert store.get("after") == record("after")


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from reactor_unit.task_store import TaskStore
store = TaskStore(Path(sys.argv[1]), boot_clock=lambda: 1000.0, boot_id="this boot")
number = int(sys.argv[2])
while True:
    store.put({"task_id": str(number), "status": "complete", "accepted_stamp": 1000.0, "result": "x" * 3000})
    print(number, flush=True)
    number += 1
"""


def test_a_killed_writer_loses_no_record_that_it_acknowledged(open_store: OpenStore, tmp_path: Path) -> None:
    number = 0
    for trial in range(12):
        number = killed_writer(WRITE_FOR_EVER, tmp_path / "tasks", number, after_lines=1 + trial) + 1
        store = open_store()
        missing = [one for one in range(max(0, number - 900), number) if store.get(str(one)) is None]
        store.close()
        assert missing == []
    assert not (tmp_path / "tasks.corrupt").exists()
