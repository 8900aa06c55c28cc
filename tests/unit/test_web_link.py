"""The supervisor's line to the web process: the order of what it says, and a reader that is slow or gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from reactor_unit.channel import Channel, ChannelClosed, Message, channel_pair
from reactor_unit.faults import FaultRecord
from reactor_unit.workers.children import Child
from reactor_unit.workers.fault_desk import FaultDesk
from reactor_unit.workers.job_desk import JobDesk, RunningJob
from reactor_unit.workers.loop import Loop
from reactor_unit.workers.task_desk import Task, TaskDesk
from reactor_unit.workers.web_link import WebLink


@dataclass
class FakeChild:
    """What the link sees of the web process."""

    channel: Channel
    listening: bool = True


@dataclass
class FakeRequest:
    job_id: str


@dataclass
class FakeJob:
    request: FakeRequest
    row: dict[str, Any] = field(default_factory=dict)

    def view(self) -> dict[str, Any]:
        return {"row": self.row, "settings": {}}


class World:
    def __init__(self) -> None:
        self.loop = Loop()
        self.link = WebLink(self.loop)
        self.desk = TaskDesk(self.link.task_changed)
        self.tasks: list[Task] = []
        self.faults = FaultDesk(FaultRecord(), self.link.faults_changed)
        self.desk.carry("work", self.tasks.append)
        ours, self.web = channel_pair()
        self.child = FakeChild(ours)
        self.loop.watch(ours, self.read)
        self.connect()

    def connect(self) -> None:
        class NoJobs:
            def jobs(self) -> list[RunningJob]:
                return []

        self.link.connect(cast(Child, self.child), self.desk, cast(JobDesk, NoJobs()), self.faults)

    def read(self) -> None:
        """Do what the nursery does with what the web process says."""
        try:
            self.link.handle(cast(Child, self.child), self.child.channel.receive(), self.desk)
        except ChannelClosed:
            self.child.listening = False
            self.loop.unwatch(self.child.channel)

    def job(self, job_id: str) -> RunningJob:
        return cast(RunningJob, FakeJob(FakeRequest(job_id), {"job_id": job_id}))

    def heard(self) -> list[Message]:
        """Return all that the web process hears now."""
        self.web._socket.setblocking(False)
        messages = []
        try:
            while True:
                messages.append(self.web.receive())
        except BlockingIOError:
            return messages

    def close(self) -> None:
        self.child.channel.close()
        self.web.close()


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


def kinds(messages: list[Message]) -> list[str]:
    return [str(message.get("ev") or "answer") for message in messages]


def test_whoever_hears_of_the_end_of_a_stop_finds_no_job(world: World) -> None:
    world.link.flush()
    world.heard()
    job = world.job("1")
    world.web.send({"op": "submit", "seq": 7, "name": "work", "args": {}})
    world.loop.turn()
    world.desk.finish(world.tasks[0], {"stopped": []})
    world.link.job_changed(world.job("2"))
    world.link.job_gone(job)
    world.link.flush()
    assert kinds(world.heard()) == ["job", "gone", "task", "answer"]


def test_a_new_web_process_is_told_what_is_not_stored_yet(world: World) -> None:
    world.link.flush()
    world.heard()
    world.web.send({"op": "submit", "seq": 1, "name": "work", "args": {}, "task_id": "t1"})
    world.loop.turn()
    world.desk.finish(world.tasks[0], 5)
    world.link.job_gone(world.job("1"))
    world.link.flush()
    world.heard()
    world.connect()
    world.link.flush()
    assert kinds(world.heard()) == ["faults", "gone", "task", "hello"]
    world.web.send({"op": "stored", "tasks": ["t1"], "jobs": ["1"]})
    world.loop.turn()
    world.connect()
    world.link.flush()
    assert kinds(world.heard()) == ["faults", "hello"]


def test_a_new_web_process_is_told_of_the_plugins_before_it_is_greeted(world: World) -> None:
    world.link.flush()
    world.heard()
    world.link.plugins_changed({"state": "s", "reports": []})
    world.link.flush()
    assert world.heard() == [{"ev": "plugins", "state": "s", "reports": []}]
    world.connect()
    world.link.flush()
    assert kinds(world.heard()) == ["faults", "plugins", "hello"]


def test_many_changes_of_one_thing_are_sent_once(world: World) -> None:
    world.link.flush()
    world.heard()
    for _ in range(1000):
        world.link.job_changed(world.job("1"))
    world.link.flush()
    assert kinds(world.heard()) == ["job"]


def test_a_slow_reader_gets_the_rest_when_it_reads(world: World) -> None:
    for number in range(2000):
        world.link.job_changed(world.job(str(number)))
    world.link.flush()
    first = world.heard()
    assert 0 < len(first) < 2000
    heard = list(first)
    while len([message for message in heard if message["ev"] == "job"]) < 2000:
        world.loop.turn()
        heard += world.heard()
    assert len({message["row"]["job_id"] for message in heard if message["ev"] == "job"}) == 2000


def test_a_reader_that_dies_while_the_line_is_full_does_no_harm(world: World) -> None:
    for number in range(2000):
        world.link.job_changed(world.job(str(number)))
    world.link.flush()  # now the line is full, and watched for room
    world.web.close()
    world.loop.turn()
    world.link.disconnect(cast(Child, world.child))
    world.link.flush()
    assert not world.child.listening


def test_while_one_takes_over_both_are_told_what_happens_and_only_the_new_one_what_to_write(world: World) -> None:
    world.link.flush()
    world.heard()
    old_line, old_web, old_child = world.child.channel, world.web, world.child
    ours, new_web = channel_pair()
    world.child = FakeChild(ours)
    world.connect()
    world.link.readings_came([[1.0, "rpm", 300.0]])
    world.link.remember("E1", {"od_blank": {"1": 0.1}})
    world.link.job_changed(world.job("1"))
    old_web.send({"op": "submit", "seq": 7, "name": "work", "args": {}})
    world.link.handle(cast(Child, old_child), old_line.receive(), world.desk)
    world.link.flush()
    assert sorted(kinds(world.heard())) == ["answer", "job", "task"]
    world.web = new_web
    heard = world.heard()
    assert sorted(kinds(heard)) == ["faults", "hello", "job", "readings", "remember", "task"]
    world.link.disconnect(cast(Child, old_child))
    world.link.job_changed(world.job("2"))
    world.link.flush()
    assert kinds(world.heard()) == ["job"]
    for channel in (old_line, old_web):
        channel.close()
