"""The web process's side of the supervisor: order, records on disk, and a disk that fails."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import DEADLINE_S, wait_for

from reactor_unit import errors
from reactor_unit.channel import Channel, ChannelClosed, Message, channel_pair
from reactor_unit.clock import boot_clock
from reactor_unit.gateway import MAX_HOLDERS, Gateway
from reactor_unit.gateway_protocol import Accepted, LockHeld
from reactor_unit.job_history import JobHistory
from reactor_unit.mirror import task_answer
from reactor_unit.task_store import TaskStore


def record(task_id: str, status: str = "pending", **more: Any) -> Message:
    return {
        "task_id": task_id,
        "name": "work",
        "status": status,
        "accepted_at": "2026-01-31T12:45:00.000Z",
        "accepted_stamp": boot_clock(),
        **more,
    }


def row(job_id: str, **more: Any) -> Message:
    return {
        "job_id": job_id,
        "unit": "pio01",
        "experiment": "E1",
        "job_name": "stirring",
        "job_source": "user",
        "started_at": "2026-01-31T12:45:00.000Z",
        "is_running": 1,
        "leader": "pio01",
        "pid": 7,
        "is_long_running_job": 0,
        "ended_at": None,
        "state": "ready",
        "cause": None,
        "options": {},
        **more,
    }


class Supervisor:
    """Answers as the test says, in a thread; keeps what it was told."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.answers: list[Message] = []
        self.heard: list[Message] = []
        self.stored: dict[str, set[str]] = {"tasks": set(), "jobs": set()}
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while True:
                message = self.channel.receive()
                self.heard.append(message)
                if message["op"] in ("submit", "cancel"):
                    self.channel.send({"re": message["seq"], **self.answers.pop(0)})
                elif message["op"] == "ping":
                    self.channel.send({"re": message["seq"]})
                elif message["op"] == "stored":
                    self.stored["tasks"].update(message["tasks"])
                    self.stored["jobs"].update(message["jobs"])
        except (ChannelClosed, OSError):
            pass

    def close(self) -> None:
        with contextlib.suppress(OSError):  # it was closed before
            self.channel._socket.shutdown(2)
        self._thread.join()
        self.channel.close()


class World:
    def __init__(self, tmp_path: Path) -> None:
        ours, self.theirs = channel_pair(first_blocking=True)
        self.supervisor = Supervisor(ours)
        self.store = TaskStore(tmp_path / "tasks")
        self.history = JobHistory(tmp_path / "jobs.sqlite")
        self.gone = threading.Event()
        self.gateway = Gateway(on_supervisor_gone=self.gone.set)

    def start(self) -> Gateway:
        self.supervisor.channel.send({"ev": "hello"})
        self.gateway.start(self.theirs, self.store, self.history)
        return self.gateway

    def say(self, message: Message) -> None:
        self.supervisor.channel.send(message)

    def close(self) -> None:
        self.supervisor.close()
        assert self.gone.wait(DEADLINE_S)
        self.theirs.close()
        self.store.close()
        self.history.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def test_an_accepted_task_is_on_disk_and_known(world: World) -> None:
    gateway = world.start()
    world.supervisor.answers = [{"task": record("t1")}]
    assert gateway.submit("work", {"x": 1}) == Accepted("t1")
    assert gateway.task("t1").status == 202
    stored = world.store.get("t1")
    assert stored is not None
    assert stored["status"] == "pending"
    assert world.supervisor.heard[0]["args"] == {"x": 1}


def test_refusals_and_held_locks_come_through(world: World) -> None:
    gateway = world.start()
    refusal = errors.JobAlreadyRunning("stirring is already running.", cause="Job 3.", retry_after_s=2)
    world.supervisor.answers = [{"error": refusal.to_dict()}, {"lock": "clock-lock"}]
    with pytest.raises(errors.JobAlreadyRunning, match="already running") as raised:
        gateway.submit("run_job", {})
    assert (raised.value.cause, raised.value.retry_after_s) == ("Job 3.", 2)
    assert gateway.submit("clock", {}, lock="clock-lock") == LockHeld("clock-lock")


def test_a_known_id_is_not_submitted_again(world: World) -> None:
    world.store.put(record("t0", "complete", result=5))
    gateway = world.start()
    assert gateway.submit("work", {}, task_id="t0") == Accepted("t0")
    assert world.supervisor.heard == []


def test_an_ended_task_is_stored_then_acknowledged(world: World) -> None:
    gateway = world.start()
    world.say({"ev": "task", "task": record("t1", "complete", result=None)})
    wait_for(lambda: "t1" in world.supervisor.stored["tasks"], "the acknowledgement")
    stored = world.store.get("t1")
    assert stored is not None
    assert stored["status"] == "complete"
    assert json.loads(gateway.task("t1").body)["result"] is None


def test_a_late_pending_record_changes_nothing(world: World) -> None:
    gateway = world.start()
    world.supervisor.answers = [{"task": record("t1")}]
    world.say({"ev": "task", "task": record("t1", "complete", result=5)})
    wait_for(lambda: "t1" in world.supervisor.stored["tasks"])
    gateway.submit("work", {})
    assert gateway.task("t1").status == 200


def test_what_a_killed_unit_left_pending_is_failed(world: World) -> None:
    world.store.put(record("old"))
    world.store.put(record("live"))
    world.say({"ev": "task", "task": record("live", "in_progress")})
    gateway = world.start()
    assert json.loads(gateway.task("old").body)["status"] == "failed"
    assert json.loads(gateway.task("live").body)["status"] == "in_progress"


def test_a_task_that_was_admitted_while_the_store_was_read_is_not_failed(world: World) -> None:
    world.store.put(record("new"))
    answer, sent = world.supervisor.channel.send, []

    def answer_late(message: Message) -> None:
        if "re" in message and not sent:  # the supervisor tells what it admitted before it answers
            sent.append(message)
            answer({"ev": "task", "task": record("new", "in_progress")})
        answer(message)

    world.supervisor.channel.send = answer_late  # type: ignore[method-assign]
    assert json.loads(world.start().task("new").body)["status"] == "in_progress"


def test_one_that_retires_writes_what_it_has_and_nothing_that_comes_later(world: World) -> None:
    gateway = world.start()
    world.say({"ev": "task", "task": record("before", "complete", result=1)})
    wait_for(lambda: "before" in world.supervisor.stored["tasks"], "the acknowledgement")
    gateway.retire()
    world.say({"ev": "task", "task": record("after", "complete", result=2)})
    wait_for(lambda: _is_known(gateway, "after"), "the record in memory")
    assert json.loads(gateway.task("after").body)["result"] == 2  # requests are still answered
    assert {"op": "retired"} in world.supervisor.heard
    assert world.store.get("before") is not None
    assert world.store.get("after") is None
    assert "after" not in world.supervisor.stored["tasks"]


def _is_known(gateway: Gateway, task_id: str) -> bool:
    try:
        return gateway.task(task_id).status == 200
    except errors.NoSuchTask:
        return False


def test_a_supervisor_that_answers_is_told_from_one_that_is_gone(world: World) -> None:
    gateway = world.start()
    assert gateway.is_supervised()
    world.supervisor.close()
    assert world.gone.wait(DEADLINE_S)
    assert not gateway.is_supervised()


def test_running_jobs_and_settings_are_mirrored(world: World) -> None:
    gateway = world.start()
    world.say({"ev": "job", "row": row("3"), "settings": {"target_rpm": 400.0, "$state": "ready"}})
    wait_for(lambda: json.loads(gateway.running_jobs()), "a running job")
    (shown,) = json.loads(gateway.running_jobs(job_name="stirring", experiment="E1"))
    assert "options" not in shown
    assert json.loads(gateway.running_jobs(job_name="other")) == []
    assert json.loads(gateway.running_jobs(long_running_only=True)) == []
    assert gateway.settings("stirring")["target_rpm"] == 400.0

    world.say({"ev": "gone", "row": row("3", is_running=0, state="lost", ended_at="2026-01-31T12:46:00.000Z")})
    wait_for(lambda: "3" in world.supervisor.stored["jobs"], "the acknowledgement")
    assert json.loads(gateway.running_jobs()) == []
    with pytest.raises(errors.NoSuchJob):
        gateway.settings("stirring")
    (past,) = gateway.job_history(10)
    assert (past["job_id"], past["state"]) == ("3", "lost")


def test_a_disk_that_cannot_be_written_stops_no_request(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = world.start()

    def full(_record: Message) -> bool:
        raise errors.StorageFault("The disk is full.")

    monkeypatch.setattr(world.store, "put", full)
    world.supervisor.answers = [{"task": record("t1")}]
    assert gateway.submit("stop_jobs", {"all": True}) == Accepted("t1")
    assert gateway.task("t1").status == 202
    assert "in memory only" in caplog.text


def test_a_unit_serves_without_its_store(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "tasks").touch()  # a file where the folder should be
    world = World(tmp_path)
    gateway = world.start()
    world.supervisor.answers = [{"task": record("t1")}]
    assert gateway.submit("stop_jobs", {"all": True}) == Accepted("t1")
    assert gateway.task("t1").status == 202
    assert "without its store" in caplog.text
    world.close()


def test_an_unknown_task_is_no_such_task(world: World) -> None:
    with pytest.raises(errors.NoSuchTask):
        world.start().task("t1")


def test_who_waits_for_a_task_gets_its_result_however_early_it_ends(world: World) -> None:
    gateway = world.start()
    world.supervisor.answers = [{"task": record("early")}, {"task": record("late")}]
    gateway.submit("work", {})
    gateway.submit("work", {})
    world.say({"ev": "task", "task": record("early", "complete", result=1)})
    wait_for(lambda: "early" in world.supervisor.stored["tasks"])
    assert gateway.result_of("early", 0.0) == 1
    results: list[Any] = []
    waiting = threading.Thread(target=lambda: results.append(gateway.result_of("late", DEADLINE_S)))
    waiting.start()
    wait_for(lambda: "late" in gateway._outcomes)
    world.say({"ev": "task", "task": record("late", "complete", result={"a": 2})})
    waiting.join(DEADLINE_S)
    assert results == [{"a": 2}]
    assert gateway._outcomes == {}


def test_who_waits_for_a_task_gets_its_error_or_gives_up(world: World) -> None:
    gateway = world.start()
    world.supervisor.answers = [{"task": record("t")}]
    gateway.submit("work", {})
    with pytest.raises(errors.Unavailable, match="not ended"):
        gateway.result_of("t", 0.01)
    with pytest.raises(errors.NoSuchTask):
        gateway.result_of("unknown", 0.01)
    world.say({"ev": "task", "task": record("t", "failed", error=errors.Stopped("Ended.").to_dict())})
    with pytest.raises(errors.Stopped, match="Ended"):
        gateway.result_of("t", DEADLINE_S)


def held(gateway: Gateway, task_id: str, count: int) -> tuple[list[bool], list[threading.Thread]]:
    """Have so many threads wait for the end of a task; return what they are told, and the threads."""
    told: list[bool] = []

    def hold() -> None:
        told.append(gateway.wait_for_end(task_id, 2 * DEADLINE_S))

    threads = [threading.Thread(target=hold) for _ in range(count)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(gateway._outcomes.get(task_id, ())) == count)
    return told, threads


def test_only_so_many_wait_for_the_ends_of_tasks_and_the_rest_is_told_at_once(world: World) -> None:
    gateway = world.start()
    world.supervisor.answers = [{"task": record("t")}]
    gateway.submit("work", {})
    told, threads = held(gateway, "t", MAX_HOLDERS)
    assert gateway.wait_for_end("t", 2 * DEADLINE_S) is False
    assert told == []
    world.say({"ev": "task", "task": record("t", "complete", result=1)})
    for thread in threads:
        thread.join(DEADLINE_S)
    assert told == [True] * MAX_HOLDERS
    assert gateway._outcomes == {}
    assert gateway.wait_for_end("t", 2 * DEADLINE_S) is True


def test_who_waits_is_let_go_when_the_time_is_over_or_the_process_ends(world: World) -> None:
    gateway = world.start()
    world.supervisor.answers = [{"task": record("t")}]
    gateway.submit("work", {})
    with pytest.raises(errors.NoSuchTask):
        gateway.wait_for_end("unknown", 30)
    assert gateway.wait_for_end("t", 0.01) is True
    told, threads = held(gateway, "t", 2)
    gateway.let_holders_go()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert told == [True, True]
    assert gateway.wait_for_end("t", 2 * DEADLINE_S) is True  # and nobody begins to wait
    assert gateway.task("t").is_pending


def test_how_long_a_task_will_take_follows_its_progress() -> None:
    accepted = boot_clock() - 10.0
    quarter = task_answer(record("t", "in_progress", accepted_stamp=accepted, progress={"done": 1, "total": 4}))
    assert quarter.expected_end == pytest.approx(boot_clock() + 30.0, abs=1.0)
    for progress in ({"done": 0, "total": 4}, {"done": 4, "total": 4}, {"done": 1, "total": 0}, {}):
        answer = task_answer(record("t", "in_progress", accepted_stamp=accepted, progress=progress))
        assert answer.expected_end is None


def test_a_cancelled_task_is_waited_for(world: World) -> None:
    gateway = world.start()
    world.supervisor.answers = [{}]
    gateway.cancel("t")
    assert {key: world.supervisor.heard[-1][key] for key in ("op", "task_id")} == {"op": "cancel", "task_id": "t"}
