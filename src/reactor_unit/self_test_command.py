"""Command line: `reactor-unit self-test`, which tests the reactor and says what to do about what failed."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import closing

import click

from reactor_unit.client import OUTAGE_S, ClientError, Progress, UnitClient, UnitUnreachable
from reactor_unit.console import ProgressLine, print_json, printable, say
from reactor_unit.self_test_report import FAIL, Report, Result
from reactor_unit.unit_target import EXIT_INTERRUPTED, EXIT_REFUSED, Target, unit_options

JOB = "self_test"
POLL_S = 0.25
READY_WITHIN_S = 60.0


@click.command(name="self-test")
@click.option("-k", "part", metavar="TEXT", help="Only the tests with this in their names.")
@click.option("--retry-failed", is_flag=True, help="Only the tests that failed when they were last carried out.")
@click.option("--last", is_flag=True, help="Carry out nothing; show the last result of each test.")
@unit_options()
@click.pass_context
def self_test(ctx: click.Context, part: str | None, retry_failed: bool, last: bool) -> None:
    """Test the reactor before an experiment.

    Each test says what it found, and what to do where it failed. Put a vial with water and a stir bar in, and close the
    lid. It takes about 3 minutes. Ctrl-C stops it, and what it had on goes off. The exit code is 0 if all passed.
    """
    target = ctx.ensure_object(Target)
    with target.client() as unit:
        if last:
            results: Sequence[Result] = _report(unit).results
            _show(target, results)
        else:
            results = _carry_out(ctx, target, unit, {"k": part, "retry_failed": retry_failed or None})
    if target.as_json:
        print_json({"results": [vars(result) for result in results]})
    elif results:
        _sum_up(results)
    else:
        say("No self-test was carried out yet.")
    if any(result.status == FAIL for result in results):
        ctx.exit(EXIT_REFUSED)


def _carry_out(ctx: click.Context, target: Target, unit: UnitClient, options: dict[str, object]) -> list[Result]:
    """Run the job, show each result as it comes, and return all. Raises ClientError when it ends too early."""
    given = {name: value for name, value in options.items() if value is not None}
    accepted = unit.run_job(JOB, options=given)
    try:
        job_id = str(unit.wait_for(accepted["task_id"], READY_WITHIN_S)["job_id"])
        shown: list[Result] = []
        with closing(ProgressLine(sys.stderr)) as line:
            for report in _reports(unit, job_id):
                new = report.of_newest_run()[len(shown) :]
                if new:
                    line.close()
                    _show(target, new, len(shown), len(report.planned))
                    shown += new
                if len(shown) < len(report.planned):
                    line(Progress(len(shown), len(report.planned), report.planned[len(shown)]))
    except KeyboardInterrupt:
        click.echo("\nStopping ...", err=True)
        unit.wait_for(unit.stop_jobs(job_name=JOB)["task_id"])
        click.echo("The self-test is stopped; what it had on is off.", err=True)
        ctx.exit(EXIT_INTERRUPTED)
    missing = report.planned[len(shown) :]
    if missing:
        raise ClientError(
            f"The self-test ended before {len(missing)} of its tests: {', '.join(missing)}.",
            cause="Somebody stopped it, or its process died.",
            remediation="Look into the unit's log, then run it again.",
        )
    return shown


def _reports(unit: UnitClient, job_id: str) -> Iterator[Report]:
    """Yield what the job found so far again and again, the last time when it has ended.

    A unit that is away for a moment, as while it replaces its web process, is asked again.
    """
    answered_at = time.monotonic()
    while True:
        try:
            runs = any(row["job_id"] == job_id for row in unit.running_jobs(JOB))
            report = _report(unit)
            answered_at = time.monotonic()
        except UnitUnreachable:
            if time.monotonic() - answered_at > OUTAGE_S:
                raise
        else:
            yield report
            if not runs:
                return
        time.sleep(POLL_S)


def _sum_up(results: Sequence[Result]) -> None:
    failed = sum(result.status == FAIL for result in results)
    if len(results) == 1:
        say("The test failed." if failed else "The test passed.")
    else:
        say(f"{failed} of {len(results)} tests failed." if failed else f"All {len(results)} tests passed.")


def _report(unit: UnitClient) -> Report:
    return Report.from_dict(unit.self_test_results())


def _show(target: Target, results: Sequence[Result], before: int = 0, total: int | None = None) -> None:
    """Print results, the first of which comes after `before` others of `total`; nothing where JSON is wanted."""
    if target.as_json:
        return
    total = len(results) if total is None else total
    room = max(40, shutil.get_terminal_size((100, 24)).columns - 8)
    for number, result in enumerate(results, before + 1):
        place = f"{number}/{total}"
        say(f"{place:<6}  {'FAILED' if result.status == FAIL else 'passed'}  {result.name}")
        lines = textwrap.wrap(printable(result.what), room)
        if result.remedy:
            lines += textwrap.wrap(f"-> {printable(result.remedy)}", room, subsequent_indent="   ")
        for text in lines:
            say(f"        {text}")
