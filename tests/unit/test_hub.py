"""What jobs hear of each other, and a job that does not listen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest

from reactor_unit.channel import Channel, channel_pair
from reactor_unit.job_spec import JobSpec
from reactor_unit.workers.children import Child
from reactor_unit.workers.hub import MAX_REQUESTS, Hub
from reactor_unit.workers.loop import Loop

OD = JobSpec("od_reading", "Measure.")
GROWTH = JobSpec("growth_rate_calculating", "Calculate.", subscribes=(("od_reading", "ods"),))


@dataclass
class FakeChild:
    channel: Channel
    listening: bool = True


class World:
    def __init__(self) -> None:
        self.loop = Loop()
        self.hub = Hub(self.loop)
        self.jobs: dict[str, Channel] = {}
        self.children: list[FakeChild] = []
        self.channels: list[Channel] = []

    def join(self, spec: JobSpec) -> Any:
        ours, self.jobs[spec.name] = channel_pair()
        child = FakeChild(ours)
        self.children.append(child)
        self.channels += [ours, self.jobs[spec.name]]
        self.loop.watch(ours, lambda: None)
        return self.hub.join(spec, cast(Child, child))

    def heard(self, spec: JobSpec) -> list[tuple[str, str, Any]]:
        """Return what this job hears now, once it reads."""
        found = []
        self.jobs[spec.name]._socket.setblocking(False)
        try:
            while True:
                message = self.jobs[spec.name].receive()
                if "heard" in message:
                    found.append(tuple(message["heard"].values()))
                self.loop.call_later(0, lambda: None)
                self.loop.turn()  # there is room again
        except BlockingIOError:
            return found

    def close(self) -> None:
        for channel in self.channels:
            channel.close()


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


def test_a_subscriber_hears_what_it_subscribed_to_and_the_state(world: World) -> None:
    world.join(OD)
    world.join(GROWTH)
    world.hub.publish("od_reading", {"ods": 1, "interval": 5})
    world.hub.publish("od_reading", {"$state": "sleeping"})
    world.hub.publish("growth_rate_calculating", {"growth_rate": 0.3})
    assert world.heard(GROWTH) == [("od_reading", "ods", 1), ("od_reading", "$state", "sleeping")]
    assert world.heard(OD) == []


def test_a_job_that_starts_hears_the_current_values_at_once(world: World) -> None:
    world.join(OD)
    world.hub.publish("od_reading", {"$state": "init"})
    world.hub.publish("od_reading", {"ods": 1, "gone": 2})
    world.hub.publish("od_reading", {"ods": 3, "gone": None, "$state": "ready"})
    world.join(GROWTH)
    assert sorted(world.heard(GROWTH)) == [("od_reading", "$state", "ready"), ("od_reading", "ods", 3)]


@pytest.mark.parametrize("state", ["disconnected", "lost"])
def test_the_end_of_a_publisher_is_heard_and_its_values_are_gone(world: World, state: str) -> None:
    world.join(OD)
    world.join(GROWTH)
    world.hub.publish("od_reading", {"ods": 1})
    world.hub.leave("od_reading", state)
    assert world.heard(GROWTH) == [("od_reading", "ods", 1), ("od_reading", "$state", state)]
    world.hub.leave("growth_rate_calculating", "disconnected")
    world.join(GROWTH)
    assert world.heard(GROWTH) == []


def test_a_job_that_does_not_listen_gets_the_newest_and_costs_no_more(world: World) -> None:
    world.join(OD)
    line = world.join(GROWTH)
    for number in range(5000):
        world.hub.publish("od_reading", {"ods": [number, "x" * 500]})
        line.request({"set": {"a": number}})
    assert len(line._values) <= 1
    assert len(line._requests) <= MAX_REQUESTS
    heard = world.heard(GROWTH)
    assert heard[-1][2][0] == 4999
    numbers = [value[0] for _, _, value in heard]
    assert numbers == sorted(set(numbers))


def test_a_job_that_died_harms_nobody(world: World) -> None:
    world.join(OD)
    world.join(GROWTH)
    world.jobs["growth_rate_calculating"].close()
    for number in range(3):
        world.hub.publish("od_reading", {"ods": number})
    world.hub.leave("growth_rate_calculating", "lost")
    world.hub.publish("od_reading", {"ods": 5})
