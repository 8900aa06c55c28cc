"""A unit that a service manager started: what it tells it and when, and that it lives where only its folders do."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import RunningUnit, running_unit, wait_for

NAMES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Manager:
    """A service manager's end of the socket: messages with the pid of their sender, which the kernel adds."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.heard: list[tuple[int, str]] = []

    def hear(self, word: str, within_s: float) -> int:
        """Return the pid of the next sender of a message with this line, waiting for it."""
        deadline = time.monotonic() + within_s
        while True:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            text, ancillary, _flags, _address = self.socket.recvmsg(4096, socket.CMSG_SPACE(12))
            pid = int.from_bytes(ancillary[0][2][:4], sys.byteorder)
            self.heard.append((pid, text.decode()))
            if word in text.decode().split("\n"):
                return pid


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.socket.close()


@pytest.fixture
def unit(manager: Manager, tmp_path: Path) -> Iterator[RunningUnit]:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
    with running_unit(tmp_path, environ=environ) as unit:
        yield unit


def test_a_service_is_ready_lives_and_ends_in_the_managers_ears(unit: RunningUnit, manager: Manager) -> None:
    assert manager.hear("READY=1", 5) == unit.process.pid
    assert f"STATUS=Serving on port {unit.port}" in manager.heard[-1][1]
    unit.run_stirring()
    assert {manager.hear("WATCHDOG=1", 5) for _ in range(5)} == {unit.process.pid}
    unit.process.send_signal(signal.SIGTERM)
    assert manager.hear("STOPPING=1", 5) == unit.process.pid
    assert unit.process.wait(15) == 0


def test_a_service_that_hangs_gives_no_sign_of_life(unit: RunningUnit, manager: Manager) -> None:
    manager.hear("READY=1", 5)
    manager.hear("WATCHDOG=1", 5)
    unit.supervisor.suspend()
    try:
        with pytest.raises(TimeoutError):  # the ones on their way are heard, then silence
            for _ in range(5):
                manager.hear("WATCHDOG=1", 2)
    finally:
        unit.supervisor.resume()
    manager.hear("WATCHDOG=1", 5)


def test_no_child_of_a_service_knows_of_the_manager(unit: RunningUnit) -> None:
    """Neither a job nor a command that a task runs may speak in the unit's name."""
    unit.run_stirring()
    environs = {child.pid: child.environ() for child in unit.children()}
    assert unit.jobs_pids() < set(environs)
    # What /proc shows is the environment of the exec, so ask the one thing that forked children inherit.
    assert "NOTIFY_SOCKET" in unit.supervisor.environ()
    assert wait_for(lambda: unit.get("/health").status == 200, 5)
