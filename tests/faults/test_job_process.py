"""One job's process by itself: jobs that hang, break down, or cannot be stopped leave their output low."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import DEADLINE_S

from reactor_unit.channel import Message
from reactor_unit.config import Config, load_config
from reactor_unit.drivers.hardware import Hardware, open_hardware
from reactor_unit.drivers.leases import LeaseTable
from reactor_unit.drivers.simulation.state import SharedPlant
from reactor_unit.job_spec import JobSpec
from reactor_unit.workers import job as job_module
from reactor_unit.workers.children import Child, Exit, Nursery
from reactor_unit.workers.guardian import Guardian
from reactor_unit.workers.job import Job, run_job
from reactor_unit.workers.job_desk import JobRequest
from reactor_unit.workers.loop import Loop
from reactor_unit.workers.safety import Safety

PIN = 17


class Driving(Job):
    """Drives an output and leaves the rest to its subclasses."""

    spec = JobSpec("driving", "Drive.")
    interval_s = 1.0  # type: ignore[assignment]

    def start(self) -> float:
        self.pwm = self.hardware.open_pwm(PIN, 200.0)
        self.pwm.set_duty_cycle(50.0)
        return 0.0

    def tick(self) -> None:
        self.runtime.wait(30)

    def close(self) -> None:
        self.pwm.close()


class Hanging(Driving):
    def tick(self) -> None:
        while True:
            pass


class Swallowing(Driving):
    """Answers what it must not: every exception."""

    def tick(self) -> None:
        while True:
            with contextlib.suppress(BaseException):
                self.runtime.wait(30)


class BreakingDown(Driving):
    def tick(self) -> None:
        raise ZeroDivisionError("division by zero")


class ClosingBadly(Driving):
    def close(self) -> None:
        raise RuntimeError("cannot close")


class WaitingIdle(Driving):
    """Has no output."""

    def start(self) -> float:
        return 0.0

    def close(self) -> None:
        """Nothing to close."""


class HangingIdle(WaitingIdle):
    def tick(self) -> None:
        while True:
            pass


class World:
    def __init__(self, tmp_path: Path) -> None:
        self.loop = Loop()
        self.nursery = Nursery(self.loop)
        self.messages: list[Message] = []
        self.exits: list[Exit] = []
        self.dot = tmp_path
        self.leases = LeaseTable()
        (tmp_path / "config.ini").touch()

    def run(self, job_class: type[Job]) -> Child:
        def hardware() -> Hardware:
            return open_hardware("simulated", self.dot, leases=self.leases, holder="job")

        def config() -> Config:
            return load_config(self.dot)

        request = JobRequest("1", job_class.spec.name, {}, {}, [], "E1", "user")
        child = self.nursery.fork(
            "job",
            lambda channel: run_job(channel, request, job_class, hardware, config, self.leases),
            lambda _child, how: self.exits.append(how),
            lambda _child, message: self.messages.append(message),
        )
        self.turn_until(lambda: {"state": "ready"} in self.messages)
        return child

    def turn_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline
            tick = self.loop.call_later(0.02, lambda: None)
            self.loop.turn()
            tick.cancel()

    def is_driven(self) -> bool:
        return bool(SharedPlant(self.dot / "plant.bin").pin(PIN).level)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    for child in world.nursery.children:
        child.signal(signal.SIGKILL)
    world.turn_until(lambda: not world.nursery.children)


@pytest.mark.parametrize("job_class", [Hanging, Swallowing], ids=["hangs", "swallows the request to stop"])
def test_a_job_that_does_not_end_itself_leaves_its_output_low(world: World, job_class: type[Job]) -> None:
    child = world.run(job_class)
    assert world.is_driven()
    child.signal(signal.SIGTERM)  # what the kernel sends when the supervisor dies; nobody follows with SIGKILL
    world.turn_until(lambda: world.exits)
    assert not world.is_driven()


def test_a_job_that_is_asked_to_stop_says_that_it_cleaned_up(world: World) -> None:
    child = world.run(Driving)
    child.signal(signal.SIGTERM)
    world.turn_until(lambda: world.exits)
    assert world.messages[-1] == {"state": "disconnected"}
    assert world.leases.outputs_of(child.pid) == frozenset()
    assert world.exits[0].code == 0
    assert not world.is_driven()


def test_a_job_that_breaks_down_cleans_up_and_says_why(world: World) -> None:
    world.run(BreakingDown)
    world.turn_until(lambda: world.exits)
    (error,) = [message["error"] for message in world.messages if "error" in message]
    assert "ZeroDivisionError" in error["cause"]
    assert world.messages[-1] == {"state": "disconnected"}
    assert world.exits[0].code == 1
    assert not world.is_driven()


def test_a_job_that_cannot_close_leaves_its_claim_to_the_supervisor(world: World) -> None:
    child = world.run(ClosingBadly)
    child.signal(signal.SIGTERM)
    world.turn_until(lambda: world.exits)
    assert {"state": "disconnected"} not in world.messages
    assert world.leases.outputs_of(child.pid) == {f"GPIO {PIN}"}


def test_a_job_that_hangs_without_any_output_is_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "ALIVE_S", 0.3)
    safety = Safety(world.loop, world.nursery, lambda _outputs: None)
    guardian = Guardian(world.loop, world.nursery, safety, world.leases)
    child = world.run(HangingIdle)
    guardian.look()  # as the job's message says
    world.turn_until(lambda: world.exits)
    assert world.exits[0].code == -signal.SIGKILL
    assert "no sign of life" in str(guardian.verdict(child))
    guardian.clean_up(child, lambda: None)
    assert world.leases.next_deadline() == math.inf


def test_a_job_that_only_waits_is_alive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "ALIVE_S", 1.5)
    world.run(WaitingIdle)
    first = world.leases.next_deadline()
    world.turn_until(lambda: world.leases.next_deadline() > first + 3.0)
    assert world.leases.lapsed() == []


def test_a_job_whose_supervisor_is_gone_ends(world: World) -> None:
    child = world.run(Driving)
    world.loop.unwatch(child.channel)
    child.listening = False
    child.channel.close()
    world.turn_until(lambda: world.exits)
    assert not world.is_driven()
