"""What commands that talk to a unit have in common: which unit, how to print, how to wait, how to end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from reactor_unit.client import DEFAULT_URL, Accepted, TaskRecord, UnitClient
from reactor_unit.console import ProgressLine, print_json, say
from reactor_unit.errors import UnitError
from reactor_unit.token_file import TokenFile

EXIT_REFUSED = 1
EXIT_UNREACHABLE = 3
EXIT_INTERRUPTED = 130
WAIT_S = 60.0
LONG_WAIT_S = 3600.0

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass
class Target:
    """Which unit to talk to, and how to print what it says."""

    url: str = DEFAULT_URL
    as_json: bool = False

    def client(self) -> UnitClient:
        """Return a client of the unit. A URL that cannot be one is a usage error."""
        try:
            return UnitClient(self.url, token=_token())
        except ValueError as ex:
            raise click.UsageError(f"--url: {ex}") from ex


def _token() -> str | None:
    """Return the administrator's token: REACTOR_UNIT_TOKEN, else what this user's file holds."""
    given = os.environ.get("REACTOR_UNIT_TOKEN")
    if given:
        return given
    with suppress(UnitError):  # one that cannot be used is told by whoever needs it
        return TokenFile.find(os.environ).read()
    return None


def _set_url(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Target).url = value


def _set_json(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Target).as_json = True


def unit_options(*, envvar: str | None = None) -> Callable[[Command], Command]:
    """Return a decorator that gives a command `--url` and `--json`; both may stand before or after its name."""

    def decorate(command: Command) -> Command:
        url = click.option(
            "--url",
            metavar="URL",
            envvar=envvar,
            expose_value=False,
            callback=_set_url,
            help=f"Unit to talk to; else REACTOR_UNIT_URL, else {DEFAULT_URL}.",
        )
        as_json = click.option(
            "--json",
            is_flag=True,
            expose_value=False,
            callback=_set_json,
            help="Print the unit's JSON and nothing else on stdout.",
        )
        return url(as_json(command))

    return decorate


def wait(unit: UnitClient, task_id: str, timeout_s: float) -> TaskRecord:
    """Return the finished task's record, showing progress meanwhile; Ctrl-C says that the task goes on."""
    try:
        with closing(ProgressLine(sys.stderr)) as line:
            return unit.finished_task(task_id, timeout_s, line)
    except KeyboardInterrupt:
        click.echo(f"Task {task_id} goes on; `reactor-unit tasks wait {task_id}` shows how it ends.", err=True)
        raise


def print_accepted(target: Target, accepted: Accepted) -> None:
    """Print the answer to a request whose task is not waited for."""
    if target.as_json:
        print_json(accepted)
    else:
        say(f"Accepted as task {accepted['task_id']}.")
