"""Speeds by duty cycle: the stirrer runs by itself through a range of duty cycles while its speed is measured."""

from __future__ import annotations

from reactor_unit.calibrations.fits import BadFit, fit_spline, quality
from reactor_unit.calibrations.models import RecordedData, StirringCalibration
from reactor_unit.calibrations.protocols import Protocol, register
from reactor_unit.calibrations.steps import ACTION, Inputs, Step
from reactor_unit.calibrations.walk import Stage, Visit, Walk, info, now
from reactor_unit.calibrations.walks.pump import UNKNOWN_VOLTAGE_V

TASK = "calibration_stirring"
LOWEST_SHARE, HIGHEST_SHARE = 0.66, 1.33  # of the duty cycle that stirring starts with
MIN_POINTS = 3
MIN_R_SQUARED = 0.9


def _show(visit: Visit) -> Step:
    problems = visit.data.get("problems", [])
    body = "The stirrer now runs at several duty cycles, down, up and down again, for about a minute."
    title = "The last run made no good calibration. Run it again?" if problems else "Run it"
    return Step("run_calibration", ACTION, title, "\n".join([*problems, body]))


def _measure(visit: Visit, _inputs: Inputs) -> str:
    usual = visit.config.get_float("stirring.config", "initial_duty_cycle")
    found = visit.measure(TASK, {"min_dc": LOWEST_SHARE * usual, "max_dc": min(HIGHEST_SHARE * usual, 100.0)})
    turning = [(dc, rpm) for dc, rpm in zip(found["dcs"], found["rpms"], strict=True) if rpm > 0]
    if len(turning) < MIN_POINTS:
        raise BadFit(
            f"The stirrer turned at {len(turning)} of {len(found['dcs'])} duty cycles; {MIN_POINTS} are needed.",
            remediation="Is there a vial, does the stir bar turn, is the hall sensor plugged in? Then run it again; "
            "else set a higher initial_duty_cycle in [stirring.config].",
        )
    dcs, rpms = zip(*turning, strict=True)
    curve = fit_spline(dcs, rpms)
    found_quality = quality(curve, dcs, rpms)
    problems = []
    if found_quality.r_squared < MIN_R_SQUARED:
        problems.append(f"The speeds scatter: R2 is {found_quality.r_squared:.3f}, and has to be {MIN_R_SQUARED}.")
    if not found_quality.is_monotonic:
        problems.append("The speed does not rise with the duty cycle all the way.")
    if problems:
        visit.data["problems"] = problems
        return "run_calibration"
    voltage_v = found["voltage_v"]
    record = StirringCalibration(
        "simple_stirring",
        f"stirring-calibration-{now():%Y-%m-%d_%H-%M}",
        visit.unit_name,
        now(),
        curve,
        "DC %",
        "RPM",
        RecordedData(dcs, rpms),
        visit.config.get_float("stirring.config", "pwm_hz"),
        UNKNOWN_VOLTAGE_V if voltage_v is None else voltage_v,
    )
    path = visit.library.calibrations.save(visit.device, record)
    link = {"device": visit.device, "calibration_name": record.calibration_name, "path": str(path)}
    return visit.complete({"calibrations": [link]})


register(
    Protocol(
        "dc_based",
        lambda config: ["stirring"],
        title="Speeds by duty cycle",
        description="Find how fast the stirrer turns at each duty cycle; it runs by itself for about two minutes.",
        requirements=("A vial with a stir bar, filled as in an experiment.",),
        walk=Walk(
            "intro",
            {
                **info(
                    "intro",
                    "Calibrate the stirrer",
                    "Put in a vial with a stir bar, filled as in an experiment.",
                    "run_calibration",
                ),
                "run_calibration": Stage(_show, _measure),
            },
            output=lambda device: "stirrer",
            unlike=("stirring",),
        ),
    )
)
