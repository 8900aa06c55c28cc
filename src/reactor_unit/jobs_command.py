"""`reactor-unit jobs`: run, stop and list jobs."""

from __future__ import annotations

import click

from reactor_unit.console import job_of, print_json, print_table, say, text_of
from reactor_unit.unit_target import WAIT_S, Target, print_accepted, unit_options, wait


@click.group()
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
            print_accepted(target, accepted)
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
        say(f"Stopped {job_of(row)}.")
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
