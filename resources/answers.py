"""How answers leave: the headers that all of them carry, ready JSON, and the answer to an accepted task."""

from __future__ import annotations

import falcon

from reactor_unit.gateway_protocol import Accepted, LockHeld
from reactor_unit.strict_json import dumps

# The state of a reactor is never worth caching; an answer that is says so itself by setting Cache-Control.
DEFAULT_HEADERS = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))


class UnitResponse(falcon.Response):
    """A response that starts with the unit's default headers."""

    def __init__(self, options: falcon.ResponseOptions | None = None) -> None:
        super().__init__(options)
        self.set_headers(DEFAULT_HEADERS)


def accepted(resp: falcon.Response, unit_name: str, submitted: Accepted | LockHeld) -> None:
    """Answer 202: where to look for the task's result, or which lock another task holds.

    The latter accepted nothing, so `resp.context.keep` tells that it must not be the answer to a repeated request.
    """
    resp.status = falcon.HTTP_202
    if isinstance(submitted, LockHeld):
        resp.context.keep = False
        resp.data = dumps({"status": "in_progress", "lock": submitted.lock})
        return
    path = f"/unit_api/task_results/{submitted.task_id}"
    resp.set_headers((("location", path), ("retry-after", "1")))
    resp.data = dumps({"unit": unit_name, "task_id": submitted.task_id, "result_url_path": path})
