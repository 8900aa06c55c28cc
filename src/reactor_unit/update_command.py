"""Command line: `reactor-unit update`."""

from __future__ import annotations

import os
from typing import Any

import click

from reactor_unit.console import print_json, say
from reactor_unit.unit_target import LONG_WAIT_S, Target, unit_options, wait


@click.command()
@click.option("--source", help="A wheel or archive on the unit: its path.")
@click.option("--version", help="Which version to fetch; the newest if neither is given.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@unit_options()
@click.pass_obj
def update(target: Target, source: str | None, version: str | None, yes: bool) -> None:
    """Update the program of the unit. Its jobs end when it restarts.

    The new version is installed beside the one there is, checked, and started once for a try; if it does not serve
    after the restart, the one there was is put back.
    """
    with target.client() as unit:
        if not yes:
            name, jobs = unit.health()["pioreactor_unit"], unit.running_jobs()
            running = ", ".join(row["job_name"] for row in jobs) or "none"
            click.confirm(f"Update {name} at {unit.url}, and end its jobs ({running})?", abort=True, err=True)
        path = None if source is None else os.path.abspath(source)
        record: Any = wait(unit, unit.update(source=path, version=version)["task_id"], LONG_WAIT_S)
    if target.as_json:
        print_json(record)
        return
    result = record["result"]
    say(f"Updated from {result['from']} to {result['to']}.")
    for name, error in result["broken_plugins"].items():
        say(f"The plugin {name} cannot be used: {error}")
