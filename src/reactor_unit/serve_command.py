"""The command line of the serving processes: `reactor-unit serve` and `reactor-unit safe`.

Imports neither click nor httpx, and nothing heavy before the words are understood: what only the command line needs
must not cost the unit memory for days.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reactor_unit import lean
from reactor_unit.errors import UnitError, from_exception

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
Functions = Mapping[str, Any]  # task functions of the pool, by name
Extend = Callable[[Any, Any], None]  # called with the Falcon application and the gateway


@dataclass(frozen=True)
class ServeOptions:
    """What `reactor-unit serve` was told; None means that configuration or default decides."""

    name: str | None = None
    host: str | None = None
    port: int | None = None
    hardware: str = "auto"
    dot: str | None = None
    workers: int | None = None
    log_level: str | None = None
    speed: float | None = None
    seed: int | None = None
    monitor: bool = True
    system: str | None = None


def main(argv: Sequence[str], *, functions: Functions | None = None, extend: Extend | None = None) -> int:
    """Run `serve` or `safe` with the words of the command line; return the exit code.

    `functions` are what the pool of a serving unit can run besides its own, `extend` may add routes.
    """
    command, options = parse(argv)
    lean.use_one_arena()
    lean.import_libraries()
    from reactor_unit import serve
    from reactor_unit.drivers.errors import HardwareFault

    try:
        if command == "safe":
            return serve.safe(options)
        return serve.serve(options, functions=functions or {}, extend=extend)
    except (UnitError, HardwareFault) as ex:
        error = from_exception(ex)
        print(f"error: {error.message}", file=sys.stderr)
        if error.cause != error.message:
            print(f"cause: {error.cause}", file=sys.stderr)
        print(f"what to do: {error.remediation}", file=sys.stderr)
        return 1


def parse(argv: Sequence[str]) -> tuple[str, ServeOptions]:
    """Return the command and its options."""
    from reactor_unit.drivers.simulation.constants import FASTEST_SPEED

    def port(text: str) -> int:
        number = int(text)
        if not 0 <= number <= 65535:
            raise argparse.ArgumentTypeError(f"{number} is not a port; use 0 to 65535")
        return number

    def workers(text: str) -> int:
        number = int(text)
        if not 1 <= number <= 64:
            raise argparse.ArgumentTypeError(f"{number} is not a number of workers; use 1 to 64")
        return number

    def speed(text: str) -> float:
        number = float(text)
        if not 0.0 < number <= FASTEST_SPEED:
            raise argparse.ArgumentTypeError(f"{text} is not a speed; use a number above 0, up to {FASTEST_SPEED:g}")
        return number

    def seed(text: str) -> int:
        number = int(text)
        if not 0 <= number < 2**64:
            raise argparse.ArgumentTypeError(f"{number} is not a seed; use 0 to {2**64 - 1}")
        return number

    parser = argparse.ArgumentParser(prog="reactor-unit", description="Run one small bioreactor.")
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve", help="run the unit until Ctrl-C or SIGTERM")
    serving.add_argument("--name", help="the unit's name (default: HOSTNAME, else this machine's name)")
    serving.add_argument("--host", help="address to listen on (default: [http] host, 127.0.0.1)")
    serving.add_argument(
        "--port", type=port, help="port to listen on, 0 for a free one (default: [http] port, [ui] port, 4999)"
    )
    serving.add_argument(
        "--workers", type=workers, metavar="N", help="pool workers at most (default: one a core, up to 4)"
    )
    serving.add_argument(
        "--log-level",
        type=str.upper,
        choices=LOG_LEVELS,
        help="least level that is logged (default: [logging] console_log_level, INFO)",
    )
    serving.add_argument(
        "--speed",
        type=speed,
        metavar="FACTOR",
        help="how many seconds pass in one for the simulated reactor and the jobs on it (default: 1)",
    )
    serving.add_argument(
        "--seed", type=seed, metavar="N", help="seed of the simulated reactor's noise (default: as it was, 0 at first)"
    )
    serving.add_argument(
        "--no-monitor", dest="monitor", action="store_false", help="do not run the job `monitor` ([monitor] enabled=0)"
    )
    serving.add_argument(
        "--system",
        choices=("real", "dry"),
        help="run commands that reboot, power off or set the clock, or only write them down "
        "(default: dry on simulated hardware, else real)",
    )
    safing = commands.add_parser("safe", help="drive all outputs to their safe state, then end")
    for command in (serving, safing):
        command.add_argument(
            "--hardware",
            default="auto",
            choices=("auto", "pi", "simulated"),
            help="the reactor's hardware (default: auto, a Raspberry Pi when this is one, else simulated)",
        )
        command.add_argument("--dot", metavar="DIR", help="data folder (default: DOT_PIOREACTOR, else ~/.pioreactor)")
    given = vars(parser.parse_args(list(argv)))
    return given.pop("command"), ServeOptions(**given)
