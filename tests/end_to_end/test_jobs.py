"""Running and stopping jobs over HTTP: refusals, races, filters, and what is listed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Answer, RunningUnit, running_unit, wait_for

RUN = "/jobs/run/job_name/stirring"


@pytest.fixture(scope="module")
def shared_unit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUnit]:
    with running_unit(tmp_path_factory.mktemp("unit")) as running:
        yield running


@pytest.fixture
def unit(shared_unit: RunningUnit) -> Iterator[RunningUnit]:
    """The module's unit, with no job running before and after."""
    yield shared_unit
    shared_unit.ended(shared_unit.accepted("/jobs/stop/all"))


def run(unit: RunningUnit, body: Any) -> Answer:
    """Start stirring, later if the last start was less than a second ago."""

    def started() -> Answer | None:
        answer = unit.post(RUN, body)
        return None if answer.status == 429 else answer

    answer: Answer = wait_for(started, "an accepted start")
    return answer


def test_a_second_start_within_a_second_is_refused(unit: RunningUnit) -> None:
    assert run(unit, {}).status == 202
    answer = unit.post(RUN, {})
    assert answer.status == 429
    assert answer.headers["retry-after"] == "1"


def test_of_many_starts_at_once_one_is_accepted(unit: RunningUnit) -> None:
    answers: list[Answer] = []
    unit.ended(unit.accepted("/jobs/stop/all"))
    first = run(unit, {})
    unit.ended(first.json["task_id"])
    unit.ended(unit.accepted("/jobs/stop/all"))
    wait_for(lambda: unit.get("/jobs/running").json == [])
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        answers.append(run(unit, {}))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status for answer in answers) == [202] + [409] * 7
    assert len(unit.get("/jobs/running").json) == 1


def test_a_running_job_is_named_when_it_is_started_again(unit: RunningUnit) -> None:
    row = unit.run_stirring()
    answer = run(unit, {})
    assert answer.status == 409
    assert f"Job {row['job_id']} (ready)" in answer.json["error_info"]["cause"]


def test_a_refused_request_does_not_use_up_the_start(unit: RunningUnit) -> None:
    run(unit, {"options": {"target_rpm": 9000}})
    unit.ended(unit.accepted("/jobs/stop/all"))
    wait_for(lambda: unit.post(RUN, {"options": {"nonsense": 1}}).status == 400)
    assert run(unit, {}).status == 202


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"options": {"taget_rpm": 400}}, "Did you mean 'target_rpm'?"),
        ({"options": {"target_rpm": 9000}}, "target_rpm 9000 is above the limit of 1500 RPM"),
        ({"options": {"target_rpm": "fast"}}, "is not a number"),
        ({"options": {"target_rpm": True}}, "is not a number"),
        ({"args": ["--target-rpm", "9000"]}, "above the limit"),
        ({"args": ["quickly"]}, "'quickly' is not known"),
        ({"optoins": {}}, "Did you mean 'options'?"),
        ({"env": {"JOB_SOURCE": "system"}}, "system"),
        ({"config_overrides": [["stirring.config", "pwm_hz"]]}, "config_overrides"),
    ],
)
def test_a_wrong_request_starts_nothing(unit: RunningUnit, body: Any, said: str) -> None:
    answer = unit.post(RUN, body)
    assert answer.status == 400
    assert said in answer.json["error"] + answer.json["error_info"]["remediation"]
    assert unit.get("/jobs/running").json == []


def test_an_unknown_job_is_a_404_with_the_known_ones(unit: RunningUnit) -> None:
    answer = unit.post("/jobs/run/job_name/stiring", {})
    assert answer.status == 404
    assert "stirring" in answer.json["error"] + answer.json["error_info"]["remediation"]


def test_env_and_args_reach_the_job(unit: RunningUnit) -> None:
    body = {
        "args": ["--target-rpm", "350"],
        "env": {"EXPERIMENT": "Exp001", "JOB_SOURCE": "robot", "PATH": "/nowhere"},
        "config_overrides": [["stirring.config", "initial_duty_cycle", "22"]],
    }
    unit.ended(run(unit, body).json["task_id"])
    (row,) = unit.get("/jobs/running/experiments/Exp001").json
    assert (row["job_source"], row["experiment"], row["unit"]) == ("robot", "Exp001", "pio01")
    assert unit.get("/jobs/running/experiments/Exp002").json == []
    assert unit.get("/long_running_jobs/running").json == []
    typed = unit.get("/jobs/settings/job_name/stirring?typed=true").json["settings"]
    assert typed["target_rpm"] == 350
    assert typed["duty_cycle"] == 22
    assert unit.get("/jobs/settings/job_name/stirring/setting/target_rpm").json == {"target_rpm": "350"}
    assert unit.get("/jobs/settings/job_name/stirring/setting/colour").status == 404


def test_an_override_of_no_section_fails_the_start_and_says_so(unit: RunningUnit) -> None:
    answer = run(unit, {"config_overrides": [["stiring.config", "pwm_hz", "200"]]})
    record = unit.ended(answer.json["task_id"])
    assert record["status"] == "failed"
    assert "stiring.config" in record["error"]
    assert not unit.stirrer_is_driven()


def test_an_inactive_unit_starts_no_job(unit: RunningUnit) -> None:
    answer = run(unit, {"env": {"ACTIVE": "0"}})
    assert answer.status == 409
    assert "inactive" in answer.json["error"]
    assert unit.get("/jobs/running").json == []


@pytest.mark.parametrize(
    ("filters", "stops"),
    [
        ({"job_name": "stirring"}, True),
        ({"experiment": "E1"}, True),
        ({"job_source": "robot"}, True),
        ({"job_name": "stirring", "experiment": "E2"}, False),
        ({"job_name": "od_reading"}, False),
        ({"job_id": "text"}, True),
        ({"job_id": 0.5}, False),
    ],
    ids=str,
)
def test_a_stop_takes_what_fits_all_its_filters(unit: RunningUnit, filters: dict[str, Any], stops: bool) -> None:
    unit.ended(run(unit, {"env": {"EXPERIMENT": "E1", "JOB_SOURCE": "robot"}}).json["task_id"])
    (row,) = unit.get("/jobs/running").json
    if filters == {"job_id": "text"}:
        filters = {"job_id": row["job_id"]}
    answer = unit.post("/jobs/stop", filters)
    if answer.status == 202:
        unit.ended(answer.json["task_id"])
    assert (unit.get("/jobs/running").json == []) == stops


def test_a_stop_takes_the_job_id_as_a_number_too(unit: RunningUnit) -> None:
    row = unit.run_stirring()
    unit.ended(unit.accepted("/jobs/stop", {"job_id": int(row["job_id"])}))
    assert unit.get("/jobs/running").json == []


def test_a_stop_beats_a_start_that_was_accepted_before_it(unit: RunningUnit) -> None:
    start = run(unit, {}).json["task_id"]
    stop = unit.accepted("/jobs/stop/all")
    assert unit.ended(stop)["status"] == "complete"
    assert unit.get("/jobs/running").json == []
    record = unit.ended(start)
    assert record["status"] == "failed"  # it is ready after a kick of half a second
    assert "stopped before it was ready" in record["error"]
    assert not unit.stirrer_is_driven()


def test_the_history_is_newest_first(unit: RunningUnit) -> None:
    for _ in range(2):
        unit.run_stirring()
        unit.ended(unit.accepted("/jobs/stop/all"))
    ids = [int(row["job_id"]) for row in unit.get("/jobs").json]
    assert ids == sorted(ids, reverse=True)
    assert len(unit.get("/jobs?limit=1").json) == 1


def test_patch_of_settings_is_not_of_this_contract(unit: RunningUnit) -> None:
    answer = unit.ask("PATCH", "/jobs/settings/job_name/stirring", {"settings": {"target_rpm": 1}})
    assert answer.status == 503
    assert answer.json["error_info"]["status"] == 503


def test_a_file_of_another_folder_is_no_job(tmp_path: Path, unit: RunningUnit) -> None:
    for name in ("..%2f..%2fetc", "%00", "-rf", "a" * 4096):
        assert unit.post(f"/jobs/run/job_name/{name}", {}).status in (400, 404)
