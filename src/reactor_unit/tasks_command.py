"""`reactor-unit tasks`: how tasks stand."""

from __future__ import annotations

import json

import click

from reactor_unit.client import completed
from reactor_unit.console import print_json, print_pairs, say
from reactor_unit.unit_target import LONG_WAIT_S, Target, unit_options, wait


@click.group()
@unit_options()
def tasks() -> None:
    """Look at the unit's tasks."""


@tasks.command(name="show")
@click.argument("task_id", metavar="ID")
@unit_options()
@click.pass_obj
def show_task(target: Target, task_id: str) -> None:
    """Show how task ID stands. The exit code is 1 when it failed."""
    with target.client() as unit:
        record = unit.task(task_id)
    if target.as_json:
        print_json(completed(record))
        return
    pairs = {"task": record["task_id"], "status": record["status"]}
    pairs |= {name: json.dumps(record.get(name)) for name in ("progress", "result") if name in record}
    print_pairs(pairs)
    completed(record)


@tasks.command(name="wait")
@click.argument("task_id", metavar="ID")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    default=LONG_WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="Give up after this time; the task goes on.",
)
@unit_options()
@click.pass_obj
def wait_task(target: Target, task_id: str, timeout_s: float) -> None:
    """Wait until task ID has ended and show its result. Progress goes to stderr."""
    with target.client() as unit:
        record = wait(unit, task_id, timeout_s)
    if target.as_json:
        print_json(record)
        return
    say(f"Task {record['task_id']} is complete.")
    if record.get("result") is not None:
        print_json(record["result"])
