"""What became of an accepted task."""

from __future__ import annotations

import math

import falcon

from reactor_unit.clock import boot_clock
from reactor_unit.gateway_protocol import TaskAnswer, UnitGateway
from reactor_unit.resources.preferences import wait_s

LONGEST_RETRY_AFTER_S = 30


class TaskResults:
    """Tell how a task stands: `GET /unit_api/task_results/{task_id}`. Reading a result does not use it up."""

    def __init__(self, gateway: UnitGateway) -> None:
        self._gateway = gateway

    def on_get(self, req: falcon.Request, resp: falcon.Response, task_id: str) -> None:
        """Answer 202 while it waits or runs, 200 with its result, 500 with its error.

        With `Prefer: wait=N` the answer is held until the task ends, or for N seconds. Only so many requests are held
        at a time; a further one is answered at once, without `Preference-Applied`.
        """
        answer = self._gateway.task(task_id)
        within_s = wait_s(req)
        if within_s is not None and (not answer.is_pending or self._gateway.wait_for_end(task_id, within_s)):
            resp.set_header("Preference-Applied", f"wait={within_s}")
            answer = self._gateway.task(task_id)
        resp.status = falcon.code_to_http_status(answer.status)
        if answer.is_pending:
            resp.set_header("Retry-After", str(_retry_after_s(answer)))
        resp.data = answer.body


def _retry_after_s(answer: TaskAnswer) -> int:
    """Return when to ask again, in whole seconds: when the task is expected to end, 1 where nobody can tell."""
    if answer.expected_end is None:
        return 1
    return math.ceil(max(1.0, min(LONGEST_RETRY_AFTER_S, answer.expected_end - boot_clock())))
