"""Admission of tasks: what is refused, what is locked, and what a record says."""

from __future__ import annotations

from typing import Any

import pytest

from reactor_unit import errors
from reactor_unit.workers import task_desk
from reactor_unit.workers.task_desk import Task, TaskDesk


class Carrier:
    """Takes tasks and leaves it to the test to end them."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.refuse: errors.UnitError | None = None

    def __call__(self, task: Task) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.tasks.append(task)


@pytest.fixture
def carrier() -> Carrier:
    return Carrier()


@pytest.fixture
def changes() -> list[str]:
    return []


@pytest.fixture
def desk(carrier: Carrier, changes: list[str]) -> TaskDesk:
    desk = TaskDesk(lambda task: changes.append(task.status))
    desk.carry("work", carrier)
    desk.carry("stop", carrier, stop_lane=True)
    return desk


def submit(desk: TaskDesk, name: str = "work", **more: Any) -> dict[str, Any]:
    return desk.submit({"name": name, "args": {"x": 1}, **more})


def test_a_task_goes_from_pending_to_complete(desk: TaskDesk, carrier: Carrier, changes: list[str]) -> None:
    answer = submit(desk)
    assert answer["task"]["status"] == "pending"
    (task,) = carrier.tasks
    desk.start(task)
    desk.progress(task, {"done": 1, "total": 2, "message": "half"})
    assert task.record()["progress"]["message"] == "half"
    desk.finish(task, None)
    assert task.record()["result"] is None
    assert "progress" not in task.record()
    assert changes == ["pending", "in_progress", "in_progress", "complete"]


def test_the_first_end_of_a_task_stands(desk: TaskDesk, carrier: Carrier) -> None:
    submit(desk)
    (task,) = carrier.tasks
    desk.fail(task, errors.Stopped("stopped"))
    desk.finish(task, "too late")
    assert task.record()["status"] == "failed"
    assert task.record()["error"]["message"] == "stopped"


def test_the_same_id_again_runs_nothing(desk: TaskDesk, carrier: Carrier) -> None:
    first = submit(desk, task_id="one")
    again = submit(desk, task_id="one")
    assert again["task"]["task_id"] == first["task"]["task_id"]
    assert len(carrier.tasks) == 1
    desk.finish(carrier.tasks[0], 5)
    assert submit(desk, task_id="one")["task"]["result"] == 5
    assert len(carrier.tasks) == 1


def test_a_lock_is_held_from_acceptance_to_any_end(desk: TaskDesk, carrier: Carrier) -> None:
    submit(desk, lock="update-lock")
    assert submit(desk, lock="update-lock") == {"lock": "update-lock"}
    assert "task" in submit(desk, lock="clock-lock")
    desk.fail(carrier.tasks[0], errors.TaskFailed("no"))
    assert "task" in submit(desk, lock="update-lock")


def test_a_refused_task_leaves_no_lock_and_no_record(desk: TaskDesk, carrier: Carrier) -> None:
    carrier.refuse = errors.Conflict("not now")
    with pytest.raises(errors.Conflict):
        submit(desk, lock="update-lock")
    carrier.refuse = None
    assert desk.tasks() == []
    assert "task" in submit(desk, lock="update-lock")


def test_a_full_queue_refuses_work_but_not_stops(desk: TaskDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_desk, "MAX_WAITING", 3)
    for _ in range(3):
        submit(desk)
    with pytest.raises(errors.QueueFull) as refusal:
        submit(desk)
    assert refusal.value.retry_after_s
    assert "task" in submit(desk, "stop")


def test_the_stop_lane_is_bounded_too(desk: TaskDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_desk, "MAX_STOPPING", 2)
    submit(desk, "stop")
    submit(desk, "stop")
    with pytest.raises(errors.QueueFull):
        submit(desk, "stop")


def test_an_ended_task_is_kept_until_it_is_stored(desk: TaskDesk, carrier: Carrier) -> None:
    submit(desk)
    desk.finish(carrier.tasks[0], 1)
    assert [task.task_id for task in desk.tasks()] == [carrier.tasks[0].task_id]
    desk.stored([carrier.tasks[0].task_id])
    assert desk.tasks() == []


def test_unstored_records_are_bounded(
    desk: TaskDesk, carrier: Carrier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(task_desk, "MAX_UNSTORED", 2)
    for number in range(3):
        submit(desk, task_id=str(number))
        desk.finish(carrier.tasks[-1], number)
    assert [task.task_id for task in desk.tasks()] == ["1", "2"]
    assert "not acknowledged" in caplog.text


def test_unstored_results_are_bounded_in_bytes(
    desk: TaskDesk, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_desk, "MAX_UNSTORED_BYTES", 1000)
    for number in range(3):
        submit(desk, task_id=str(number))
        desk.finish(carrier.tasks[-1], "x" * 400, 400)
    assert [task.task_id for task in desk.tasks()] == ["1", "2"]
    desk.stored(["1", "2"])
    submit(desk, task_id="3")
    desk.finish(carrier.tasks[-1], "x" * 900, 900)
    assert [task.task_id for task in desk.tasks()] == ["3"]


def test_a_closed_desk_says_why(desk: TaskDesk) -> None:
    desk.close(errors.Unavailable("The unit is shutting down."))
    with pytest.raises(errors.Unavailable, match="shutting down"):
        submit(desk)


def test_an_unknown_task_is_a_fault_of_the_program(desk: TaskDesk) -> None:
    with pytest.raises(errors.InternalError):
        submit(desk, "no_such_task")
