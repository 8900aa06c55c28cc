"""The command line of the serving processes: `reactor-unit serve`, `reactor-unit safe` and `reactor-unit fleet`.

Imports neither click nor httpx, and nothing heavy before the words are understood: what only the command line needs
must not cost the unit memory for days.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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


@dataclass(frozen=True)
class FleetOptions:
    """What `reactor-unit fleet` was told; each unit gets its share of it."""

    units: int
    name: str = "unit"  # and a number behind it
    folder: str | None = None
    host: str | None = None
    first_port: int | None = None
    workers: int | None = None
    log_level: str | None = None
    speed: float | None = None
    seed: int | None = None
    monitor: bool = False


def main(argv: Sequence[str], *, functions: Functions | None = None, extend: Extend | None = None) -> int:
    """Run `serve`, `safe` or `fleet` with the words of the command line; return the exit code.

    `functions` are what the pool of a serving unit can run besides its own, `extend` may add routes.
    """
    command, options = parse(argv)
    lean.use_one_arena()
    lean.import_libraries()
    from reactor_unit import serve
    from reactor_unit.drivers.errors import HardwareFault

    if isinstance(options, FleetOptions):
        from reactor_unit import fleet

        prepare = partial(serve.prepare, functions=functions or {}, extend=extend)
        return _told(partial(fleet.run, options, prepare), HardwareFault)
    if command == "safe":
        return _told(partial(serve.safe, options), HardwareFault)
    return _told(partial(serve.serve, options, functions=functions or {}, extend=extend), HardwareFault)


def _told(command: Callable[[], int], hardware_fault: type[Exception]) -> int:
    """Carry out a command; say on stderr what keeps it from its work."""
    try:
        return command()
    except (UnitError, hardware_fault) as ex:
        error = from_exception(ex)
        print(f"error: {error.message}", file=sys.stderr)
        if error.cause != error.message:
            print(f"cause: {error.cause}", file=sys.stderr)
        print(f"what to do: {error.remediation}", file=sys.stderr)
        return 1


def parse(argv: Sequence[str]) -> tuple[str, ServeOptions | FleetOptions]:
    """Return the command and its options."""
    parser, commands = _parser()
    understood, unknown = parser.parse_known_args(list(argv))
    given = vars(understood)
    command = given.pop("command")
    if unknown:
        from reactor_unit.job_spec import nearest  # after a typing error only

        guess = nearest(unknown[0].partition("=")[0], options_of(command))
        commands[command].error(f"unrecognized arguments: {' '.join(unknown)}.{guess}")
    return command, FleetOptions(**given) if command == "fleet" else ServeOptions(**given)


def options_of(command: str) -> dict[str, tuple[tuple[str, ...], str]]:
    """Return the options of `serve`, `safe` or `fleet`, for a shell: what each may be (if few), and its help."""
    return {
        option: (tuple(action.choices or ()), action.help or "")
        for action in _parser()[1][command]._actions
        for option in action.option_strings
        if option.startswith("--")
    }


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of the command line, and that of each command."""
    parser = argparse.ArgumentParser(prog="reactor-unit", description="Run one small bioreactor.")
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve", description="Serve this machine's reactor until Ctrl-C or SIGTERM.")
    serving.add_argument("--name", help="the unit's name (default: HOSTNAME, else this machine's name)")
    serving.add_argument("--port", type=_port, help="port to listen on, 0 for a free one (default: [http] port, 4999)")
    serving.add_argument(
        "--system",
        choices=("real", "dry"),
        help="run commands that reboot, power off or set the clock, or only write them down "
        "(default: dry on simulated hardware, else real)",
    )
    serving.add_argument(
        "--no-monitor", dest="monitor", action="store_false", help="do not run the job `monitor` ([monitor] enabled=0)"
    )
    safing = commands.add_parser("safe", description="Drive all outputs of this machine's reactor to their safe state.")
    fleet = commands.add_parser(
        "fleet",
        description="Run many simulated units until Ctrl-C or SIGTERM. "
        "When all of them listen, one line of JSON on stdout names them.",
    )
    _add_fleet_options(fleet)
    for each in (serving, fleet):
        _add_unit_options(each)
    for each in (serving, safing):
        each.add_argument(
            "--hardware",
            default="auto",
            choices=("auto", "pi", "simulated"),
            help="the reactor's hardware (default: auto, a Raspberry Pi when this is one, else simulated)",
        )
        each.add_argument("--dot", metavar="DIR", help="data folder (default: DOT_PIOREACTOR, else ~/.pioreactor)")
    return parser, {"serve": serving, "safe": safing, "fleet": fleet}


def _add_fleet_options(fleet: argparse.ArgumentParser) -> None:
    fleet.add_argument("--units", type=_units, required=True, metavar="N", help="how many")
    fleet.add_argument("--name", default="unit", help="what units are called, with a number behind it (default: unit)")
    fleet.add_argument(
        "--folder", metavar="DIR", help="where their folders are, and stay (default: removed at the end)"
    )
    fleet.add_argument("--monitor", action="store_true", help="run the job `monitor` on each, 5 MB more a unit")
    fleet.add_argument(
        "--first-port", type=_port, metavar="PORT", help="port of the first; the others follow (default: free ones)"
    )


def _add_unit_options(serving: argparse.ArgumentParser) -> None:
    serving.add_argument("--host", help="address to listen on (default: [http] host, 127.0.0.1)")
    serving.add_argument(
        "--workers", type=_workers, metavar="N", help="pool workers at most (default: one a core, up to 4)"
    )
    serving.add_argument(
        "--log-level",
        type=str.upper,
        choices=LOG_LEVELS,
        help="least level that is logged (default: [logging] console_log_level, INFO)",
    )
    serving.add_argument(
        "--speed",
        type=_speed,
        metavar="FACTOR",
        help="how many seconds pass in one for the simulated reactor and the jobs on it (default: 1)",
    )
    serving.add_argument(
        "--seed", type=_seed, metavar="N", help="seed of the simulated reactor's noise (default: as it was, 0 at first)"
    )


def _whole(what: str, least: int, most: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        number = int(text)
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{number} is not {what}; use {least} to {most}")
        return number

    convert.__name__ = what.rpartition(" ")[2]  # argparse says "invalid port value"
    return convert


_port = _whole("a port", 0, 65535)
_workers = _whole("a number of workers", 1, 64)
_units = _whole("a number of units", 1, 500)
_seed = _whole("a seed", 0, 2**64 - 1)


def _speed(text: str) -> float:
    from reactor_unit.drivers.simulation.constants import FASTEST_SPEED

    number = float(text)
    if not 0.0 < number <= FASTEST_SPEED:
        raise argparse.ArgumentTypeError(f"{text} is not a speed; use a number above 0, up to {FASTEST_SPEED:g}")
    return number


_speed.__name__ = "speed"
