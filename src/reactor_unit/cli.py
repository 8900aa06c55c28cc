"""Command line of `reactor-unit`, for everything but the serving processes themselves."""

from __future__ import annotations

import importlib
import keyword
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from reactor_unit import __version__
from reactor_unit.client import ClientError, UnitAnswerError, UnitUnreachable
from reactor_unit.console import job_of, print_json, print_pairs, report
from reactor_unit.unit_target import EXIT_INTERRUPTED, EXIT_REFUSED, EXIT_UNREACHABLE, Target, unit_options

EPILOG = """\b
Exit codes:
  0    done
  1    the unit answered with an error, a task or a check failed, or a task was not done in time
  2    the command was not understood
  3    no unit answers
  130  interrupted with Ctrl-C
"""

ELSEWHERE = {  # commands that have a module of their own
    "calibrate": "calibrate_command",
    "calibrations": "calibrations_command",
    "doctor": "doctor_command",
    "export": "files_command",
    "faults": "faults_command",
    "files": "files_command",
    "import": "import_command",
    "install-service": "install_service",
    "jobs": "jobs_command",
    "plugins": "plugins_command",
    "poll": "poll_command",
    "readings": "readings_command",
    "self-test": "self_test_command",
    "settings": "settings_command",
    "simulate": "simulate_command",
    "system": "system_command",
    "tasks": "tasks_command",
    "token": "token_command",
    "update": "update_command",
    "vial": "vial_command",
}


class UnitGroup(click.Group):
    """A group whose commands report a ClientError readably and end with its exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, those of other modules too."""
        return sorted([*super().list_commands(ctx), *(ELSEWHERE if ctx.parent is None else ())])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; those of other modules are imported when they are wanted."""
        if ctx.parent is None and cmd_name in ELSEWHERE:
            module = importlib.import_module(f"reactor_unit.{ELSEWHERE[cmd_name]}")
            name = cmd_name.replace("-", "_")
            found: click.Command = getattr(module, f"{name}_" if keyword.iskeyword(name) else name)
            return found
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn a ClientError into words on stderr and an exit code."""
        try:
            return super().invoke(ctx)
        except ClientError as ex:
            body = ex.body if isinstance(ex, UnitAnswerError) else None
            if ctx.ensure_object(Target).as_json and body is not None:
                print_json(body)
            report(ex)
            ctx.exit(EXIT_UNREACHABLE if isinstance(ex, UnitUnreachable) else EXIT_REFUSED)


@click.group(cls=UnitGroup, epilog=EPILOG)
@unit_options(envvar="REACTOR_UNIT_URL")
@click.version_option(__version__, prog_name="reactor-unit", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Start a bioreactor unit, run its jobs and read their settings."""
    ctx.ensure_object(Target)


def run(argv: Sequence[str]) -> int:
    """Run the command line `argv`; return its exit code."""
    try:
        result = cli.main(list(argv), prog_name="reactor-unit", standalone_mode=False)
    except click.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as ex:
        ex.show()
        return ex.exit_code
    return result if isinstance(result, int) else 0


class Forwarded(click.Command):
    """A command of the serving processes, which have a command line of their own; here it can only be completed."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the options that begin with `incomplete`."""
        from reactor_unit.serve_command import options_of

        options = options_of(self.name or "")
        return [CompletionItem(one, help=text) for one, (_, text) in options.items() if one.startswith(incomplete)]


def _complete_value(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return what may follow the word before: a choice of this option, or a path."""
    from reactor_unit.serve_command import options_of

    words = ctx.params.get("words") or ("",)
    choices, _ = options_of(ctx.info_name or "").get(words[-1], ((), ""))
    if words[-1] in ("--dot", "--folder"):
        return [CompletionItem(incomplete, type="dir")]
    return [CompletionItem(one) for one in choices if one.startswith(incomplete)]


_forwarded = {"cls": Forwarded, "context_settings": {"ignore_unknown_options": True, "help_option_names": []}}
_words = click.argument("words", nargs=-1, type=click.UNPROCESSED, shell_complete=_complete_value)


@cli.command(**_forwarded, short_help="Serve this machine's reactor; see `serve --help`.")
@_words
def serve(words: tuple[str, ...]) -> None:
    """Serve this machine's reactor until told to end."""
    _become("serve", words)


@cli.command(**_forwarded, short_help="Drive all outputs to their safe state; see `safe --help`.")
@_words
def safe(words: tuple[str, ...]) -> None:
    """Drive all outputs of this machine's reactor to their safe state."""
    _become("safe", words)


@cli.command(**_forwarded, short_help="Run many simulated units; see `fleet --help`.")
@_words
def fleet(words: tuple[str, ...]) -> None:
    """Run many simulated units until told to end."""
    _become("fleet", words)


def _become(word: str, words: Iterable[str]) -> NoReturn:
    """Start over as a serving process: one that has imported click must not become the parent of all others."""
    os.execv(sys.executable, [sys.executable, "-m", "reactor_unit", word, *words])


@cli.command()
@unit_options()
@click.pass_obj
def status(target: Target) -> None:
    """Show the unit's name, version and running jobs."""
    with target.client() as unit:
        health, version, rows = unit.health(), unit.version(), unit.running_jobs()
    if target.as_json:
        print_json({"health": health, "version": version, "jobs_running": rows})
        return
    names = ", ".join(job_of(row) for row in rows) or "none"
    print_pairs(
        {
            "unit": health["pioreactor_unit"],
            "url": unit.url,
            "status": health["status"],
            "version": version,
            "time": health["utc_time"],
            "running jobs": names,
        }
    )
