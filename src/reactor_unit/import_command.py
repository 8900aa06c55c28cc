"""Command line: `reactor-unit import`."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import click

from reactor_unit.client import Progress, TaskRecord, UnitClient, UnitUnreachable
from reactor_unit.console import ProgressLine, print_json, say
from reactor_unit.unit_target import LONG_WAIT_S, Target, unit_options

MB = 1_000_000
RETURNS_WITHIN_S = 60.0  # a unit that starts again; a slow one stops its jobs first
AGAIN_AFTER_S = 1.0


@click.command(name="import")
@click.argument("file", type=click.File("rb"))
@click.option("--yes", is_flag=True, help="Do not ask.")
@unit_options()
@click.pass_obj
def import_(target: Target, file: BinaryIO, yes: bool) -> None:
    """Replace the unit's data folder by the archive FILE.

    FILE is as `reactor-unit export` or a Pioreactor made it. Jobs go on until all of the archive is checked and
    unpacked; then they are stopped and the unit starts again. What was there stays on the unit as a backup.
    """
    size = Path(file.name).stat().st_size if file.name != "-" else None
    if size is None:
        raise click.UsageError("FILE has to be a file: its size is sent first.")
    with target.client() as unit:
        if not yes:
            name = unit.health()["pioreactor_unit"]
            click.confirm(f"Replace all data of {name}, stopping its jobs?", abort=True, err=True)
        with closing(ProgressLine(sys.stderr)) as line:
            sent = unit.import_archive(file, lambda done, total: _show(line, done, total))
        with closing(ProgressLine(sys.stderr)) as line:
            record = _ended(unit, sent["task_id"], line)
    if target.as_json:
        print_json(record)
        return
    result = record["result"]
    say(f"Imported {result['entries']} entries, {result['bytes']} bytes. What was there is in {result['backup']}.")


def _show(line: ProgressLine, done: int, total: int | None) -> None:
    if total is not None and total >= MB:
        line(Progress(round(done / MB, 1), round(total / MB, 1), "MB sent"))


def _ended(unit: UnitClient, task_id: str, line: ProgressLine) -> TaskRecord:
    """Wait for the end of an import, over the moment in which the unit starts again."""
    silent_since: float | None = None
    while True:
        try:
            return unit.finished_task(task_id, LONG_WAIT_S, line)
        except UnitUnreachable:
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > RETURNS_WITHIN_S:
                raise
            time.sleep(AGAIN_AFTER_S)
