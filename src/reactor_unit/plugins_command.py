"""Command line: `reactor-unit plugins`."""

from __future__ import annotations

import os
from typing import Any

import click

from reactor_unit.console import print_json, print_table, say, text_of
from reactor_unit.unit_target import LONG_WAIT_S, Target, unit_options, wait


@click.group()
@unit_options()
def plugins() -> None:
    """List, install and uninstall plugins."""


@plugins.command(name="list")
@unit_options()
@click.pass_obj
def list_plugins(target: Target) -> None:
    """List the plugins, and what keeps one from being used."""
    with target.client() as unit:
        found = unit.plugins()
    if target.as_json:
        print_json(found)
    elif not found:
        say("There are no plugins.")
    else:
        fields = ("name", "version", "source", "error")
        print_table(list(fields), [[text_of(one.get(field)) for field in fields] for one in found])


@plugins.command(name="install")
@click.argument("name")
@click.option("--source", help="A wheel or archive on the unit (its path), or an https URL of one.")
@unit_options()
@click.pass_obj
def install_plugin(target: Target, name: str, source: str | None) -> None:
    """Install the plugin NAME, or one version of it (NAME==1.2).

    It takes the place of any other version there is. It is installed beside the unit's program, tried there, and put in
    place only if it works. Jobs go on.
    """
    if source is not None and not source.startswith("https://"):
        source = os.path.abspath(source)
    with target.client() as unit:
        record: Any = wait(unit, unit.install_plugin(name, source)["task_id"], LONG_WAIT_S)
    if target.as_json:
        print_json(record)
        return
    result = record["result"]
    say(f"Installed {result['name']} {result['version']}.")
    _say_changes(result["changes"])


@plugins.command(name="uninstall")
@click.argument("name")
@unit_options()
@click.pass_obj
def uninstall_plugin(target: Target, name: str) -> None:
    """Uninstall the plugin NAME, or delete plugins/NAME.py."""
    with target.client() as unit:
        record: Any = wait(unit, unit.uninstall_plugin(name)["task_id"], LONG_WAIT_S)
    if target.as_json:
        print_json(record)
        return
    result = record["result"]
    if not result["uninstalled"]:
        say(result["message"])
        return
    say(f"Deleted {result['file']}." if "file" in result else f"Uninstalled {result['name']}.")
    _say_changes(result.get("changes", {}))


def _say_changes(changes: dict[str, Any]) -> None:
    for name, change in changes.items():
        say(f"{name}: {change['from'] or 'nothing'} -> {change['to'] or 'nothing'}")
