"""Real units on simulated reactors for tests: a pytest plugin, and the same as context managers for anything else.

With this package installed, pytest has the fixtures `reactor_unit` and `reactor_fleet`. The mark
`@pytest.mark.reactor_unit(speed=60)` says how the unit of one test is served; it takes what `running_unit` takes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:  # whoever uses neither fixture pays for nothing
    from reactor_unit.client import UnitClient
    from reactor_unit.drivers.simulation.plant import PlantState
    from reactor_unit.drivers.simulation.state import SharedPlant

END_WITHIN_S = 20.0
LOOK_EVERY_S = 0.01
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")

T = TypeVar("T")
_FIRST_LINE = re.compile(r"(?P<name>\S+) listens on (?P<url>http://\S+): ")


@dataclass(frozen=True)
class Change:
    """A setting that is not what it was; None stands for one that was, or is, not published."""

    job_name: str
    setting: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Snapshot:
    """What all running jobs published at one moment: job name -> setting -> value, in JSON types."""

    settings: Mapping[str, Mapping[str, Any]]

    def changes(self, later: Snapshot) -> list[Change]:
        """Return what is different in a later snapshot, by job and setting."""
        found = []
        for job in sorted({*self.settings, *later.settings}):
            before, after = self.settings.get(job, {}), later.settings.get(job, {})
            for name in sorted({*before, *after}):
                if before.get(name) != after.get(name):
                    found.append(Change(job, name, before.get(name), after.get(name)))
        return found


@dataclass
class SimulatedUnit:
    """A unit that serves on this machine, and the simulated reactor under it."""

    name: str
    url: str
    pid: int
    dot: Path
    runtime_directory: Path
    _opened: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, repr=False)
    _client: UnitClient | None = field(default=None, repr=False)
    _plant: SharedPlant | None = field(default=None, repr=False)

    @property
    def client(self) -> UnitClient:
        """The public client, connected to this unit."""
        if self._client is None:
            from reactor_unit.client import UnitClient

            self._client = self._opened.enter_context(UnitClient(self.url))
        return self._client

    @property
    def plant(self) -> SharedPlant:
        """The simulated reactor: what a person does at it, what chips see of it."""
        if self._plant is None:
            from reactor_unit.drivers.simulation.state import SharedPlant
            from reactor_unit.home import run_directory

            folder = run_directory(self.dot, {"RUNTIME_DIRECTORY": str(self.runtime_directory)})
            self._plant = self._opened.enter_context(contextlib.closing(SharedPlant(folder / "plant.bin")))
        return self._plant

    def truth(self) -> PlantState:
        """Return how the reactor really is, without the noise of any sensor."""
        return self.plant.look()

    def inject(self, fault: str) -> None:
        """Break something: one of the faults of `reactor-unit simulate --help`. Raises ValueError."""
        self.plant.inject(fault)

    def clear(self, fault: str | None = None) -> None:
        """Mend one fault, or all."""
        self.plant.clear(fault)

    def advance(self, seconds: float) -> None:
        """Let the reactor live for so many of its seconds: at speed 60, 60 of them are a second of waiting."""
        plant = self.plant
        until_s = plant.plant_time_s() + seconds
        wait_until(lambda: plant.plant_time_s() >= until_s, 10.0 + 2.0 * seconds / plant.speed, "the reactor's time")

    def run_job(self, job_name: str, **options: Any) -> Any:
        """Start a job and wait until it is ready; return the task's result. Raises ClientError.

        A start that comes within a second of the last one is tried again.
        """
        from reactor_unit.client import UnitAnswerError

        def accepted() -> Any:
            try:
                return self.client.run_job(job_name, options=options)
            except UnitAnswerError as ex:
                if ex.status != 429:
                    raise
                return None

        return self.client.wait_for(wait_until(accepted, 5.0, f"a start of {job_name}")["task_id"])

    def snapshot(self) -> Snapshot:
        """Return what all running jobs publish now."""
        return Snapshot({row["job_name"]: row["settings"] for row in self.client.running_jobs(settings=True)})

    def log(self) -> str:
        """Return the unit's log."""
        path = self.dot / "logs" / "reactor-unit.log"
        return path.read_text() if path.exists() else ""

    def close(self) -> None:
        """Let go of client and reactor; the unit goes on."""
        self._opened.close()
        self._client = self._plant = None


def wait_until(condition: Callable[[], T], within_s: float, what: str = "the condition") -> T:
    """Return what `condition` returns as soon as it is true. Raises TimeoutError that names `what`."""
    deadline = time.monotonic() + within_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come about within {within_s:g} s")
        time.sleep(LOOK_EVERY_S)


@contextlib.contextmanager
def running_unit(
    *,
    speed: float | None = None,
    seed: int | None = None,
    name: str = "unit1",
    config: str | None = None,
    monitor: bool = False,
    words: tuple[str, ...] = (),
) -> Iterator[SimulatedUnit]:
    """Serve a unit on a free port, with a data folder of its own; yield it when it answers, leave nothing behind.

    `speed` is how many seconds pass for its reactor in one, `seed` chooses the noise, `config` is the text of its
    `config.ini`, `words` are further options of `reactor-unit serve`. Raises RuntimeError when it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="reactor-unit-test-") as made:
        folder = Path(made)
        dot, runtime = folder / "dot", folder / "run"
        runtime.mkdir(mode=0o700)
        if config is not None:
            dot.mkdir()
            (dot / "config.ini").write_text(config)
        asked = ["serve", "--name", name, "--port", "0", "--hardware", "simulated", "--dot", str(dot)]
        alone = [] if monitor else ["--no-monitor"]
        with _process([*asked, *alone, *_options(speed, seed), *words], runtime) as (process, line):
            found = _FIRST_LINE.match(line)
            if found is None:
                raise RuntimeError(f"The unit said {line!r} instead of where it listens.")
            unit = SimulatedUnit(found["name"], found["url"], process.pid, dot, runtime)
            with contextlib.closing(unit):
                unit.client.health()
                yield unit


@contextlib.contextmanager
def running_fleet(
    units: int, *, speed: float | None = None, seed: int | None = None, name: str = "unit", monitor: bool = False
) -> Iterator[list[SimulatedUnit]]:
    """Serve many units from one parent; as `running_unit`, which has the meaning of the options."""
    folder = Path(tempfile.mkdtemp(prefix="reactor-unit-test-"))
    try:
        asked = ["fleet", "--units", str(units), "--name", name, "--folder", str(folder)]
        watched = ["--monitor"] if monitor else []
        with _process([*asked, *watched, *_options(speed, seed)], folder) as (_, line):
            fleet = [
                SimulatedUnit(one["name"], one["url"], one["pid"], Path(one["dot"]), Path(one["runtime_directory"]))
                for one in json.loads(line)["units"]
            ]
            with contextlib.ExitStack() as stack:
                for unit in fleet:
                    stack.callback(unit.close)
                yield fleet
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _options(speed: float | None, seed: int | None) -> list[str]:
    options = []
    for option, value in (("--speed", speed), ("--seed", seed)):
        if value is not None:
            options += [option, f"{value:g}" if isinstance(value, float) else str(value)]
    return options


@contextlib.contextmanager
def _process(words: list[str], runtime: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `reactor-unit` with these words; yield the process and its first line, end it with all its children.

    It ends with this process, too, when that is killed. (For the kernel a parent is a thread: one that is not the main
    one may end earlier, with the unit still in use, so what it starts is on its own.)
    """
    from reactor_unit.workers.children import die_with_parent

    is_main = threading.current_thread() is threading.main_thread()
    environ = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    environ["RUNTIME_DIRECTORY"] = str(runtime)
    with subprocess.Popen(
        [sys.executable, "-m", "reactor_unit", *words],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(die_with_parent, signal.SIGTERM) if is_main else None,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"`reactor-unit {words[0]}` did not start: {process.stderr.read()}")
            yield process, line
        finally:
            process.terminate()
            try:
                process.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()  # its children end with it
                process.wait()


def pytest_configure(config: pytest.Config) -> None:
    """Say what the marker is for."""
    config.addinivalue_line(
        "markers", "reactor_unit(**options): how the unit of this test is served; see reactor_unit.testing.running_unit"
    )


@pytest.fixture
def reactor_unit(request: pytest.FixtureRequest) -> Iterator[SimulatedUnit]:
    """A unit on a simulated reactor, which answers and runs no job yet."""
    marker = request.node.get_closest_marker("reactor_unit")
    with running_unit(**(marker.kwargs if marker is not None else {})) as unit:
        yield unit


@pytest.fixture
def reactor_fleet() -> Iterator[Callable[..., list[SimulatedUnit]]]:
    """A function that starts so many units, with the options of `running_fleet`, and returns them."""
    with contextlib.ExitStack() as stack:
        yield lambda units, **options: stack.enter_context(running_fleet(units, **options))
