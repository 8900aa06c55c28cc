"""A unit whose pool has two tasks of its own.

`POST /unit_api/bench/nothing` makes a worker warm; the result of `POST /unit_api/bench/brief` is when the task ended.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from reactor_unit.serve_command import main
from reactor_unit.workers.tasks import TaskContext, TaskFunction

if TYPE_CHECKING:  # what a unit imports, and when, must not depend on this file
    import falcon

    from reactor_unit.app import UnitApp
    from reactor_unit.gateway import Gateway


def nothing(_context: TaskContext) -> None:
    """Do nothing."""


def brief(context: TaskContext) -> float:
    """Take 20 ms; return the monotonic time at the end, in s."""
    context.wait(0.02)
    return time.monotonic()


TASKS = {"nothing": TaskFunction("nothing", nothing), "brief": TaskFunction("brief", brief)}


class Submit:
    """Submit a task."""

    def __init__(self, gateway: Gateway, name: str) -> None:
        self._gateway = gateway
        self._name = name

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 202 as every resource does."""
        from reactor_unit.resources.answers import accepted

        accepted(resp, "bench", self._gateway.submit(self._name, {}))


def extend(app: UnitApp, gateway: Gateway) -> None:
    """Add a route for each task."""
    for name in TASKS:
        app.add_route(f"/unit_api/bench/{name}", Submit(gateway, name))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], functions=TASKS, extend=extend))
