"""Fused OD by two standards: adapt an estimator that was made before to this unit."""

from __future__ import annotations

from dataclasses import replace

from reactor_unit.calibrations.fits import BadFit
from reactor_unit.calibrations.fused_od import CannotEstimate, LogcShift, estimate
from reactor_unit.calibrations.models import FusedOdEstimator
from reactor_unit.calibrations.protocols import Protocol, register
from reactor_unit.calibrations.steps import ACTION, FORM, INFO, Field, Inputs, InvalidInput, Step
from reactor_unit.calibrations.walk import Stage, Visit, Walk, bad_fit, info, naming, now, today
from reactor_unit.calibrations.walks.fused import DEVICE, SAMPLES, exists, measure_samples, save, stirring
from reactor_unit.calibrations.walks.photodiodes import JOBS, check_three_angles, ir_led_intensity, signal_channels

STANDARDS = 2


def _show_worker(visit: Visit) -> Step:
    body = (
        "The estimators of this unit can be adapted. To use another unit's, copy its file into this unit's folder "
        f"storage/estimators/{DEVICE} first."
    )
    field = Field("source_unit", "Unit", "choice", visit.unit_name, (visit.unit_name,))
    return Step("select_worker", FORM, "Where the estimator comes from", body, (field,))


def _answer_worker(visit: Visit, inputs: Inputs) -> str:
    visit.data["source_unit"] = inputs["source_unit"]
    return "select_estimator"


def _estimators(visit: Visit) -> tuple[str, ...]:
    return tuple(found.name for found in visit.library.estimators.usable(DEVICE))


def _show_select(visit: Visit) -> Step:
    names = _estimators(visit)
    if not names:
        body = f"{visit.unit_name} has no estimator of {DEVICE}. Make one from standards, or copy one, then go on."
        return Step("select_estimator", INFO, "No estimator", body)
    field = Field("source_estimator_name", "Estimator", "choice", names[0], names)
    return Step("select_estimator", FORM, "Which estimator to adapt", "", (field,))


def _answer_select(visit: Visit, inputs: Inputs) -> str:
    if not inputs:
        return "select_worker"
    visit.data["source"] = inputs["source_estimator_name"]
    visit.data["standards"], visit.data["point"] = [], 0
    return "name"


def _show_place(visit: Visit) -> Step:
    title = f"Standard {visit.data['point'] + 1} of {STANDARDS}"
    body = "Put in a vial with a standard of known OD600 and a stir bar. Wipe it dry before, and close the lid."
    return Step("place_standard", ACTION, title, body)


def _show_od(visit: Visit) -> Step:
    field = Field("standard_od", "OD600 of this standard", "float", None, None, 1e-6)
    return Step("standard_od", FORM, f"Standard {visit.data['point'] + 1} of {STANDARDS}", "", (field,))


def _answer_od(visit: Visit, inputs: Inputs) -> str:
    visit.data["standard_od"] = inputs["standard_od"]
    return "record_observation"


def _show_record(visit: Visit) -> Step:
    body = f"The vial is now stirred and measured {SAMPLES} times; that takes about a minute."
    return Step("record_observation", ACTION, f"Measure OD600 {visit.data['standard_od']:g}", body)


def _answer_record(visit: Visit, _inputs: Inputs) -> str:
    base = _base(visit)
    angles = set(signal_channels(visit.config, DEVICE).values())
    if set(base.angles) != angles:
        raise InvalidInput(
            f"The estimator is of the angles {', '.join(base.angles)}, the photodiodes are at "
            f"{', '.join(sorted(angles))}.",
            remediation="Abort, and choose another estimator.",
        )
    samples = measure_samples(visit)
    if min(value for sample in samples for value in sample.values()) <= 0:
        raise CannotEstimate("A photodiode saw no light from the vial.", remediation="Is the vial in? Measure again.")
    ods = [estimate(base, sample) for sample in samples]
    point = {
        "standard_od": visit.data["standard_od"],
        "estimated_od": sum(ods) / len(ods),
        "estimated_ods": ods,
        "observations": samples,
    }
    standards = visit.data["standards"]
    standards[visit.data["point"] :] = [point, *standards[visit.data["point"] + 1 :]]
    return "remove_standard"


def _show_remove(visit: Visit) -> Step:
    return Step("remove_standard", ACTION, "Take the vial out", "Take the vial out again.")


def _answer_remove(visit: Visit, inputs: Inputs) -> str:
    if len(visit.data["standards"]) < STANDARDS:
        visit.data["point"] = len(visit.data["standards"])
        return "place_standard"
    try:
        _shift(visit)
    except BadFit as ex:
        visit.data.update(problems=[ex.message, ex.remediation], can_keep=False)
        return "bad_fit"
    return _save(visit, inputs)


def _base(visit: Visit) -> FusedOdEstimator:
    store = visit.library.estimators
    found: FusedOdEstimator = store.kind.load(store.find(DEVICE, visit.data["source"]).path.read_bytes())
    return found


def _shift(visit: Visit) -> LogcShift:
    first, second = ((one["standard_od"], one["estimated_od"]) for one in visit.data["standards"])
    return LogcShift.through(first, second)


def _save(visit: Visit, _inputs: Inputs) -> str:
    base, shift, source = _base(visit), _shift(visit), visit.data["source"]
    transform = {
        "type": "logc_affine",
        "scale_logc": shift.scale,
        "offset_logc": shift.offset,
        "source_unit": visit.data["source_unit"],
        "source_estimator_name": source,
        "source_ir_led_intensity": base.ir_led_intensity,
    }
    estimator = replace(
        base,
        estimator_name=visit.data["name"],
        calibrated_on_pioreactor_unit=visit.unit_name,
        created_at=now(),
        ir_led_intensity=visit.data.get("ir_led_intensity", ir_led_intensity(visit.config)),
        mu_splines={angle: shift.curve(curve) for angle, curve in base.mu_splines.items()},
        sigma_splines_log={angle: shift.curve(curve) for angle, curve in base.sigma_splines_log.items()},
        min_logc=shift.logc(base.min_logc),
        max_logc=shift.logc(base.max_logc),
        recorded_data={
            "transform": transform,
            "standards": visit.data["standards"],
            "base_recorded_data": base.recorded_data,
        },
    )
    return save(
        visit,
        estimator,
        source_unit=visit.data["source_unit"],
        source_estimator=source,
        scale_logc=shift.scale,
        offset_logc=shift.offset,
    )


def _named(visit: Visit) -> list[str]:
    return [f"OD600 {one['standard_od']:g}, estimated {one['estimated_od']:.4g}" for one in visit.data["standards"]]


def _repeat(visit: Visit, index: int) -> str:
    visit.data["point"] = index
    return "place_standard"


register(
    Protocol(
        "od_fusion_offset",
        lambda config: ["od_fused"],
        title="Fused OD by two standards",
        description="Adapt an estimator that was made before, here or on another unit, with two standards.",
        requirements=(
            "An XR model, with photodiodes at 45, 90 and 135 degrees.",
            "An estimator for fused OD to start from.",
            "Two vials of different known OD600, with a stir bar in each.",
        ),
        priority=2,
        walk=Walk(
            "intro",
            {
                **info(
                    "intro",
                    "Adapt an estimator",
                    "Have two vials ready whose OD600 you know, far apart within your range, with a stir bar in each.",
                    "select_worker",
                ),
                "select_worker": Stage(_show_worker, _answer_worker),
                "select_estimator": Stage(_show_select, _answer_select),
                **naming(
                    "estimator",
                    lambda visit: f"{visit.data['source']}-offset-{today()}",
                    exists,
                    lambda visit: "rpm",
                    ask="name",
                    confirm="name_overwrite",
                ),
                **stirring(),
                "place_standard": Stage(_show_place, lambda _visit, _inputs: "standard_od"),
                "standard_od": Stage(_show_od, _answer_od),
                "record_observation": Stage(_show_record, _answer_record),
                "remove_standard": Stage(_show_remove, _answer_remove),
                **bad_fit(_named, _repeat, _save),
            },
            output=lambda device: "stirrer",
            unlike=JOBS,
            check=check_three_angles,
        ),
    )
)
