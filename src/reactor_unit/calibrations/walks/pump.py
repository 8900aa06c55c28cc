"""Volumes by duration: run a pump for several durations, and have a person read off what it moved."""

from __future__ import annotations

from typing import Any

from reactor_unit.calibrations.fits import BadFit, fit_line_through_origin, quality
from reactor_unit.calibrations.models import PumpCalibration, RecordedData
from reactor_unit.calibrations.names import check_new_name
from reactor_unit.calibrations.protocols import Protocol, register
from reactor_unit.calibrations.schemas import to_json
from reactor_unit.calibrations.steps import ACTION, FORM, Field, Inputs, InvalidInput, Series, Step, chart, redo_button
from reactor_unit.calibrations.steps import REDO_LAST as REDO
from reactor_unit.calibrations.walk import NotPossible, Stage, Visit, Walk, bad_fit, info, naming, now, today
from reactor_unit.errors import Json

PUMPS = ("media_pump", "alt_media_pump", "waste_pump")
TASK = "calibration_pump"
TRACER_S = 1.0
LONGEST_RUN_S = 300.0  # that a pump's driver takes at once
RUNS = (4, 2, 4)  # at the shortest, the middle and the longest duration
MIN_R_SQUARED = 0.95
UNKNOWN_VOLTAGE_V = -1.0  # where the HAT does not measure it; as in the reference

_VOLUME = Field("volume_ml", "Volume moved (mL)", "float", None, None, 0.0001)


def _role(device: str) -> str:
    return device.removesuffix("_pump")


def _check(visit: Visit) -> None:
    if _role(visit.device) not in visit.config.pwm_assignment().values():
        raise NotPossible(f"No PWM channel is assigned to the {visit.device.replace('_', ' ')} in [PWM].")


def _exists(visit: Visit, name: str) -> bool:
    check_new_name(name, "calibration_name")
    return any(found.name == name for found in visit.library.calibrations.usable(visit.device))


def _run(visit: Visit, duration_s: float) -> float:
    """Run the pump and return for how many seconds it did."""
    found = visit.measure(
        TASK,
        {"pump": _role(visit.device), "duration_s": duration_s, "hz": visit.data["hz"], "dc": visit.data["dc"]},
    )
    if found["voltage_v"] is not None:
        visit.data["voltage_v"] = found["voltage_v"]
    return float(found["ran_s"])


def _show_targets(visit: Visit) -> Step:
    body = "Which volumes will the pump move in your experiments? It is measured around them."
    field = Field("mls_to_calibrate_for", "Volumes (mL)", "float_list", [1.0], None, 0.001, 1000.0)
    return Step("volume_targets", FORM, "Volumes", body, (field,))


def _answer_targets(visit: Visit, inputs: Inputs) -> str:
    visit.data["targets_ml"] = inputs["mls_to_calibrate_for"]
    return "pwm_settings"


def _show_pwm(visit: Visit) -> Step:
    fields = (
        Field("hz", "PWM frequency (Hz)", "float", 250.0, None, 0.1, 10000.0),
        Field("dc", "Duty cycle (%)", "float", 100.0, None, 0.0, 100.0),
    )
    body = "The calibration holds for this drive of the pump's motor. The suggested values suit most pumps."
    return Step("pwm_settings", FORM, "Drive", body, fields)


def _answer_pwm(visit: Visit, inputs: Inputs) -> str:
    if inputs["dc"] == 0:
        raise InvalidInput("dc 0 must be above 0: the pump would stand still.")
    visit.data.update(hz=inputs["hz"], dc=inputs["dc"])
    return "tubing_into_water"


def _show_prime(visit: Visit) -> Step:
    field = Field("prime_duration_s", "Duration (s)", "float", 15.0, None, 5.0, LONGEST_RUN_S)
    body = "The pump runs now until its tubing is full of water, without bubbles."
    return Step("prime_pump_duration", FORM, "Fill the tubing", body, (field,))


def _answer_prime(visit: Visit, inputs: Inputs) -> str:
    _run(visit, inputs["prime_duration_s"])
    return "tracer_run"


def _show_tracer(visit: Visit) -> Step:
    body = (
        "Empty the vessel at the tube's end, or set the scale to zero. The pump runs for 1 second, to learn its pace."
    )
    return Step("tracer_run", ACTION, "A first run", body)


def _answer_tracer(visit: Visit, inputs: Inputs) -> str:
    visit.data["tracer_s"] = _run(visit, TRACER_S)
    return "tracer_volume"


def _show_tracer_volume(visit: Visit) -> Step:
    return Step("tracer_volume", FORM, "What was moved?", "How much water is in the vessel?", (_VOLUME,))


def _answer_tracer_volume(visit: Visit, inputs: Inputs) -> str:
    visit.data["durations_s"] = _durations_s(visit.data["targets_ml"], inputs["volume_ml"] / visit.data["tracer_s"])
    visit.data["runs"] = [None] * sum(RUNS)
    visit.data["point"] = 0
    return "test_run"


def _durations_s(targets_ml: list[float], flow_rate_ml_per_s: float) -> list[float]:
    """Return for how long to run, from somewhat below the smallest volume to somewhat above the largest.

    >>> _durations_s([1.0, 2.0], 0.1)[::4]
    [8.0, 15.0, 22.0]
    """
    shortest_s = round(0.8 * min(targets_ml) / flow_rate_ml_per_s, 3)
    longest_s = round(1.1 * max(targets_ml) / flow_rate_ml_per_s, 3)
    if longest_s > LONGEST_RUN_S:
        raise InvalidInput(
            f"{max(targets_ml):g} mL would take {longest_s:g} s at this pace; a run may take {LONGEST_RUN_S:g} s.",
            remediation="Check the volume that was entered; else start again with smaller volumes or more duty cycle.",
        )
    middle_s = round((shortest_s + longest_s) / 2, 3)
    return [
        duration_s
        for duration_s, count in zip((shortest_s, middle_s, longest_s), RUNS, strict=True)
        for _ in range(count)
    ]


def _measured(visit: Visit) -> list[tuple[float, float]]:
    return [(run["ran_s"], run["volume_ml"]) for run in visit.data["runs"] if run is not None]


def _chart(visit: Visit, **more: Any) -> Json:
    return chart("Duration and volume", "Duration (s)", "Volume (mL)", [Series("runs", _measured(visit), **more)])


def _show_test_run(visit: Visit) -> Step:
    number, duration_s = visit.data["point"] + 1, visit.data["durations_s"][visit.data["point"]]
    body = f"Empty the vessel, or set the scale to zero. The pump runs for {duration_s:g} s."
    metadata = _chart(visit)
    if visit.data.get("last") is not None:
        metadata["actions"] = [redo_button("Do the last run again")]
    return Step("test_run", ACTION, f"Run {number} of {sum(RUNS)}", body, metadata=metadata)


def _answer_test_run(visit: Visit, inputs: Inputs) -> str:
    if inputs == REDO:
        visit.data["point"] = visit.data["last"]
        visit.data["runs"][visit.data["last"]] = None
    visit.data["last"] = None
    visit.data["ran_s"] = _run(visit, visit.data["durations_s"][visit.data["point"]])
    return "test_volume"


def _show_test_volume(visit: Visit) -> Step:
    title = f"What was moved in run {visit.data['point'] + 1} of {sum(RUNS)}?"
    return Step("test_volume", FORM, title, "How much water is in the vessel?", (_VOLUME,), _chart(visit))


def _answer_test_volume(visit: Visit, inputs: Inputs) -> str:
    runs = visit.data["runs"]
    runs[visit.data["point"]] = {"ran_s": visit.data["ran_s"], "volume_ml": inputs["volume_ml"]}
    visit.data["last"] = visit.data["point"]
    if None in runs:
        visit.data["point"] = runs.index(None)
        return "test_run"
    return _judge(visit)


def _judge(visit: Visit) -> str:
    """Save a good fit; else say what is wrong with it."""
    problems, worst = _problems(_measured(visit))
    if not problems:
        return _save(visit, {})
    curve, _ = fit_line_through_origin(*zip(*_measured(visit), strict=True))
    visit.data.update(problems=problems, worst=worst + 1, can_keep=True, bad_chart=_chart(visit, curve=curve))
    return "bad_fit"


def _problems(measured: list[tuple[float, float]]) -> tuple[list[str], int]:
    """Return what is wrong, and which point is farthest from the line."""
    durations_s, volumes_ml = zip(*measured, strict=True)
    curve, _ = fit_line_through_origin(durations_s, volumes_ml)
    misfits = [abs(volume_ml - curve.y_at(at_s)) / curve.y_at(at_s) for at_s, volume_ml in measured]
    worst = misfits.index(max(misfits))
    r_squared = quality(curve, durations_s, volumes_ml).r_squared
    if r_squared >= MIN_R_SQUARED:
        return [], worst
    return [
        f"The volumes do not lie on a line through the origin: R2 is {r_squared:.3f}, and has to be at least "
        f"{MIN_R_SQUARED}. Run {worst + 1} is {misfits[worst]:.0%} off."
    ], worst


def _named(visit: Visit) -> list[str]:
    return [f"{volume_ml:g} mL in {ran_s:.2f} s" for ran_s, volume_ml in _measured(visit)]


def _repeat(visit: Visit, index: int) -> str:
    visit.data["runs"][index] = None
    visit.data.update(point=index, last=None)
    return "test_run"


def _save(visit: Visit, _inputs: Inputs) -> str:
    measured = _measured(visit)
    durations_s, volumes_ml = zip(*measured, strict=True)
    curve, error = fit_line_through_origin(durations_s, volumes_ml)
    slope = curve.coefficients[0]
    if slope <= 0:
        raise BadFit("The pump moved nothing.")
    record = PumpCalibration(
        "simple_peristaltic_pump",
        visit.data["name"],
        visit.unit_name,
        now(),
        curve,
        "Duration",
        "Volume",
        RecordedData(durations_s, volumes_ml),
        visit.data["hz"],
        visit.data["dc"],
        visit.data.get("voltage_v", UNKNOWN_VOLTAGE_V),
    )
    path = visit.library.calibrations.save(visit.device, record)
    link = {"device": visit.device, "calibration_name": record.calibration_name, "path": str(path)}
    return visit.complete(
        {
            "calibration": to_json(record),
            "calibration_link": link,
            "calibrations": [link],
            "stats": {"slope": slope, "bias": 0.0, "std_slope": error, "std_bias": 0.0},
            "recommended_volume_range_ml": [slope * min(durations_s), slope * max(durations_s)],
        }
    )


register(
    Protocol(
        "duration_based",
        lambda config: PUMPS,
        title="Volumes by duration",
        description="Find how many mL the {device} moves in a second, by running it for several durations.",
        requirements=(
            "Water, and a vessel to pump it into.",
            "A scale or a measuring cylinder that shows 0.1 mL.",
            "The {device} with the tubing that it will be used with.",
        ),
        walk=Walk(
            "intro_confirm_1",
            {
                **info(
                    "intro_confirm_1",
                    "Calibrate a pump",
                    "The pump runs a dozen times, and you read off each time how much water it moved. "
                    "It takes some ten minutes.",
                    "intro_confirm_2",
                ),
                **info(
                    "intro_confirm_2",
                    "Vessels",
                    "Fill a vessel with water. Stand another one on a scale (1 g is 1 mL), or take a cylinder.",
                    "intro_confirm_3",
                ),
                **info(
                    "intro_confirm_3",
                    "Nothing in the vial",
                    "Take the pump's tubing out of the vial: nothing is to be pumped into it or out of it.",
                    "name_input",
                ),
                **naming(
                    "calibration",
                    lambda visit: f"{visit.device}-{today()}",
                    _exists,
                    lambda visit: "volume_targets",
                ),
                "volume_targets": Stage(_show_targets, _answer_targets),
                "pwm_settings": Stage(_show_pwm, _answer_pwm),
                **info(
                    "tubing_into_water",
                    "Tubing into the water",
                    "Put the end that draws into the water, the other end over the vessel to be filled.",
                    "prime_pump_duration",
                ),
                "prime_pump_duration": Stage(_show_prime, _answer_prime),
                "tracer_run": Stage(_show_tracer, _answer_tracer),
                "tracer_volume": Stage(_show_tracer_volume, _answer_tracer_volume),
                "test_run": Stage(_show_test_run, _answer_test_run),
                "test_volume": Stage(_show_test_volume, _answer_test_volume),
                **bad_fit(_named, _repeat, _save),
            },
            output=lambda device: device,
            check=_check,
        ),
    )
)
