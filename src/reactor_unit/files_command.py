"""Command line: `reactor-unit files` and `reactor-unit export`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click

from reactor_unit.client import ClientError, Progress
from reactor_unit.console import ProgressLine, print_json, say
from reactor_unit.unit_target import WAIT_S, Target, unit_options

MB = 1_000_000

Download = Callable[[Callable[[bytes], object], Callable[[int, int | None], object]], None]

_force = click.option("--force", is_flag=True, help="Replace a file that exists.")


@click.group()
@unit_options()
def files() -> None:
    """List, download and remove files of the data folder."""


@files.command(name="ls")
@click.argument("path", default="")
@unit_options()
@click.pass_obj
def list_files(target: Target, path: str) -> None:
    """List the folder PATH, or the data folder itself."""
    with target.client() as unit:
        found = unit.folder(path)
    if target.as_json:
        print_json(found)
        return
    for name in found["dirs"]:
        say(f"{name}/")
    for name in found["files"]:
        say(name)


@files.command(name="get")
@click.argument("path")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@_force
@unit_options()
@click.pass_obj
def get_file(target: Target, path: str, file: Path | None, force: bool) -> None:
    """Download the file PATH. It becomes FILE; without FILE, it keeps its name, in this folder."""
    file = file or _here(path.rpartition("/")[2], "Name a FILE to write to.")
    with target.client() as unit:
        size = _write(file, force, lambda take, progress: unit.download_file(path, take, progress))
    _done(target, file, size)


@files.command(name="rm")
@click.argument("path")
@click.option("--yes", is_flag=True, help="Do not ask.")
@unit_options()
@click.pass_obj
def remove_file(target: Target, path: str, yes: bool) -> None:
    """Remove the file PATH from the unit's data folder."""
    if not yes:
        click.confirm(f"Remove {path} from the unit?", abort=True, err=True)
    with target.client() as unit:
        record = unit.finished_task(unit.remove_file(path)["task_id"], WAIT_S)
    if target.as_json:
        print_json(record)
    else:
        say(f"Removed {path}.")


@click.command()
@click.option(
    "--output",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to this file; else NAME_dot_pioreactor.zip in this folder.",
)
@_force
@unit_options()
@click.pass_obj
def export(target: Target, file: Path | None, force: bool) -> None:
    """Download the whole data folder as a zip archive.

    It holds configuration, calibrations, plugins and databases. The configuration may have passwords in it: keep the
    archive accordingly.
    """
    with target.client() as unit:
        file = file or _here(f"{unit.health()['pioreactor_unit']}_dot_pioreactor.zip", "Name a file with --output.")
        size = _write(file, force, unit.download_archive)
    _done(target, file, size)


def _here(name: str, remediation: str) -> Path:
    """Return a file of this folder. What a unit calls itself leads to no other one."""
    if name in ("", ".", "..") or "/" in name or not name.isprintable():
        raise ClientError(f"{name!r} is no name of a file.", remediation=remediation)
    return Path(name)


def _write(file: Path, force: bool, download: Download) -> int:
    """Download into `file`, which is there when all of it is; return its size."""
    if not force and os.path.lexists(file):
        raise click.ClickException(f"{file} exists; --force replaces it.")
    part = file.with_name(f"{file.name}.part")
    try:
        try:
            with open(part, "wb") as out, closing(ProgressLine(sys.stderr)) as line:
                download(out.write, lambda done, total: _show(line, done, total))
            size = part.stat().st_size
            os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)
    except OSError as ex:
        raise click.ClickException(f"{file} cannot be written: {ex.strerror}.") from ex
    return size


def _show(line: ProgressLine, done: int, total: int | None) -> None:
    if done >= MB:  # what is smaller is there before anybody looks
        line(Progress(round(done / MB, 1), None if total is None else round(total / MB, 1), "MB"))


def _done(target: Target, file: Path, size: int) -> None:
    if target.as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        say(f"Wrote {size} bytes to {file}.")
