"""Standards of known OD600: measure vials whose optical density is known, one after the other, then a blank."""

from __future__ import annotations

from reactor_unit.calibrations.curves import PiecewiseCubic
from reactor_unit.calibrations.fits import BadFit, fit_spline, quality
from reactor_unit.calibrations.models import OdCalibration, RecordedData
from reactor_unit.calibrations.names import check_new_name
from reactor_unit.calibrations.protocols import Protocol, register
from reactor_unit.calibrations.steps import (
    FORM,
    INFO,
    REDO_LAST,
    Field,
    Inputs,
    InvalidInput,
    Series,
    Step,
    chart,
    redo_button,
    table,
)
from reactor_unit.calibrations.walk import Stage, Visit, Walk, bad_fit, info, naming, now, today
from reactor_unit.calibrations.walks.photodiodes import (
    JOBS,
    check_photodiodes,
    measure,
    od_devices,
    rpm_field,
    signal_channels,
)
from reactor_unit.errors import Json

TASK = "calibration_od"
MIN_POINTS = 3
MIN_R_SQUARED = 0.95
RECORD, BLANK = "record another standard", "continue to blank (media only)"

Points = list[tuple[float, float]]


def _devices(visit: Visit) -> dict[str, str]:
    """Return channel -> device of what is calibrated."""
    return {channel: f"od{angle}" for channel, angle in signal_channels(visit.config, visit.device).items()}


def _exists(visit: Visit, name: str) -> bool:
    check_new_name(name, "calibration_name")
    devices = set(_devices(visit).values())
    return any(found.name == name for device in devices for found in visit.library.calibrations.usable(device))


def _after_name(visit: Visit) -> str:
    visit.data.setdefault("standards", [])
    visit.data.setdefault("point", 0)
    return "channel_confirm" if len(_devices(visit)) > 1 else "rpm_input"


def _show_channels(visit: Visit) -> Step:
    listed = "\n".join(f"channel {channel}: {device}" for channel, device in sorted(_devices(visit).items()))
    body = f"These photodiodes are calibrated together:\n{listed}"
    return Step("channel_confirm", INFO, "Photodiodes", body)


def _show_rpm(visit: Visit) -> Step:
    body = "How fast will your cultures be stirred while optical density is read?"
    return Step("rpm_input", FORM, "Stirring", body, (rpm_field(visit),))


def _answer_rpm(visit: Visit, inputs: Inputs) -> str:
    visit.data["rpm"] = inputs["rpm"]
    return "place_standard"


def _show_place(visit: Visit) -> Step:
    body = "Put in a vial with a standard of known OD600 and a stir bar. Wipe it dry before, and close the lid."
    return Step("place_standard", INFO, f"Standard {visit.data['point'] + 1}", body)


def _measured(visit: Visit) -> list[Json]:
    return [one for one in visit.data["standards"] if one is not None]


def _points(visit: Visit, channel: str) -> Points:
    return [(one["od600"], one["voltages"][channel]) for one in _measured(visit)]


def _chart(visit: Visit, curves: dict[str, PiecewiseCubic] | None = None) -> Json:
    series = [
        Series(f"{device}, channel {channel}", _points(visit, channel), (curves or {}).get(channel))
        for channel, device in sorted(_devices(visit).items())
    ]
    return chart("Standards", "OD600", "Voltage (V)", series)


def _table(visit: Visit) -> Json:
    rows = [[number, one["od600"]] for number, one in enumerate(_measured(visit), 1)]
    return table("Standards so far", ["#", "OD600"], rows)


def _show_measure(visit: Visit) -> Step:
    field = Field("od600_value", "OD600 of this standard", "float", None, None, 0.0)
    body = (
        "Enter the OD600 that your spectrophotometer shows. The vial is then stirred and measured for about a minute."
    )
    return Step("measure_standard", FORM, f"Standard {visit.data['point'] + 1}", body, (field,), _table(visit))


def _answer_measure(visit: Visit, inputs: Inputs) -> str:
    _record(visit, inputs["od600_value"])
    return _judge(visit) if visit.data.get("has_blank") else "another_standard"


def _record(visit: Visit, od600: float) -> None:
    point = {"od600": od600, "voltages": measure(visit, TASK)["voltages"]}
    standards = visit.data["standards"]
    standards[visit.data["point"] :] = [point, *standards[visit.data["point"] + 1 :]]


def _show_another(visit: Visit) -> Step:
    field = Field("next_action", "What now", "choice", RECORD, (RECORD, BLANK))
    body = "Four standards or more make a good calibration, spread over the range that you want to measure."
    metadata = {**_chart(visit), "actions": [redo_button("Measure the last standard again")]}
    return Step("another_standard", FORM, f"{len(_measured(visit))} measured", body, (field,), metadata)


def _answer_another(visit: Visit, inputs: Inputs) -> str:
    if inputs == REDO_LAST:
        visit.data["standards"].pop()
        return "place_standard"
    visit.data["point"] += 1
    return "place_standard" if inputs["next_action"] == RECORD else "place_blank"


def _show_blank(visit: Visit) -> Step:
    field = Field("od600_blank", "OD600 of the blank", "float", 0.0, None, 0.0)
    body = "Enter the OD600 of the media, usually 0. The vial is then stirred and measured."
    return Step("measure_blank", FORM, "Blank", body, (field,), {**_table(visit), **_chart(visit)})


def _answer_blank(visit: Visit, inputs: Inputs) -> str:
    _record(visit, inputs["od600_blank"])
    visit.data["has_blank"] = True
    return _judge(visit)


def _judge(visit: Visit) -> str:
    """Save good fits; else say what is wrong with each."""
    curves: dict[str, PiecewiseCubic] = {}
    problems: list[str] = []
    for channel, device in sorted(_devices(visit).items()):
        try:
            curves[channel] = fit(_points(visit, channel))
            problems += [f"{device}: {text}" for text in problems_of(curves[channel], _points(visit, channel))]
        except BadFit as ex:
            problems.append(f"{device}: {ex.message}")
    if not problems:
        return _save(visit, {})
    can_keep = len(curves) == len(_devices(visit))
    visit.data.update(problems=problems, can_keep=can_keep, bad_chart=_chart(visit, curves))
    return "bad_fit"


def fit(points: Points) -> PiecewiseCubic:
    """Return the curve through (OD600, V), every point counting alike. Raises BadFit."""
    ods, voltages_v = zip(*points, strict=True)
    return fit_spline(ods, voltages_v)


def problems_of(curve: PiecewiseCubic, points: Points) -> list[str]:
    """Return what keeps a curve from being a good calibration."""
    ods, voltages_v = zip(*points, strict=True)
    found = quality(curve, ods, voltages_v)
    problems = []
    if len(set(ods)) < MIN_POINTS:
        problems.append(f"there are {len(set(ods))} different ODs; {MIN_POINTS}, the blank included, are the least.")
    if found.r_squared < MIN_R_SQUARED:
        problems.append(f"the points scatter: R2 is {found.r_squared:.3f}, and has to be at least {MIN_R_SQUARED}.")
    if not found.is_monotonic:
        problems.append("the signal does not rise with OD600 all the way, so that a signal would mean two ODs.")
    return problems


def _named(visit: Visit) -> list[str]:
    return [
        f"OD600 {one['od600']:g}: " + ", ".join(f"{voltage_v:.4g} V" for voltage_v in one["voltages"].values())
        for one in _measured(visit)
    ]


def _repeat(visit: Visit, index: int) -> str:
    visit.data["point"] = index
    return "place_standard"


def _save(visit: Visit, _inputs: Inputs) -> str:
    links = []
    for channel, device in sorted(_devices(visit).items()):
        ods, voltages_v = zip(*_points(visit, channel), strict=True)
        record = OdCalibration(
            "od600",
            visit.data["name"],
            visit.unit_name,
            now(),
            fit(_points(visit, channel)),
            "OD600",
            "Voltage",
            RecordedData(ods, voltages_v),
            visit.data["ir_led_intensity"],
            device.removeprefix("od"),
            channel,
        )
        path = visit.library.calibrations.save(device, record)
        links.append({"device": device, "calibration_name": record.calibration_name, "path": str(path)})
    return visit.complete({"calibrations": links})


def _check(visit: Visit) -> None:
    check_photodiodes(visit)
    angles = list(signal_channels(visit.config, visit.device).values())
    if len(set(angles)) < len(angles):
        raise InvalidInput(
            "Two photodiodes have the same angle, and would make calibrations of the same name and device.",
            remediation="Give each its own angle in [od_config.photodiode_channel], or leave one out.",
        )


register(
    Protocol(
        "standards",
        od_devices,
        title="Standards of known OD600",
        description="Relate what the photodiodes read to OD600, with vials whose optical density you know.",
        requirements=(
            "Several vials of known OD600 (four or more are best), and one with media only, as the blank.",
            "A stir bar in each vial.",
            "A fixed intensity of the IR LED, and a reference photodiode.",
        ),
        walk=Walk(
            "intro",
            {
                **info(
                    "intro",
                    "Calibrate optical density",
                    "Have vials ready whose OD600 you know, and a blank with media only, a stir bar in each. "
                    "Begin with the densest or the most dilute one; the blank comes last.",
                    "name_input",
                ),
                **naming("calibration", lambda visit: f"od-cal-{today()}", _exists, _after_name),
                "channel_confirm": Stage(_show_channels, lambda _visit, _inputs: "rpm_input"),
                "rpm_input": Stage(_show_rpm, _answer_rpm),
                "place_standard": Stage(_show_place, lambda _visit, _inputs: "measure_standard"),
                "measure_standard": Stage(_show_measure, _answer_measure),
                "another_standard": Stage(_show_another, _answer_another),
                **info(
                    "place_blank",
                    "Blank",
                    "Put in the vial with media only and a stir bar. Wipe it dry before, and close the lid.",
                    "measure_blank",
                ),
                "measure_blank": Stage(_show_blank, _answer_blank),
                **bad_fit(_named, _repeat, _save),
            },
            output=lambda device: "stirrer",
            unlike=JOBS,
            check=_check,
        ),
    )
)
