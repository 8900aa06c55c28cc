"""The life of a job: waiting that can be ended, claims, and a schedule that does not drift."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from reactor_unit.channel import Channel, channel_pair
from reactor_unit.drivers.leases import LeaseTable
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
