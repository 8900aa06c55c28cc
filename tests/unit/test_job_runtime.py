"""The life of a job: waiting that can be ended, claims, and a schedule that does not drift."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reactor_unit.channel import Channel, channel_pair
from reactor_unit.clock import UnitClock
from reactor_unit.drivers.hardware import open_hardware
from reactor_unit.drivers.leases import LeaseTable
from reactor_unit.drivers.simulation.constants import FLOW_ML_PER_S
from reactor_unit.drivers.simulation.setup import Setup
from reactor_unit.drivers.simulation.state import SharedPlant
from reactor_unit.job_spec import JobSpec, Setting
from reactor_unit.workers.job import JobRuntime, Schedule, StopRequested
from reactor_unit.workers.job_desk import JobRequest

SPEC = JobSpec("stirring", "Stir.", settings=(Setting("target_rpm", "float"),))
REQUEST = JobRequest("7", "stirring", {}, {}, [], "E1", "user")


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = channel_pair(first_blocking=True)
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def runtime(pair: tuple[Channel, Channel]) -> Iterator[JobRuntime]:
    runtime = JobRuntime(pair[1], REQUEST, SPEC, LeaseTable())
    yield runtime
    runtime.close()


def test_a_wait_lasts_as_long_as_asked(pair: tuple[Channel, Channel], runtime: JobRuntime) -> None:
    times = iter([0.0, 0.0, 0.5, 1.0])
    runtime.clock = lambda: next(times)
    pair[0].send({"something": "else"})  # a message that is no stop must not shorten it
    runtime.wait(1.0)
    assert next(times, None) is None


def test_a_stop_message_ends_a_wait(pair: tuple[Channel, Channel], runtime: JobRuntime) -> None:
    pair[0].send({"stop": True})
    with pytest.raises(StopRequested):
        runtime.wait(30)
    with pytest.raises(StopRequested):
        runtime.wait(0)


def test_a_stop_message_reaches_a_job_that_is_late_for_everything(
    pair: tuple[Channel, Channel], runtime: JobRuntime
) -> None:
    pair[0].send({"stop": True})
    with pytest.raises(StopRequested):
        runtime.wait(-1.0)


def test_a_stop_from_a_signal_handler_ends_a_wait(pair: tuple[Channel, Channel], runtime: JobRuntime) -> None:
    timer = threading.Timer(0.05, runtime.request_stop)
    timer.start()
    with pytest.raises(StopRequested):
        runtime.wait(30)
    timer.join()


def test_a_supervisor_that_is_gone_ends_a_wait(pair: tuple[Channel, Channel], runtime: JobRuntime) -> None:
    pair[0].close()
    runtime.publish({"target_rpm": 1})  # not an error by itself
    with pytest.raises(StopRequested):
        runtime.wait(30)


def test_only_declared_settings_are_published(pair: tuple[Channel, Channel], runtime: JobRuntime) -> None:
    with pytest.raises(ValueError, match="colour"):
        runtime.publish({"target_rpm": 1.0, "colour": "red"})
    runtime.publish({"target_rpm": None})
    assert pair[0].receive() == {"lease": True}  # its own, under which it lives
    assert pair[0].receive() == {"settings": {"target_rpm": None}}


@pytest.mark.parametrize(
    ("steps", "allowed"),
    [
        (["init", "ready", "sleeping", "ready", "disconnected"], True),
        (["init", "disconnected"], True),
        (["ready"], False),
        (["init", "sleeping"], False),
        (["init", "ready", "init"], False),
        (["init", "disconnected", "ready"], False),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_the_states_of_a_job(runtime: JobRuntime, steps: list[str], allowed: bool) -> None:
    for state in steps[:-1]:
        runtime.set_state(state)
    if allowed:
        runtime.set_state(steps[-1])
    else:
        with pytest.raises(ValueError, match="cannot go"):
            runtime.set_state(steps[-1])


@pytest.mark.parametrize(
    ("ended_at", "next_in"),
    [(10.0, 5.0), (12.0, 3.0), (14.999, 0.001), (15.0, 5.0), (31.0, 4.0)],
    ids=["at once", "a slow tick", "just in time", "one missed", "several missed"],
)
def test_a_schedule_keeps_its_grid_and_skips_what_it_missed(ended_at: float, next_in: float) -> None:
    schedule = Schedule(10.0)
    schedule.advance(ended_at, 5.0)
    assert schedule.seconds_left(ended_at) == pytest.approx(next_in)


@pytest.mark.parametrize("to", [12.0, 40.0], ids=["sooner", "later"])
def test_a_schedule_that_is_moved_takes_its_grid_along(to: float) -> None:
    schedule = Schedule(20.0)
    schedule.move(to)
    assert (schedule.seconds_left(11.0), schedule.late_s(11.0)) == (to - 11.0, 0.0)
    assert schedule.late_s(to + 2.0) == 2.0
    schedule.advance(to + 2.0, 5.0)
    assert schedule.seconds_left(to + 2.0) == 3.0


@pytest.fixture
def fast(pair: tuple[Channel, Channel]) -> Iterator[JobRuntime]:
    """A runtime in a unit that runs 60 times as fast as the clock."""
    runtime = JobRuntime(pair[1], REQUEST, SPEC, LeaseTable(), UnitClock(60.0))
    yield runtime
    runtime.close()


def test_a_wait_takes_less_real_time_in_a_fast_unit(fast: JobRuntime) -> None:
    began, real_began = fast.clock(), time.monotonic()
    fast.wait(30.0)
    assert fast.clock() - began >= 30.0
    assert 0.5 <= time.monotonic() - real_began < 15.0


def test_a_stop_ends_a_wait_in_a_fast_unit(pair: tuple[Channel, Channel], fast: JobRuntime) -> None:
    pair[0].send({"stop": True})
    with pytest.raises(StopRequested):
        fast.wait(3600.0)


def test_a_planned_run_of_a_pump_is_so_many_seconds_of_the_plant(fast: JobRuntime, tmp_path: Path) -> None:
    plant = SharedPlant(tmp_path / "plant.bin")
    Setup(speed=60.0).apply(plant)
    hardware = open_hardware("simulated", tmp_path)
    plant.tube_into_beaker("media")
    with hardware.open_pump("media", {"2": "media"}) as pump:
        ran_s = pump.run_for(12.0, 100.0, wait=fast.wait, clock=fast.clock)
    expelled_ml = plant.volume_expelled_ml("media")
    # From the order to run to the order to stop: a bit less than what was measured around both.
    assert FLOW_ML_PER_S["media"] * 12.0 * 0.99 <= expelled_ml <= FLOW_ML_PER_S["media"] * ran_s * 1.001
    assert plant.pin(13).level == 0
    plant.close()
    hardware.close()


def test_timestamps_are_the_units(fast: JobRuntime) -> None:
    fast.unit_clock.wall_offset_s = lambda: 1e9
    ahead = datetime.fromisoformat(fast.utc_timestamp()) - datetime.now(UTC)
    assert ahead > timedelta(seconds=1e9 - 60.0)
