"""What the protocols of fused optical density share: naming an estimator, and measuring a standard at all angles."""

from __future__ import annotations

from reactor_unit.calibrations.models import FusedOdEstimator
from reactor_unit.calibrations.names import check_new_name
from reactor_unit.calibrations.steps import FORM, Inputs, Step
from reactor_unit.calibrations.walk import Stage, Visit
from reactor_unit.calibrations.walks.photodiodes import measure, rpm_field
from reactor_unit.errors import Json

DEVICE = "od_fused"
TASK = "calibration_od_samples"
SAMPLES = 4  # of each standard, each at another speed


def exists(visit: Visit, name: str) -> bool:
    """Return whether there is an estimator of this name. Raises InvalidName."""
    check_new_name(name, "estimator_name")
    return any(found.name == name for found in visit.library.estimators.usable(DEVICE))


def stirring() -> dict[str, Stage]:
    """Return the stage `rpm`, which asks how fast to stir and goes on to `place_standard`."""

    def show(visit: Visit) -> Step:
        body = "How fast will your cultures be stirred while optical density is read?"
        return Step("rpm", FORM, "Stirring", body, (rpm_field(visit),))

    def answer(visit: Visit, inputs: Inputs) -> str:
        visit.data["rpm"] = inputs["rpm"]
        return "place_standard"

    return {"rpm": Stage(show, answer)}


def measure_samples(visit: Visit) -> list[dict[str, float]]:
    """Measure the vial several times; return angle -> signal for each."""
    found: list[dict[str, float]] = measure(visit, TASK, repeats=SAMPLES)["samples"]
    return found


def save(visit: Visit, estimator: FusedOdEstimator, **more: object) -> str:
    """Save the estimator and end the session."""
    path = visit.library.estimators.save(DEVICE, estimator)
    result: Json = {
        "title": "Estimator saved",
        "device": DEVICE,
        "estimator_name": estimator.estimator_name,
        "path": str(path),
    }
    return visit.complete({**result, **more})
