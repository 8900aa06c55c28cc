"""A unit that a service manager started: what it tells it and when, and that it lives where only its folders do."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import DEADLINE_S, RunningUnit, running_unit, wait_for


class Manager:
    """A service manager's end of the socket: messages with the pid of their sender, which the kernel adds."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.heard: list[tuple[int, str]] = []

    def hear(self, word: str, within_s: float = DEADLINE_S) -> int:
        """Return the pid of the next sender of a message with this line, waiting for it."""
        deadline = time.monotonic() + within_s
        while True:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            text, ancillary, _flags, _address = self.socket.recvmsg(4096, socket.CMSG_SPACE(12))
            pid = int.from_bytes(ancillary[0][2][:4], sys.byteorder)
            self.heard.append((pid, text.decode()))
            if word in text.decode().split("\n"):
                return pid

    def hears(self, word: str, within_s: float) -> bool:
        """Return whether such a message comes in time."""
        try:
            self.hear(word, within_s)
        except TimeoutError:
            return False
        return True


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
    assert manager.hear("READY=1") == unit.process.pid
    assert f"STATUS=Serving on port {unit.port}" in manager.heard[-1][1]
    unit.run_stirring()
    assert {manager.hear("WATCHDOG=1") for _ in range(5)} == {unit.process.pid}
    unit.process.send_signal(signal.SIGTERM)
    assert manager.hear("STOPPING=1") == unit.process.pid
    assert unit.process.wait(DEADLINE_S) == 0


def test_a_service_that_hangs_gives_no_sign_of_life(unit: RunningUnit, manager: Manager) -> None:
    manager.hear("READY=1")
    manager.hear("WATCHDOG=1")
    unit.supervisor.suspend()
    try:
        wait_for(lambda: not manager.hears("WATCHDOG=1", 2), "silence")  # after those on their way
    finally:
        unit.supervisor.resume()
    manager.hear("WATCHDOG=1")


def test_no_child_of_a_service_knows_of_the_manager(manager: Manager, tmp_path: Path) -> None:
    """Neither a job nor a command that a task runs may speak in the unit's name."""
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
    program = (str(Path(__file__).parents[1] / "unit_with_tasks.py"),)
    with running_unit(tmp_path, program=program, environ=environ) as unit:
        manager.hear("READY=1")
        names = unit.ended(unit.accepted("/test/environment"))["result"]
        assert "RUNTIME_DIRECTORY" in names
        assert not set(names) & {"NOTIFY_SOCKET", "WATCHDOG_USEC"}


READ_ONLY = """\
#!/bin/sh
# Run a command where nothing can be written but its own folders: data, run directory, notification socket.
set -eu
mount --make-rprivate /
mkdir -p "$FOLDER/dot"
for path in "$FOLDER/dot" "$FOLDER/run"; do mount --bind "$path" "$path"; done
for point in $(awk '{ print $5 }' /proc/self/mountinfo | sort -ru); do
    case $point in "$FOLDER"/* | /proc* | /sys* | /dev*) ;; *) mount -o remount,bind,ro "$point" ;; esac
done
cd /
if touch "$FOLDER/anything" 2>/dev/null; then exit 3; fi
exec "$@"
"""


def test_a_unit_lives_where_only_its_own_folders_can_be_written(tmp_path: Path) -> None:
    """As under ProtectSystem=strict, with a working directory and a /tmp that cannot be written."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"]).returncode:
        pytest.skip("only root may make a namespace of mounts here")
    script = tmp_path / "read_only.sh"
    script.write_text(READ_ONLY)
    with running_unit(
        tmp_path,
        python="unshare",
        program=("-m", "sh", str(script), sys.executable, "-m", "reactor_unit"),
        environ={"FOLDER": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
    ) as unit:
        unit.run_stirring(target_rpm=400)
        wait_for(unit.stirrer_is_driven, "a driven stirrer")
        assert unit.get("/calibrations").status == 200
        assert unit.end() == 0
        assert not unit.stirrer_is_driven()


SYSTEM_CALLS = re.compile(r"^\d+ +(\w+)\(", re.MULTILINE)
ROOT_ALONE = {"fchown"}  # SQLite gives a new file to the owner of the database, when root runs it


def allowed_system_calls() -> set[str]:
    """Return what `SystemCallFilter=@system-service` and `~@privileged @resources` of the service leave."""

    def members(group: str) -> set[str]:
        shown = subprocess.run(
            ["systemd-analyze", "--no-pager", "syscall-filter", group], capture_output=True, text=True
        )
        words = {line.partition("#")[0].strip() for line in shown.stdout.splitlines()[1:]} - {""}
        return set().union(*(members(word) if word.startswith("@") else {word} for word in words))

    return members("@system-service") - members("@privileged") - members("@resources")


@pytest.mark.timeout(120)
def test_a_unit_makes_no_system_call_that_its_service_may_not(tmp_path: Path) -> None:
    if shutil.which("strace") is None or shutil.which("systemd-analyze") is None:
        pytest.skip("needs strace and systemd-analyze")
    calls = tmp_path / "calls"
    traced = ("-f", "-qq", "-e", "signal=none", "-o", str(calls), sys.executable, "-m", "reactor_unit")
    with running_unit(tmp_path, python="strace", program=traced, monitor=True) as unit:
        unit.run_stirring(target_rpm=400)
        unit.run_job("od_reading")
        unit.ended(unit.accepted("/jobs/stop/all"))
        pid = int((unit.dot / ".reactor-unit.lock").read_text())
        os.kill(pid, signal.SIGTERM)
        unit.process.wait(DEADLINE_S)
    text = calls.read_text()
    made = set(SYSTEM_CALLS.findall(text))
    assert len(made) > 40
    assert "install_service" not in text  # what the command line alone needs costs a unit no memory
    assert made - ROOT_ALONE <= allowed_system_calls()
    assert not re.search(r"mprotect\(.*PROT_EXEC|mmap\(.*PROT_WRITE\|PROT_EXEC", text)  # MemoryDenyWriteExecute
    families = set(re.findall(r" socket\((AF_\w+)", text))
    assert families <= {"AF_UNIX", "AF_INET", "AF_INET6"}  # RestrictAddressFamilies
