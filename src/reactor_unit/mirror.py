"""The web process's picture of tasks and jobs, kept current by the supervisor's events and read by every request."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from reactor_unit import errors, strict_json
from reactor_unit.clock import boot_clock
from reactor_unit.errors import NoSuchJob
from reactor_unit.gateway_protocol import TaskAnswer

MAX_ENDED_TASKS = 512  # kept ready in memory; older ones are read from the store
MAX_ENDED_BYTES = 2 * 1024 * 1024
ROW_COLUMNS = (  # the reference system's columns of a running job
    "job_id",
    "unit",
    "experiment",
    "job_name",
    "job_source",
    "started_at",
    "is_running",
    "leader",
    "pid",
    "is_long_running_job",
    "ended_at",
)

Record = Mapping[str, Any]


def is_final(record: Record) -> bool:
    """Whether a task record will not change any more."""
    return record["status"] in ("complete", "failed")


def task_answer(record: Record) -> TaskAnswer:
    """Return what a client is told about a task: 202 while it is on its way, 200 when complete, 500 when failed."""
    task_id = record["task_id"]
    body = {
        "task_id": task_id,
        "result_url_path": f"/unit_api/task_results/{task_id}",
        "status": record["status"],
    }
    if record["status"] == "complete":
        return TaskAnswer(200, strict_json.dumps({**body, "result": record["result"]}))
    if record["status"] == "failed":
        error = errors.error_body(errors.from_dict(record["error"]), 500)
        return TaskAnswer(500, strict_json.dumps({**body, **error}))
    if "progress" in record:
        body["progress"] = record["progress"]
    return TaskAnswer(202, strict_json.dumps(body), _expected_end(record))


def _expected_end(record: Record) -> float | None:
    """Return when a task will be done if it goes on as it did since it was accepted, on the boot clock."""
    progress = record.get("progress") or {}
    done, total = progress.get("done", 0), progress.get("total", 0)
    if not 0 < done < total:
        return None
    now = boot_clock()
    return float(now + (now - record["accepted_stamp"]) * (total - done) / done)


class TaskMirror:
    """Ready answers by task id: all tasks that are on their way, and the newest of those that ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: dict[str, TaskAnswer] = {}
        self._live_names: dict[str, str] = {}
        self._ended: OrderedDict[str, TaskAnswer] = OrderedDict()
        self._ended_bytes = 0

    def put(self, record: Record) -> bool:
        """Take note of a record; a final one stays, whatever comes after it. Return whether the task ended just now."""
        task_id, answer = record["task_id"], task_answer(record)
        with self._lock:
            if task_id in self._ended:
                return False
            if not is_final(record):
                self._live[task_id] = answer
                self._live_names[task_id] = record["name"]
                return False
            self._ended[task_id] = answer  # before it leaves the others: readers take no lock
            self._live.pop(task_id, None)
            self._live_names.pop(task_id, None)
            self._ended_bytes += len(answer.body)
            while len(self._ended) > MAX_ENDED_TASKS or self._ended_bytes > MAX_ENDED_BYTES:
                _, oldest = self._ended.popitem(last=False)
                self._ended_bytes -= len(oldest.body)
        return True

    def get(self, task_id: str) -> TaskAnswer | None:
        """Return the ready answer, None when this id is not in memory."""
        return self._live.get(task_id) or self._ended.get(task_id)

    def is_live(self, name: str) -> bool:
        """Return whether a task of this name has not ended."""
        with self._lock:
            return name in self._live_names.values()

    def live_ids(self) -> set[str]:
        """Return the ids of the tasks that have not ended."""
        with self._lock:
            return set(self._live)


class JobMirror:
    """Rows and settings of the jobs that run."""

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._ready: dict[tuple[str | None, str | None, bool], bytes] = {}

    def put(self, row: dict[str, Any], settings: dict[str, Any]) -> None:
        """Take note of a running job."""
        known = self._jobs.get(row["job_id"])
        self._jobs = {**self._jobs, row["job_id"]: (row, settings)}
        if known is None or _shown(known[0]) != _shown(row):
            self._ready = {}

    def remove(self, job_id: str) -> None:
        """Take note that a job runs no more."""
        self._jobs = {known_id: job for known_id, job in self._jobs.items() if known_id != job_id}
        self._ready = {}

    def running_json(self, job_name: str | None, experiment: str | None, long_running_only: bool) -> bytes:
        """Return the rows that match as a JSON list, oldest first."""
        ready, key = self._ready, (job_name, experiment, long_running_only)
        body = ready.get(key)
        if body is None:
            rows = [row for row, _ in self.running(job_name, experiment, long_running_only)]
            body = strict_json.dumps(rows)
            if rows or key == (None, None, False):  # names that clients invent must not fill the memory
                ready[key] = body
        return body

    def running(
        self, job_name: str | None, experiment: str | None, long_running_only: bool
    ) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Return the rows that match, oldest first, each with what its job publishes."""
        return [
            (_shown(row), settings)
            for row, settings in self._jobs.values()
            if (job_name is None or row["job_name"] == job_name)
            and (experiment is None or row["experiment"] == experiment)
            and (row["is_long_running_job"] or not long_running_only)
        ]

    def settings(self, job_name: str) -> dict[str, Any]:
        """Return the published settings of the running job of this name. Raises NoSuchJob."""
        for row, settings in self._jobs.values():
            if row["job_name"] == job_name:
                return settings
        raise NoSuchJob(f"No job called {job_name!r} is running.")

    def rows(self) -> list[dict[str, Any]]:
        """Return all columns of all running jobs."""
        return [row for row, _ in self._jobs.values()]


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {column: row[column] for column in ROW_COLUMNS}
