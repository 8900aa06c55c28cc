"""What the web side asks of the rest of the unit: the seam between the resources and the supervisor.

The resources know only these classes. `reactor_unit.gateway` keeps the promise of `UnitGateway` with a real
supervisor, `reactor_unit.task_store` that of `AnswerStore` with diskcache; tests bring fakes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from reactor_unit.faults import Fault
from reactor_unit.plugins import Report
from reactor_unit.series import Reading

# Named locks: while a task holds one, a second request for the like is told so instead of being accepted.
POWER_LOCK = "power-lock"
CLOCK_LOCK = "clock-lock"
WEB_RESTART_LOCK = "web-restart-lock"
UPDATE_LOCK = "update-lock"
PLUGINS_LOCK = "plugins-lock"
IMPORT_LOCK = "import-dot-pioreactor-lock"


@dataclass(frozen=True)
class Accepted:
    """The task was admitted and its record is stored."""

    task_id: str


@dataclass(frozen=True)
class LockHeld:
    """The task was not admitted: another one holds the named lock."""

    lock: str


@dataclass(frozen=True)
class TaskAnswer:
    """A task's record as an HTTP answer: `status` 200, 202 or 500 and `body`, ready JSON.

    `expected_end` is when a task will be done if it goes on as it did, on the boot clock; None when it cannot be told.
    """

    status: int
    body: bytes
    expected_end: float | None = None

    @property
    def is_pending(self) -> bool:
        """Whether the task has not ended."""
        return self.status == 202


@dataclass(frozen=True)
class SavedAnswer:
    """An answer kept for a repeated request: status line, `[name, value]` headers, and the body's text."""

    status: str
    headers: list[list[str]]
    body: str


class UnitGateway(Protocol):
    """The unit behind the API. Safe to call from several threads; only `result_of` and `wait_for_end` may take long."""

    def submit(
        self, name: str, args: dict[str, Any], *, task_id: str | None = None, lock: str | None = None
    ) -> Accepted | LockHeld:
        """Admit the task `name` and return once its record is stored.

        The same `task_id` again is the same task: it is never run twice. Raises a UnitError when the task is refused
        (JobAlreadyRunning, RateLimited, QueueFull, Unavailable, ...).
        """

    def is_under_way(self, name: str) -> bool:
        """Return whether a task of this name was admitted and has not ended."""

    def task(self, task_id: str) -> TaskAnswer:
        """Return how the task stands. Raises NoSuchTask for an unknown or expired id."""

    def result_of(self, task_id: str, within_s: float) -> Any:
        """Wait for the end of a task and return its result.

        Raises the task's own error, NoSuchTask, and Unavailable when it has not ended in time.
        """

    def wait_for_end(self, task_id: str, within_s: float) -> bool:
        """Wait until a task has ended, `within_s` seconds at most or until the web process ends.

        Returns False at once when too many wait already. Raises NoSuchTask.
        """

    def cancel(self, task_id: str) -> None:
        """End a task of the pool; returns when what it had on is off. It then failed with Stopped.

        Nothing happens to a task that ended before. Raises Unavailable when that takes longer than seconds.
        """

    def running_jobs(
        self, *, job_name: str | None = None, experiment: str | None = None, long_running_only: bool = False
    ) -> bytes:
        """Return the rows of the running jobs that fit every given filter, as a JSON list, oldest first."""

    def running_jobs_with_settings(
        self, *, job_name: str | None = None, experiment: str | None = None, long_running_only: bool = False
    ) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Return the same rows, each with what its job publishes, in JSON types."""

    def settings(self, job_name: str) -> dict[str, Any]:
        """Return what the running job publishes, in JSON types. Raises NoSuchJob when it does not run."""

    def set_setting(self, job_name: str, setting: str, value: Any) -> Any:
        """Let the running job change a setting to `value`, which the job's description takes.

        Returns the value that is then in force. Raises JobNotRunning, Unavailable when the job does not answer within
        seconds, and the job's own error.
        """

    def recall(self, tables: Collection[str], experiment: str) -> dict[str, Any]:
        """Return what jobs of an experiment had remembered last, by table; tables without an entry are left out."""

    def plugins(self) -> Sequence[Report]:
        """Return what is known of the plugins, in the order in which they are used."""

    def look_at_plugins(self, *, wait: bool = False) -> None:
        """Have the catalogue follow the plugins if they have changed; with `wait`, return when it has.

        Raises Unavailable, only with `wait`, when that takes too long, or others wait already.
        """

    def faults(self) -> list[Fault]:
        """Return the latched faults, oldest first."""

    def clear_fault(self, fault_id: str) -> Fault:
        """Clear a latched fault and return what it was. Raises NoSuchFault."""

    def reading_names(self) -> list[str]:
        """Return the name of every series of readings, sorted."""

    def readings(
        self, patterns: Collection[str], since: float | None, until: float | None, limit: int
    ) -> Iterator[Reading]:
        """Yield up to `limit` readings in the order of time, with `since` <= at < `until` (unix seconds).

        The first ones from `since` on; without `since`, the newest before `until`. A pattern is a name, or the
        beginning of names with `*` behind it; no pattern means all.
        """

    def is_supervised(self) -> bool:
        """Return whether the supervisor answers."""

    def job_history(self, limit: int) -> list[dict[str, Any]]:
        """Return up to `limit` rows of jobs that run or ran, newest first."""


class AnswerStore(Protocol):
    """First answers of requests that carry an Idempotency-Key. Each call is atomic."""

    def begin_answer(self, key: str, fingerprint: str) -> SavedAnswer | None:
        """Return the answer kept for `key`, or None and mark the request as being answered.

        Raises IdempotencyKeyReused when `key` came with another fingerprint, RequestInFlight when its first
        request has not been answered yet.
        """

    def finish_answer(self, key: str, fingerprint: str, answer: SavedAnswer) -> None:
        """Keep `answer` for `key`."""

    def abandon_answer(self, key: str) -> None:
        """Forget that `key` is being answered, so that the request may be tried again. Idempotent."""
