"""Many simulated units on one machine, forked from one parent: `reactor-unit fleet`."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from reactor_unit import lean
from reactor_unit.errors import UnitError
from reactor_unit.serve_command import FleetOptions, ServeOptions

END_WITHIN_S = 20  # a unit ends within 10 s, or is killed
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_FIRST_LINE = re.compile(r"(?P<name>\S+) listens on (?P<url>http://\S+): ")

Serve = Callable[[ServeOptions], int]


@dataclass(frozen=True)
class Member:
    """One unit of a fleet: its supervisor's pid, and where it can be found."""

    pid: int
    name: str
    url: str
    dot: Path
    runtime_directory: Path

    def to_json(self) -> dict[str, Any]:
        """Return what a harness needs to know."""
        return {
            "name": self.name,
            "url": self.url,
            "pid": self.pid,
            "dot": str(self.dot),
            "runtime_directory": str(self.runtime_directory),
        }


class FleetFailed(UnitError):
    """Not every unit of the fleet started."""

    remediation = "See what the unit said above."


def run(options: FleetOptions, serve: Serve) -> int:
    """Start all units, tell about them in one line of JSON on stdout, and wait for SIGTERM or Ctrl-C; return 0.

    `serve` runs one unit; it is called in a process of its own for each. A unit that ends by itself is told on stderr,
    and the others go on; the exit code is 1 then. With no folder given, the units' folders are removed at the end.
    Raises FleetFailed when a unit does not start; then none is left.
    """
    given = options.folder
    folder = Path(given).resolve() if given else Path(tempfile.mkdtemp(prefix="reactor-unit-fleet-"))
    folder.mkdir(parents=True, exist_ok=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    lean.give_back_free_memory()
    gc.collect()
    gc.freeze()  # what is shared with the units stays shared
    running: dict[int, Member] = {}
    try:
        for number in range(1, options.units + 1):
            member = _start(options, number, folder, serve)
            running[member.pid] = member
        print(json.dumps({"units": [member.to_json() for member in running.values()]}), flush=True)
        return _wait_for_the_end(running)
    finally:
        _end(running)
        if not given:
            shutil.rmtree(folder, ignore_errors=True)


def _start(options: FleetOptions, number: int, folder: Path, serve: Serve) -> Member:
    """Fork one unit; return when it listens."""
    name = f"{options.name}{number:0{len(str(options.units))}d}"
    dot, runtime = folder / name / "dot", folder / name / "run"
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    unit = ServeOptions(
        name=name,
        host=options.host,
        port=0 if options.first_port is None else options.first_port + number - 1,
        hardware="simulated",
        dot=str(dot),
        workers=options.workers,
        log_level=options.log_level,
        speed=options.speed,
        seed=None if options.seed is None else options.seed + number - 1,
        monitor=options.monitor,
    )
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _be_a_unit(unit, runtime, writer, parent, serve)
    os.close(writer)
    with open(reader, encoding="utf-8") as lines:
        found = _FIRST_LINE.match(lines.readline())
    if found is None:
        os.waitpid(pid, 0)
        raise FleetFailed(f"The unit {name} did not start.")
    return Member(pid, name, found["url"], dot, runtime)


def _be_a_unit(options: ServeOptions, runtime: Path, stdout: int, parent: int, serve: Serve) -> NoReturn:
    code = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(code)  # it died before the kernel was told
        os.dup2(stdout, 1)
        os.close(stdout)
        os.environ["RUNTIME_DIRECTORY"] = str(runtime)
        os.setpgid(0, 0)  # Ctrl-C is for the parent, which ends all units
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        code = serve(options)
    finally:
        sys.stdout.flush()
        os._exit(code)


def _wait_for_the_end(running: dict[int, Member]) -> int:
    """Wait until this process is told to end, or no unit is left; return the exit code."""
    code = 0
    while running:
        number = signal.sigwait(_SIGNALS)
        if number != signal.SIGCHLD:
            return code
        for pid in _reaped(running):
            print(f"The unit {running.pop(pid).name} ended by itself.", file=sys.stderr, flush=True)
            code = 1
    return code


def _reaped(running: dict[int, Member]) -> list[int]:
    ended = []
    for pid in running:
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0]:
                ended.append(pid)
    return ended


def _end(pids: Collection[int]) -> None:
    """End all units at the same time, and kill those that take too long."""

    def tell(number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    tell(signal.SIGTERM)
    timer = threading.Timer(END_WITHIN_S, tell, [signal.SIGKILL])
    timer.daemon = True
    timer.start()
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    timer.cancel()
