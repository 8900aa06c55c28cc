"""Before the power goes: what is stopped, what is held, and what happens if the machine stays."""

from __future__ import annotations

from typing import Any, cast

import pytest

from reactor_unit.channel import Message
from reactor_unit.errors import CommandFailed, UnitError
from reactor_unit.workers import system_desk
from reactor_unit.workers.children import Child, Exit, Nursery
from reactor_unit.workers.job_desk import STOP_GIVE_UP_S, JobDesk, RunningJob
from reactor_unit.workers.loop import Loop
from reactor_unit.workers.pool import Pool
from reactor_unit.workers.standing_jobs import StandingJobs
from reactor_unit.workers.system_desk import SystemDesk
from reactor_unit.workers.task_desk import TaskDesk


class FakeJob:
    def __init__(self, name: str) -> None:
        self.request = type("Request", (), {"job_name": name})()


class FakeJobs:
    def __init__(self) -> None:
        self.running = [FakeJob("stirring"), FakeJob("monitor")]
        self.stopped: list[str] = []
        self.held: dict[str, UnitError] = {}
        self.on_shut_down: Any = None

    def jobs(self) -> list[FakeJob]:
        return list(self.running)

    def stop_job(self, job: FakeJob) -> None:
        self.stopped.append(job.request.job_name)

    def hold_starts(self, reason: UnitError | None, held_by: str) -> None:
        self.held.pop(held_by, None)
        if reason is not None:
            self.held[held_by] = reason


class FakePool:
    held: UnitError | None = None

    def hold(self, reason: UnitError | None) -> None:
        self.held = reason

    def cancel_all(self, _reason: UnitError, done: Any) -> None:
        self.done = done


class FakeStanding:
    names = ("monitor",)

    def __init__(self) -> None:
        self.started: list[str] = []

    def start(self, names: list[str]) -> None:
        self.started += names


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.loop = Loop(lambda: self.now)
        self.desk = TaskDesk(lambda _task: None)
        self.jobs, self.pool, self.standing = FakeJobs(), FakePool(), FakeStanding()
        self.forked: list[tuple[Any, Any]] = []
        self.system = SystemDesk(
            self.loop,
            cast(Nursery, self),
            self.desk,
            cast(JobDesk, self.jobs),
            cast(Pool, self.pool),
            cast(StandingJobs, self.standing),
            cast(Any, None),
        )

    def fork(self, _name: str, _main: Any, on_exit: Any, on_message: Any) -> Child:
        self.forked.append((on_exit, on_message))
        return cast(Child, type("Child", (), {"pid": 7, "end": lambda *_: None})())

    def submit(self, name: str) -> str:
        return str(self.desk.submit({"name": name, "args": {"reason": "r"}, "lock": "power-lock"})["task"]["task_id"])

    def record(self, task_id: str) -> Message:
        return next(task.record() for task in self.desk.tasks() if task.task_id == task_id)

    def all_stops(self) -> None:
        self.jobs.running = []
        self.system.job_gone()
        self.pool.done()

    def command_ends(self, answer: Message | None) -> None:
        on_exit, on_message = self.forked[-1]
        child = cast(Child, type("Child", (), {"pid": 7})())
        if answer is not None:
            on_message(child, answer)
        on_exit(child, Exit(0 if answer is not None else -9))

    def after(self, seconds: float) -> None:
        self.now += seconds
        self.loop.call_later(0, lambda: None)
        self.loop.turn()


DONE = {"action": "reboot", "dry": False, "exit_code": 0}


@pytest.fixture
def world() -> World:
    return World()


def test_the_command_waits_for_jobs_and_tasks(world: World) -> None:
    task = world.submit("reboot")
    assert world.jobs.stopped == ["stirring", "monitor"]
    assert "about to reboot" in world.jobs.held["power"].message
    assert world.pool.held is not None
    assert world.record(task)["progress"] == {"done": 0, "total": 3, "message": "stopping stirring, monitor"}
    world.jobs.running = []
    world.system.job_gone()
    assert world.forked == []  # a task of the pool still runs
    world.pool.done()
    assert len(world.forked) == 1
    world.command_ends({"result": DONE})
    assert world.record(task)["result"] == {**DONE, "not_stopped": []}
    assert world.jobs.held
    assert world.standing.started == []


def test_outputs_that_cannot_be_made_safe_do_not_keep_the_power_on(world: World) -> None:
    task = world.submit("shut_down")
    world.pool.done()
    world.after(STOP_GIVE_UP_S - 1)
    assert world.forked == []
    world.after(2)
    assert len(world.forked) == 1
    world.command_ends({"result": DONE})
    assert world.record(task)["result"]["not_stopped"] == ["stirring", "monitor"]
    world.all_stops()
    assert len(world.forked) == 1  # once


@pytest.mark.parametrize("is_dry", [True, False], ids=["dry", "failed"])
def test_a_machine_that_stays_lets_jobs_start_again(world: World, is_dry: bool) -> None:
    task = world.submit("reboot")
    world.all_stops()
    failed = CommandFailed("It failed.", cause="Access denied", remediation="Allow it.")
    world.command_ends({"result": {**DONE, "dry": True}} if is_dry else {"error": failed.to_dict()})
    assert world.jobs.held == {}
    assert world.pool.held is None
    assert world.standing.started == ["monitor"]
    record = world.record(task)
    assert record["status"] == ("complete" if is_dry else "failed")
    if not is_dry:
        assert (record["error"]["type"], record["error"]["cause"]) == ("CommandFailed", "Access denied")


def test_a_machine_that_was_told_to_go_and_stays_is_used_again_after_a_minute(world: World) -> None:
    world.submit("reboot")
    world.all_stops()
    world.command_ends({"result": DONE})
    world.after(system_desk.STILL_UP_AFTER_S - 1)
    assert world.jobs.held
    world.after(2)
    assert world.jobs.held == {}


def test_a_second_departure_is_not_undone_by_the_end_of_the_first(world: World) -> None:
    world.submit("reboot")
    world.all_stops()
    world.command_ends({"result": DONE})
    world.submit("shut_down")
    world.after(system_desk.STILL_UP_AFTER_S + 1)
    assert world.jobs.held


def test_a_job_may_have_the_power_turned_off_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    hot = cast(RunningJob, FakeJob("monitor"))
    world.jobs.on_shut_down(hot, "The board is at 90 degC.")
    world.jobs.on_shut_down(hot, "The board is at 91 degC.")
    assert [task.name for task in world.desk.tasks()] == ["shut_down"]
    assert "already" in caplog.text
    world.desk.close(UnitError("The unit is shutting down."))
    world.all_stops()
    world.command_ends({"result": DONE})
    world.jobs.on_shut_down(hot, "The board is at 92 degC.")
    assert "not turned off: The unit is shutting down." in caplog.text


def test_a_command_whose_process_dies_is_said_to_be_in_doubt(world: World) -> None:
    task = world.submit("set_clock")
    world.command_ends(None)
    record = world.record(task)
    assert record["error"]["type"] == "ProcessDied"
    assert "unknown" in record["error"]["message"]
