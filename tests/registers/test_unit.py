"""The whole unit with `--hardware pi` on the real RPi.GPIO: its outputs are low however its processes end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from fake_pi import HALL_PIN, INPUT, OUTPUT, FakePi, mean_rpm, turning_magnet
from harness import STIRRING_PIN, RunningUnit, running_unit, stop_all, wait_for
from test_outputs import BOARD_OUTPUTS

FULL = {"use_rpm": False, "duty_cycle": 100}  # always high, so that nothing but a write makes it low


@pytest.fixture
def unit_on(tmp_path: Path, pi: FakePi) -> contextlib.AbstractContextManager[RunningUnit]:
    return running_unit(tmp_path, "--hardware", "pi", python=str(pi.python))


@pytest.fixture
def unit(unit_on: contextlib.AbstractContextManager[RunningUnit]) -> Iterator[RunningUnit]:
    with unit_on as running:
        yield running


def high_outputs(pi: FakePi) -> set[int]:
    return pi.registers.high() & pi.registers.outputs()


def gone(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def measured_rpm(settings: dict[str, str]) -> float:
    return float(json.loads(settings["measured_rpm"])["measured_rpm"])


def test_the_start_makes_low_outputs_of_what_was_left_high(
    pi: FakePi, unit_on: contextlib.AbstractContextManager[RunningUnit]
) -> None:
    for pin in BOARD_OUTPUTS:
        pi.registers.leave(pin, function=OUTPUT, latch=1)
    with unit_on as unit:
        assert "Raspberry Pi 4 Model B, HAT 1.2" in unit.first_line
        assert pi.registers.outputs() == BOARD_OUTPUTS
        assert pi.registers.high() == set()


def test_a_job_drives_its_pin_alone_measures_and_ends_low(pi: FakePi, unit: RunningUnit) -> None:
    pi.registers.forget_past()
    with turning_magnet(pi, 0.05) as passed_at_s:
        unit.run_stirring(target_rpm=1000)
        assert pi.registers.function(HALL_PIN) == INPUT
        settings = "/jobs/settings/job_name/stirring"
        wait_for(lambda: unit.get(settings).json["settings"].get("measured_rpm"), "a measured speed")
        assert measured_rpm(unit.get(settings).json["settings"]) == pytest.approx(mean_rpm(passed_at_s), rel=0.2)
        (stopped,) = unit.ended(unit.accepted("/jobs/stop", {"job_name": "stirring"}))["result"]["stopped"]
    assert stopped["state"] == "disconnected"
    assert pi.registers.were_high() == {STIRRING_PIN}
    assert pi.registers.outputs() == BOARD_OUTPUTS
    assert high_outputs(pi) == set()


def test_a_killed_job_leaves_its_pin_high_until_the_supervisor_makes_it_low(pi: FakePi, unit: RunningUnit) -> None:
    row = unit.run_stirring(**FULL)
    wait_for(lambda: high_outputs(pi) == {STIRRING_PIN}, "a driven stirrer")
    unit.supervisor.suspend()
    job = psutil.Process(row["pid"])
    job.kill()
    wait_for(lambda: gone(job), "the job's end")
    time.sleep(0.05)
    assert high_outputs(pi) == {STIRRING_PIN}  # "the process is gone" is not "the output is off"
    unit.supervisor.resume()
    wait_for(lambda: high_outputs(pi) == set(), "a stirrer that is off")
    assert pi.registers.outputs() == BOARD_OUTPUTS
    wait_for(lambda: unit.get("/jobs").json[0]["state"] == "lost", "a row that says so")
    unit.run_stirring()  # the pin can be had again


@pytest.mark.parametrize("after_s", [0.0, 0.003, 0.11])
def test_a_job_killed_at_any_moment_ends_low(pi: FakePi, unit: RunningUnit, after_s: float) -> None:
    row = unit.run_stirring(use_rpm=False, duty_cycle=60)
    wait_for(lambda: STIRRING_PIN in pi.registers.were_high(), "a driven stirrer")
    time.sleep(after_s)
    os.kill(row["pid"], signal.SIGKILL)
    wait_for(lambda: unit.get("/jobs/running").json == [], "no running job")
    assert high_outputs(pi) == set()


@pytest.mark.parametrize("stopped", [False, True], ids=["running job", "stopped job"])
def test_a_killed_supervisor_leaves_outputs_low(pi: FakePi, unit: RunningUnit, stopped: bool) -> None:
    unit.run_stirring(**FULL)
    wait_for(lambda: high_outputs(pi) == {STIRRING_PIN}, "a driven stirrer")
    family = unit.children()
    if stopped:
        stop_all(family)
    unit.supervisor.kill()
    wait_for(lambda: all(gone(member) for member in family), "the end of all processes")
    assert high_outputs(pi) == set()
    assert STIRRING_PIN in pi.registers.outputs()


def test_a_unit_that_is_ended_leaves_outputs_low(pi: FakePi, unit: RunningUnit) -> None:
    unit.run_stirring(**FULL)
    wait_for(lambda: high_outputs(pi) == {STIRRING_PIN}, "a driven stirrer")
    assert unit.end() == 0
    assert pi.registers.outputs() == BOARD_OUTPUTS
    assert pi.registers.high() == set()


def test_when_all_processes_are_killed_safe_makes_outputs_low(pi: FakePi, unit: RunningUnit) -> None:
    unit.run_stirring(**FULL)
    wait_for(lambda: high_outputs(pi) == {STIRRING_PIN}, "a driven stirrer")
    family = unit.children()
    unit.supervisor.suspend()
    for member in [*family, unit.supervisor]:
        member.kill()
    wait_for(lambda: all(gone(member) for member in family), "the end of all processes")
    assert high_outputs(pi) == {STIRRING_PIN}  # nobody was left to do it
    assert "All pins are low" in pi.run("-m", "reactor_unit", "safe", "--hardware", "pi").stdout
    assert high_outputs(pi) == set()


def test_two_units_cannot_have_the_one_board(pi: FakePi, unit: RunningUnit, tmp_path: Path) -> None:
    unit.run_stirring(**FULL)
    with (
        pytest.raises(AssertionError, match="The reactor board of this machine"),
        running_unit(tmp_path, "--hardware", "pi", python=str(pi.python), dot=tmp_path / "other"),
    ):
        pass
    assert high_outputs(pi) == {STIRRING_PIN}  # it touched no output
