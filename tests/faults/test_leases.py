"""Jobs that hang with an output on are ended by the supervisor; LEDs do not outlive their owner."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from harness import DEADLINE_S, RunningUnit, kill, running_unit, stop_all, wait_for

from reactor_unit.channel import Message
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.hardware import open_hardware
from reactor_unit.drivers.leases import LeaseTable
from reactor_unit.workers.children import Child, Exit, Nursery
from reactor_unit.workers.guardian import Guardian
from reactor_unit.workers.loop import Loop
from reactor_unit.workers.safety import Safety

UNIT_WITH_TASKS = (str(Path(__file__).parent.parent / "unit_with_tasks.py"),)


class World:
    """A guardian over children that drive the simulated reactor."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.loop = Loop()
        self.nursery = Nursery(self.loop)
        self.leases = LeaseTable()
        self.guardian = Guardian(self.loop, self.nursery, Safety(self.loop, self.nursery, self.drive_safe), self.leases)
        self.exits: list[Exit] = []
        self.safe: list[bool] = []
        self.verdicts: list[str] = []
        self.ready: list[Message] = []

    def open(self):  # type: ignore[no-untyped-def]
        return open_hardware("simulated", self.folder, leases=self.leases, holder="test")

    def drive_safe(self, outputs: object) -> None:
        try:
            self.open().make_safe(outputs)
        except HardwareFault:
            os._exit(1)
        os._exit(0)

    def run(self, drive) -> Child:  # type: ignore[no-untyped-def]
        def main(channel):  # type: ignore[no-untyped-def]
            self.leases.on_begin = lambda: channel.send({"lease": True})
            drive(self.open(), channel)

        return self.nursery.fork("driver", main, self.on_exit, self.on_message)

    def on_message(self, _child: Child, message: Message) -> None:
        if "lease" in message:
            self.guardian.look()
        else:
            self.ready.append(message)

    def on_exit(self, child: Child, how: Exit) -> None:
        self.verdicts.append(str(self.guardian.verdict(child)))
        self.exits.append(how)
        self.guardian.clean_up(child, lambda: self.safe.append(True))

    def turn_until(self, condition) -> None:  # type: ignore[no-untyped-def]
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline
            tick = self.loop.call_later(0.02, lambda: None)
            self.loop.turn()
            tick.cancel()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    for child in world.nursery.children:
        child.signal(signal.SIGKILL)
    world.turn_until(lambda: not world.nursery.children)


def hang(seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def test_a_process_that_hangs_with_an_output_on_is_ended_and_the_output_made_safe(world: World) -> None:
    def drive(hardware, channel):  # type: ignore[no-untyped-def]
        hardware.open_pwm(17, 200.0).set_duty_cycle(30.0)
        pump = hardware.open_pump("media", {"2": "media"})
        pump.turn(100.0, 0.0)  # a second to spare, and no more
        channel.send({"ready": True})
        hang()

    world.run(drive)
    world.turn_until(lambda: world.ready)
    plant = world.open().gpio.plant
    assert plant.pin(13).duty_cycle == plant.pin(13).level * 100.0 == 100.0
    world.turn_until(lambda: world.safe)
    assert world.exits[0].code == -signal.SIGKILL
    assert "GPIO 13" in world.verdicts[0]
    assert (plant.level(13), plant.level(17)) == (0, 0)
    assert world.leases.owned() == frozenset()
    world.open().open_pwm(13, 250.0)  # free again


def test_a_stopped_process_is_ended_too(world: World) -> None:
    def drive(hardware, channel):  # type: ignore[no-untyped-def]
        pump = hardware.open_pump("media", {"2": "media"})
        channel.send({"ready": True})
        pump.run_for(0.3, 100.0, wait=lambda _seconds: os.kill(os.getpid(), signal.SIGSTOP))

    world.run(drive)
    world.turn_until(lambda: world.safe)
    assert world.exits[0].code == -signal.SIGKILL
    assert world.open().gpio.plant.level(13) == 0


def test_one_that_renews_is_left_alone_and_the_guardian_sleeps_without_leases(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    on_timer = world.guardian._on_timer

    def noted() -> None:
        looks.append(world.leases.next_deadline())
        on_timer()

    monkeypatch.setattr(world.guardian, "_on_timer", noted)

    def drive(hardware, channel):  # type: ignore[no-untyped-def]
        lease = hardware.claims.claim("GPIO 18", 1.0)
        lease.hold()
        for _ in range(30):
            time.sleep(0.1)
            world.leases.renew()
        lease.release()
        channel.send({"ready": True})
        signal.pause()

    world.run(drive)
    world.turn_until(lambda: world.ready)
    assert world.exits == []
    assert len(looks) >= 2
    seen = len(looks)
    world.turn_until(lambda: world.guardian._timer is None)
    assert len(looks) <= seen + 1


@pytest.fixture
def working_unit(tmp_path: Path) -> Iterator[RunningUnit]:
    with running_unit(tmp_path, "--workers", "2", program=UNIT_WITH_TASKS) as running:
        yield running


def test_a_killed_task_leaves_neither_pin_nor_led_on(working_unit: RunningUnit) -> None:
    task_id = working_unit.accepted("/test/light_and_turn", {"seconds": 100})
    plant = working_unit.plant()
    wait_for(lambda: plant.led("B") > 0 and plant.level(13), "light and a pump")
    progress = wait_for(lambda: working_unit.task(task_id).get("progress"), "progress")
    pid = int(progress["message"].rsplit(" ", 1)[1])
    plant.wait_until_off(lambda: plant.led("B") or plant.level(13), kill(pid), 2.0)
    assert working_unit.ended(task_id)["status"] == "failed"
    again = working_unit.accepted("/test/light_and_turn", {"seconds": 0})
    assert working_unit.ended(again)["status"] == "complete"


def test_two_jobs_cannot_drive_one_pin(working_unit: RunningUnit) -> None:
    task_id = working_unit.accepted("/test/light_and_turn", {"seconds": 100})
    wait_for(lambda: working_unit.plant().led("B") > 0, "light")
    other = working_unit.ended(working_unit.accepted("/test/light_and_turn", {"seconds": 0}))
    assert other["status"] == "failed"
    assert "in use by light_and_turn" in other["error"]
    assert task_id


def test_leds_are_off_after_a_unit_that_was_killed(tmp_path: Path) -> None:
    with running_unit(tmp_path, program=UNIT_WITH_TASKS) as unit:
        unit.accepted("/test/light_and_turn", {"seconds": 100})
        plant = unit.plant()
        wait_for(lambda: plant.led("B") > 0 and plant.level(13), "light and a pump")
        family = [unit.supervisor, *unit.children()]
        stop_all(family)
        for process in reversed(family):
            with contextlib.suppress(psutil.NoSuchProcess):  # a short-lived one
                process.kill()
        unit.process.wait(DEADLINE_S)
    assert plant.led("B") > 0
    with running_unit(tmp_path) as unit:
        wait_for(lambda: plant.led("B") == 0 and not plant.level(13), "darkness and a pump that stands")
