"""Tasks on the real path: states, progress, failures with their cause, limits, locks and repeated requests."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import DEADLINE_S, Answer, RunningUnit, running_unit, wait_for

UNIT_WITH_TASKS = (str(Path(__file__).parent.parent / "unit_with_tasks.py"),)


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUnit]:
    """One unit with tasks for tests and one worker, shared by the tests of this module."""
    with running_unit(tmp_path_factory.mktemp("unit"), "--workers", "1", program=UNIT_WITH_TASKS) as running:
        yield running


def result(unit: RunningUnit, task: str, **args: Any) -> Any:
    return unit.ended(unit.accepted(f"/test/{task}", args))


def test_a_result_can_be_read_many_times(unit: RunningUnit) -> None:
    task_id = unit.accepted("/test/add", {"a": 1, "b": 2})
    first = unit.ended(task_id)
    assert first["result"] == 3
    assert unit.task(task_id) == first
    assert unit.get(f"/task_results/{task_id}").status == 200


def test_a_null_result_is_a_result(unit: RunningUnit) -> None:
    record = result(unit, "nothing")
    assert record["status"] == "complete"
    assert record["result"] is None


def held(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """Return the arguments of a task that waits, and the file that ends it when it is made."""
    go_on = tmp_path / "go on"
    return {"path": str(go_on)}, go_on


def test_progress_shows_while_a_task_runs(unit: RunningUnit, tmp_path: Path) -> None:
    args, go_on = held(tmp_path)
    task_id = unit.accepted("/test/hold", args)
    progress = wait_for(lambda: unit.task(task_id).get("progress"), "progress")
    assert (progress["done"], progress["total"]) == (1, 2)
    answer = unit.get(f"/task_results/{task_id}")
    assert (answer.status, answer.json["status"]) == (202, "in_progress")
    assert answer.headers["retry-after"] == "1"
    go_on.touch()
    assert "progress" not in unit.ended(task_id)


def begin_to_wait(unit: RunningUnit, task_id: str, answers: list[Answer]) -> threading.Thread:
    """Ask for a task's result with a wait of 20 s, in a thread that adds to `answers`."""
    path, prefer = f"/task_results/{task_id}", {"Prefer": "wait=20"}
    thread = threading.Thread(target=lambda: answers.append(unit.ask("GET", path, headers=prefer)))
    thread.start()
    return thread


def test_an_answer_is_held_until_the_task_ends(unit: RunningUnit, tmp_path: Path) -> None:
    """One request for a task; and who waits keeps nobody from being answered."""
    args, go_on = held(tmp_path)
    task_id = unit.accepted("/test/hold", args)
    answers: list[Answer] = []
    waiting = [begin_to_wait(unit, task_id, answers) for _ in range(3)]
    assert unit.get("/health").status == 200
    threading.Event().wait(0.3)  # while they ask
    go_on.touch()
    for thread in waiting:
        thread.join(DEADLINE_S)
    assert [(answer.status, answer.json["result"]) for answer in answers] == [(200, "held")] * 3
    assert {answer.headers["preference-applied"] for answer in answers} == {"wait=20"}


def test_an_answer_that_is_held_comes_before_its_web_process_ends(tmp_path: Path) -> None:
    with running_unit(tmp_path, "--workers", "1", program=UNIT_WITH_TASKS) as unit:
        task_id = unit.accepted("/test/wait", {"seconds": 100})
        answers: list[Answer] = []
        waiting = begin_to_wait(unit, task_id, answers)
        wait_for(lambda: unit.task(task_id)["status"] == "in_progress")
        unit.web().terminate()
        waiting.join(10)  # half of what it asked for
        assert [answer.status for answer in answers] == [202]


@pytest.mark.parametrize(
    ("task", "args", "said"),
    [
        ("break_down", {}, "ZeroDivisionError: division by zero"),
        ("not_json", {}, "set"),
        ("large", {"size": 2 * 1024 * 1024}, "limit is 1048576"),
        ("wait_too_long", {"seconds": 100}, "longer than 0.3 s"),
        ("add", {"a": 1}, "missing"),
    ],
    ids=["an exception", "a result that is no JSON", "a result that is too large", "a time-out", "a wrong argument"],
)
def test_a_failed_task_says_why(unit: RunningUnit, task: str, args: dict[str, Any], said: str) -> None:
    task_id = unit.accepted(f"/test/{task}", args)
    unit.ended(task_id)
    answer = unit.get(f"/task_results/{task_id}")
    assert answer.status == 500
    assert set(answer.json) == {"task_id", "result_url_path", "status", "error", "error_info"}
    assert answer.json["status"] == "failed"
    assert said in answer.json["error"] + answer.json["error_info"]["cause"]
    assert result(unit, "add", a=1, b=1)["result"] == 2  # the pool goes on


def test_large_arguments_and_results_pass(unit: RunningUnit) -> None:
    assert len(result(unit, "large", size=900_000)["result"]) == 900_000


def test_tasks_run_in_the_order_they_came(unit: RunningUnit, tmp_path: Path) -> None:
    args, go_on = held(tmp_path)
    first = unit.accepted("/test/hold", args)
    second = unit.accepted("/test/add", {"a": 1, "b": 1})
    assert unit.task(second)["status"] == "pending"
    go_on.touch()
    unit.ended(second)
    assert unit.task(first)["status"] == "complete"


def test_a_lock_lets_one_task_in(unit: RunningUnit, tmp_path: Path) -> None:
    args, go_on = held(tmp_path)
    task_id = unit.accepted("/test/hold?lock=clock-lock", args)
    answer = unit.post("/test/hold?lock=clock-lock", args)
    assert answer.json == {"status": "in_progress", "lock": "clock-lock"}
    go_on.touch()
    unit.ended(task_id)
    unit.ended(unit.accepted("/test/nothing?lock=clock-lock"))


def test_an_unknown_task_is_a_404(unit: RunningUnit) -> None:
    answer = unit.get("/task_results/00000000-0000-0000-0000-000000000000")
    assert answer.status == 404
    assert answer.json["error_info"]["status"] == 404


def test_a_full_queue_says_when_to_come_back(unit: RunningUnit) -> None:
    blocker = unit.accepted("/test/wait", {"seconds": 100})
    answers = [unit.post("/test/nothing") for _ in range(300)]
    refused = [answer for answer in answers if answer.status == 503]
    assert len(refused) == 300 - 255
    assert int(refused[0].headers["retry-after"]) >= 1
    stop = unit.ended(unit.accepted("/jobs/stop", {"job_name": "stirring"}))  # has a lane of its own
    assert stop["result"] == {"stopped": []}
    message = wait_for(lambda: unit.task(blocker).get("progress", {}).get("message"), "progress")
    os.kill(int(message.rsplit(" ", 1)[1]), signal.SIGKILL)
    last = [answer.json["task_id"] for answer in answers if answer.status == 202][-1]
    assert unit.ended(last)["status"] == "complete"


def test_the_202_says_where_to_look(unit: RunningUnit) -> None:
    answer = unit.post("/jobs/stop", {"job_name": "stirring"})
    path = answer.json["result_url_path"]
    assert path == f"/unit_api/task_results/{answer.json['task_id']}"
    assert answer.headers["location"] == path
    assert answer.headers["retry-after"] == "1"
    assert answer.json["unit"] == "pio01"


# Idempotency-Key


def start_once(unit: RunningUnit, key: str, **options: Any) -> Answer:
    return unit.ask("POST", "/jobs/run/job_name/stirring", {"options": options}, {"Idempotency-Key": key})


def stop_stirring(unit: RunningUnit) -> None:
    unit.ended(unit.accepted("/jobs/stop", {"job_name": "stirring"}))


def test_a_repeated_request_starts_nothing_twice(unit: RunningUnit) -> None:
    first = wait_for(lambda: _unless_429(start_once(unit, "key-1", target_rpm=300)))
    again = start_once(unit, "key-1", target_rpm=300)
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["idempotency-replayed"] == "true"
    assert start_once(unit, "key-1", target_rpm=301).status == 422
    unit.web().kill()
    after_a_crash = start_once(unit, "key-1", target_rpm=300)
    assert after_a_crash.json == first.json
    assert unit.ended(first.json["task_id"])["status"] == "complete"
    stop_stirring(unit)


def test_a_request_repeated_by_many_at_once_starts_one_job(unit: RunningUnit) -> None:
    before = len(unit.get("/jobs?limit=1000").json)
    wait_for(lambda: _unless_429(start_once(unit, "warm-up")))
    stop_stirring(unit)
    answers: list[Answer] = []
    wait_for(lambda: _unless_429(start_once(unit, "key-2")))
    threads = [threading.Thread(target=lambda: answers.append(start_once(unit, "key-2"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} <= {202, 409}
    assert len({answer.json["task_id"] for answer in answers if answer.status == 202}) == 1
    wait_for(lambda: len(unit.get("/jobs?limit=1000").json) == before + 2, "two more rows")
    stop_stirring(unit)


def _unless_429(answer: Answer) -> Answer | None:
    return None if answer.status == 429 else answer
