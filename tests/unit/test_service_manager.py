"""What the service manager hears of a unit, at which moment, and what happens when it does not listen."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactor_unit.workers.loop import Loop
from reactor_unit.workers.service_manager import RETRY_AFTER_S, ServiceManager


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Heard:
    """The manager's end: a datagram socket, at a path or at an abstract address."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.setblocking(False)

    def messages(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return found


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.fixture
def heard(address: str) -> Iterator[Heard]:
    manager = Heard(address)
    yield manager
    manager.socket.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pass_time(loop: Loop, clock: Clock, seconds: float) -> None:
    loop.call_later(seconds, lambda: None)  # so that a turn without anything else to do ends
    clock.now += seconds
    loop.turn()


def test_a_ready_unit_gives_a_sign_of_life_each_half_of_the_watchdog(heard: Heard, address: str, clock: Clock) -> None:
    loop = Loop(clock)
    ServiceManager(address, watchdog_s=30.0).ready(loop, "Serving")
    assert heard.messages() == ["READY=1\nSTATUS=Serving", "WATCHDOG=1"]
    pass_time(loop, clock, 14.9)
    assert heard.messages() == []
    pass_time(loop, clock, 0.2)
    assert heard.messages() == ["WATCHDOG=1"]
    pass_time(loop, clock, 15.1)
    assert heard.messages() == ["WATCHDOG=1"]


def test_without_a_watchdog_a_unit_wakes_up_for_nobody(heard: Heard, address: str, clock: Clock) -> None:
    loop = Loop(clock)
    ServiceManager(address).ready(loop, "Serving")
    pass_time(loop, clock, 3600)
    assert heard.messages() == ["READY=1\nSTATUS=Serving"]


def test_an_abstract_address_is_reached(clock: Clock) -> None:
    address = f"@reactor-unit-test-{os.getpid()}"
    manager = Heard(address)
    ServiceManager(address).ready(Loop(clock), "Serving")
    assert manager.messages() == ["READY=1\nSTATUS=Serving"]
    manager.socket.close()


def test_readiness_is_said_again_until_it_is_heard(address: str, clock: Clock) -> None:
    loop = Loop(clock)
    ServiceManager(address, watchdog_s=30.0).ready(loop, "Serving")  # nobody listens yet
    late = Heard(address)
    assert late.messages() == []
    pass_time(loop, clock, RETRY_AFTER_S + 0.1)
    assert late.messages() == ["READY=1\nSTATUS=Serving", "WATCHDOG=1"]
    late.socket.close()


def test_a_manager_that_does_not_read_blocks_nobody(heard: Heard, address: str, clock: Clock) -> None:
    loop = Loop(clock)
    manager = ServiceManager(address, watchdog_s=0.2)
    manager.ready(loop, "Serving")
    for _ in range(1000):  # more than the socket's queue holds
        pass_time(loop, clock, 0.11)
    assert 0 < len(heard.messages()) < 1000
    pass_time(loop, clock, 0.11)
    assert heard.messages() == ["WATCHDOG=1"]


def test_a_unit_that_ends_says_so_and_is_not_ready_any_more(address: str, clock: Clock) -> None:
    loop = Loop(clock)
    manager = ServiceManager(address)
    manager.ready(loop, "Serving")  # nobody listens
    late = Heard(address)
    manager.stopping()
    pass_time(loop, clock, RETRY_AFTER_S + 0.1)
    assert late.messages() == ["STOPPING=1\nSTATUS=Ending"]
    late.socket.close()


def test_the_environment_is_adopted_and_left_to_no_child(heard: Heard, address: str, clock: Clock) -> None:
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid()), "LANG": "C"}
    ServiceManager.adopt(environ).ready(loop := Loop(clock), "Serving")
    assert environ == {"LANG": "C"}
    heard.messages()
    pass_time(loop, clock, 1.1)
    assert heard.messages() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    "watchdog",
    [{"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}, {}],
    ids=["meant for another process", "no number", "zero", "none"],
)
def test_a_watchdog_that_is_not_ours_gets_no_sign(
    heard: Heard, address: str, clock: Clock, watchdog: dict[str, str]
) -> None:
    ServiceManager.adopt({"NOTIFY_SOCKET": address, **watchdog}).ready(Loop(clock), "Serving")
    assert heard.messages() == ["READY=1\nSTATUS=Serving"]


def test_a_unit_that_nobody_manages_tells_nobody(clock: Clock) -> None:
    loop = Loop(clock)
    manager = ServiceManager.adopt({})
    manager.ready(loop, "Serving")
    manager.stopping()
    assert loop._time_to_next_timer() is None
