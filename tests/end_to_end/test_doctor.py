"""The hardware check of a real unit, over HTTP and by `reactor-unit doctor`, with a unit and without."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from harness import DEADLINE_S, RunningUnit, running_unit, wait_for

from reactor_unit.drivers.simulation.state import SharedPlant
from reactor_unit.home import run_directory
from reactor_unit.resources.response_schemas import HardwareCheckResult

OUTPUTS = (12, 13, 16, 17, 18)


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUnit]:
    """One unit for all tests of this file: a check takes 20 s."""
    with running_unit(tmp_path_factory.mktemp("unit")) as running:
        yield running


def reactor_unit(unit: RunningUnit, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reactor_unit", *words]
    return subprocess.run(command, env=unit.environ, capture_output=True, text=True, timeout=60, check=False)


def failing(findings: list[dict[str, Any]]) -> list[str]:
    return [finding["name"] for finding in findings if finding["status"] == "fail"]


def everything_is_off(unit: RunningUnit) -> bool:
    plant = unit.plant()
    try:
        return not any(plant.pin(pin).duty_cycle for pin in OUTPUTS) and not any(plant.look().leds)
    finally:
        plant.close()


def test_a_sound_unit_checks_itself_over_http_one_check_at_a_time(unit: RunningUnit) -> None:
    accepted = unit.post("/hardware/check", {"pumps": True})
    assert accepted.status == 202
    task_id = accepted.json["task_id"]
    assert unit.post("/hardware/check").json == {"status": "in_progress", "lock": "hardware_check"}
    wait_for(
        lambda: unit.task(task_id).get("progress", {}).get("message") == "heater", "the heater's turn", within_s=40
    )
    record = unit.ended(task_id, within_s=50)
    assert record["status"] == "complete", record
    assert HardwareCheckResult().validate(record["result"]) == {}
    assert record["result"]["ok"] is True, record
    statuses = {finding["name"]: finding["status"] for finding in record["result"]["findings"]}
    assert statuses["stirrer"] == statuses["heater"] == statuses["ir_led"] == statuses["configuration"] == "ok"
    assert statuses["pump_media"] == "skipped"  # its tube is in no beaker, so nobody could read anything
    assert everything_is_off(unit)


def test_doctor_has_the_unit_name_its_faults(unit: RunningUnit) -> None:
    assert reactor_unit(unit, "simulate", "--dot", str(unit.dot), "inject", "sensor_unplugged:0x4f").returncode == 0
    assert reactor_unit(unit, "simulate", "--dot", str(unit.dot), "inject", "clock_jump").returncode == 0
    try:
        done = reactor_unit(unit, "--url", f"http://127.0.0.1:{unit.port}", "doctor")
    finally:
        assert reactor_unit(unit, "simulate", "--dot", str(unit.dot), "clear").returncode == 0
    assert done.returncode == 1, done
    assert "checks itself" in done.stderr
    lines = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines() if not line.startswith(" ")}
    assert [name for name, status in lines.items() if status == "FAIL"] == ["wall_clock", "i2c"]
    assert lines["heater"] == "skipped"
    assert "0x4f (tmp1075)" in " ".join(done.stdout.split())
    assert everything_is_off(unit)


def test_a_model_that_is_not_attached_lacks_its_chips(unit: RunningUnit) -> None:
    asked = {"model_name": "pioreactor_20ml_XR", "model_version": "1.5"}
    record = unit.ended(unit.accepted("/hardware/check", asked), within_s=50)
    assert failing(record["result"]["findings"]) == ["i2c"]
    assert unit.post("/hardware/check", {"model_name": "teapot", "model_version": "1"}).status == 400


def test_outputs_that_a_job_holds_are_left_alone_and_the_holder_is_named(unit: RunningUnit) -> None:
    unit.run_stirring(use_rpm="no", duty_cycle="30")
    try:
        record = unit.ended(unit.accepted("/hardware/check"), within_s=50)
        findings = {finding["name"]: finding for finding in record["result"]["findings"]}
        assert record["result"]["ok"] is True, record
        for name in ("pwm", "stirrer"):
            assert findings[name]["status"] == "skipped"
            assert "in use by stirring" in findings[name]["what"]
        assert findings["heater"]["status"] == "ok"
        assert unit.stirrer_is_driven()
    finally:
        unit.ended(unit.accepted("/jobs/stop/all"))


def test_doctor_does_not_touch_the_reactor_of_a_unit_that_serves(unit: RunningUnit) -> None:
    done = reactor_unit(unit, "doctor", "--local", "--dot", str(unit.dot), "--hardware", "simulated")
    assert done.returncode == 1
    assert f"already in use by process {unit.process.pid}" in done.stderr
    assert "--url" in done.stderr


def test_doctor_without_a_unit_checks_by_itself(unit: RunningUnit, tmp_path: Path) -> None:
    (tmp_path / "config.ini").write_text("[stirring.config]\npwm_hz=fast\n")
    words = ("doctor", "--local", "--dot", str(tmp_path), "--hardware", "simulated", "--json")
    done = reactor_unit(unit, *words)
    assert done.returncode == 1, done
    result = json.loads(done.stdout)
    assert failing(result["findings"]) == ["configuration"]
    assert result["ok"] is False
    assert f"[stirring.config] pwm_hz='fast' in {tmp_path / 'config.ini'} is not a number" in done.stdout
    assert not [path for path in tmp_path.iterdir() if path.name not in ("config.ini", ".reactor-unit.lock")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_doctor_that_is_ended_turns_off_what_it_drove(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "dot").mkdir()
    environ = {**os.environ, "RUNTIME_DIRECTORY": str(tmp_path)}
    plant_file = run_directory(tmp_path / "dot", environ) / "plant.bin"
    command = [sys.executable, "-m", "reactor_unit", "doctor", "--local", "--dot", str(tmp_path / "dot")]
    with subprocess.Popen([*command, "--hardware", "simulated"], env=environ, stderr=subprocess.DEVNULL) as doctor:
        try:
            wait_for(plant_file.exists, "a simulated reactor")
            with closing(SharedPlant(plant_file)) as plant:
                wait_for(lambda: plant.pin(17).duty_cycle == 30.0, "a turning stirrer")
                doctor.send_signal(number)
                assert doctor.wait(DEADLINE_S) in (128 + number, 130)
                assert not any(plant.pin(pin).duty_cycle for pin in OUTPUTS)
        finally:
            doctor.kill()
