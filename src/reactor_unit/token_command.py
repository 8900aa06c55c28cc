"""Command line: `reactor-unit token`, on the unit's own machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from reactor_unit.client import ClientError
from reactor_unit.console import print_json, say
from reactor_unit.errors import UnitError
from reactor_unit.home import DataFolder
from reactor_unit.token_file import TokenFile
from reactor_unit.unit_target import Target, unit_options

DOT = click.option("--dot", metavar="DIR", help="The unit's data folder, outside which the token is kept.")


@click.group()
@unit_options()
def token() -> None:
    """Make or revoke the administrator's token.

    The token lets others than this machine and the leader install, update and import. It belongs to the user that runs
    the command; run it as the user of the unit.
    """


@token.command(name="create")
@click.option("--replace", is_flag=True, help="Replace the token there is; the old one is worth nothing then.")
@DOT
@unit_options()
@click.pass_obj
def create_token(target: Target, replace: bool, dot: str | None) -> None:
    """Make a token, and print it. It is taken at once, also by a unit that serves already."""
    with _as_client_errors():
        file = TokenFile.find(os.environ)
        file.check_outside(DataFolder.find(dot, os.environ).path)
        made = file.create(replace=replace)
    if target.as_json:
        print_json({"token": made, "path": str(file.path)})
        return
    say(made)
    click.echo(f"Written to {file.path}. Elsewhere, put it into REACTOR_UNIT_TOKEN; who has it can run code.", err=True)


@token.command(name="path")
@unit_options()
@click.pass_obj
def show_path(target: Target) -> None:
    """Print where the token is kept, or would be."""
    path = str(TokenFile.find(os.environ).path)
    if target.as_json:
        print_json({"path": path})
    else:
        say(path)


@token.command(name="revoke")
@unit_options()
@click.pass_obj
def revoke_token(target: Target) -> None:
    """Delete the token: whoever has it can do nothing with it any more."""
    with _as_client_errors():
        file = TokenFile.find(os.environ)
        file.revoke()
    if target.as_json:
        print_json({"revoked": str(file.path)})
    else:
        say(f"Revoked: {file.path} is deleted.")


@contextmanager
def _as_client_errors() -> Iterator[None]:
    """Let errors of this machine leave as those of a unit do: what, why, and what to do."""
    try:
        yield
    except UnitError as ex:
        raise ClientError(ex.message, cause=ex.cause, remediation=ex.remediation) from ex
