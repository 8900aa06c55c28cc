"""The main job on the real path: over HTTP, through the supervisor, on the simulated reactor."""

from __future__ import annotations

import json

from harness import RunningUnit, wait_for


def measured_rpm(unit: RunningUnit) -> float:
    answer = unit.get("/jobs/settings/job_name/stirring/setting/measured_rpm")
    return json.loads(answer.json["measured_rpm"])["measured_rpm"] if answer.status == 200 else 0.0


def test_a_person_stirs_watches_the_speed_settle_and_stops(unit: RunningUnit) -> None:
    row = unit.run_stirring(target_rpm="400")
    assert row["job_name"] == "stirring"
    assert row["experiment"] == "$no_experiment_present"

    wait_for(lambda: abs(measured_rpm(unit) - 400) <= 20, "a measured speed within 5 % of 400 rpm", within_s=45)
    settings = unit.get("/jobs/settings/job_name/stirring").json["settings"]
    assert settings["target_rpm"] == "400"
    assert settings["$state"] == "ready"
    assert abs(unit.plant().true_rpm() - 400) <= 25

    stopped = unit.ended(unit.accepted("/jobs/stop", {"job_name": "stirring"}))
    assert stopped["result"] == {
        "stopped": [{"job_id": row["job_id"], "job_name": "stirring", "state": "disconnected"}]
    }
    assert not unit.stirrer_is_driven()
    assert unit.get("/jobs/running").json == []
    assert unit.get("/jobs/settings/job_name/stirring").status == 404
    (past,) = unit.get("/jobs").json
    assert past["job_id"] == row["job_id"]
    assert past["ended_at"]
