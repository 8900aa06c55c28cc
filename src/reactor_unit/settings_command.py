"""`reactor-unit settings`: the settings of running jobs."""

from __future__ import annotations

import json

import click

from reactor_unit.console import print_json, print_table, say, text_of
from reactor_unit.unit_target import Target, unit_options


class SettingsGroup(click.Group):
    """`settings get JOB` may be written `settings JOB`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Take a word that is no command as the job of `get`."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["get", *args]
        return super().resolve_command(ctx, args)


@click.group(cls=SettingsGroup)
@unit_options()
def settings() -> None:
    """Show or change the settings of a running job.

    `settings JOB` is short for `settings get JOB`.
    """


@settings.command(name="get")
@click.argument("job")
@click.argument("setting", required=False)
@click.option("--typed", is_flag=True, help="Show values as JSON types, not as texts.")
@unit_options()
@click.pass_obj
def get_settings(target: Target, job: str, setting: str | None, typed: bool) -> None:
    """Show all settings of running JOB, or one SETTING."""
    show = json.dumps if typed else text_of
    with target.client() as unit:
        if setting is not None:
            value = unit.setting(job, setting, typed=typed)
            if target.as_json:
                print_json({setting: value})
            else:
                say(show(value))
            return
        values = unit.settings(job, typed=typed)
    if target.as_json:
        print_json({"settings": values})
    elif values:
        print_table(["setting", "value"], [[name, show(value)] for name, value in values.items()])
    else:
        say(f"{job} publishes no settings.")


@settings.command(name="set", context_settings={"ignore_unknown_options": True})
@click.argument("job")
@click.argument("setting")
@click.argument("value")
@unit_options()
@click.pass_obj
def set_setting(target: Target, job: str, setting: str, value: str) -> None:
    """Change SETTING of running JOB to VALUE.

    Shows the value that is then in force. The setting $state takes sleeping, ready and disconnected; quote it, or the
    shell replaces it.
    """
    with target.client() as unit:
        in_force = unit.set_setting(job, setting, value)
    if target.as_json:
        print_json({"setting": setting, "value": in_force})
    else:
        say(f"{setting} is {text_of(in_force)}.")
