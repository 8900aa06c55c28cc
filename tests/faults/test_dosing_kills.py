"""SIGKILL of a dosing process at random moments: pumps off within a second, and the vial never at its maximum.

CI runs a tenth; `tox -e soak` runs all.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from dosing_unit import calibrate_all, counted_ml, pumps_on, true_volume_ml
from harness import RunningUnit, kill, running_unit, wait_for

OFF_WITHIN_S = 1.0
MAXIMUM_ML = 18.0
LONGEST_S = 4.0  # after the request
FULL_ML, FRESH_ML = 16.8, 15.8  # a vial that is this full is replaced by one that is nearly as full


class Trial(NamedTuple):
    """What one kill left behind."""

    off_after_s: float
    true_ml: float
    counted_ml: float


REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("add_media", {"options": {"ml": 1.0}}),
    ("add_alt_media", {"options": {"duration": 8}}),
    ("add_media", {"options": {"continuously": None}}),
    ("pumps", {"args": ["media", "0.1", "waste", "0.1", "alt_media", "0.1", "waste", "0.3"]}),
    ("circulate_media", {"options": {"duration": 20}}),
    ("remove_waste", {"options": {"duration": 8}}),
)


def kill_trials(tmp_path: Path, trials: int) -> list[Trial]:
    """Kill a dosing process `trials` times, at any moment from its start on."""
    moments = random.Random(7)
    found: list[Trial] = []
    with running_unit(tmp_path) as unit:
        calibrate_all(unit)
        replace_vial(unit)
        for number in range(trials):
            name, body = REQUESTS[number % len(REQUESTS)]
            wait_for(lambda: unit.post(f"/jobs/run/job_name/{name}", body).status == 202, f"start {number}")  # noqa: B023
            threading.Event().wait(moments.uniform(0, LONGEST_S))
            rows = unit.get(f"/jobs/running/{name}").json
            killed_at_s = kill(rows[0]["pid"]) if rows else time.monotonic()
            off_after_s = unit.plant().wait_until_off(lambda: pumps_on(unit), killed_at_s, OFF_WITHIN_S)
            wait_for(lambda: unit.get("/jobs/running").json == [], "no running job")
            found.append(Trial(off_after_s, true_volume_ml(unit), counted_ml(unit)))
            assert found[-1].true_ml < MAXIMUM_ML, (name, found[-1])
            assert found[-1].true_ml <= found[-1].counted_ml + 0.005, (name, found[-1])
            if found[-1].counted_ml > FULL_ML:
                replace_vial(unit)
    return found


def replace_vial(unit: RunningUnit) -> None:
    """Put another vial in, and tell the unit."""
    plant = unit.plant()
    plant.update(lambda state: state._replace(vessels=state.vessels._replace(vial_ml=FRESH_ML)))
    wait_for(lambda: unit.ask("PUT", "/vial", {"current_volume_ml": FRESH_ML}).status == 200, "a vial that is put")
    for fault in unit.get("/faults").json["faults"]:
        unit.ask("DELETE", f"/faults/{fault['id']}")


def test_ten_killed_dosing_processes_leave_pumps_off_and_the_vial_below_its_maximum(tmp_path: Path) -> None:
    assert len(kill_trials(tmp_path, 10)) == 10


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_hundred_killed_dosing_processes_leave_pumps_off_and_the_vial_below_its_maximum(tmp_path: Path) -> None:
    trials = kill_trials(tmp_path, 100)
    off_ms = sorted(trial.off_after_s * 1000 for trial in trials)
    above_ml = sorted(trial.counted_ml - trial.true_ml for trial in trials)
    print(
        f"\n100 of 100 kills: pumps off after {off_ms[50]:.0f} ms (median), {off_ms[-1]:.0f} ms (worst); "
        f"true volume at most {max(trial.true_ml for trial in trials):.2f} ml; "
        f"counted above the truth by {above_ml[0]:.3f} to {above_ml[-1]:.2f} ml"
    )


def test_a_nearly_full_vial_stays_below_its_maximum_when_process_after_process_is_killed(tmp_path: Path) -> None:
    with running_unit(tmp_path) as unit:
        calibrate_all(unit)
        plant = unit.plant()
        plant.update(lambda state: state._replace(vessels=state.vessels._replace(vial_ml=16.8)))
        assert unit.ask("PUT", "/vial", {"current_volume_ml": 16.8}).status == 200
        refused = None
        for number in range(8):
            body = {"options": {"ml": 0.5}}
            wait_for(lambda: unit.post("/jobs/run/job_name/add_media", body).status == 202, f"start {number}")  # noqa: B023
            rows = wait_for(lambda: unit.get("/jobs/running/add_media").json or unit.get("/jobs").json, "a row")
            if not rows[0]["is_running"]:
                refused = rows[0]
                break
            if wait_or_over(unit, lambda: bool(pumps_on(unit))):
                kill(rows[0]["pid"])
            wait_for(lambda: unit.get("/jobs/running").json == [], "no running job")
            if (row := unit.get("/jobs").json[0])["state"] == "disconnected" or "maximum" in str(row["cause"]):
                refused = row
                break
        assert refused is not None
        assert "18 ml" in refused["cause"]
        assert true_volume_ml(unit) < counted_ml(unit) < MAXIMUM_ML


def wait_or_over(unit: RunningUnit, condition: Any) -> bool:
    """Wait for a condition while a job runs; return whether it came about."""
    return bool(wait_for(lambda: condition() or not unit.get("/jobs/running").json, "a pump or an end") and condition())


def test_a_unit_that_is_killed_while_it_doses_stops_the_pump_and_counts_what_was_moved(tmp_path: Path) -> None:
    with running_unit(tmp_path) as unit:
        calibrate_all(unit)
        assert unit.post("/jobs/run/job_name/add_media", {"options": {"ml": 1.0}}).status == 202
        wait_for(lambda: true_volume_ml(unit) > 14.1, "some media")
        plant = unit.plant()
        plant.wait_until_off(lambda: pumps_on(unit), kill(unit.process.pid), OFF_WITHIN_S)
        true_ml = true_volume_ml(unit)
    with running_unit(tmp_path) as unit:
        assert true_ml - 0.005 <= counted_ml(unit) < 15.3


def test_a_dosing_process_that_hangs_is_ended_and_its_dose_stays_counted(tmp_path: Path) -> None:
    with running_unit(tmp_path) as unit:
        calibrate_all(unit)
        assert unit.post("/jobs/run/job_name/add_media", {"options": {"ml": 0.2}}).status == 202
        wait_for(lambda: pumps_on(unit), "a pump that turns")
        (row,) = unit.get("/jobs/running/add_media").json
        plant = unit.plant()
        turns_since_s = plant.changed_at_s()
        os.kill(row["pid"], signal.SIGSTOP)
        assert unit.ask("PUT", "/vial", {"current_volume_ml": 14}).status == 409  # a pump runs
        plant.wait_until_off(lambda: pumps_on(unit), turns_since_s, 0.2 / 0.0911 + 1.0 + OFF_WITHIN_S)
        assert true_volume_ml(unit) <= counted_ml(unit) == pytest.approx(14.2 + 2.0 * 0.0911, abs=0.001)
        wait_for(lambda: unit.get("/jobs/running").json == [], "no running job")


def test_a_power_cut_during_a_dose_counts_all_of_it(tmp_path: Path) -> None:
    with running_unit(tmp_path) as unit:
        calibrate_all(unit)
        assert unit.post("/jobs/run/job_name/add_media", {"options": {"ml": 1.0}}).status == 202
        wait_for(lambda: pumps_on(unit), "a pump that turns")
        family = unit.children()
        unit.supervisor.suspend()  # so that nobody cleans up
        for member in family:
            member.kill()
        unit.supervisor.kill()
    with running_unit(tmp_path) as unit:
        assert pumps_on(unit) == set()
        assert counted_ml(unit) == pytest.approx(15.0 + 2.0 * 0.0911, abs=0.001)  # and two seconds to fall still
        assert true_volume_ml(unit) < counted_ml(unit)


@pytest.mark.parametrize("was_used", [False, True], ids=["no account yet", "an account"])
def test_on_a_full_disk_media_come_in_only_when_they_can_be_counted_and_waste_goes_out(
    tmp_path: Path, small_disk: Path, was_used: bool
) -> None:
    with running_unit(tmp_path, dot=small_disk / "dot") as unit:
        calibrate_all(unit)
        if was_used:
            assert unit.ask("PUT", "/vial", {"current_volume_ml": 14.0}).status == 200
        with open(small_disk / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 512)
        task_id = unit.accepted("/jobs/run/job_name/add_media", {"options": {"ml": 0.1}})
        assert unit.ended(task_id)["status"] == ("complete" if was_used else "failed")
        wait_for(lambda: unit.get("/jobs/running").json == [], "no running job")
        assert true_volume_ml(unit) == pytest.approx(14.1 if was_used else 14.0, rel=0.001)
        if was_used:
            assert counted_ml(unit) == pytest.approx(true_volume_ml(unit), abs=0.005)
        unit.ended(unit.accepted("/jobs/run/job_name/remove_waste", {"options": {"duration": 5}}))
        wait_for(lambda: pumps_on(unit) == {"waste"}, "a waste pump that turns")
