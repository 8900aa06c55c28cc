"""Heat over HTTP on a reactor that lives a minute in each second: held, changed, put to sleep, and faulted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Answer, RunningUnit, kill, running_unit, wait_for

HEATER_PIN = 18
JOB = "temperature_automation"
SETTINGS = f"/jobs/settings/job_name/{JOB}"


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[RunningUnit]:
    with running_unit(tmp_path, "--speed", "60", "--seed", "7", monitor=True) as unit:
        yield unit


def settings(unit: RunningUnit) -> dict[str, Any]:
    return dict(unit.get(f"{SETTINGS}?typed=true").json["settings"])


def put(unit: RunningUnit, setting: str, value: Any) -> int:
    return unit.ask("PUT", f"{SETTINGS}/setting/{setting}", {"value": value}).status


def is_heating(unit: RunningUnit) -> bool:
    return unit.plant().pin(HEATER_PIN).duty_cycle > 0


def stop(unit: RunningUnit, **filters: str) -> None:
    unit.ended(unit.accepted("/jobs/stop", filters))


def heat(unit: RunningUnit, target_c: float) -> dict[str, Any]:
    row = unit.run_job(JOB, automation_name="thermostat", target_temperature=target_c)
    wait_for(lambda: is_heating(unit), "a heater that is on")
    return row


@pytest.mark.timeout(180)
def test_the_liquid_reaches_37_degrees_and_follows_a_new_target(fast: RunningUnit) -> None:
    heat(fast, 37.0)
    plant = fast.plant()
    wait_for(lambda: abs(plant.look().vial_c - 37.0) <= 0.3, "a liquid of 37 degC", within_s=90)
    assert put(fast, "target_temperature", "35") == 200
    assert settings(fast)["target_temperature"] == 35.0
    wait_for(lambda: abs(plant.look().vial_c - 35.0) <= 0.2, "a liquid of 35 degC", within_s=60)
    assert put(fast, "target_temperature", 90) == 400
    published = settings(fast)["temperature"]
    assert set(published) == {"temperature", "timestamp"}
    readings = fast.get("/readings?names=temperature").json["readings"]
    assert readings[-1]["value"] == pytest.approx(35.0, abs=3.0)
    assert readings[0]["value"] == pytest.approx(22.0, abs=1.0)


def test_a_sleeping_job_heats_nothing_until_it_wakes(fast: RunningUnit) -> None:
    heat(fast, 37.0)
    for _ in range(3):  # at whatever moment of a reading it comes
        assert put(fast, "$state", "sleeping") == 200
        assert not is_heating(fast)
        asleep_s = fast.plant().plant_time_s()
        while fast.plant().plant_time_s() < asleep_s + 60.0:
            assert not is_heating(fast)
        assert put(fast, "$state", "ready") == 200
        wait_for(lambda: is_heating(fast), "a heater that is on")


def test_a_stuck_heater_is_latched_until_it_is_cleared(fast: RunningUnit, tmp_path: Path) -> None:
    heat(fast, 33.0)
    plant = fast.plant()
    began_s = plant.plant_time_s()
    wait_for(lambda: plant.plant_time_s() >= began_s + 600.0, "ten minutes of the reactor's")
    plant.inject("heater_stuck_on")
    faults = wait_for(lambda: fast.get("/faults").json["faults"], "a latched fault")
    assert (faults[0]["kind"], faults[0]["jobs"], faults[0]["job_name"]) == ("heater_stuck_on", [JOB], JOB)
    assert not is_heating(fast)
    # The board goes on warming: monitor finds that by itself, and has the job stopped.
    wait_for(lambda: len(fast.get("/faults").json["faults"]) == 2, "the fault that monitor finds")
    assert fast.get("/faults").json["faults"][1]["job_name"] == "monitor"
    wait_for(lambda: fast.get(f"/jobs/running/{JOB}").json == [], "the end of the job")
    plant.clear()
    options = {"options": {"automation_name": "thermostat"}}

    def refused_by_the_fault() -> Answer | None:
        answer = fast.post(f"/jobs/run/job_name/{JOB}", options)
        assert answer.status in (409, 503), answer
        return answer if answer.status == 409 else None  # until then the machine is about to power off

    refused = wait_for(refused_by_the_fault, "a machine that stays on")
    wanted = [json.loads(line) for line in (fast.run_directory / "system_actions.jsonl").read_text().splitlines()]
    assert {(each["action"], each["done"]) for each in wanted} == {("shut_down", False)}
    assert "faults clear 1" in refused.json["error_info"]["remediation"]
    assert fast.post("/jobs/run/job_name/stirring").status == 202  # which the fault does not concern
    wait_for(lambda: plant.look().board_c < 60.0, "a board that has cooled")
    for fault_id in ("1", "2"):
        assert fast.ask("DELETE", f"/faults/{fault_id}").json["cleared"]["id"] == fault_id
    assert fast.get("/faults").json == {"faults": []}
    assert fast.ask("DELETE", "/faults/1").status == 404
    fast.run_job(JOB, automation_name="only_record_temperature")


def test_the_job_itself_says_what_is_wrong_and_goes_on_without_heat(fast: RunningUnit) -> None:
    heat(fast, 33.0)
    fast.plant().inject("sensor_fallen_off")
    said = wait_for(lambda: settings(fast).get("fault"), "a fault in the job's settings")
    assert "off the heater" in said
    assert not is_heating(fast)
    assert settings(fast)["latest_event"]["event_name"] == "ErrorOccurred"
    assert settings(fast)["heater_duty_cycle"] == 0.0


def test_an_unplugged_thermometer_ends_the_job_with_its_cause(fast: RunningUnit) -> None:
    row = heat(fast, 37.0)
    fast.plant().inject("sensor_unplugged:0x4f")
    wait_for(lambda: fast.get(f"/jobs/running/{JOB}").json == [], "the end of the job")
    assert not is_heating(fast)
    ended = next(each for each in fast.get("/jobs").json if each["job_id"] == row["job_id"])
    assert "TMP1075" in ended["cause"]
    (fault,) = fast.get("/faults").json["faults"]
    assert fault["kind"] == "temperature_reading_stale"


def test_faults_outlive_the_unit_and_its_kill(tmp_path: Path) -> None:
    with running_unit(tmp_path, "--speed", "60", "--seed", "7") as unit:
        heat(unit, 37.0)
        plant = unit.plant()
        plant.inject("sensor_fallen_off")
        wait_for(lambda: unit.get("/faults").json["faults"], "a latched fault")
        wait_for(lambda: (unit.dot / "storage" / "faults.json").exists(), "the file of faults")
        plant.clear()
        unit.web().kill()
        wait_for(lambda: _faults(unit), "the fault in the next web process")
        unit.process.kill()
        unit.process.wait()
    with running_unit(tmp_path) as unit:
        (fault,) = unit.get("/faults").json["faults"]
        assert unit.post(f"/jobs/run/job_name/{JOB}", {"options": {"automation_name": "thermostat"}}).status == 409
        assert unit.ask("DELETE", f"/faults/{fault['id']}").status == 200
        unit.run_job(JOB, automation_name="only_record_temperature")
        assert unit.end() == 0
    assert json.loads((tmp_path / "dot" / "storage" / "faults.json").read_text())["faults"] == []


def _faults(unit: RunningUnit) -> Any:
    try:
        return unit.get("/faults").json["faults"]
    except OSError:
        return None


def test_an_automation_that_there_is_not_is_refused_before_anything_starts(unit: RunningUnit) -> None:
    for options in (
        {},
        {"automation_name": "turbidostat"},
        {"automation_name": "thermostat", "target_temperature": 79},
    ):
        assert unit.post(f"/jobs/run/job_name/{JOB}", {"options": options}).status == 400
    assert unit.get("/jobs").json == []


def test_the_heater_is_off_after_a_kill_of_its_job(fast: RunningUnit) -> None:
    row = heat(fast, 37.0)
    fast.plant().wait_until_off(lambda: is_heating(fast), kill(row["pid"]), 2.0)
    wait_for(lambda: fast.get(f"/jobs/running/{JOB}").json == [], "the end of the job")
    assert fast.get("/jobs").json[0]["state"] == "lost"
