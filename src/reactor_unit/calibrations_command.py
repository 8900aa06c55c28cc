"""Command line: `reactor-unit calibrations`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click
from marshmallow import ValidationError

from reactor_unit.calibrations.curves import Curve, domain_of, is_monotonic
from reactor_unit.calibrations.fields import PIECEWISE_KINDS, CurveField
from reactor_unit.client import ClientError, Json
from reactor_unit.console import print_json, print_pairs, print_table, say, text_of
from reactor_unit.problems import sentences
from reactor_unit.text_plot import text_plot
from reactor_unit.unit_target import Target, unit_options

PLOT_HEIGHT = 20
CURVE_POINTS = 200
UNSEEN = ("calibration_name", "curve_data_", "recorded_data", "is_active", "pioreactor_unit")


@click.group()
@unit_options()
def calibrations() -> None:
    """List, show, plot, activate, delete, export calibrations."""


@calibrations.command(name="list")
@click.argument("device", required=False)
@unit_options()
@click.pass_obj
def list_calibrations(target: Target, device: str | None) -> None:
    """List the calibrations of every device, or of DEVICE."""
    with target.client() as unit:
        lists = unit.calibrations(device)
    if target.as_json:
        print_json(lists if device is None else lists[device])
        return
    rows = [
        [
            name,
            text_of(one["calibration_name"]),
            "active" if one.get("is_active") else "",
            text_of(one.get("created_at")),
        ]
        for name, found in lists.items()
        for one in found
    ]
    if rows:
        print_table(["device", "name", "", "created"], rows)
    else:
        say("There are no calibrations.")


@calibrations.command(name="show")
@click.argument("device")
@click.argument("name", required=False)
@unit_options()
@click.pass_obj
def show_calibration(target: Target, device: str, name: str | None) -> None:
    """Show calibration NAME of DEVICE, or the active one."""
    with target.client() as unit:
        found = _chosen(unit, device, name)
    if target.as_json:
        print_json(found)
        return
    recorded = found.get("recorded_data") or {}
    curve = _curve(found)
    pairs = {"name": found["calibration_name"], "device": device, "active": "yes" if found.get("is_active") else "no"}
    pairs |= {key: text_of(value) for key, value in found.items() if key not in UNSEEN}
    pairs |= {"curve": text_of(found["curve_data_"]), "points": str(len(recorded.get("x", [])))}
    if recorded.get("x"):
        pairs["monotonic"] = "yes" if is_monotonic(curve, domain_of(recorded["x"])) else "no"
    print_pairs(pairs)


@calibrations.command(name="activate")
@click.argument("device")
@click.argument("name")
@unit_options()
@click.pass_obj
def activate_calibration(target: Target, device: str, name: str) -> None:
    """Make calibration NAME the active one of DEVICE."""
    with target.client() as unit:
        unit.activate_calibration(device, name)
    _done(target, f"{name} is the active calibration of {device}.")


@calibrations.command(name="deactivate")
@click.argument("device")
@unit_options()
@click.pass_obj
def deactivate_calibration(target: Target, device: str) -> None:
    """Let DEVICE have no active calibration."""
    with target.client() as unit:
        unit.deactivate_calibration(device)
    _done(target, f"{device} has no active calibration.")


@calibrations.command(name="delete")
@click.argument("device")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@unit_options()
@click.pass_obj
def delete_calibration(target: Target, device: str, name: str, yes: bool) -> None:
    """Delete calibration NAME of DEVICE."""
    if not yes:
        click.confirm(f"Delete calibration {name} of {device}?", abort=True, err=True)
    with target.client() as unit:
        unit.delete_calibration(device, name)
    _done(target, f"Deleted calibration {name} of {device}.")


@calibrations.command(name="export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@unit_options()
@click.pass_obj
def export_calibrations(target: Target, file: Path, force: bool) -> None:
    """Write the files of all calibrations into FILE, a zip archive."""
    with target.client() as unit:
        archive = unit.zipped_calibrations()
    try:
        with open(file, "wb" if force else "xb") as out:
            out.write(archive)
    except FileExistsError:
        raise click.ClickException(f"{file} exists; --force replaces it.") from None
    except OSError as ex:
        raise click.ClickException(f"{file} cannot be written: {ex.strerror}.") from ex
    _done(target, f"Wrote {len(archive)} bytes to {file}.")


@calibrations.command(name="plot")
@click.argument("device")
@click.argument("name", required=False)
@unit_options()
@click.pass_obj
def plot_calibration(target: Target, device: str, name: str | None) -> None:
    """Draw calibration NAME of DEVICE, or the active one. Its curve is dots, what was measured is o."""
    with target.client() as unit:
        found = _chosen(unit, device, name)
    curve, recorded = _curve(found), found.get("recorded_data") or {}
    measured = list(zip(recorded.get("x", []), recorded.get("y", []), strict=False))
    low, high = _range(found, [x for x, _ in measured])
    places = [low + (high - low) * step / CURVE_POINTS for step in range(CURVE_POINTS + 1)]
    drawn = [(x, curve.y_at(x)) for x in places]
    if target.as_json:
        print_json({"curve": drawn, "recorded": measured})
        return
    width = min(shutil.get_terminal_size().columns, 100)
    say(f"{found['calibration_name']} of {device}")
    for line in text_plot(drawn, measured, str(found.get("x")), str(found.get("y")), width=width, height=PLOT_HEIGHT):
        say(line)


def _chosen(unit: Any, device: str, name: str | None) -> Json:
    if name is not None:
        found: Json = unit.calibration(device, name)
        return found
    active = unit.active_calibrations().get(device)
    if active is None:
        raise ClientError(
            f"{device} has no active calibration.",
            remediation=f"Name one: `reactor-unit calibrations list {device}` lists those there are.",
        )
    return dict(active)


def _curve(found: Json) -> Curve:
    try:
        curve = CurveField("poly", *PIECEWISE_KINDS).deserialize(found.get("curve_data_"))
    except ValidationError as ex:
        raise ClientError(
            f"The curve of {found['calibration_name']} cannot be read: {' '.join(sentences('', ex.messages))}",
            remediation="Use the version of this program that the unit has.",
        ) from ex
    assert curve is not None
    return curve


def _range(found: Json, measured_x: list[float]) -> tuple[float, float]:
    """Return over which x the curve is drawn: what was measured, else its knots, else 0 to 1."""
    places = measured_x or found["curve_data_"].get("knots") or [0.0, 1.0]
    low, high = min(places), max(places)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _done(target: Target, text: str) -> None:
    if target.as_json:
        print_json({"status": "success"})
    else:
        say(text)
