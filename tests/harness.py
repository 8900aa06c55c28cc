"""A real unit for tests: `reactor-unit serve` as a subprocess on simulated hardware, spoken to over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from reactor_unit.drivers.simulation.state import SharedPlant
from reactor_unit.home import run_directory

STIRRING_PIN = 17  # HAT 1.2, PWM channel 1
DEADLINE_S = 30.0  # for what takes a moment, however busy the machine is; a quarter of what pytest gives a test


def wait_for(condition: Callable[[], Any], what: str = "the condition", *, within_s: float = DEADLINE_S) -> Any:
    """Return the first true value of `condition`; fail when there is none within `within_s` seconds.

    How soon something has to be is not checked by `within_s`, which counts the pauses of this process too, but by a
    moment that the unit noted.
    """
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come about within {within_s:g} s")
        time.sleep(0.005)


def kill(pid: int) -> float:
    """SIGKILL a process; return the moment on the monotonic clock."""
    moment_s = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    return moment_s


def killed_writer(program: str, *args: object, after_lines: int) -> int:
    """Run a Python program that prints the number of what it has written, kill it, and return the last number."""
    command = [sys.executable, "-c", program, *map(str, args)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(after_lines)]
        writer.send_signal(signal.SIGKILL)
        return max(int(line) for line in [*lines, *writer.stdout.read().splitlines()])


@contextlib.contextmanager
def small_disk(path: Path, kib: int) -> Iterator[Path]:
    """Make a file system of this size at `path`; skip the test where that is not possible."""
    path.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={kib}k"]
    if os.geteuid() != 0 or subprocess.run(["mount", *options, "tmpfs", path]).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def fill_disk(path: Path) -> Path:
    """Fill the file system at `path`; return the file that does, which may be deleted again."""
    filler = path / "filler"
    filler.write_bytes(b"x" * (os.statvfs(path).f_bavail * os.statvfs(path).f_bsize))
    return filler


def stop_all(processes: Iterable[psutil.Process]) -> None:
    """SIGSTOP processes, and wait until every thread of theirs stands; one that has just ended stands as well.

    A signal only begins a stop. The kernel wakes the stopped children of a dead parent, but not one that still has a
    running thread when the parent dies: that one stops afterwards, for good.
    """

    def stands(process: psutil.Process) -> bool:
        for stat in Path(f"/proc/{process.pid}/task").glob("*/stat"):
            with contextlib.suppress(OSError):
                if stat.read_text().rpartition(")")[2].split()[0] not in "TZX":
                    return False
        return True

    stopping = list(processes)
    for process in stopping:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    wait_for(lambda: all(map(stands, stopping)), "stopped processes")


def end_all_from(python: Path) -> None:
    """Kill what runs from the environment of this Python and may be no child of the test's: a unit started again."""
    for process in psutil.process_iter(["pid", "cmdline"]):
        if str(python.parent.parent) in " ".join(process.info["cmdline"] or []):
            with contextlib.suppress(psutil.Error):
                process.kill()


class WatchedPlant(SharedPlant):
    """The simulated reactor as a test looks at it, often: its descriptor goes when nobody looks any more."""

    def changed_at_s(self) -> float:
        """Return when an output, a lamp or anything else was changed last, on the monotonic clock."""
        return self._read().clock_s

    def wait_until_off(self, is_on: Callable[[], Any], since_s: float, within_s: float) -> float:
        """Wait until an output is off; fail when it was on for `within_s` after the moment `since_s`. Return how long.

        The moment is that of the last change, noted by the process that made it.
        """
        wait_for(lambda: not is_on(), "an output that is off")
        seconds = max(0.0, self.changed_at_s() - since_s)
        assert seconds < within_s, f"the output was on for {seconds:.3f} s"
        return seconds

    def __del__(self) -> None:
        self.close()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class RunningUnit:
    """A unit that serves."""

    process: subprocess.Popen[str]
    first_line: str
    dot: Path
    environ: dict[str, str]
    port: int = field(init=False)

    def __post_init__(self) -> None:
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.first_line)
        assert found, self.first_line
        self.port = int(found.group(1))

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = DEADLINE_S,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, f"/unit_api{path}", data, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.ask("POST", path, {} if body is None else body, headers)

    def accepted(self, path: str, body: Any = None) -> str:
        answer = self.post(path, body)
        assert answer.status == 202, answer
        return str(answer.json["task_id"])

    def task(self, task_id: str) -> Any:
        return self.get(f"/task_results/{task_id}").json

    def ended(self, task_id: str, within_s: float = DEADLINE_S) -> Any:
        """Return the final record of a task."""

        def final() -> Any:
            record = self.task(task_id)
            return record if record["status"] in ("complete", "failed") else None

        return wait_for(final, f"the end of task {task_id}", within_s=within_s)

    def run_stirring(self, **options: Any) -> dict[str, Any]:
        """Start stirring and return its row."""
        return self.run_job("stirring", **options)

    def run_job(self, name: str, **options: Any) -> dict[str, Any]:
        """Start a job and return its row."""

        def accepted() -> Any:  # a start less than a second after the last one is refused
            answer = self.post(f"/jobs/run/job_name/{name}", {"options": options})
            assert answer.status in (202, 429), answer
            return answer.json if answer.status == 202 else None

        record = self.ended(wait_for(accepted, "an accepted start")["task_id"])
        assert record["status"] == "complete", record
        (row,) = self.get(f"/jobs/running/{name}").json
        return dict(row)

    # What a test may look at from outside

    @property
    def supervisor(self) -> psutil.Process:
        return psutil.Process(self.process.pid)

    def children(self) -> list[psutil.Process]:
        return self.supervisor.children(recursive=True)

    def jobs_pids(self) -> set[int]:
        return {row["pid"] for row in self.get("/jobs/running").json}

    def web(self) -> psutil.Process:
        """Return the web process: the child that holds the listening socket."""

        def found() -> psutil.Process | None:
            for child in self.children():
                with contextlib.suppress(psutil.Error):
                    if any(c.status == psutil.CONN_LISTEN for c in child.net_connections("tcp")):
                        return child
            return None

        web: psutil.Process = wait_for(found, "a web process")
        return web

    @property
    def run_directory(self) -> Path:
        return run_directory(self.dot, self.environ)

    def plant(self) -> WatchedPlant:
        return WatchedPlant(self.run_directory / "plant.bin")

    def stirrer_is_driven(self) -> bool:
        return bool(self.plant().pin(STIRRING_PIN).level)

    def log(self) -> str:
        return (self.dot / "logs" / "reactor-unit.log").read_text()

    def end(self, number: int = signal.SIGTERM, within_s: float = DEADLINE_S) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(within_s)


@contextlib.contextmanager
def running_unit(
    tmp_path: Path,
    *words: str,
    program: tuple[str, ...] = ("-m", "reactor_unit"),
    python: str = sys.executable,
    environ: dict[str, str] | None = None,
    dot: Path | None = None,
    monitor: bool = False,
) -> Iterator[RunningUnit]:
    """Run a unit on a free port with a data folder and a run directory of its own; leave nothing behind.

    It runs no job for itself unless the test is about `monitor`.
    """
    if "real" in words:  # as in `--system real`: it finds what the test made, and nothing of this machine
        stand_ins = Path((environ or {}).get("PATH", "/"))
        assert stand_ins.is_relative_to(tmp_path), "real commands need a PATH that is one folder of the test's"
    words = words if monitor else (*words, "--no-monitor")
    dot = dot or tmp_path / "dot"
    run_dir = tmp_path / "run"
    run_dir.mkdir(exist_ok=True)
    full = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "RUNTIME_DIRECTORY": str(run_dir),
        "HOSTNAME": "pio01",
        **(environ or {}),
    }
    with subprocess.Popen(
        [python, *program, "serve", "--port", "0", "--hardware", "simulated", "--dot", str(dot), *words],
        env=full,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise AssertionError(f"the unit did not start: {process.stderr.read()}")
            unit = RunningUnit(process, line, dot, full)
            wait_for(lambda: _healthy(unit), "an answer of /health")
            yield unit
        finally:
            family = _family(process.pid)
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(DEADLINE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
            for member in family:
                with contextlib.suppress(psutil.Error):
                    member.kill()
            process.stdout.close()
            process.stderr.close()


def _healthy(unit: RunningUnit) -> bool:
    try:
        return unit.get("/health").status == 200
    except OSError:
        return False


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []
