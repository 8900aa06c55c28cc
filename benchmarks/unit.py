"""A unit under measurement: the real server as a process, on simulated hardware, spoken to over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import processes

HERE = Path(__file__).parent
REAL = ("-m", "reactor_unit")
WITH_TASK = (str(HERE / "unit_with_task.py"),)
DAY_AND_NIGHT = {  # options of led_automation
    "automation_name": "light_dark_cycle",
    "duration": 1,
    "light_intensity": 5,
    "light_duration_minutes": 960,
    "dark_duration_minutes": 480,
}
STATE = Path("/dev/shm")  # data folder and run directory lie in memory: what is measured is the unit, not a disk


def state_folder() -> Path:
    """Return where the folders of measured units are made."""
    return STATE if STATE.is_dir() and os.access(STATE, os.W_OK) else Path(tempfile.gettempdir())


@dataclass
class Unit:
    """A unit that serves, with one kept-alive connection to it."""

    process: subprocess.Popen[str]
    port: int
    connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    @property
    def pids(self) -> list[int]:
        """All processes of the unit, the supervisor first."""
        return processes.family(self.process.pid)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Return the status and the JSON of an answer."""
        self.connection.request(method, f"/unit_api{path}", None if body is None else json.dumps(body))
        response = self.connection.getresponse()
        return response.status, json.loads(response.read())

    def submit(self, path: str, body: Any = None) -> str:
        """Ask for a task and return its id; a start less than a second after the last one is asked for again."""
        while True:
            status, answer = self.ask("POST", path, {} if body is None else body)
            if status == 202:
                return str(answer["task_id"])
            if status != 429:
                raise RuntimeError(f"POST {path}: {status} {answer}")
            time.sleep(0.05)

    def ended(self, task_id: str, poll_s: float = 0.005) -> int:
        """Wait until a task is complete: ask at once, then each `poll_s` seconds. Return how often was asked."""
        for polls in range(1, round(15 / poll_s)):
            status, record = self.ask("GET", f"/task_results/{task_id}")
            if record["status"] == "complete":
                return polls
            if status != 202:
                raise RuntimeError(f"the task failed: {record}")
            time.sleep(poll_s)
        raise TimeoutError(f"task {task_id} does not end")

    def run_stirring(self) -> None:
        """Run stirring; returns when it is ready."""
        self.ended(self.submit("/jobs/run/job_name/stirring", {"options": {"target_rpm": 400}}))

    def run_job(self, name: str, options: dict[str, Any]) -> bool:
        """Run a job unless it runs; returns when it is ready, False when the unit has no such job."""
        status, answer = self.ask("POST", f"/jobs/run/job_name/{name}", {"options": options})
        if status == 404:
            return False
        if status == 202:
            self.ended(str(answer["task_id"]))
        elif status != 409:
            raise RuntimeError(f"POST run {name}: {status} {answer}")
        return True

    def run_thermostat(self) -> None:
        """Run temperature_automation; returns when it is ready."""
        options = {"automation_name": "thermostat", "target_temperature": 30}
        self.ended(self.submit("/jobs/run/job_name/temperature_automation", {"options": options}))

    def stop_stirring(self) -> None:
        """Stop stirring; returns when it is gone."""
        self.ended(self.submit("/jobs/stop", {"job_name": "stirring"}))


@contextlib.contextmanager
def running_unit(
    program: tuple[str, ...] = REAL, *, speed: float | None = None, monitor: bool = False
) -> Iterator[Unit]:
    """Run a unit on a free port with folders of its own; leave neither processes nor files behind."""
    folder = Path(tempfile.mkdtemp(prefix="reactor-unit-bench-", dir=state_folder()))
    (folder / "run").mkdir(mode=0o700)
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
    environ.update(RUNTIME_DIRECTORY=str(folder / "run"), HOSTNAME="bench")
    words = ("serve", "--port", "0", "--hardware", "simulated", "--dot", str(folder / "dot"), "--log-level", "WARNING")
    if not monitor:
        words += ("--no-monitor",)
    if speed is not None:
        words += ("--speed", f"{speed:g}")
    try:
        with process((*program, *words), environ) as server:
            unit = Unit(server, port_of(server))
            try:
                unit.ask("GET", "/health")  # the socket listens already; this waits for the web process
                yield unit
            finally:
                unit.connection.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def process(words: tuple[str, ...], environ: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run a Python program and end it with SIGTERM; kill what it leaves behind."""
    with subprocess.Popen([sys.executable, *words], env=environ, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server
        finally:
            members = processes.family(server.pid)
            server.terminate()
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                server.kill()
            for pid in members[1:]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def port_of(server: subprocess.Popen[str]) -> int:
    """Return the port in the first line a server prints."""
    assert server.stdout is not None
    line = server.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
    if found is None:
        raise RuntimeError(f"the server did not start: {line!r}")
    return int(found.group(1))


def wait_until(condition: Callable[[], bool], poll_s: float, within_s: float = 15.0) -> None:
    """Wait for a condition, looking each `poll_s` seconds. Raises TimeoutError."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not come about within {within_s:g} s")
        time.sleep(poll_s)
