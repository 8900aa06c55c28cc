"""What became of an accepted task."""

from __future__ import annotations

import math

import falcon

from reactor_unit.gateway_protocol import UnitGateway


class TaskResults:
    """Tell how a task stands: `GET /unit_api/task_results/{task_id}`. Reading a result does not use it up."""

    def __init__(self, gateway: UnitGateway) -> None:
        self._gateway = gateway

    def on_get(self, req: falcon.Request, resp: falcon.Response, task_id: str) -> None:
        """Answer 202 while it waits or runs, 200 with its result, 500 with its error."""
        answer = self._gateway.task(task_id)
        resp.status = falcon.code_to_http_status(answer.status)
        if answer.retry_after_s is not None:
            resp.set_header("Retry-After", str(max(1, math.ceil(answer.retry_after_s))))
        resp.data = answer.body
