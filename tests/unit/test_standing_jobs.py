"""Jobs that a unit keeps running: started again, less and less often, and not after a stop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from reactor_unit.errors import Unavailable
from reactor_unit.workers.job_desk import RunningJob
from reactor_unit.workers.loop import Loop
from reactor_unit.workers.standing_jobs import StandingJobs
from reactor_unit.workers.task_desk import TaskDesk


class World:
    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.due: list[Any] = []
        self.submitted: list[dict[str, Any]] = []
        self.refusal: Exception | None = None
        self.jobs = StandingJobs(cast(Loop, self), cast(TaskDesk, self), ("monitor",))

    def call_later(self, delay_s: float, callback: Any) -> None:
        self.pauses.append(delay_s)
        self.due.append(callback)

    def submit(self, request: dict[str, Any]) -> None:
        self.submitted.append(request["args"])
        if self.refusal is not None:
            raise self.refusal

    def end(self, name: str = "monitor", *, stopping: bool = False) -> None:
        job = SimpleNamespace(request=SimpleNamespace(job_name=name), stopping=stopping)
        self.jobs.gone(cast(RunningJob, job))


@pytest.fixture
def world() -> World:
    return World()


def test_it_is_started_as_the_units_own(world: World) -> None:
    world.jobs.start_all()
    (args,) = world.submitted
    assert args["job_name"] == "monitor"
    assert args["env"] == {"EXPERIMENT": "$experiment", "JOB_SOURCE": "system"}


def test_one_that_ends_again_and_again_is_started_less_and_less_often(world: World) -> None:
    world.jobs.start_all()
    for _ in range(6):
        world.end()
        world.due.pop()()
    assert world.pauses == [2.0, 10.0, 60.0, 300.0, 300.0, 300.0]
    assert len(world.submitted) == 7


def test_one_that_lived_long_is_started_soon_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("reactor_unit.workers.standing_jobs.time.monotonic", lambda: now[0])
    world.jobs.start_all()
    for _ in range(4):
        now[0] += 301.0
        world.end()
        world.due.pop()()
    assert set(world.pauses) == {2.0}


def test_one_that_was_stopped_and_another_job_are_left_alone(world: World) -> None:
    world.jobs.start_all()
    world.end(stopping=True)
    world.end("stirring")
    assert world.pauses == []


def test_a_start_that_is_refused_is_tried_again(world: World) -> None:
    world.refusal = Unavailable("No process could be started.")
    world.jobs.start_all()
    assert world.pauses == [2.0]
    world.refusal = None
    world.due.pop()()
    assert len(world.submitted) == 2
