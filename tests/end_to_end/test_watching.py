"""The job that every unit runs for itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from harness import RunningUnit, running_unit, wait_for

from reactor_unit.drivers.simulation.gpio import SimulatedGPIO

HEATER_PIN = 18


@pytest.fixture
def monitored(tmp_path: Path) -> Iterator[RunningUnit]:
    with running_unit(tmp_path, "--speed", "60", monitor=True) as unit:
        wait_for(lambda: unit.get("/jobs/running/monitor").json, "a monitor")
        yield unit


def test_it_belongs_to_the_unit_and_outlives_a_stop_of_everything(monitored: RunningUnit) -> None:
    (row,) = monitored.get("/long_running_jobs/running").json
    assert (row["job_name"], row["job_source"], row["experiment"]) == ("monitor", "system", "$experiment")
    monitored.run_stirring()
    monitored.ended(monitored.accepted("/jobs/stop/all"))
    assert [each["job_name"] for each in monitored.get("/jobs/running").json] == ["monitor"]


def test_it_tells_how_the_computer_is(monitored: RunningUnit) -> None:
    path = "/jobs/settings/job_name/monitor?typed=true"
    settings = wait_for(
        lambda: (found := monitored.get(path).json["settings"]).get("voltage_on_pwm_rail") and found,
        "the first self-check",
    )
    assert 0.0 < settings["computer_statistics"]["disk_usage_percent"] <= 100.0
    assert settings["voltage_on_pwm_rail"]["voltage"] == pytest.approx(5.1, abs=0.3)
    assert (settings["versions"]["hat"], settings["versions"]["firmware"]) == ("1.2", "0.5")
    assert settings["button_down"] is False


def test_one_that_dies_is_started_again_and_one_that_is_stopped_is_not(monitored: RunningUnit) -> None:
    (row,) = monitored.get("/jobs/running/monitor").json
    psutil.Process(row["pid"]).kill()
    again = wait_for(
        lambda: [each for each in monitored.get("/jobs/running/monitor").json if each["pid"] != row["pid"]],
        "another monitor",
    )
    assert again[0]["job_source"] == "system"
    wait_for(lambda: monitored.get("/jobs").json[0]["state"] == "ready", "a monitor that is ready")
    monitored.ended(monitored.accepted("/jobs/stop", {"job_name": "monitor"}))
    assert monitored.get("/jobs/running").json == []
    assert [each["state"] for each in monitored.get("/jobs").json] == ["disconnected", "lost"]


def test_a_heater_that_nobody_owns_is_driven_low_and_a_fault_latched(monitored: RunningUnit) -> None:
    gpio = SimulatedGPIO(monitored.run_directory / "plant.bin")  # as a program that died without a trace leaves it
    gpio.setmode(gpio.BCM)
    gpio.setwarnings(False)
    gpio.setup(HEATER_PIN, gpio.OUT, initial=gpio.HIGH)
    fault = wait_for(lambda: monitored.get("/faults").json["faults"], "a latched fault")[0]
    assert (fault["kind"], fault["jobs"]) == ("heater_board_too_hot", ["temperature_automation"])
    assert "does not run; 65 degC" in fault["message"]
    wait_for(lambda: monitored.plant().pin(HEATER_PIN).duty_cycle == 0, "a heater's pin that is low")
    gpio.close()

    def refused() -> bool:  # at first everything is, since the machine is to power off, which is dry here
        options = {"automation_name": "only_record_temperature"}
        answer = monitored.post("/jobs/run/job_name/temperature_automation", {"options": options})
        assert answer.status in (409, 429, 503)
        return answer.status == 409 and str(fault["id"]) in answer.json["error"]

    wait_for(refused, "a refusal for the fault's sake")


@pytest.mark.parametrize("how", ["flag", "configuration"])
def test_a_unit_can_do_without(tmp_path: Path, how: str) -> None:
    (tmp_path / "dot").mkdir()
    (tmp_path / "dot" / "config.ini").write_text("[monitor]\nenabled=0\n" if how == "configuration" else "")
    with running_unit(tmp_path, *(["--no-monitor"] if how == "flag" else []), monitor=True) as unit:
        unit.run_stirring()
        assert [each["job_name"] for each in unit.get("/jobs").json] == ["stirring"]
