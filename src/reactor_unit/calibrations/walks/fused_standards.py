"""Fused OD from standards: one estimate of optical density from the readings at three angles."""

from __future__ import annotations

import math

from reactor_unit.calibrations.fused_od import ANGLES, MIN_LEVELS, SIGMA_FLOOR, Observation
from reactor_unit.calibrations.fused_od import fit as fit_fused
from reactor_unit.calibrations.models import FusedOdEstimator
from reactor_unit.calibrations.protocols import Protocol, register
from reactor_unit.calibrations.steps import (
    ACTION,
    FORM,
    REDO_LAST,
    Field,
    Inputs,
    Series,
    Step,
    chart,
    redo_button,
    table,
)
from reactor_unit.calibrations.walk import Stage, Visit, Walk, bad_fit, info, naming, now, today
from reactor_unit.calibrations.walks.fused import SAMPLES, exists, measure_samples, save, stirring
from reactor_unit.calibrations.walks.photodiodes import JOBS, check_three_angles
from reactor_unit.errors import Json

LARGEST_SPREAD = 0.2  # standard deviation of the samples of one standard at one angle, as a share


def _after_name(visit: Visit) -> str:
    visit.data.setdefault("standards", [])
    visit.data.setdefault("point", 0)
    return "rpm"


def _show_place(visit: Visit) -> Step:
    body = "Put in a vial with a standard of known OD600 and a stir bar. Wipe it dry before, and close the lid."
    return Step("place_standard", ACTION, f"Standard {visit.data['point'] + 1}", body)


def _show_od(visit: Visit) -> Step:
    field = Field(
        "od_value",
        "OD600 of this standard",
        "float",
        None,
        None,
        0.0001,
        bound_message="The fit is over the logarithm of the OD: a blank has no place in it.",
    )
    rows = [[number, one["od600"]] for number, one in enumerate(visit.data["standards"], 1)]
    metadata = table("Standards so far", ["#", "OD600"], rows)
    return Step("measure_standard", FORM, f"Standard {visit.data['point'] + 1}", "", (field,), metadata)


def _answer_od(visit: Visit, inputs: Inputs) -> str:
    visit.data["od_value"] = inputs["od_value"]
    return "record_observation"


def _show_record(visit: Visit) -> Step:
    body = f"The vial is now stirred and measured {SAMPLES} times; that takes about a minute."
    return Step("record_observation", ACTION, f"Measure OD600 {visit.data['od_value']:g}", body)


def _answer_record(visit: Visit, _inputs: Inputs) -> str:
    point = {"od600": visit.data["od_value"], "samples": measure_samples(visit)}
    standards = visit.data["standards"]
    standards[visit.data["point"] :] = [point, *standards[visit.data["point"] + 1 :]]
    return "remove_observation"


def _show_remove(visit: Visit) -> Step:
    return Step("remove_observation", ACTION, "Take the vial out", "Take the vial out again.")


def _answer_remove(visit: Visit, _inputs: Inputs) -> str:
    visit.data["point"] = len(visit.data["standards"]) - 1
    return "another_standard"


def _log_points(visit: Visit, angle: str) -> list[tuple[float, float]]:
    return [
        (math.log10(one["od600"]), math.log(sample[angle]))
        for one in visit.data["standards"]
        for sample in one["samples"]
        if sample[angle] > 0
    ]


def _chart(visit: Visit) -> Json:
    series = [Series(f"{angle} degrees", _log_points(visit, angle)) for angle in ANGLES]
    return chart("Standards", "log10(OD600)", "log(Voltage)", series)


def _show_another(visit: Visit) -> Step:
    body = f"At least {MIN_LEVELS} different standards are needed; more, spread over your range, are better."
    field = Field("another", "Measure another standard", "bool", True)
    metadata = {**_chart(visit), "actions": [redo_button("Measure the last standard again")]}
    return Step("another_standard", FORM, f"{len(visit.data['standards'])} measured", body, (field,), metadata)


def _answer_another(visit: Visit, inputs: Inputs) -> str:
    if inputs == REDO_LAST:
        visit.data["standards"].pop()
        visit.data["point"] = len(visit.data["standards"])
        return "place_standard"
    if inputs["another"]:
        visit.data["point"] = len(visit.data["standards"])
        return "place_standard"
    return _judge(visit)


def _judge(visit: Visit) -> str:
    """Save a good fit; else say what is wrong. Raises BadFit where there are too few standards to fit anything."""
    _estimator(visit)
    spreads = [
        (_spread([sample[angle] for sample in one["samples"]]), place, angle)
        for place, one in enumerate(visit.data["standards"])
        for angle in ANGLES
    ]
    wide = [(spread, place, angle) for spread, place, angle in spreads if spread > LARGEST_SPREAD]
    if not wide:
        return _save(visit, {})
    problems = [
        f"Standard {place + 1} reads differently each time at {angle} degrees: by {spread:.0%}, where "
        f"{LARGEST_SPREAD:.0%} would do. Was there air, a fingerprint, or no stir bar?"
        for spread, place, angle in wide
    ]
    visit.data.update(problems=problems, worst=max(wide)[1] + 1, can_keep=True, bad_chart=_chart(visit))
    return "bad_fit"


def _spread(values: list[float]) -> float:
    """Return the largest difference to the mean, as a share of it."""
    mean = sum(values) / len(values)
    return max(abs(value - mean) for value in values) / mean if mean > 0 else math.inf


def _estimator(visit: Visit) -> FusedOdEstimator:
    observations = [
        Observation(angle, one["od600"], sample[angle])
        for one in visit.data["standards"]
        for sample in one["samples"]
        for angle in ANGLES
    ]
    fitted = fit_fused(observations)
    return FusedOdEstimator(
        "od_fused_estimator",
        visit.data["name"],
        visit.unit_name,
        now(),
        visit.data["ir_led_intensity"],
        ANGLES,
        fitted.mu_splines,
        fitted.sigma_splines_log,
        fitted.min_logc,
        fitted.max_logc,
        SIGMA_FLOOR,
        fitted.recorded_data,
        "log(Voltage)",
    )


def _save(visit: Visit, _inputs: Inputs) -> str:
    return save(visit, _estimator(visit))


def _named(visit: Visit) -> list[str]:
    return [f"OD600 {one['od600']:g}" for one in visit.data["standards"]]


def _repeat(visit: Visit, index: int) -> str:
    visit.data["point"] = index
    return "place_standard"


register(
    Protocol(
        "od_fusion_standards",
        lambda config: ["od_fused"],
        title="Fused OD from standards",
        description="Fit one estimate of optical density to the readings at 45, 90 and 135 degrees together.",
        requirements=(
            "An XR model, with photodiodes at 45, 90 and 135 degrees.",
            "At least four vials of different known OD600, none of them a blank.",
            "A stir bar in each vial.",
        ),
        priority=1,
        walk=Walk(
            "intro",
            {
                **info(
                    "intro",
                    "Make an estimator for fused OD",
                    f"Have at least {MIN_LEVELS} vials ready whose OD600 you know, with a stir bar in each; no blank.",
                    "name",
                ),
                **naming(
                    "estimator",
                    lambda visit: f"od-fused-estimator-{today()}",
                    exists,
                    _after_name,
                    ask="name",
                    confirm="name_overwrite",
                ),
                **stirring(),
                "place_standard": Stage(_show_place, lambda _visit, _inputs: "measure_standard"),
                "measure_standard": Stage(_show_od, _answer_od),
                "record_observation": Stage(_show_record, _answer_record),
                "remove_observation": Stage(_show_remove, _answer_remove),
                "another_standard": Stage(_show_another, _answer_another),
                **bad_fit(_named, _repeat, _save),
            },
            output=lambda device: "stirrer",
            unlike=JOBS,
            check=check_three_angles,
        ),
    )
)
