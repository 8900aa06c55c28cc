"""Admission of tasks, their locks and their records: the supervisor's side of every 202."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reactor_unit.channel import Message
from reactor_unit.clock import boot_clock, utc_timestamp
from reactor_unit.errors import InternalError, QueueFull, UnitError, from_dict

log = logging.getLogger(__name__)

MAX_WAITING = 256  # tasks admitted and not ended; above this a request gets 503
MAX_STOPPING = 1024  # the same for stop requests, which have a lane of their own
MAX_UNSTORED = 1024  # final records kept for a web process that does not acknowledge them ...
MAX_UNSTORED_BYTES = 16 * 1024 * 1024  # ... and what their results may take

PENDING, IN_PROGRESS, COMPLETE, FAILED = "pending", "in_progress", "complete", "failed"


@dataclass
class Task:
    """One admitted task."""

    task_id: str
    name: str
    args: dict[str, Any]
    lock: str | None = None
    status: str = PENDING
    progress: dict[str, Any] | None = None
    result: Any = None
    result_bytes: int = 0
    error: UnitError | None = None
    accepted_at: str = field(default_factory=utc_timestamp)
    accepted_stamp: float = field(default_factory=boot_clock)

    @property
    def ended(self) -> bool:
        """Whether the record will not change any more."""
        return self.status in (COMPLETE, FAILED)

    def record(self) -> Message:
        """Return the task as it is stored and shown."""
        record: Message = {
            "task_id": self.task_id,
            "name": self.name,
            "status": self.status,
            "accepted_at": self.accepted_at,
            "accepted_stamp": self.accepted_stamp,
        }
        if self.status == COMPLETE:
            record["result"] = self.result
        elif self.error is not None:
            record["error"] = self.error.to_dict()
        elif self.progress is not None:
            record["progress"] = self.progress
        return record


Carry = Callable[[Task], None]


class TaskDesk:
    """Admits tasks, hands each to whoever carries it out, and keeps its record until it is stored.

    `on_change(task)` is called after every change of a record. A carrier (`carriers[name]`) is called with the new task
    and either raises a UnitError, which refuses it, or sees to it that `finish` or `fail` is called once.
    """

    def __init__(self, on_change: Callable[[Task], None]) -> None:
        self._on_change = on_change
        self._carriers: dict[str, Carry] = {}
        self._stop_lane: set[str] = set()
        self._live: dict[str, Task] = {}
        self._unstored: dict[str, Task] = {}
        self._unstored_bytes = 0
        self._locks: dict[str, str] = {}
        self._closed: UnitError | None = None

    def carry(self, name: str, carrier: Carry, *, stop_lane: bool = False) -> None:
        """Let `carrier` carry out the tasks called `name`; those of the stop lane never wait behind others."""
        self._carriers[name] = carrier
        if stop_lane:
            self._stop_lane.add(name)

    def close(self, reason: UnitError) -> None:
        """Refuse everything from now on."""
        self._closed = reason

    def tasks(self) -> list[Task]:
        """Return every task that the web process may not know of: live ones and those not stored yet."""
        return [*self._unstored.values(), *self._live.values()]

    def submit(self, request: Mapping[str, Any]) -> Message:
        """Admit a task and return `{"task": record}`, or `{"lock": name}` when its lock is taken.

        The same `task_id` again returns the first one's record and runs nothing. Raises the UnitError that refuses it.
        """
        task_id = request.get("task_id") or str(uuid.uuid4())
        known = self._live.get(task_id) or self._unstored.get(task_id)
        if known is not None:
            return {"task": known.record()}
        if self._closed is not None:
            raise self._closed
        name, lock = request["name"], request.get("lock")
        carrier = self._carriers.get(name)
        if carrier is None:
            raise InternalError(f"This unit has no task called {name!r}.")
        if lock is not None and lock in self._locks:
            return {"lock": lock}
        self._check_room(name)
        task = Task(task_id, name, request["args"], lock)
        self._live[task_id] = task
        if lock is not None:
            self._locks[lock] = task_id
        try:
            carrier(task)
        except UnitError:
            self._forget(task)
            raise
        self._on_change(task)
        return {"task": task.record()}

    def adopt(self, task: Task) -> None:
        """Take over a task that an earlier process of this unit began, with its lock."""
        self._live[task.task_id] = task
        if task.lock is not None:
            self._locks[task.lock] = task.task_id
        self._on_change(task)

    def _check_room(self, name: str) -> None:
        in_lane = name in self._stop_lane
        waiting = sum((task.name in self._stop_lane) == in_lane for task in self._live.values())
        limit = MAX_STOPPING if in_lane else MAX_WAITING
        if waiting >= limit:
            raise QueueFull(f"{waiting} tasks are waiting; this unit keeps no more than {limit}.", retry_after_s=5)

    def start(self, task: Task) -> None:
        """Say that `task` is being carried out now."""
        if task.status == PENDING:
            task.status = IN_PROGRESS
            self._on_change(task)

    def progress(self, task: Task, progress: dict[str, Any]) -> None:
        """Say how far `task` is."""
        if not task.ended:
            task.progress = progress
            self._on_change(task)

    def finish(self, task: Task, result: Any, result_bytes: int = 0) -> None:
        """End `task` with a result of that size; nothing happens when it has ended before."""
        if not task.ended:
            task.status, task.result, task.result_bytes = COMPLETE, result, result_bytes
            self._end(task)

    def fail(self, task: Task, error: UnitError) -> None:
        """End `task` with an error; nothing happens when it has ended before."""
        if not task.ended:
            task.status, task.error = FAILED, error
            self._end(task)

    def adopt_ended(self, record: Message) -> None:
        """Have the final record of a task that an earlier supervisor admitted stored and shown."""
        error = record.get("error")
        self._unstored[record["task_id"]] = Task(
            record["task_id"],
            record["name"],
            {},
            status=record["status"],
            result=record.get("result"),
            error=None if error is None else from_dict(error),
            accepted_at=record["accepted_at"],
            accepted_stamp=record["accepted_stamp"],
        )

    def _end(self, task: Task) -> None:
        self._forget(task)
        self._unstored[task.task_id] = task
        self._unstored_bytes += task.result_bytes
        while len(self._unstored) > MAX_UNSTORED or self._unstored_bytes > MAX_UNSTORED_BYTES:
            lost = next(iter(self._unstored))
            self.stored([lost])
            log.error("The record of task %s was not acknowledged by the web process; it is dropped here.", lost)
        self._on_change(task)

    def _forget(self, task: Task) -> None:
        self._live.pop(task.task_id, None)
        if task.lock is not None and self._locks.get(task.lock) == task.task_id:
            del self._locks[task.lock]

    def stored(self, task_ids: list[str]) -> None:
        """Take note that these final records are on disk."""
        for task_id in task_ids:
            task = self._unstored.pop(task_id, None)
            if task is not None:
                self._unstored_bytes -= task.result_bytes
