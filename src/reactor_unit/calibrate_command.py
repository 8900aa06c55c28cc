"""Command line: `reactor-unit calibrate`, which walks a person through a calibration session."""

from __future__ import annotations

import shutil
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import click
from marshmallow import ValidationError

from reactor_unit.calibrations.fields import PIECEWISE_KINDS, CurveField
from reactor_unit.client import ClientError, Json, Progress, UnitAnswerError, UnitClient
from reactor_unit.console import ProgressLine, print_json, print_table, printable, say, text_of
from reactor_unit.text_plot import text_plot
from reactor_unit.unit_target import EXIT_INTERRUPTED, Target, unit_options

REDO = "redo"
POLL_S = 0.25
PLOT_HEIGHT = 12
CURVE_POINTS = 50
LEAST_SPREAD = 0.05  # of the points of a chart: there is nothing to see in one place


@click.command()
@click.argument("device", required=False)
@click.argument("protocol", required=False)
@click.option("--resume", "session_id", metavar="ID", help="Go on with a session that was left.")
@unit_options()
@click.pass_obj
def calibrate(target: Target, device: str | None, protocol: str | None, session_id: str | None) -> None:
    """Make a calibration of DEVICE step by step.

    DEVICE is media_pump, alt_media_pump, waste_pump, stirring, od45, od90, od135, od (all photodiodes) or od_fused.
    PROTOCOL is asked for where there are several. Ctrl-C aborts the session: what runs stops, nothing is saved.
    """
    if (device is None) == (session_id is None):
        raise click.UsageError("Name a DEVICE, or a session with --resume.")
    with target.client() as unit:
        if session_id is not None:
            found = unit.session(session_id)
        else:
            found = unit.start_session(str(device), protocol or _chosen_protocol(unit, str(device)))
        session_id = found["session"]["session_id"]
        with _aborting(unit, session_id):
            found = _walked(target, unit, found)
    if target.as_json:
        print_json(found["session"])
    elif found["session"]["status"] == "aborted":
        raise ClientError("The session was aborted.", remediation="Start a new one.")
    else:
        _print_result(found["session"]["result"] or {})


def _chosen_protocol(unit: UnitClient, device: str) -> str:
    """Return the device's only protocol, or the one that is chosen."""
    protocols = [one for one in unit.calibration_protocols() if one["target_device"] == device]
    if not protocols:
        known = sorted({str(one["target_device"]) for one in unit.calibration_protocols()})
        raise ClientError(
            f"There is no way to calibrate {device!r}.", remediation=f"The devices are {', '.join(known)}."
        )
    if len(protocols) == 1:
        return str(protocols[0]["protocol_name"])
    for one in protocols:
        _tell(f"{one['protocol_name']}: {one['title']}. {one['description']}")
    names = [str(one["protocol_name"]) for one in protocols]
    return str(click.prompt("Protocol", type=click.Choice(names), default=names[0], err=True))


@contextmanager
def _aborting(unit: UnitClient, session_id: str) -> Iterator[None]:
    """Abort the session when the person leaves; when the unit is gone, say how to go on."""
    try:
        yield
    except (KeyboardInterrupt, click.Abort):
        _tell("\nAborting ...")
        unit.abort_session(session_id)
        _tell("The session is aborted; what it had on is off, and nothing was saved.")
        click.get_current_context().exit(EXIT_INTERRUPTED)
    except ClientError:
        _tell(f"The session is kept. Go on later with `reactor-unit calibrate --resume {session_id}`.")
        raise


def _walked(target: Target, unit: UnitClient, found: Json) -> Json:
    """Answer step after step until the session has ended; return it."""
    while found["session"]["status"] == "in_progress":
        _show(found["step"])
        while True:
            try:
                found = _answered(target, unit, found, _inputs(found["step"]))
                break
            except UnitAnswerError as ex:
                if ex.status not in (400, 409, 503):
                    raise
                _tell(f"error: {ex.error}")
                _tell(f"what to do: {ex.remediation}")
                found = unit.session(found["session"]["session_id"])
                if found["session"]["status"] != "in_progress":
                    break
    return found


def _answered(target: Target, unit: UnitClient, found: Json, inputs: Json) -> Json:
    """Send what was entered and wait for the next step, showing the progress of what the hardware does.

    The request waits in a thread of its own, so that Ctrl-C is heard at once.
    """
    session = found["session"]
    answers: list[Json | Exception] = []

    def send() -> None:
        try:
            with target.client() as own:
                answers.append(own.answer_session(session["session_id"], inputs, revision=session["revision"]))
        except Exception as ex:
            answers.append(ex)

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    with closing(ProgressLine(sys.stderr)) as line:
        sending.join(POLL_S)
        while sending.is_alive():
            with suppress(ClientError):
                progress = _progress(unit, session["session_id"])
                if progress is not None:
                    line(progress)
            sending.join(POLL_S)
    (answer,) = answers
    if isinstance(answer, Exception):
        raise answer
    return answer


def _progress(unit: UnitClient, session_id: str) -> Progress | None:
    task_id = unit.session(session_id)["session"].get("task_id")
    progress = unit.task(task_id).get("progress") if task_id else None
    if not isinstance(progress, dict):
        return None
    return Progress(progress["done"], progress["total"] or None, str(progress["message"]))


# Steps. What is asked and shown goes to stderr, so that stdout holds the result alone.


def _tell(text: str = "") -> None:
    for line in text.split("\n"):
        click.echo(printable(line), err=True)


def _show(step: Json) -> None:
    width = min(shutil.get_terminal_size().columns, 100)
    _tell(f"\n== {step['title']} ==")
    for line in str(step["body"] or "").split("\n"):
        _tell("\n".join(textwrap.wrap(line, width)))
    metadata = step["metadata"]
    if "chart" in metadata:
        _draw(metadata["chart"], width)
    for action in metadata.get("actions", ()):
        _tell(f"({REDO}: {action['label']})")


def _draw(chart: Json, width: int) -> None:
    for series in chart["series"]:
        points = [(point["x"], point["y"]) for point in series["points"]]
        places = [x for x, _ in points]
        if len(points) > 2 and max(places) - min(places) > LEAST_SPREAD * max(map(abs, places)):
            _tell(f"{series['label']}:")
            drawn = _curve(series, points)
            for line in text_plot(drawn, points, chart["x_label"], chart["y_label"], width=width, height=PLOT_HEIGHT):
                _tell(line)


def _curve(series: Json, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    if series.get("curve") is None:
        return []
    with suppress(ValidationError):
        curve = CurveField("poly", *PIECEWISE_KINDS).deserialize(series["curve"])
        assert curve is not None
        low, high = min(x for x, _ in points), max(x for x, _ in points)
        places = [low + (high - low) * step / CURVE_POINTS for step in range(CURVE_POINTS + 1)]
        return [(x, curve.y_at(x)) for x in places]
    return []


def _inputs(step: Json) -> Json:
    """Ask for every field of a step; `redo` is the step's button, where it has one."""
    buttons = step["metadata"].get("actions", [])
    if not step["fields"]:
        word = click.prompt("Enter to go on", default="", show_default=False, err=True)
        return dict(buttons[0]["inputs"]) if buttons and word.strip() == REDO else {}
    inputs: Json = {}
    for field in step["fields"]:
        word = _ask(field)
        if buttons and word == REDO:
            return dict(buttons[0]["inputs"])
        inputs[field["name"]] = word
    return inputs


def _ask(field: Json) -> str:
    if field.get("help_text"):
        _tell(field["help_text"])
    options = [str(option) for option in field["options"] or ()]
    if field["field_type"] == "choice" and len(options) > 1:
        for number, option in enumerate(options, 1):
            _tell(f"  {number}: {option}")
    default = field["default"]
    if isinstance(default, bool):
        default = "yes" if default else "no"
    elif isinstance(default, list):
        default = ", ".join(map(text_of, default))
    word = str(click.prompt(printable(str(field["label"])), default=default, err=True)).strip()
    is_number = field["field_type"] == "choice" and word.isdigit() and 1 <= int(word) <= len(options)
    return options[int(word) - 1] if is_number else word


def _print_result(result: Json) -> None:
    made: list[Any] = result.get("calibrations") or [result]
    rows = [
        [
            text_of(one.get("device")),
            text_of(one.get("calibration_name") or one.get("estimator_name")),
            text_of(one.get("path")),
        ]
        for one in made
    ]
    say("Saved, and active from now on:")
    print_table(["device", "name", "file"], rows)
