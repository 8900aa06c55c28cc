"""A unit whose pool has one task that does nothing: `POST /unit_api/bench/nothing` makes a worker warm."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reactor_unit.serve_command import main
from reactor_unit.workers.tasks import TaskContext, TaskFunction

if TYPE_CHECKING:  # what a unit imports, and when, must not depend on this file
    import falcon

    from reactor_unit.app import UnitApp
    from reactor_unit.gateway import Gateway


def nothing(_context: TaskContext) -> None:
    """Do nothing."""


class Nothing:
    """Submit the task."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 202 as every resource does."""
        from reactor_unit.resources.answers import accepted

        accepted(resp, "bench", self._gateway.submit("nothing", {}))


def extend(app: UnitApp, gateway: Gateway) -> None:
    """Add the route."""
    app.add_route("/unit_api/bench/nothing", Nothing(gateway))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], functions={"nothing": TaskFunction("nothing", nothing)}, extend=extend))
