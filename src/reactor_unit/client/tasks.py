"""Tasks: how one stands, and waiting for its end."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

from reactor_unit.client.addresses import segment
from reactor_unit.client.connection import BUSY_STATUSES, OUTAGE_S, Answer, Connection
from reactor_unit.client.errors import TaskNotDone, UnitAnswerError, UnitUnreachable, completed
from reactor_unit.client.records import Progress, TaskRecord, progress_of

FIRST_INTERVAL_S = 0.005
LONGEST_INTERVAL_S = 0.25
LONGEST_HOLD_S = 25  # a unit holds an answer for so long at most
HOLD_WITH_PROGRESS_S = 1  # who wants to see progress asks for it once a second
FINAL_STATES = frozenset({"complete", "failed"})


class Tasks(Connection):
    """What became of accepted tasks."""

    def task(self, task_id: str) -> TaskRecord:
        """Return the record of a task, a failed one too. An unknown or expired id is a UnitAnswerError of 404."""
        return self._task(task_id)[0]

    def wait_for(
        self,
        task_id: str,
        timeout_s: float = 60.0,
        progress: Callable[[Progress], None] | None = None,
        *,
        longest_interval_s: float = LONGEST_INTERVAL_S,
    ) -> Any:
        """Return the result of a task once it is complete; `finished_task` says the rest."""
        return self.finished_task(task_id, timeout_s, progress, longest_interval_s=longest_interval_s).get("result")

    def finished_task(
        self,
        task_id: str,
        timeout_s: float = 60.0,
        progress: Callable[[Progress], None] | None = None,
        *,
        longest_interval_s: float = LONGEST_INTERVAL_S,
    ) -> TaskRecord:
        """Return the record of a task once it is complete; `progress` is called whenever its progress changed.

        The unit is asked to hold its answer until the task ends (`Prefer: wait`), so one request is enough for most
        tasks. Where it does not, the task is polled: the pause grows from 5 ms to `longest_interval_s`, and
        Retry-After, in whole seconds, can only shorten it. A unit that is away for less than 5 s is waited for.
        Raises UnitTaskFailed when the task failed, TaskNotDone after `timeout_s`.
        """
        deadline = self._clock() + timeout_s
        longest_hold_s = LONGEST_HOLD_S if progress is None else HOLD_WITH_PROGRESS_S
        pause_s = FIRST_INTERVAL_S
        seen: Progress | None = None
        gone_since: float | None = None
        while True:
            hold_s = min(longest_hold_s, math.floor(max(0.0, deadline - self._clock())))
            asked_at = self._clock()
            record, answer = self._look(task_id, hold_s, gone_since)
            gone_since = None if answer is not None else gone_since or self._clock()
            if record is not None and record["status"] in FINAL_STATES:
                return completed(record)
            now_at = progress_of(record)
            if progress is not None and now_at is not None and now_at != seen:
                seen = now_at
                progress(now_at)
            left_s = deadline - self._clock()
            if left_s <= 0:
                raise _not_done(task_id, record, timeout_s)
            if not _was_held(answer, self._clock() - asked_at):
                self._sleep(min(pause_s, _retry_after_s(answer, pause_s), left_s))
                pause_s = min(pause_s * 1.5, longest_interval_s)

    def _look(self, task_id: str, hold_s: int, gone_since: float | None) -> tuple[TaskRecord | None, Answer | None]:
        """Return the record and its answer; neither in a short outage of a unit that answered."""
        try:
            return self._task(task_id, hold_s)
        except (UnitUnreachable, UnitAnswerError) as ex:
            is_lasting = isinstance(ex, UnitAnswerError) and ex.status not in BUSY_STATUSES
            is_gone = gone_since is not None and self._clock() - gone_since > OUTAGE_S
            if is_lasting or is_gone or self._answered_at is None:
                raise
            return None, None

    def _task(self, task_id: str, hold_s: int = 0) -> tuple[TaskRecord, Answer]:
        headers = {"Prefer": f"wait={hold_s}"} if hold_s else None
        path = f"/task_results/{segment(task_id)}"
        answer = self._send("GET", path, timeout_s=self._timeout_s + hold_s, headers=headers)
        body = answer.json_object()
        if body is not None and (answer.is_success or body.get("status") == "failed"):
            if not isinstance(body.get("status"), str):
                raise self._unreadable(answer.status)
            self._answered_at = self._clock()
            return cast(TaskRecord, body), answer
        raise self._refusal(answer)


def _was_held(answer: Answer | None, took_s: float) -> bool:
    """Return whether the unit itself waited, and for long enough that it may be asked again at once."""
    return answer is not None and "Preference-Applied" in answer.headers and took_s >= LONGEST_INTERVAL_S


def _retry_after_s(answer: Answer | None, pause_s: float) -> float:
    text = answer.headers.get("Retry-After", "") if answer is not None else ""
    return max(float(text), FIRST_INTERVAL_S) if text.isascii() and text.isdigit() else pause_s


def _not_done(task_id: str, record: TaskRecord | None, timeout_s: float) -> TaskNotDone:
    status = record["status"] if record is not None else "of unknown state"
    return TaskNotDone(
        f"Task {task_id} is still {status} after {timeout_s:g} s.",
        remediation=f"It goes on. Wait longer with `reactor-unit tasks wait {task_id}`.",
    )
