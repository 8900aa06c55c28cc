"""Two jobs in processes of their own, one of which needs and hears the other, under the supervisor's job desk."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from harness import wait_for

from reactor_unit import errors
from reactor_unit.channel import Channel, Message
from reactor_unit.config import load_config
from reactor_unit.drivers.hardware import open_hardware
from reactor_unit.drivers.leases import LeaseTable
from reactor_unit.faults import FaultRecord
from reactor_unit.job_spec import Command, JobSpec, Setting
from reactor_unit.series import Series
from reactor_unit.workers import job_desk
from reactor_unit.workers.children import Nursery
from reactor_unit.workers.fault_desk import FaultDesk
from reactor_unit.workers.guardian import Guardian
from reactor_unit.workers.job import Job, run_job
from reactor_unit.workers.job_desk import JobDesk, JobRequest, RunningJob
from reactor_unit.workers.live import Finished
from reactor_unit.workers.loop import Loop
from reactor_unit.workers.safety import Safety
from reactor_unit.workers.task_desk import TaskDesk


class Measuring(Job):
    """Publishes a new value every 50 ms."""

    spec = JobSpec("measuring", "Measure.", settings=(Setting("od", "float", series=Series("od")),))
    interval_s = 0.05  # type: ignore[assignment]
    count = 0

    def start(self) -> float:
        return 0.0

    def tick(self) -> None:
        self.count += 1
        self.runtime.publish({"od": self.count})

    def close(self) -> None:
        pass


class Calculating(Job):
    """Publishes what it hears."""

    spec = JobSpec(
        "calculating",
        "Calculate.",
        settings=(Setting("heard", "float"), Setting("state_heard", "text")),
        subscribes=(("measuring", "od"),),
        needs=("measuring",),
    )
    interval_s = 1000.0  # type: ignore[assignment]

    def start(self) -> float:
        return 1000.0

    def tick(self) -> None:
        pass

    def close(self) -> None:
        pass

    def hear(self, job_name: str, setting: str, value: Any) -> None:
        self.runtime.publish({"state_heard" if setting == "$state" else "heard": value})


class Counting(Job):
    """Sums up the numbers of its run requests; ends at 10."""

    spec = JobSpec(
        "counting",
        "Count.",
        settings=(Setting("total", "float"),),
        excludes=("calculating",),
        joins=True,
        commands=(Command("reset", "Forget."),),
    )
    interval_s = 1000.0  # type: ignore[assignment]
    total = 0.0

    def start(self) -> float:
        self.run_again(self.options)
        return 1000.0

    def run_again(self, options: Mapping[str, Any]) -> None:
        number = options.get("number", 0.0)
        if number < 0:
            raise errors.InvalidRequest("No.")
        self.total += number
        self.runtime.publish({"total": self.total})
        self.runtime.remember("total", self.total)
        if self.total >= 10:
            raise Finished

    def run_reset(self) -> None:
        self.runtime.remember("total", None, experiment="E7")

    def tick(self) -> None:
        pass

    def close(self) -> None:
        pass


class Helped(Job):
    """Has another job started, and recalls."""

    spec = JobSpec("helped", "Be helped.", settings=(Setting("recalled", "text"),), recalls=("total",))
    interval_s = 1000.0  # type: ignore[assignment]

    def start(self) -> float:
        self.runtime.start_job("measuring", {})
        self.runtime.start_job("no_such", {})
        self.runtime.publish({"recalled": str(self.runtime.recalled("total"))})
        return 1000.0

    def tick(self) -> None:
        pass

    def close(self) -> None:
        pass


JOBS: dict[str, type[Job]] = {job.spec.name: job for job in (Measuring, Calculating, Counting, Helped)}


class World:
    def __init__(self, dot: Path) -> None:
        (dot / "config.ini").touch()
        self.loop = Loop()
        self.nursery = Nursery(self.loop)
        self.tasks = TaskDesk(lambda task: self.records.update({task.task_id: task.record()}))
        self.readings: list[Any] = []
        self.remembered: list[Any] = []
        self.records: dict[str, Message] = {}
        self.sequence = 0
        self.leases = LeaseTable()
        safety = Safety(self.loop, self.nursery, lambda _outputs: None)

        def run(channel: Channel, request: JobRequest) -> None:
            run_job(
                channel,
                request,
                JOBS[request.job_name],
                lambda: open_hardware("simulated", dot),
                lambda: load_config(dot),
                self.leases,
            )

        def ignore(_job: RunningJob) -> None:
            pass

        self.faults = FaultDesk(FaultRecord(), lambda _record: None)
        self.jobs = JobDesk(
            self.loop,
            self.nursery,
            self.tasks,
            Guardian(self.loop, self.nursery, safety, self.leases),
            {name: job.spec for name, job in JOBS.items()},
            run,
            unit_name="pio01",
            leader="pio01",
            last_job_id=0,
            on_change=ignore,
            on_gone=ignore,
            on_remember=lambda experiment, values: self.remembered.append((experiment, dict(values))),
            on_readings=self.readings.extend,
            faults=self.faults,
        )

    def start(self, name: str) -> None:
        self.submit(name)
        self.until(lambda: self.job(name).state == "ready")

    def submit(self, name: str, **args: Any) -> str:
        """Ask for a job and return the task's id."""
        self.sequence += 1
        request: Message = {"op": "submit", "seq": self.sequence, "name": "run_job", "args": {"job_name": name, **args}}
        return str(self.tasks.submit({**request, "task_id": None, "lock": None})["task"]["task_id"])

    def ended(self, task_id: str) -> Message:
        """Return a task's record when it has ended."""
        self.until(lambda: self.records[task_id]["status"] in ("complete", "failed"))
        return self.records[task_id]

    def names(self) -> set[str]:
        return {job.request.job_name for job in self.jobs.jobs()}

    def job(self, name: str) -> RunningJob:
        return next(job for job in self.jobs.jobs() if job.request.job_name == name)

    def heard(self, setting: str) -> Any:
        return self.job("calculating").settings.get(setting)

    def until(self, condition: Callable[[], Any]) -> None:
        def turned() -> Any:
            timer = self.loop.call_later(0.02, lambda: None)
            self.loop.turn()
            timer.cancel()
            return condition()

        wait_for(turned)

    def close(self) -> None:
        for child in self.nursery.children:
            child.signal(signal.SIGKILL)
        self.until(lambda: not self.nursery.children)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(job_desk, "START_INTERVAL_S", 0.0)
    world = World(tmp_path)
    yield world
    world.close()


def test_a_job_is_not_started_without_the_one_it_needs(world: World) -> None:
    with pytest.raises(errors.JobNeeded, match="calculating needs measuring") as raised:
        world.start("calculating")
    assert raised.value.remediation == "Start measuring first."
    assert world.jobs.jobs() == []


def test_a_job_hears_values_and_the_end_of_another(world: World) -> None:
    world.start("measuring")
    world.start("calculating")
    world.until(lambda: (world.heard("heard") or 0) >= 3 and world.heard("state_heard") == "ready")
    world.jobs.stop_job(world.job("measuring"))
    world.until(lambda: world.heard("state_heard") == "disconnected")
    world.start("measuring")
    world.until(lambda: world.heard("state_heard") == "ready")
    os.kill(world.job("measuring").child.pid, signal.SIGKILL)
    world.until(lambda: world.heard("state_heard") == "lost")


def test_a_subscriber_that_hangs_catches_up_with_the_newest_value(world: World) -> None:
    world.start("measuring")
    world.start("calculating")
    world.until(lambda: world.heard("heard"))
    pid = world.job("calculating").child.pid
    os.kill(pid, signal.SIGSTOP)
    at_stop = world.job("measuring").settings["od"]
    world.until(lambda: world.job("measuring").settings["od"] >= at_stop + 10)  # which goes on
    os.kill(pid, signal.SIGCONT)
    world.until(lambda: (world.heard("heard") or 0) >= at_stop + 10)


def test_readings_leave_a_job_with_its_settings(world: World) -> None:
    world.start("measuring")
    world.until(lambda: len(world.readings) >= 3)
    assert [(name, value) for _, name, value in world.readings[:3]] == [("od", 1.0), ("od", 2.0), ("od", 3.0)]
    times = [at for at, _, _ in world.readings]
    assert times == sorted(times)


def test_a_further_run_request_goes_to_the_job_that_joins(world: World) -> None:
    first = world.ended(world.submit("counting", options={"number": 3}))["result"]
    assert world.ended(world.submit("counting", options={"number": 4}))["result"] == first
    assert world.job("counting").settings["total"] == 7
    refused = world.ended(world.submit("counting", options={"number": -1}))
    assert (refused["status"], refused["error"]["type"]) == ("failed", "InvalidRequest")
    assert world.names() == {"counting"}  # which goes on
    assert world.ended(world.submit("counting", options={"number": 5}))["status"] == "complete"
    world.until(lambda: not world.jobs.jobs())
    assert [values for _, values in world.remembered] == [{"total": 3}, {"total": 7}, {"total": 12}]


def test_more_requests_than_the_job_answers_came_too_soon(world: World) -> None:
    world.start("counting")
    os.kill(world.job("counting").child.pid, signal.SIGSTOP)
    for _ in range(job_desk.MAX_JOINING):
        world.submit("counting", options={"number": 1.0})
    with pytest.raises(errors.RateLimited):
        world.submit("counting", options={"number": 1.0})
    os.kill(world.job("counting").child.pid, signal.SIGCONT)
    world.until(lambda: world.job("counting").settings["total"] == job_desk.MAX_JOINING)


def test_a_job_that_is_finished_at_once_has_a_task_that_is_complete(world: World) -> None:
    result = world.ended(world.submit("counting", options={"number": 30}))["result"]
    assert result["state"] == "disconnected"


def test_a_request_that_the_ending_job_did_not_take_up_starts_another(world: World) -> None:
    world.start("counting")
    pid = world.job("counting").child.pid
    os.kill(pid, signal.SIGSTOP)
    last, late = (world.submit("counting", options={"number": number}) for number in (10, 2))
    os.kill(pid, signal.SIGCONT)
    assert world.ended(last)["status"] == "complete"
    assert world.ended(late)["status"] == "complete"
    assert world.job("counting").child.pid != pid
    assert world.job("counting").settings["total"] == 2


def test_a_stop_ends_what_waits_to_be_joined(world: World) -> None:
    world.start("counting")
    os.kill(world.job("counting").child.pid, signal.SIGSTOP)
    late = world.submit("counting", options={"number": 2})
    world.jobs.stop_job(world.job("counting"))
    assert world.ended(late)["error"]["type"] == "Stopped"
    assert not world.jobs.jobs()


def test_a_command_is_carried_out_instead_of_a_run(world: World) -> None:
    world.start("measuring")
    world.start("calculating")
    with pytest.raises(errors.Conflict, match="calculating"):
        world.submit("counting")
    # The command needs nothing of the reactor.
    assert world.ended(world.submit("counting", command="reset"))["result"]["state"] == "disconnected"
    assert world.remembered == [("E7", {"total": None})]


def test_a_job_that_another_one_had_started_ends_with_it(world: World) -> None:
    world.submit("helped", recalled={"total": 5})
    world.until(lambda: world.names() == {"helped", "measuring"})
    assert world.job("measuring").request.job_source == "job:helped"
    world.until(lambda: world.job("helped").settings.get("recalled") == "5")
    world.jobs.stop_job(world.job("helped"))
    world.until(lambda: not world.jobs.jobs())


def test_a_job_that_runs_already_goes_on_after_who_asked_for_it(world: World) -> None:
    world.start("measuring")
    world.start("helped")
    world.jobs.stop_job(world.job("helped"))
    world.until(lambda: world.names() == {"measuring"})
