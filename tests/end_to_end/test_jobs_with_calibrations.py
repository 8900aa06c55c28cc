"""Jobs that take the active calibrations when they start, over HTTP, on a reactor 60 times as fast as the clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from calibration_examples import OD, STIRRING, replaced
from harness import RunningUnit, running_unit, wait_for

LONG_S = 20.0
STANDARD = 0.5
# What the simulated photodiode gives at 90 degrees with the infrared LED at 80 %, up to OD 1: a parabola.
CURVE = "{type: poly, coefficients: [-0.006, 0.12, 0.004]}"
OD_AT_80 = replaced(
    replaced(OD, "{type: spline, knots: [0.0, 1.0], coefficients: [[0.02, 0.3, 0.0, 0.0]]}", CURVE), "70.0", "80.0"
)


def create(unit: RunningUnit, device: str, text: str) -> Path:
    answer = unit.post(f"/calibrations/{device}", {"calibration_data": text, "set_as_active": True})
    assert answer.status == 201, answer
    return Path(answer.json["path"])


def readings(unit: RunningUnit) -> dict[str, Any]:
    """Return what od_reading publishes now, once there is a calibrated reading; empty before."""
    settings = unit.get("/jobs/settings/job_name/od_reading").json["settings"]
    if "calibrated_od2" not in settings:
        return {}
    return {name: json.loads(settings[name]) for name in ("ods", "od2", "calibrated_od2", "raw_od2")}


def test_od_reading_publishes_what_the_active_calibration_says(tmp_path: Path) -> None:
    with running_unit(tmp_path, "--speed", "60") as unit:
        create(unit, "od90", OD_AT_80)
        unit.plant().put_standard(STANDARD)
        unit.run_job("od_reading")
        published = wait_for(lambda: readings(unit), "a calibrated reading", within_s=LONG_S)
        assert published["od2"] == published["calibrated_od2"] == published["ods"]["ods"]["2"]
        assert published["od2"]["calibration_name"] == "od-demo"
        assert (published["od2"]["calibrated"], published["raw_od2"]["calibrated"]) == (1, 0)
        assert published["od2"]["od"] == pytest.approx(STANDARD, rel=0.15)
        assert published["raw_od2"]["od"] < 0.1
        assert "uses the calibration 'od-demo' of od90" in unit.log()


def test_stirring_begins_where_the_active_calibration_says(tmp_path: Path) -> None:
    with running_unit(tmp_path, "--speed", "60") as unit:
        create(unit, "stirring", STIRRING)
        unit.run_stirring(target_rpm=660)
        assert "calibration 'stirring-demo'" in unit.log()
        # 660 rpm is at 50 % in the example; the other way to know it would be to correct from 30 % up, 7.5 % at a time.
        first = unit.get("/readings?names=stirring.duty_cycle&limit=1000&since=0").json["readings"][0]
        assert first["value"] == pytest.approx(50.0)


def test_a_broken_active_file_refuses_the_start(tmp_path: Path) -> None:
    with running_unit(tmp_path) as unit:
        path = create(unit, "stirring", STIRRING)
        path.write_text("no calibration")
        answer = unit.post("/jobs/run/job_name/stirring", {})
        assert answer.status == 500
        assert str(path) in answer.json["error_info"]["cause"]
        assert unit.get("/jobs/running/stirring").json == []
