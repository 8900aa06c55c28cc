"""Many simulated units on one machine, forked from one parent: `reactor-unit fleet`."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from reactor_unit import lean
from reactor_unit.serve_command import FleetOptions, ServeOptions
from reactor_unit.workers.children import die_with_parent

if TYPE_CHECKING:
    from reactor_unit.serve import PreparedUnit

AT_ONCE = 2 * (os.cpu_count() or 1)  # units that start
START_WITHIN_S = 30.0
END_WITHIN_S = 20  # a unit ends within 10 s, or is killed
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
RUN = "run"  # below the fleet's folder: what is true only while it runs

Prepare = Callable[[ServeOptions], "PreparedUnit"]


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


def run(options: FleetOptions, prepare: Prepare) -> int:
    """Start all units, tell about them in one line of JSON on stdout, and wait for SIGTERM or Ctrl-C; return 0.

    `prepare` makes one unit ready to run. All are made ready here, then each is run in a process of its own, so what
    they have in common is in memory once; the line comes when all answer. A unit that ends by itself is told on stderr,
    and the others go on; the exit code is 1 then. With no folder given, the units' folders are removed at the end.
    Raises UnitError when a unit cannot run; then none does.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # told to end before it has begun, it begins, and ends in order
    folder = Path(options.folder).resolve() if options.folder else Path(tempfile.mkdtemp(prefix="reactor-unit-fleet-"))
    folder.mkdir(parents=True, exist_ok=True)
    running: dict[int, Member] = {}
    try:
        (folder / RUN).mkdir(mode=0o700, exist_ok=True)
        os.environ["RUNTIME_DIRECTORY"] = str(folder / RUN)
        prepared = [prepare(_unit_options(options, number, folder)) for number in range(1, options.units + 1)]
        lean.give_back_free_memory()
        gc.collect()
        gc.freeze()  # what is shared with the units stays shared
        for number, unit in enumerate(prepared):
            if number >= AT_ONCE:
                _await_answer(prepared[number - AT_ONCE])
            member = _fork(unit, prepared, folder / RUN)
            running[member.pid] = member
        for unit in prepared[-AT_ONCE:]:
            _await_answer(unit)
        for unit in prepared:
            unit.let_go()
        print(json.dumps({"units": [member.to_json() for member in running.values()]}), flush=True)
        return _wait_for_the_end(running)
    finally:
        _end(running)
        if not options.folder:
            shutil.rmtree(folder, ignore_errors=True)


def _unit_options(options: FleetOptions, number: int, folder: Path) -> ServeOptions:
    name = f"{options.name}{number:0{len(str(options.units))}d}"
    (folder / name).mkdir(exist_ok=True)
    return ServeOptions(
        name=name,
        host=options.host,
        port=0 if options.first_port is None else options.first_port + number - 1,
        hardware="simulated",
        dot=str(folder / name / "dot"),
        workers=options.workers,
        log_level=options.log_level,
        speed=options.speed,
        seed=None if options.seed is None else options.seed + number - 1,
        monitor=options.monitor,
    )


def _fork(unit: PreparedUnit, prepared: Sequence[PreparedUnit], runtime_directory: Path) -> Member:
    parent = os.getpid()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        for other in prepared:
            if other is not unit:
                other.let_go()
        _be_a_unit(unit, parent)
    return Member(pid, unit.unit.name, unit.url, unit.unit.folder.path, runtime_directory)


def _await_answer(unit: PreparedUnit) -> None:
    """Wait until a unit answers, or has no time left, or a signal came: the end of a unit, or of all.

    When all start at the same time, each takes too long to make its outputs safe.
    """
    waited_until = time.monotonic() + START_WITHIN_S
    with contextlib.suppress(OSError), socket.create_connection(unit.listener.getsockname()[:2], 1.0) as asking:
        asking.sendall(b"GET /unit_api/health HTTP/1.0\r\n\r\n")
        while time.monotonic() < waited_until and not signal.sigpending():
            if select.select([asking], [], [], 0.5)[0]:
                return


def _be_a_unit(unit: PreparedUnit, parent: int) -> NoReturn:
    code = 1
    try:
        die_with_parent(signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(code)  # it died before the kernel was told
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)  # where units listen, the fleet says in one line
        os.setpgid(0, 0)  # Ctrl-C is for the parent, which ends all units
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        code = unit.run()
    finally:
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
