"""Dosing by hand, over HTTP on the simulated reactor: what moves, what is counted, and what is refused."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dosing_unit import (
    calibrate_all,
    counted_ml,
    dose,
    doses,
    pumps_on,
    start,
    true_volume_ml,
    wait_until_over,
)
from harness import RunningUnit, running_unit, wait_for

MAXIMUM_ML, TUBE_ML = 18.0, 14.0


@pytest.fixture
def fast_unit(tmp_path: Path) -> Iterator[RunningUnit]:
    """A unit with calibrated pumps, ten times as fast as the clock."""
    with running_unit(tmp_path, "--speed", "10") as unit:
        calibrate_all(unit)
        yield unit


@pytest.mark.parametrize("ml", [0.4, 0.8])
def test_a_dose_by_ml_is_within_two_percent_of_the_true_volume(unit: RunningUnit, ml: float) -> None:
    calibrate_all(unit)
    before_ml = true_volume_ml(unit)
    dose(unit, "add_media", {"ml": ml})
    assert true_volume_ml(unit) - before_ml == pytest.approx(ml, rel=0.02)
    assert counted_ml(unit) - before_ml == pytest.approx(ml, rel=0.02)
    assert sum(doses(unit, "media")) == pytest.approx(ml, rel=0.02)


def test_a_jump_of_the_clock_does_not_change_a_dose(unit: RunningUnit) -> None:
    calibrate_all(unit)
    before_ml = true_volume_ml(unit)
    assert start(unit, "add_media", {"ml": 0.4})["status"] == "complete"
    wait_for(lambda: pumps_on(unit), "a pump that turns")
    unit.plant().inject("clock_jump")
    wait_until_over(unit, "add_media")
    assert true_volume_ml(unit) - before_ml == pytest.approx(0.4, rel=0.02)


def test_a_stop_ends_a_dose_and_what_was_moved_is_recorded(unit: RunningUnit) -> None:
    calibrate_all(unit)
    assert start(unit, "add_media", {"ml": 3.0})["status"] == "complete"
    wait_for(lambda: true_volume_ml(unit) > TUBE_ML + 0.05, "some media in the vial")
    asked_at_s = time.monotonic()
    task_id = unit.accepted("/jobs/stop", {"job_name": "add_media"})
    unit.plant().wait_until_off(lambda: pumps_on(unit), asked_at_s, 1.0)
    unit.ended(task_id)
    moved_ml = true_volume_ml(unit) - TUBE_ML
    assert 0.05 < moved_ml < 1.0
    wait_for(lambda: doses(unit, "media"), "the dose in the history")
    assert sum(doses(unit, "media")) == pytest.approx(moved_ml, abs=0.005)
    assert counted_ml(unit) == pytest.approx(TUBE_ML + moved_ml, abs=0.005)


def test_a_continuous_run_ends_before_the_vial_is_full(fast_unit: RunningUnit) -> None:
    assert start(fast_unit, "add_media", {"continuously": None})["status"] == "complete"
    row = wait_until_over(fast_unit, "add_media")
    assert MAXIMUM_ML - 2.0 < true_volume_ml(fast_unit) < MAXIMUM_ML
    assert "maximum" in row["cause"]
    (fault,) = fast_unit.get("/faults").json["faults"]
    assert fault["kind"] == "vial_full"
    assert fast_unit.post("/jobs/run/job_name/add_alt_media", {"options": {"ml": 0.1}}).status == 409
    dose(fast_unit, "remove_waste", {"duration": 60})  # waste may always be removed
    assert fast_unit.ask("DELETE", f"/faults/{fault['id']}").status == 200
    dose(fast_unit, "add_media", {"ml": 0.5})


@pytest.mark.parametrize(
    "options",
    [{"ml": 4.0}, {"duration": 45}],
    ids=["by volume", "by time"],
)
def test_what_would_fill_the_vial_is_refused_before_anything_moves(fast_unit: RunningUnit, options: Any) -> None:
    record = start(fast_unit, "add_media", options)
    assert record["status"] == "failed"
    assert "18 ml" in record["error"]
    assert true_volume_ml(fast_unit) == TUBE_ML
    assert fast_unit.get("/jobs/running").json == []


def test_a_pump_without_calibration_is_taken_for_twice_as_quick(unit: RunningUnit) -> None:
    assert start(unit, "add_media", {"ml": 0.1})["status"] == "failed"
    assert start(unit, "add_media", {"duration": 21})["status"] == "failed"  # 1.9 ml as a rule, 3.8 ml at most
    dose(unit, "add_media", {"duration": 1})
    assert counted_ml(unit) - TUBE_ML == pytest.approx(2 * (true_volume_ml(unit) - TUBE_ML), rel=0.1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ml": -1},
        {"ml": "nan"},
        {"ml": "inf"},
        {"ml": None},
        {"duration": -1},
        {"duration": "nan"},
        {"ml": 1, "duration": 1},
        {"ml": 1, "continuously": None},
        {"manually": None},
        {"manually": None, "duration": 1},
        {"continuously": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["add_media"])
def test_what_is_no_amount_is_refused_at_the_request(unit: RunningUnit, name: str, options: Any) -> None:
    answer = unit.post(f"/jobs/run/job_name/{name}", {"options": options})
    assert answer.status == 400, answer


def test_nothing_is_pumped_into_a_vial_of_an_unknown_model(tmp_path: Path) -> None:
    environ = {"MODEL_NAME": "no_such_reactor", "MODEL_VERSION": "1.0"}
    with running_unit(tmp_path, environ=environ) as unit:
        calibrate_all(unit)
        for options in ({"ml": 0.1}, {"duration": 1}, {"continuously": None}):
            record = start(unit, "add_media", options)
            assert record["status"] == "failed"
            assert "model" in record["error"]
        assert true_volume_ml(unit) == TUBE_ML
        dose(unit, "remove_waste", {"duration": 0.5})


def test_a_request_cannot_name_a_larger_model_to_have_more_room(fast_unit: RunningUnit) -> None:
    body = {"options": {"ml": 4.5}, "env": {"MODEL_NAME": "pioreactor_40ml", "MODEL_VERSION": "1.5"}}
    record = fast_unit.ended(fast_unit.accepted("/jobs/run/job_name/add_media", body))
    assert record["status"] == "failed"
    assert "18 ml" in record["error"]


@pytest.mark.parametrize(
    ("job_name", "options", "plugs"),
    [
        ("remove_waste", {"continuously": None}, {"2": "waste", "4": "media"}),
        ("stirring", {"use_rpm": False}, {"1": "", "2": "stirring"}),
    ],
)
def test_a_request_cannot_run_a_pump_under_another_name(
    fast_unit: RunningUnit, job_name: str, options: dict[str, Any], plugs: dict[str, str]
) -> None:
    overrides = [["PWM", channel, role] for channel, role in plugs.items()]
    body = {"options": options, "config_overrides": overrides}
    record = fast_unit.ended(fast_unit.accepted(f"/jobs/run/job_name/{job_name}", body))
    assert record["status"] == "failed"
    assert "plugged" in record["error"]
    assert pumps_on(fast_unit) == set()


def test_a_dose_longer_than_a_single_run_is_refused(fast_unit: RunningUnit) -> None:
    record = start(fast_unit, "remove_waste", {"duration": 301})
    assert record["status"] == "failed"
    assert "300 s" in record["error"]
    body = {"options": {"duration": 301}, "config_overrides": [["pumps", "longest_run_seconds", "400"]]}
    wait_for(lambda: fast_unit.post("/jobs/run/job_name/remove_waste", body).status == 202)
    wait_for(lambda: pumps_on(fast_unit) == {"waste"}, "the waste pump")


def test_two_actions_cannot_have_one_pump_and_stopping_one_leaves_none_running(unit: RunningUnit) -> None:
    calibrate_all(unit)
    assert start(unit, "add_media", {"ml": 2.0})["status"] == "complete"
    record = start(unit, "pumps", args=["media", "0.1"])
    assert record["status"] == "failed"
    assert "add_media" in record["error"]
    assert start(unit, "remove_waste", {"continuously": None})["status"] == "complete"
    wait_for(lambda: pumps_on(unit) == {"media", "waste"}, "both pumps")
    unit.ended(unit.accepted("/jobs/stop", {"job_name": "add_media"}))
    assert pumps_on(unit) == {"waste"}
    unit.ended(unit.accepted("/jobs/stop/all"))
    assert pumps_on(unit) == set()


def test_put_to_sleep_an_action_stops_and_woken_it_ends(unit: RunningUnit) -> None:
    calibrate_all(unit)
    start(unit, "add_media", {"ml": 1.0})
    wait_for(lambda: pumps_on(unit) == {"media"}, "the pump")
    path = "/jobs/settings/job_name/add_media/setting/$state"
    assert unit.ask("PUT", path, {"value": "sleeping"}).status == 200
    assert pumps_on(unit) == set()
    assert unit.ask("PUT", path, {"value": "ready"}).status == 200
    wait_until_over(unit, "add_media")
    assert true_volume_ml(unit) - TUBE_ML < 0.9


def test_steps_are_carried_out_in_their_order(fast_unit: RunningUnit) -> None:
    dose(fast_unit, "pumps", args=["media", "1", "--waste", "2", "sleep", "5", "--alt-media_", "0.5"])
    assert counted_ml(fast_unit) == pytest.approx(TUBE_ML + 0.5, rel=0.02)
    assert true_volume_ml(fast_unit) == pytest.approx(TUBE_ML + 0.5, rel=0.02)
    assert doses(fast_unit, "alt_media") == [pytest.approx(0.5, rel=0.2)]


@pytest.mark.parametrize(
    "args",
    [["media", "1", "waste"], ["media", "1", "nonsense", "2"], ["media", "nan"], ["media", "-1"], ["sleep", "inf"], []],
    ids=str,
)
def test_steps_that_are_none_are_refused_at_the_request(unit: RunningUnit, args: list[str]) -> None:
    assert unit.post("/jobs/run/job_name/pumps", {"args": args}).status == 400


def test_steps_of_which_a_later_one_would_fill_the_vial_move_nothing(fast_unit: RunningUnit) -> None:
    record = start(fast_unit, "pumps", args=["waste", "1", "media", "2", "alt_media", "2"])
    assert record["status"] == "failed"
    assert true_volume_ml(fast_unit) == TUBE_ML
    assert fast_unit.plant().look().vessels.waste_ml == 0.0
    dose(fast_unit, "pumps", args=["media", "2", "waste", "2", "alt_media", "2"])


@pytest.mark.parametrize("name", ["circulate_media", "circulate_alt_media"])
def test_circulating_keeps_the_volume(fast_unit: RunningUnit, name: str) -> None:
    assert start(fast_unit, name, {"duration": 60})["status"] == "complete"
    highest_ml = 0.0
    while fast_unit.get(f"/jobs/running/{name}").json:
        highest_ml = max(highest_ml, true_volume_ml(fast_unit))
    assert TUBE_ML <= highest_ml < TUBE_ML + 0.5
    assert true_volume_ml(fast_unit) == pytest.approx(TUBE_ML, abs=0.1)
    assert true_volume_ml(fast_unit) <= counted_ml(fast_unit) < TUBE_ML + 1.0
    assert pumps_on(fast_unit) == set()
    rinsed_ml = sum(doses(fast_unit, name.removeprefix("circulate_")))
    assert rinsed_ml == pytest.approx(0.85 * 60 * 0.09, rel=0.15)


def test_a_client_that_repeats_a_dose_with_its_key_doses_once(fast_unit: RunningUnit) -> None:
    body = {"options": {"ml": 0.5}}
    key = {"Idempotency-Key": "a dose"}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", fast_unit.port)) as gone:
        gone.request("POST", "/unit_api/jobs/run/job_name/add_media", json.dumps(body), key)  # and waits for no answer
    wait_for(lambda: fast_unit.post("/jobs/run/job_name/add_media", body, **key).status == 202, "an answer")
    wait_until_over(fast_unit, "add_media")
    for _ in range(3):
        answer = fast_unit.post("/jobs/run/job_name/add_media", body, **key)
        assert answer.status == 202
        assert answer.headers["idempotency-replayed"] == "true"
        assert fast_unit.ended(answer.json["task_id"])["status"] == "complete"
    assert true_volume_ml(fast_unit) == pytest.approx(TUBE_ML + 0.5, rel=0.02)
    assert len([row for row in fast_unit.get("/jobs").json if row["job_name"] == "add_media"]) == 1


def test_a_person_can_say_what_is_in_the_vial_but_not_while_a_pump_runs(unit: RunningUnit) -> None:
    calibrate_all(unit)
    state = unit.get("/vial").json
    assert (state["current_volume_ml"], state["maximum_volume_ml"], state["in_flight"]) == (14.0, 18.0, [])
    assert unit.ask("PUT", "/vial", {"current_volume_ml": 17.5}).json["current_volume_ml"] == 17.5
    assert start(unit, "add_media", {"ml": 0.5})["status"] == "failed"
    for wrong in ({}, {"current_volume_ml": -1}, {"current_volume_ml": "nan"}, {"alt_media_fraction": 1.1}):
        assert unit.ask("PUT", "/vial", wrong).status == 400, wrong
    assert unit.ask("PUT", "/vial", {"max_working_volume_ml": 18}).status == 400
    assert unit.ask("PUT", "/vial", {"current_volume_ml": 14}).status == 200
    start(unit, "add_media", {"ml": 1.0})
    wait_for(lambda: pumps_on(unit), "the pump")
    (run,) = unit.get("/vial").json["in_flight"]
    assert run["pump"] == "media"
    assert 1.0 < run["at_most_ml"] < 1.3
    assert unit.ask("PUT", "/vial", {"current_volume_ml": 10}).status == 409


def test_what_a_person_moved_by_hand_is_counted_and_no_pump_turns(unit: RunningUnit) -> None:
    calibrate_all(unit)
    dose(unit, "remove_waste", {"ml": 4, "manually": None})
    assert counted_ml(unit) == 10.0  # below the waste tube
    dose(unit, "add_alt_media", {"ml": 2.5, "manually": None})
    state = unit.get("/vial").json
    assert (state["current_volume_ml"], state["alt_media_fraction"]) == (12.5, 0.2)
    assert true_volume_ml(unit) == TUBE_ML
    assert doses(unit, "alt_media") == [2.5]


@pytest.mark.parametrize("name", ["add_media", "remove_waste"])
def test_what_was_moved_by_hand_is_refused_where_it_cannot_be_counted(unit: RunningUnit, name: str) -> None:
    (unit.dot / "storage" / "vial.account").write_bytes(b"?" * 8192)
    record = start(unit, name, {"ml": 1, "manually": None})
    assert record["status"] == "failed"
    assert "account" in record["error"]


def test_the_account_outlives_the_unit_and_the_experiment(tmp_path: Path) -> None:
    with running_unit(tmp_path) as unit:
        calibrate_all(unit)
        dose(unit, "add_media", {"ml": 0.3})
        counted = counted_ml(unit)
    with running_unit(tmp_path) as unit:
        assert counted_ml(unit) == counted > 14.2
