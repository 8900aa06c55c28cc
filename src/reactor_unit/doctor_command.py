"""`reactor-unit doctor`: check data folder and hardware."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Any

import click

from reactor_unit.client import DEFAULT_URL, ClientError, Progress, UnitUnreachable
from reactor_unit.console import ProgressLine, print_findings, print_json
from reactor_unit.errors import UnitError
from reactor_unit.unit_target import EXIT_REFUSED, Target, unit_options, wait

CHECK_WAIT_S = 300.0  # the check itself is ended after 120 s; others' tasks may be before it


@click.command()
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
