"""Settings changed while a job runs: over HTTP, through the supervisor, and the plant follows."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest
from harness import Answer, RunningUnit, stop_all, wait_for

SETTINGS = "/jobs/settings/job_name/stirring"


def put(unit: RunningUnit, setting: str, value: Any) -> Answer:
    return unit.ask("PUT", f"{SETTINGS}/setting/{setting}", {"value": value})


def settings(unit: RunningUnit) -> dict[str, str]:
    return dict(unit.get(SETTINGS).json["settings"])


def test_the_plant_follows_a_new_target_and_stands_still_at_0(unit: RunningUnit) -> None:
    unit.run_stirring(target_rpm=300)
    plant = unit.plant()
    answer = put(unit, "target_rpm", "700")
    assert (answer.status, answer.json) == (200, {"setting": "target_rpm", "value": 700.0})
    assert settings(unit)["target_rpm"] == "700"
    wait_for(lambda: abs(plant.true_rpm() - 700) <= 35, "a speed within 5 % of 700 rpm", within_s=45)
    assert put(unit, "target_rpm", 0).status == 200
    wait_for(lambda: plant.true_rpm() < 1, "a stirrer that stands still")
    assert put(unit, "target_rpm", 500).status == 200
    wait_for(lambda: abs(plant.true_rpm() - 500) <= 25, "a speed within 5 % of 500 rpm", within_s=45)
    assert "target_rpm changed from 0 to 500." in unit.log()


def test_a_sleeping_job_leaves_the_stirrer_off_until_it_wakes(unit: RunningUnit) -> None:
    unit.run_stirring(target_rpm=400)
    plant = unit.plant()
    assert put(unit, "$state", "sleeping").json == {"setting": "$state", "value": "sleeping"}
    assert not unit.stirrer_is_driven()
    assert settings(unit)["$state"] == "sleeping"
    assert put(unit, "target_rpm", 600).status == 200
    wait_for(lambda: plant.true_rpm() < 1, "a stirrer that stands still")
    assert not unit.stirrer_is_driven()
    assert put(unit, "$state", "ready").status == 200
    assert settings(unit)["$state"] == "ready"
    wait_for(lambda: abs(plant.true_rpm() - 600) <= 30, "a speed within 5 % of 600 rpm", within_s=45)


def test_disconnected_is_a_stop(unit: RunningUnit) -> None:
    row = unit.run_stirring()
    assert put(unit, "$state", "disconnected").json["value"] == "disconnected"
    assert not unit.stirrer_is_driven()
    assert unit.get("/jobs/running").json == []
    assert unit.get("/jobs").json[0]["job_id"] == row["job_id"]
    assert put(unit, "$state", "ready").status == 409


def test_a_speed_that_is_not_measured_cannot_be_set(unit: RunningUnit) -> None:
    unit.run_stirring(use_rpm=False)
    answer = put(unit, "target_rpm", 500)
    assert answer.status == 409
    assert "use_rpm" in answer.json["error_info"]["remediation"]
    assert put(unit, "duty_cycle", 25).json["value"] == 25.0
    assert settings(unit)["duty_cycle"] == "25"


def test_a_job_that_hangs_is_unavailable_and_a_stop_beats_the_change(unit: RunningUnit) -> None:
    row = unit.run_stirring()
    os.kill(row["pid"], signal.SIGSTOP)
    answer = put(unit, "target_rpm", 500)
    assert answer.status == 503
    assert "did not answer" in answer.json["error"]
    assert unit.get("/health").status == 200
    stopped = unit.ended(unit.accepted("/jobs/stop/all"))
    assert stopped["status"] == "complete"
    assert not unit.stirrer_is_driven()


def test_changes_in_flight_leave_threads_for_a_stop(unit: RunningUnit) -> None:
    row = unit.run_stirring()
    os.kill(row["pid"], signal.SIGSTOP)
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(put(unit, "target_rpm", 500))) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert unit.ended(unit.accepted("/jobs/stop/all"))["status"] == "complete"
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} <= {409, 503}
    assert len(answers) == 20


def test_a_web_process_that_is_replaced_hears_no_answer_of_the_last_one(unit: RunningUnit) -> None:
    row = unit.run_stirring()
    os.kill(row["pid"], signal.SIGSTOP)

    def change_in_vain() -> None:
        with pytest.raises((OSError, EOFError)):
            put(unit, "target_rpm", 111)

    thread = threading.Thread(target=change_in_vain)
    thread.start()
    web = unit.web()
    wait_for(lambda: len(web.net_connections("tcp")) > 1, "the request")
    stop_all([web])
    web.kill()
    thread.join()
    os.kill(row["pid"], signal.SIGCONT)
    wait_for(lambda: unit.web().pid != web.pid)
    answer = wait_for(lambda: put(unit, "target_rpm", 222))
    assert answer.json == {"setting": "target_rpm", "value": 222.0}
