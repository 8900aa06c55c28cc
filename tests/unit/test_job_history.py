from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import killed_writer

from reactor_unit.errors import StorageFault
from reactor_unit.job_history import JobHistory

OpenHistory = Callable[..., JobHistory]


@pytest.fixture
def open_history(tmp_path: Path) -> Iterator[OpenHistory]:
    opened: list[JobHistory] = []

    def open_one(path: Path = tmp_path / "reactor_unit.sqlite", **options: Any) -> JobHistory:
        history = JobHistory(path, **options)
        opened.append(history)
        return history

    yield open_one
    for history in opened:
        history.close()


@pytest.fixture
def history(open_history: OpenHistory) -> JobHistory:
    return open_history()


def row(job_id: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "job_id": str(job_id),
        "unit": "unit7",
        "experiment": "Exp001",
        "job_name": "stirring",
        "job_source": "user",
        "started_at": "2031-03-04T05:06:07.089Z",
        "is_running": 1,
        "leader": "unit7",
        "pid": 812,
        "is_long_running_job": 0,
        "ended_at": None,
        "state": "ready",
        "cause": None,
        "options": {"target_rpm": 400.0, "label": "ü"},
    } | changes


def ended(job_id: int = 1, **changes: Any) -> dict[str, Any]:
    return row(job_id, is_running=0, ended_at="2031-03-04T06:00:00.000Z", state="disconnected") | changes


def test_a_row_is_read_as_it_was_written_and_after_opening_again(
    history: JobHistory, open_history: OpenHistory
) -> None:
    history.put([row()])
    assert history.recent(10) == [row()]
    history.close()
    assert open_history().recent(10) == [row()]


def test_the_newest_come_first_and_no_more_than_asked_for(history: JobHistory) -> None:
    history.put([row(9), row(10), row(2)])
    assert [one["job_id"] for one in history.recent(2)] == ["10", "9"]


def test_a_row_is_updated(history: JobHistory) -> None:
    history.put([row()])
    history.put([ended(cause="It was stopped.", pid=813)])
    assert history.recent(10) == [ended(cause="It was stopped.", pid=813)]


@pytest.mark.parametrize("late", [row(), row(state="init", options=None)], ids=["ready", "init"])
def test_an_ended_job_is_never_set_running_again(history: JobHistory, late: dict[str, Any]) -> None:
    history.put([ended()])
    history.put([late])
    assert history.recent(10) == [ended()]


def test_an_end_can_be_told_more_truly_later(history: JobHistory) -> None:
    history.put([row()])
    history.mark_lost("2031-03-04T05:30:00.000Z", "The unit was killed.")
    history.put([ended()])
    assert history.recent(10) == [ended()]


def test_a_job_that_has_ended_does_not_run(history: JobHistory) -> None:
    history.put([ended(is_running=1)])
    assert history.recent(1)[0]["is_running"] == 0


def test_other_fields_are_left_out_and_missing_ones_are_null(history: JobHistory) -> None:
    history.put([{"job_id": 1, "job_name": "monitor", "is_running": True, "settings": {"x": 1}}])
    (only,) = history.recent(1)
    assert only == dict.fromkeys(row()) | {
        "job_id": "1", "job_name": "monitor", "is_running": 1, "is_long_running_job": 0,
    }  # fmt: skip


@pytest.mark.parametrize("wrong", [row(2, job_name=None), row(2, options=object())], ids=["no name", "not JSON"])
def test_rows_are_written_all_or_none(history: JobHistory, wrong: dict[str, Any]) -> None:
    with pytest.raises((StorageFault, TypeError)):
        history.put([row(1), wrong])
    assert history.recent(10) == []
    history.put([row(1)])
    assert history.recent(10) == [row(1)]


def test_the_last_job_id(history: JobHistory) -> None:
    assert history.last_job_id() == 0
    history.put([row(7), row(10)])
    assert history.last_job_id() == 10


def test_everything_that_runs_is_lost_and_nothing_else(history: JobHistory) -> None:
    history.put([row(1), ended(2), row(3, is_long_running_job=1)])
    assert history.mark_lost("2031-03-05T00:00:00.000Z", "The unit was ended.") == 2
    lost = {"is_running": 0, "state": "lost", "ended_at": "2031-03-05T00:00:00.000Z", "cause": "The unit was ended."}
    assert history.recent(10) == [row(3, is_long_running_job=1) | lost, ended(2), row(1) | lost]
    assert history.mark_lost("2031-03-06T00:00:00.000Z", "Again.") == 0


def test_the_table_is_bounded_and_keeps_what_runs(open_history: OpenHistory) -> None:
    history = open_history(max_rows=5)
    history.put([row(1)])
    for job_id in range(2, 20):
        history.put([ended(job_id)])
    assert [one["job_id"] for one in history.recent(100)] == ["19", "18", "17", "16", "15", "1"]


# Trouble


def test_damage_deep_in_the_file_is_found_at_the_start(open_history: OpenHistory, tmp_path: Path) -> None:
    history = open_history()
    history.put([ended(job_id, cause="x" * 300) for job_id in range(1, 500)])
    history.close()
    path = tmp_path / "reactor_unit.sqlite"
    with open(path, "r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xff" * 3 * 4096)
    assert open_history().recent(10) == []
    assert list(tmp_path.glob("*.corrupt-*Z"))


def test_a_table_of_something_else_is_moved_aside(open_history: OpenHistory, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "reactor_unit.sqlite")
    other.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY)")
    other.close()
    history = open_history()
    history.put([row()])
    assert history.recent(10) == [row()]


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from reactor_unit.job_history import JobHistory
history, number = JobHistory(Path(sys.argv[1])), int(sys.argv[2])
while True:
    history.put([{"job_id": n, "job_name": "stirring", "is_running": 1} for n in (number, number + 1)])
    print(number + 1, flush=True)
    number += 2
"""


def test_a_killed_writer_loses_no_row_that_it_acknowledged(open_history: OpenHistory, tmp_path: Path) -> None:
    number = 1
    for trial in range(12):
        acknowledged = killed_writer(WRITE_FOR_EVER, tmp_path / "reactor_unit.sqlite", number, after_lines=1 + trial)
        history = open_history()
        kept = sorted(int(one["job_id"]) for one in history.recent(100_000))
        history.close()
        assert kept == list(range(1, len(kept) + 1))
        assert len(kept) % 2 == 0
        assert len(kept) >= acknowledged
        number = len(kept) + 1
    assert not list(tmp_path.glob("*.corrupt-*"))
