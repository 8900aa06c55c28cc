"""Command line: `reactor-unit system`, for the machine under the unit."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import click

from reactor_unit.client import Accepted, Json, UnitClient, UnitUnreachable
from reactor_unit.clock import utc_timestamp
from reactor_unit.console import ProgressLine, print_json, print_pairs, say
from reactor_unit.unit_target import WAIT_S, Target, unit_options

YES = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group()
@unit_options()
def system() -> None:
    """Reboot, power off, clock and web server of the machine."""


@system.command(name="reboot")
@YES
@unit_options()
@click.pass_obj
def reboot(target: Target, yes: bool) -> None:
    """Stop all jobs, then reboot the unit's machine."""
    with target.client() as unit:
        _confirm(unit, "Reboot", yes)
        _depart(target, unit, unit.reboot(), "The machine reboots.")


@system.command(name="shutdown")
@YES
@unit_options()
@click.pass_obj
def shut_down(target: Target, yes: bool) -> None:
    """Stop all jobs, then power the unit's machine off. Somebody has to switch it on again."""
    with target.client() as unit:
        _confirm(unit, "Power off", yes)
        _depart(target, unit, unit.shut_down(), "The machine powers off.")


@system.group(name="clock")
@unit_options()
def clock() -> None:
    """Show or set the clock of the unit's machine."""


@clock.command(name="show")
@unit_options()
@click.pass_obj
def show_clock(target: Target) -> None:
    """Show the unit's time, and how far it is from this computer's."""
    with target.client() as unit:
        asked = datetime.now(UTC)
        there = unit.clock()
        here = asked + (datetime.now(UTC) - asked) / 2
    ahead_s = (datetime.fromisoformat(there) - here).total_seconds()
    if target.as_json:
        print_json({"clock_time": there, "ahead_s": round(ahead_s, 3)})
    else:
        print_pairs({"unit": there, "here": utc_timestamp(here), "ahead": f"{ahead_s:.3f} s"})


@clock.command(name="set")
@click.argument("time", required=False)
@YES
@unit_options()
@click.pass_obj
def set_clock(target: Target, time: str | None, yes: bool) -> None:
    """Set the unit's clock to TIME, or to this computer's.

    TIME is such as 2026-01-31T12:45:00Z. A unit that does not lead its cluster fetches the time from the network
    instead.
    """
    with target.client() as unit:
        _confirm(unit, "Set the clock", yes)
        accepted = unit.set_clock(time or utc_timestamp())
        _carry_out(target, unit, accepted, "The clock is set.")


@system.group(name="web-server")
@unit_options()
def web_server() -> None:
    """Look at the web server, or restart it. A unit that does not lead its cluster refuses both."""


@web_server.command(name="status")
@unit_options()
@click.pass_obj
def web_server_status(target: Target) -> None:
    """Show whether the unit's processes answer."""
    with target.client() as unit:
        status = unit.web_server_status()
    if target.as_json:
        print_json(status)
    else:
        print_pairs({name: str(value) for name, value in status.items()})


@web_server.command(name="restart")
@unit_options()
@click.pass_obj
def restart_web_server(target: Target) -> None:
    """Put another web process in the place of the one there is. Jobs go on, and no request is refused."""
    with target.client() as unit:
        record = _finished(unit, unit.restart_web_server())
    if target.as_json:
        print_json(record)
    else:
        result = record["result"]
        say(f"Process {result['pid']} serves in the place of {result['previous_pid']}.")


def _confirm(unit: UnitClient, what: str, yes: bool) -> None:
    """Ask whether this is the unit that is meant, and name its running jobs."""
    if yes:
        return
    name = unit.health()["pioreactor_unit"]
    jobs = ", ".join(row["job_name"] for row in unit.running_jobs()) or "none"
    click.confirm(f"{what}: {name} at {unit.url}, running jobs: {jobs}?", abort=True, err=True)


def _depart(target: Target, unit: UnitClient, accepted: Accepted, done: str) -> None:
    """Wait for a reboot or shutdown; a machine that is gone before it could say so has done it, too."""
    try:
        _carry_out(target, unit, accepted, done)
    except UnitUnreachable:
        if target.as_json:
            print_json(accepted)
        click.echo(f"The unit at {unit.url} answers no more: its machine is going down.", err=True)


def _carry_out(target: Target, unit: UnitClient, accepted: Accepted, done: str) -> None:
    record = _finished(unit, accepted)
    if target.as_json:
        print_json(record)
        return
    result: Json = record["result"]
    command = " ".join(result["command"])
    if result["dry"]:
        say(f"Not run, since this unit's system commands are dry: {command}")
        return
    say(done)
    say(f"{command}: exit code {result['exit_code']}")
    if result["output"]:
        say(result["output"])


def _finished(unit: UnitClient, accepted: Accepted) -> Any:
    with closing(ProgressLine(sys.stderr)) as line:
        return unit.finished_task(accepted["task_id"], WAIT_S, line)
