"""Helpers for tests that dose on a running unit."""

from __future__ import annotations

from typing import Any

from harness import RunningUnit, wait_for

from reactor_unit.drivers.simulation.constants import FLOW_ML_PER_S

PUMPS = tuple(FLOW_ML_PER_S)


def calibrate(unit: RunningUnit, pump: str) -> None:
    """Give a pump an active calibration, its own flow."""
    flow = FLOW_ML_PER_S[pump]
    text = (
        "calibration_type: simple_peristaltic_pump\n"
        f"calibration_name: {pump}-test\n"
        "calibrated_on_pioreactor_unit: pio01\n"
        "created_at: 2031-03-04T05:06:07Z\n"
        f"curve_data_: {{type: poly, coefficients: [{flow}, 0.0]}}\n"
        f"recorded_data: {{x: [5.0, 10.0, 15.0], y: [{5 * flow}, {10 * flow}, {15 * flow}]}}\n"
        "hz: 250.0\ndc: 100.0\nvoltage: 12.0\n"
    )
    answer = unit.post(f"/calibrations/{pump}_pump", {"calibration_data": text, "set_as_active": True})
    assert answer.status == 201, answer


def calibrate_all(unit: RunningUnit) -> None:
    for pump in PUMPS:
        calibrate(unit, pump)


def start(unit: RunningUnit, name: str, options: Any = None, args: Any = None, **headers: str) -> dict[str, Any]:
    """Start an action; return its run task's final record."""

    def accepted() -> Any:  # a start less than a second after the last one is refused
        answer = unit.post(f"/jobs/run/job_name/{name}", {"options": options or {}, "args": args or []}, **headers)
        assert answer.status in (202, 429), answer
        return answer.json if answer.status == 202 else None

    return dict(unit.ended(wait_for(accepted, "an accepted start")["task_id"]))


def wait_until_over(unit: RunningUnit, name: str) -> dict[str, Any]:
    """Wait until no such job runs; return its row."""
    wait_for(lambda: unit.get(f"/jobs/running/{name}").json == [], f"the end of {name}")
    return next(row for row in unit.get("/jobs").json if row["job_name"] == name)


def dose(unit: RunningUnit, name: str, options: Any = None, args: Any = None) -> dict[str, Any]:
    """Carry out an action from its start to its end; return its row."""
    record = start(unit, name, options, args)
    assert record["status"] == "complete", record
    return wait_until_over(unit, name)


def true_volume_ml(unit: RunningUnit) -> float:
    return float(unit.plant().look().vessels.vial_ml)


def counted_ml(unit: RunningUnit) -> float:
    return float(unit.get("/vial").json["current_volume_ml"])


def pumps_on(unit: RunningUnit) -> set[str]:
    _, drives = unit.plant().look_with_drives()
    return {pump for pump in PUMPS if drives.get(pump)}


def doses(unit: RunningUnit, pump: str) -> list[float]:
    """Return the doses of a pump in the history of readings, in ml."""
    rows = unit.get(f"/readings?names=dose.{pump}").json["readings"]
    return [row["value"] if isinstance(row, dict) else row[-1] for row in rows]
