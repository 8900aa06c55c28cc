"""Every answer of a real unit fits its schema: what the API tests' fakes promise is what the unit says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Answer, RunningUnit, running_unit, wait_for
from marshmallow import Schema

from reactor_unit.resources.response_schemas import (
    AcceptedAnswer,
    ErrorAnswer,
    FailedTaskBody,
    HealthAnswer,
    HistoryRow,
    LockHeldAnswer,
    RunningJobRow,
    SettingsAnswer,
    TaskAnswerBody,
    VersionAnswer,
)

UNIT_WITH_TASKS = (str(Path(__file__).parent.parent / "unit_with_tasks.py"),)
SETTINGS = "/jobs/settings/job_name/stirring"


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUnit]:
    """A unit with tasks for tests and one worker."""
    with running_unit(tmp_path_factory.mktemp("unit"), "--workers", "1", program=UNIT_WITH_TASKS) as running:
        yield running


def fits(answer: Answer, status: int, schema: Schema) -> Any:
    """Check an answer's status, type and body; return the body."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == ("no-cache" if "etag" in answer.headers else "no-store")
    assert schema.validate(answer.json) == {}, answer.json
    return answer.json


def test_health_and_version(unit: RunningUnit) -> None:
    assert fits(unit.get("/health"), 200, HealthAnswer())["pioreactor_unit"] == "pio01"
    fits(unit.get("/versions/app"), 200, VersionAnswer())


def test_a_jobs_life(unit: RunningUnit) -> None:
    rows = RunningJobRow(many=True)
    body = {"options": {"target_rpm": 300}, "env": {"EXPERIMENT": "Exp001", "JOB_SOURCE": "user"}}
    run = fits(unit.post("/jobs/run/job_name/stirring", body), 202, AcceptedAnswer())
    unit.ended(run["task_id"])
    fits(unit.get(f"/task_results/{run['task_id']}"), 200, TaskAnswerBody())

    for path in ("/jobs/running", "/jobs/running/stirring", "/jobs/running/experiments/Exp001"):
        assert [row["job_name"] for row in fits(unit.get(path), 200, rows)] == ["stirring"]
    assert fits(unit.get("/long_running_jobs/running"), 200, rows) == []
    (row,) = fits(unit.get("/jobs"), 200, HistoryRow(many=True))
    assert (row["is_running"], row["ended_at"], row["cause"]) == (1, None, None)
    assert row["options"] == {"target_rpm": 300.0}

    text = fits(unit.get(SETTINGS), 200, SettingsAnswer())["settings"]
    assert text["target_rpm"] == "300"
    typed = unit.get(f"{SETTINGS}?typed=true").json["settings"]
    assert (list(typed), typed["target_rpm"], typed["$state"]) == (list(text), 300.0, "ready")
    assert unit.get(f"{SETTINGS}/setting/target_rpm").json == {"target_rpm": "300"}
    assert unit.get(f"{SETTINGS}/setting/target_rpm?typed=true").json == {"target_rpm": 300.0}

    stop = fits(unit.post("/jobs/stop", {"job_name": "stirring"}), 202, AcceptedAnswer())
    unit.ended(stop["task_id"])
    fits(unit.get(f"/task_results/{stop['task_id']}"), 200, TaskAnswerBody())
    fits(unit.post("/jobs/stop/all"), 202, AcceptedAnswer())
    assert fits(unit.get("/jobs/running"), 200, rows) == []
    (row,) = fits(unit.get("/jobs"), 200, HistoryRow(many=True))
    assert (row["is_running"], row["state"]) == (0, "disconnected")


def test_the_history_of_a_killed_job(unit: RunningUnit) -> None:
    import psutil

    psutil.Process(unit.run_stirring()["pid"]).kill()
    wait_for(lambda: unit.get("/jobs/running").json == [], "the end of the job")
    (row,) = fits(unit.get("/jobs"), 200, HistoryRow(many=True))
    assert row["state"] == "lost"
    assert row["cause"]


def test_a_tasks_states(tasks: RunningUnit, tmp_path: Path) -> None:
    first = tasks.accepted("/test/hold", {"path": str(tmp_path / "go on")})
    second = tasks.accepted("/test/nothing")
    wait_for(lambda: "progress" in tasks.task(first), "progress")
    assert fits(tasks.get(f"/task_results/{first}"), 202, TaskAnswerBody())["progress"]["total"] == 2
    assert fits(tasks.get(f"/task_results/{second}"), 202, TaskAnswerBody())["status"] == "pending"
    (tmp_path / "go on").touch()
    tasks.ended(second)
    assert fits(tasks.get(f"/task_results/{first}"), 200, TaskAnswerBody())["result"] == "held"
    assert fits(tasks.get(f"/task_results/{second}"), 200, TaskAnswerBody())["result"] is None


@pytest.mark.parametrize("task", ["break_down", "not_json", "wait_too_long"])
def test_a_failed_task(tasks: RunningUnit, task: str) -> None:
    task_id = tasks.accepted(f"/test/{task}", {"seconds": 100} if task == "wait_too_long" else {})
    tasks.ended(task_id)
    fits(tasks.get(f"/task_results/{task_id}"), 500, FailedTaskBody())


def test_a_held_lock(tasks: RunningUnit, tmp_path: Path) -> None:
    args = {"path": str(tmp_path / "go on")}
    first = tasks.accepted("/test/hold?lock=a-lock", args)
    fits_lock = tasks.post("/test/hold?lock=a-lock", args)
    assert LockHeldAnswer().validate(fits_lock.json) == {}
    (tmp_path / "go on").touch()
    tasks.ended(first)


ERRORS = [
    ("GET", "/nothing", None, {}, 404),
    ("GET", "/task_results/nothing", None, {}, 404),
    ("GET", SETTINGS, None, {}, 404),
    ("GET", f"{SETTINGS}/setting/target_rpm", None, {}, 404),
    ("GET", "/jobs?limit=0", None, {}, 400),
    ("DELETE", "/health", None, {}, 405),
    ("PATCH", SETTINGS, {"settings": {}}, {}, 503),
    ("POST", "/jobs/run/job_name/nothing", {}, {}, 404),
    ("POST", "/jobs/run/job_name/stirring", b"{", {}, 400),
    ("POST", "/jobs/run/job_name/stirring", {"optoins": {}}, {}, 400),
    ("POST", "/jobs/run/job_name/stirring", {"options": {"target_rpm": -1}}, {}, 400),
    ("POST", "/jobs/run/job_name/stirring", b"x", {"Content-Type": "text/plain"}, 415),
    ("POST", "/jobs/run/job_name/stirring", b" " * (1024 * 1024 + 1), {}, 413),
    ("POST", "/jobs/run/job_name/stirring", {}, {"Idempotency-Key": "x" * 256}, 400),
    ("POST", "/jobs/run/job_name/stirring", {"env": {"ACTIVE": "0"}}, {}, 409),
    ("POST", "/jobs/stop", {}, {}, 400),
    ("POST", "/jobs/stop/all", {}, {"Origin": "http://evil.example"}, 403),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"), ERRORS, ids=lambda value: str(value)[:60] or None
)
def test_an_error(tasks: RunningUnit, method: str, path: str, body: Any, headers: dict[str, str], status: int) -> None:
    error = fits(tasks.ask(method, path, body, headers), status, ErrorAnswer())
    assert error["error_info"]["status"] == status
