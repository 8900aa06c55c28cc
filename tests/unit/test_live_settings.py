"""Changes of settings between the web process and a job: the supervisor's half."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from reactor_unit.channel import Message
from reactor_unit.clock import boot_clock
from reactor_unit.workers import live_settings
from reactor_unit.workers.job_desk import JobDesk, JobRequest, RunningJob
from reactor_unit.workers.live_settings import MAX_WAITING, LiveSettings
from reactor_unit.workers.loop import Loop


class FakeLine:
    def __init__(self) -> None:
        self.requests: list[Message] = []

    def request(self, message: Message) -> None:
        self.requests.append(message)


class FakeDesk:
    on_answer: Callable[[Message], None]
    on_left: Callable[[RunningJob], None]

    def __init__(self) -> None:
        self.running: list[RunningJob] = []
        self.stopped: list[RunningJob] = []

    def jobs(self) -> list[RunningJob]:
        return self.running

    def stop_job(self, job: RunningJob) -> None:
        job.stopping = True
        self.stopped.append(job)


class World:
    def __init__(self) -> None:
        self.loop = Loop()
        self.desk = FakeDesk()
        self.live = LiveSettings(self.loop, cast(JobDesk, self.desk))
        self.line = FakeLine()
        self.answers: list[Message] = []
        request = JobRequest("1", "stirring", {}, {}, [], "E1", "user")
        self.job = RunningJob(request, {"cause": None}, cast(Any, None), cast(Any, self.line), cast(Any, None))
        self.desk.running = [self.job]

    def change(self, setting: str = "target_rpm", value: Any = 300.0, job_name: str = "stirring") -> None:
        self.live.change({"job_name": job_name, "setting": setting, "value": value}, self.answers.append)


@pytest.fixture
def world() -> World:
    return World()


def kind(answer: Message) -> str:
    return str(answer["error"]["type"])


def test_a_change_goes_to_the_job_and_its_answer_comes_back(world: World) -> None:
    world.change()
    (sent,) = world.line.requests
    assert sent["set"] == {"target_rpm": 300.0}
    assert boot_clock() < sent["deadline"]
    assert world.answers == []
    world.desk.on_answer({"re": sent["seq"], "value": 290.0})
    world.desk.on_answer({"re": sent["seq"], "value": 1.0})  # a second answer has nobody to go to
    assert world.answers == [{"value": 290.0}]


def test_answers_find_their_requests(world: World) -> None:
    replies: dict[str, Message] = {}
    for name in ("a", "b"):
        world.live.change(
            {"job_name": "stirring", "setting": name, "value": 1},
            lambda answer, name=name: replies.update({name: answer}),  # type: ignore[misc]
        )
    first, second = (sent["seq"] for sent in world.line.requests)
    world.desk.on_answer({"re": second, "error": {"type": "Conflict", "message": "No."}})
    world.desk.on_answer({"re": first, "value": 1})
    assert replies["a"] == {"value": 1}
    assert kind(replies["b"]) == "Conflict"


def test_a_job_that_does_not_run_or_is_being_stopped_is_a_conflict(world: World) -> None:
    world.change(job_name="od_reading")
    world.job.stopping = True
    world.change()
    assert [kind(answer) for answer in world.answers] == ["JobNotRunning", "JobNotRunning"]
    assert world.line.requests == []


def test_a_silent_job_is_unavailable(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_settings, "ANSWER_WITHIN_S", 0.0)
    world.change()
    world.loop.turn()
    (answer,) = world.answers
    assert kind(answer) == "Unavailable"
    assert "before you try again" in answer["error"]["remediation"]
    world.desk.on_answer({"re": world.line.requests[0]["seq"], "value": 1})
    assert len(world.answers) == 1


def test_disconnected_is_a_stop_and_answered_when_the_job_is_gone(world: World) -> None:
    world.change("target_rpm", 200.0)
    world.change("$state", "disconnected")
    assert world.desk.stopped == [world.job]
    assert world.answers == []
    world.job.state = "disconnected"
    world.desk.on_left(world.job)
    in_flight, stop = world.answers
    assert kind(in_flight) == "JobNotRunning"
    assert stop == {"value": "disconnected"}


def test_changes_that_wait_for_a_job_are_bounded(world: World) -> None:
    for _ in range(MAX_WAITING + 3):
        world.change()
    assert len(world.line.requests) == MAX_WAITING
    assert [kind(answer) for answer in world.answers] == ["Unavailable"] * 3
