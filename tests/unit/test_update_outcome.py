"""How the outcome of an update reaches its task, also when what watched it was killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from reactor_unit import succession
from reactor_unit.clock import boot_clock, boot_id
from reactor_unit.environment import MARK, OVER, TRIAL, Environment
from reactor_unit.errors import InstallFailed, UnitError
from reactor_unit.gateway_protocol import UPDATE_LOCK
from reactor_unit.workers import update_task
from reactor_unit.workers.task_desk import IN_PROGRESS, Task, TaskDesk
from reactor_unit.workers.update_task import await_outcome, outcome

RECORD: dict[str, Any] = {"id": "one", "from": "1", "to": "2", "broken_plugins": {}, "failed": None}


class FakeChannel:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, message: Any) -> None:
        self.sent.append(message)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    environment = Environment(tmp_path, tmp_path / "lib")
    environment.packages.mkdir()
    environment.folder.mkdir()
    monkeypatch.setattr(Environment, "current", classmethod(lambda _cls: environment))
    monkeypatch.setattr(update_task, "LOOK_EVERY_S", 0.0)
    return environment


def last_word() -> Any:
    channel: Any = FakeChannel()
    await_outcome(channel, "one")
    return channel.sent[-1]


def test_what_is_written_is_said(environment: Environment) -> None:
    environment.write_record({**RECORD, "state": OVER})
    assert last_word() == {"result": {"name": "reactor-unit", "from": "1", "to": "2", "broken_plugins": {}}}
    failed = {"error": "It did not serve.", "cause": "It ended.", "version": "1"}
    environment.write_record({**RECORD, "state": OVER, "failed": failed})
    assert "from 1 to 2 failed: It did not serve. Version 1 is in place." in last_word()["error"]["message"]


def test_the_outcome_is_said_when_the_environment_may_be_changed_again(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.write_record({**RECORD, "state": OVER})
    watch = environment.lock()
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            os.close(watch)

    monkeypatch.setattr("reactor_unit.workers.update_task.time.sleep", sleep)
    assert "result" in last_word()
    assert len(waits) == 2


def test_the_outcome_is_said_in_the_end_although_somebody_keeps_the_environment(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update_task, "FREE_WITHIN_S", 0.05)
    environment.write_record({**RECORD, "state": OVER})
    with environment.locked():
        assert "result" in last_word()


def test_a_new_version_that_nobody_watches_any_more_is_there_to_stay(environment: Environment) -> None:
    environment.write_record({**RECORD, "state": TRIAL})
    (environment.packages / MARK).write_text("one")
    assert "result" in last_word()
    assert (environment.read_record() or {})["state"] == OVER


def test_an_old_version_that_nobody_watches_says_that_it_is_the_old_one(environment: Environment) -> None:
    environment.write_record({**RECORD, "state": TRIAL})
    assert "put back" in last_word()["error"]["message"]


def test_an_update_beside_another_change_is_told_to_wait(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update_task, "check_pip", lambda: None)
    channel: Any = FakeChannel()
    with environment.locked():
        update_task.prepare(channel, Task("one", "update", {}, UPDATE_LOCK, IN_PROGRESS), tmp_path)
    assert channel.sent[-1]["error"]["remediation"] == "Try again when the other change is over."


def test_a_record_of_another_update_says_nothing_of_this_one(environment: Environment) -> None:
    environment.write_record({**RECORD, "id": "other", "state": OVER})
    assert "unknown" in last_word()["error"]["message"]


def test_an_outcome_of_another_kind_is_an_error() -> None:
    error = outcome({**RECORD, "failed": {"error": "No.", "cause": "", "version": "1"}})["error"]
    assert error["type"] == InstallFailed.__name__


@pytest.mark.parametrize(
    ("changed", "is_told"),
    [
        ({}, True),
        ({"data_folder": "/elsewhere"}, False),
        ({"accepted_stamp": -90_000.0}, False),
        ({"accepted_stamp": -90_000.0, "boot_id": "the last boot"}, True),
    ],
)
def test_a_unit_tells_of_its_own_last_update_for_a_day(
    environment: Environment, tmp_path: Path, changed: dict[str, Any], is_told: bool
) -> None:
    stamp = boot_clock() + changed.pop("accepted_stamp", 0.0)
    record = {**RECORD, "boot_id": boot_id(), "data_folder": str(tmp_path), "accepted_stamp": stamp, **changed}
    environment.write_record(record)
    assert (succession.last_update(tmp_path) is not None) == is_told


def test_a_listener_is_taken_over_once_and_only_if_it_listens() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        environ = {"REACTOR_UNIT_LISTENER": str(listener.fileno())}
        adopted = succession.adopt_listener(environ)
        assert adopted is not None
        assert adopted.getsockname() == listener.getsockname()
        adopted.detach()
        assert environ == {}
    with socket.socket() as silent:
        assert succession.adopt_listener({"REACTOR_UNIT_LISTENER": str(silent.fileno())}) is None
    for said in ("", "x", "-1", "999"):
        assert succession.adopt_listener({"REACTOR_UNIT_LISTENER": said}) is None


def test_an_adopted_task_is_in_progress_and_has_its_lock() -> None:
    changes: list[Task] = []
    desk = TaskDesk(changes.append)
    desk.carry("update", lambda _task: None)
    task = Task("one", "update", {}, UPDATE_LOCK, IN_PROGRESS)
    desk.adopt(task)
    assert desk.tasks() == changes == [task]
    assert desk.submit({"name": "update", "args": {}, "lock": UPDATE_LOCK}) == {"lock": UPDATE_LOCK}
    desk.fail(task, UnitError("No."))
    assert "task" in desk.submit({"name": "update", "args": {}, "lock": UPDATE_LOCK})
