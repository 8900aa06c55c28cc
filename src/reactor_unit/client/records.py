"""What a unit answers, as types. Units send further fields, which are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

Json = dict[str, Any]
Take = Callable[[bytes], object]
BytesProgress = Callable[[int, int | None], object]  # how many came, of how many if that is known


class Health(TypedDict):
    """Answer of `/health`."""

    status: str
    pioreactor_unit: str
    utc_time: str


class Accepted(TypedDict):
    """Answer to a request that became a task."""

    unit: str
    task_id: str
    result_url_path: str


class TaskRecord(TypedDict):
    """State of a task: `pending`, `in_progress`, `complete` (with `result`) or `failed` (with `error`)."""

    task_id: str
    result_url_path: str
    status: str
    result: NotRequired[Any]
    error: NotRequired[str]
    error_info: NotRequired[Json]
    progress: NotRequired[Json | None]


class Fault(TypedDict):
    """A latched fault, which keeps `jobs` from starting."""

    id: str
    kind: str
    message: str
    cause: str
    remediation: str
    jobs: list[str]
    job_name: str
    experiment: str
    at: str


class Reading(TypedDict):
    """One number of one series at one time."""

    timestamp: str
    name: str
    value: float


class JobRow(TypedDict):
    """One run of a job; `settings` are there when they were asked for."""

    job_name: str
    job_id: str
    experiment: NotRequired[str]
    job_source: NotRequired[str]
    started_at: NotRequired[str]
    ended_at: NotRequired[str | None]
    state: NotRequired[str]
    settings: NotRequired[Json]


class Plugin(TypedDict):
    """An installed plugin; `error` says why it cannot be used."""

    name: str
    version: str
    description: NotRequired[str]
    homepage: NotRequired[str | None]
    source: NotRequired[str]
    author: NotRequired[str]
    error: NotRequired[str | None]


@dataclass(frozen=True)
class Progress:
    """How far a task is: `done` of `total` (None when the task does not know), and what it is doing."""

    done: float
    total: float | None
    message: str


def progress_of(record: TaskRecord | None) -> Progress | None:
    """Return the progress that a task's record tells, None when it tells none."""
    progress = record.get("progress") if record is not None else None
    if not isinstance(progress, dict):
        return None
    done, total = progress.get("done"), progress.get("total")
    return Progress(
        done=done if isinstance(done, int | float) else 0,
        total=total if isinstance(total, int | float) and total > 0 else None,
        message=str(progress.get("message") or ""),
    )
