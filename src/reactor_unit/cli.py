"""Command line of `reactor-unit`, for everything but the serving processes themselves."""

from __future__ import annotations

import importlib
import json
import keyword
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import click
from click.shell_completion import CompletionItem

from reactor_unit import __version__
from reactor_unit.client import (
    DEFAULT_URL,
    Accepted,
    ClientError,
    JobRow,
    Progress,
    TaskRecord,
    UnitAnswerError,
    UnitClient,
    UnitUnreachable,
    completed,
)
from reactor_unit.console import (
    ProgressLine,
    print_findings,
    print_json,
    print_pairs,
    print_table,
    report,
    say,
    text_of,
)
from reactor_unit.errors import UnitError
from reactor_unit.follow import followed, print_readings
from reactor_unit.simulate_command import simulate
from reactor_unit.token_file import TokenFile

EXIT_REFUSED = 1
EXIT_UNREACHABLE = 3
EXIT_INTERRUPTED = 130
WAIT_S = 60.0
LONG_WAIT_S = 3600.0
CHECK_WAIT_S = 300.0  # the check itself is ended after 120 s; others' tasks may be before it

EPILOG = """\b
Exit codes:
  0    done
  1    the unit answered with an error, a task or a check failed, or a task was not done in time
  2    the command was not understood
  3    no unit answers
  130  interrupted with Ctrl-C
"""

Command = TypeVar("Command", bound=Callable[..., Any])
ELSEWHERE = {  # commands that have a module of their own
    "calibrate": "calibrate_command",
    "calibrations": "calibrations_command",
    "export": "files_command",
    "files": "files_command",
    "import": "import_command",
    "install-service": "install_service",
    "plugins": "plugins_command",
    "poll": "poll_command",
    "self-test": "self_test_command",
    "system": "system_command",
    "token": "token_command",
    "update": "update_command",
    "vial": "vial_command",
}


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


class UnitGroup(click.Group):
    """A group whose commands report a ClientError readably and end with its exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, those of other modules too."""
        return sorted([*super().list_commands(ctx), *(ELSEWHERE if ctx.parent is None else ())])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; those of other modules, which build on this one, are imported when they are wanted."""
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
    names = ", ".join(_job(row) for row in rows) or "none"
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


@cli.group()
@unit_options()
def jobs() -> None:
    """Run, stop and list jobs."""


@jobs.command(
    name="run",
    context_settings={"ignore_unknown_options": True},
    short_help="Run a job, with any option of the job.",
    epilog="Example: reactor-unit jobs run stirring --target-rpm 400",
)
@click.argument("name")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[--OPTION VALUE]...")
@click.option("--experiment", metavar="E", help="Experiment the job belongs to.")
@click.option("--job-source", metavar="S", help="Who starts the job; the unit says user when not given.")
@click.option(
    "--config-override",
    "config_overrides",
    nargs=3,
    multiple=True,
    metavar="SECTION OPTION VALUE",
    help="Use another value of the configuration for this run; may be repeated.",
)
@click.option("--no-wait", is_flag=True, help="Do not wait until the job is ready.")
@unit_options()
@click.pass_obj
def run_job(
    target: Target,
    name: str,
    words: tuple[str, ...],
    experiment: str | None,
    job_source: str | None,
    config_overrides: tuple[tuple[str, str, str], ...],
    no_wait: bool,
) -> None:
    """Run job NAME, or one of its commands, and wait until it is ready or done.

    Every option that is not listed here goes to the job as it is: `--target-rpm 400`, `--target-rpm=400` or a bare
    flag. What follows `--` goes to the job even if it is listed here.
    """
    if name.startswith("-"):
        raise click.UsageError("The job's name comes before its options.")
    with target.client() as unit:
        accepted = unit.run_job(
            name, args=words, experiment=experiment, job_source=job_source, config_overrides=config_overrides
        )
        if no_wait:
            _print_accepted(target, accepted)
            return
        record = wait(unit, accepted["task_id"], WAIT_S)
    if target.as_json:
        print_json(record)
        return
    result = record.get("result")
    job_id = result.get("job_id") if isinstance(result, dict) else None
    if isinstance(result, dict) and result.get("state") == "disconnected":
        say(f"{name} is done.")
        return
    say(f"{name} runs." if job_id is None else f"{name} runs as job {job_id}.")


def _not_empty(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value == "":
        raise click.BadParameter("is empty; leave it out, or say which jobs are meant.")
    return value


@jobs.command(name="stop")
@click.argument("name", required=False, callback=_not_empty)
@click.option("--experiment", metavar="E", callback=_not_empty, help="Only jobs of this experiment.")
@click.option("--job-source", metavar="S", callback=_not_empty, help="Only jobs started by this source.")
@click.option("--job-id", metavar="ID", callback=_not_empty, help="Only the job of this number.")
@click.option("--all", "everything", is_flag=True, help="Every job.")
@unit_options()
@click.pass_obj
def stop_jobs(
    target: Target,
    name: str | None,
    experiment: str | None,
    job_source: str | None,
    job_id: str | None,
    everything: bool,
) -> None:
    """Stop the jobs that match everything given. Waits until they are gone and their outputs are safe."""
    is_filtered = any(word is not None for word in (name, experiment, job_source, job_id))
    if everything and is_filtered:
        raise click.UsageError("--all stops every job; leave it out to stop only those that match.")
    if not everything and not is_filtered:
        raise click.UsageError("Say which jobs: NAME, --experiment, --job-source, --job-id or --all.")
    with target.client() as unit:
        accepted = (
            unit.stop_all_jobs()
            if everything
            else unit.stop_jobs(job_name=name, experiment=experiment, job_source=job_source, job_id=job_id)
        )
        record = wait(unit, accepted["task_id"], WAIT_S)
    if target.as_json:
        print_json(record)
        return
    result = record.get("result")
    stopped = result.get("stopped", []) if isinstance(result, dict) else []
    for row in stopped:
        say(f"Stopped {_job(row)}.")
    if not stopped:
        say("No running job matches; nothing was stopped.")


@jobs.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Ended jobs too, newest first.")
@unit_options()
@click.pass_obj
def list_jobs(target: Target, everything: bool) -> None:
    """List the running jobs."""
    with target.client() as unit:
        rows = unit.job_history() if everything else unit.running_jobs()
    if target.as_json:
        print_json(rows)
        return
    if not rows:
        say("No job has run yet." if everything else "No job is running.")
        return
    columns = {
        "name": "job_name",
        "job id": "job_id",
        "experiment": "experiment",
        "source": "job_source",
        "started": "started_at",
    }
    if everything:
        columns |= {"ended": "ended_at", "state": "state"}
        if any(row.get("cause") for row in rows):
            columns["cause"] = "cause"
    print_table(list(columns), [[text_of(row.get(key)) for key in columns.values()] for row in rows])


class SettingsGroup(UnitGroup):
    """`settings get JOB` may be written `settings JOB`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Take a word that is no command as the job of `get`."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["get", *args]
        return super().resolve_command(ctx, args)


@cli.group(cls=SettingsGroup)
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


@cli.command()
@click.argument("names", nargs=-1)
@click.option("--since", metavar="TIME", help="Begin here: 2026-01-31T12:45:00Z, or seconds since 1970.")
@click.option("--until", metavar="TIME", help="End before this time.")
@click.option("--limit", type=click.IntRange(1, 100_000), metavar="N", help="At most this many; 1000 if not given.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--names", "only_names", is_flag=True, help="List the names there are readings of.")
@click.option("--follow", is_flag=True, help="Go on with new readings until Ctrl-C.")
@unit_options()
@click.pass_obj
def readings(
    target: Target,
    names: tuple[str, ...],
    since: str | None,
    until: str | None,
    limit: int | None,
    as_csv: bool,
    only_names: bool,
    follow: bool,
) -> None:
    """Show what was measured, in the order of time.

    These are the readings of NAMES, such as `od.*`, or of all; the newest, or with --since the first from then on.
    """
    if follow and (until is not None or only_names):
        raise click.UsageError("--follow has no end; leave out --until and --names.")
    with target.client() as unit:
        if only_names:
            _print_names(target, unit.reading_names())
        elif follow:
            with closing(followed(unit, names, since=since, limit=limit)) as new:
                for count, batch in enumerate(new):
                    print_readings(batch, as_csv=as_csv, as_json=target.as_json, headers=count == 0)
        elif as_csv:
            click.echo(unit.readings_csv(names, since=since, until=until, limit=limit), nl=False)
        else:
            found = unit.readings(names, since=since, until=until, limit=limit)
            if target.as_json:
                print_json({"readings": found})
            elif found:
                print_table(
                    ["time", "name", "value"],
                    [[one["timestamp"], one["name"], f"{one['value']:g}"] for one in found],
                )
            else:
                say("There are no such readings.")


@cli.group(invoke_without_command=True)
@unit_options()
@click.pass_context
def faults(ctx: click.Context) -> None:
    """Show latched faults, and clear them.

    A latched fault keeps the jobs that it concerns from starting, until somebody clears it.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_faults)


@faults.command(name="list")
@unit_options()
@click.pass_obj
def list_faults(target: Target) -> None:
    """List the latched faults, and what to do about each."""
    with target.client() as unit:
        found = unit.faults()
    if target.as_json:
        print_json({"faults": found})
        return
    for fault in found:
        print_pairs(
            {
                "fault": f"{fault['id']} ({fault['kind']})",
                "what": fault["message"],
                "found by": fault["job_name"] or "the unit at its start",
                "at": fault["at"],
                "keeps from starting": ", ".join(fault["jobs"]),
                "what to do": fault["remediation"],
            }
        )
    if not found:
        say("No fault is latched.")


@faults.command(name="clear")
@click.argument("fault_id", metavar="ID")
@unit_options()
@click.pass_obj
def clear_fault(target: Target, fault_id: str) -> None:
    """Clear the latched fault ID, once its cause is gone. The jobs it concerns may start again."""
    with target.client() as unit:
        fault = unit.clear_fault(fault_id)
    if target.as_json:
        print_json({"cleared": fault})
    else:
        say(f"Fault {fault['id']} ({fault['kind']}) is cleared.")


def _print_names(target: Target, names: list[str]) -> None:
    if target.as_json:
        print_json({"names": names})
        return
    for name in names:
        say(name)


@cli.group()
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


@cli.command()
@click.option("--pumps", is_flag=True, help="Run each pump for a second. Put their tubes into beakers first.")
@click.option(
    "--model",
    nargs=2,
    metavar="NAME VERSION",
    help="Look for the chips of this model, such as `pioreactor_20ml 1.5`, instead of the configured one's.",
)
@click.option("--local", is_flag=True, help="Check in this process, without asking a unit.")
@click.option("--dot", metavar="DIR", help="Data folder, when no unit serves (default: as for `serve`).")
@click.option(
    "--hardware",
    type=click.Choice(("auto", "pi", "simulated")),
    default="auto",
    show_default=True,
    help="The reactor's hardware, when no unit serves.",
)
@unit_options()
@click.pass_obj
def doctor(
    target: Target, pumps: bool, model: tuple[str, str] | None, local: bool, dot: str | None, hardware: str
) -> None:
    """Check data folder and hardware, and say what to do.

    The unit at the URL checks itself; outputs that its jobs hold are left alone. When no URL is given and no unit
    serves at the usual one, this command checks this machine's reactor, and no unit can start meanwhile. It takes
    about 20 s. The stirrer turns, the infrared LED lights and the heater warms for some seconds; pumps stand unless
    --pumps is given. The exit code is 1 when a check failed.
    """
    result = None if local else _checked_by_unit(target, model, pumps)
    if result is None:
        result = _checked_here(dot, hardware, model, pumps)
    if pumps and not target.as_json and _is_asked_by_a_person():
        result = _with_readings(result)
    if target.as_json:
        print_json(result)
    else:
        print_findings(result["findings"])
    if not result["ok"]:
        click.get_current_context().exit(EXIT_REFUSED)


def _checked_by_unit(target: Target, model: tuple[str, str] | None, pumps: bool) -> dict[str, Any] | None:
    """Return what a unit finds; None when none serves at the usual URL, which nobody asked for by name."""
    name, version = model or (None, None)
    with target.client() as unit:
        try:
            accepted = unit.check_hardware(model_name=name, model_version=version, pumps=pumps)
        except UnitUnreachable:
            if target.url == DEFAULT_URL:
                return None
            raise
        click.echo(f"The unit at {unit.url} checks itself.", err=True)
        result: dict[str, Any] = wait(unit, accepted["task_id"], CHECK_WAIT_S)["result"]
    return result


def _is_asked_by_a_person() -> bool:
    return sys.stdin.isatty()


def _with_readings(result: dict[str, Any]) -> dict[str, Any]:
    """Return the result with what a person reads off the beakers of the pumps that ran."""
    from reactor_unit.drivers.checks import FAIL, PUMPS, judge_volume

    findings = []
    for finding in result["findings"]:
        pump = finding["name"].removeprefix("pump_")
        if pump in PUMPS and finding["status"] == "skipped":
            text = click.prompt(
                f"ml in the beaker of the {pump} pump (empty: not read)", default="", show_default=False
            )
            if text:
                finding = judge_volume(pump, click.FLOAT(text)).as_dict()
        findings.append(finding)
    return {"ok": all(finding["status"] != FAIL for finding in findings), "findings": findings}


def _checked_here(dot: str | None, hardware: str, model: tuple[str, str] | None, pumps: bool) -> dict[str, Any]:
    from reactor_unit.doctor import check_locally  # drivers and workers: no other command needs them
    from reactor_unit.drivers.errors import HardwareFault
    from reactor_unit.errors import from_exception

    click.echo("No unit is asked; this process checks the reactor of this machine.", err=True)
    try:
        with closing(ProgressLine(sys.stderr)) as line:
            return check_locally(
                dot,
                hardware,
                model=model,
                pumps=pumps,
                progress=lambda done, total, name: line(Progress(done, total, name)),
            )
    except (UnitError, HardwareFault) as ex:
        error = from_exception(ex)
        raise ClientError(error.message, cause=error.cause, remediation=error.remediation) from ex


cli.add_command(simulate)


def wait(unit: UnitClient, task_id: str, timeout_s: float) -> TaskRecord:
    """Return the finished task's record, showing progress meanwhile; Ctrl-C says that the task goes on."""
    try:
        with closing(ProgressLine(sys.stderr)) as line:
            return unit.finished_task(task_id, timeout_s, line)
    except KeyboardInterrupt:
        click.echo(f"Task {task_id} goes on; `reactor-unit tasks wait {task_id}` shows how it ends.", err=True)
        raise


def _print_accepted(target: Target, accepted: Accepted) -> None:
    if target.as_json:
        print_json(accepted)
    else:
        say(f"Accepted as task {accepted['task_id']}.")


def _job(row: JobRow | dict[str, Any]) -> str:
    return f"{row['job_name']} (job {row['job_id']})"
