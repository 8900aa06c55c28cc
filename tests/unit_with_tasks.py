"""A unit with a few tasks for tests: `python unit_with_tasks.py serve ...` is `reactor-unit serve ...` plus these.

`POST /unit_api/test/{task}` submits `{task}` to the pool with the JSON body as its arguments.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from reactor_unit.serve_command import main
from reactor_unit.workers.tasks import TaskContext, TaskFunction

if TYPE_CHECKING:  # what a unit imports, and when, must not depend on this file
    import falcon

    from reactor_unit.app import UnitApp
    from reactor_unit.gateway import Gateway


def wait(context: TaskContext, seconds: float) -> str:
    """Report progress, then wait."""
    context.progress(1, 2, f"in process {os.getpid()}")
    threading.Event().wait(seconds)
    return "waited"


def hold(context: TaskContext, path: str) -> str:
    """Report progress, then wait until there is a file."""
    context.progress(1, 2, f"in process {os.getpid()}")
    while not os.path.exists(path):
        threading.Event().wait(0.01)
    return "held"


def chatter(context: TaskContext, seconds: float) -> str:
    """Report progress as fast as it goes."""
    until = time.monotonic() + seconds
    count = 0
    while time.monotonic() < until:
        count += 1
        context.progress(count, count + 1, "chatter" * 20)
    return "talked"


def add(_context: TaskContext, a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


def environment(_context: TaskContext) -> list[str]:
    """Return the names of the environment's variables."""
    return sorted(os.environ)


def nothing(_context: TaskContext) -> None:
    """Do nothing."""


def break_down(_context: TaskContext) -> None:
    """Fail as a program does."""
    raise ZeroDivisionError("division by zero")


def large(_context: TaskContext, size: int) -> str:
    """Return a large result."""
    return "x" * size


def not_json(_context: TaskContext) -> Any:
    """Return what JSON cannot hold."""
    return {1, 2}


def pid(_context: TaskContext) -> int:
    """Tell which process works."""
    return os.getpid()


def light_and_turn(context: TaskContext, seconds: float) -> str:
    """Light LED B and turn the media pump for some seconds."""
    hardware = context.open_hardware()
    try:
        with hardware.open_pump("media", {"2": "media"}) as pump, hardware.open_leds() as leds:
            leds.set_intensity("B", 50.0)
            context.progress(1, 2, f"in process {os.getpid()}")
            pump.run_for(seconds, 100.0, wait=context.wait)
    finally:
        hardware.close()
    return "done"


def leave_claimed(context: TaskContext) -> str:
    """End without giving the media pump back, as one does that could not turn it off."""
    context.open_hardware().open_pump("media", {"2": "media"})
    return "left"


FUNCTIONS = {
    function.name: function
    for function in (
        TaskFunction("wait", wait, timeout_s=120),
        TaskFunction("hold", hold, timeout_s=120),
        TaskFunction("wait_too_long", wait, timeout_s=0.3),
        TaskFunction("chatter", chatter),
        TaskFunction("add", add),
        TaskFunction("environment", environment),
        TaskFunction("nothing", nothing),
        TaskFunction("break_down", break_down),
        TaskFunction("large", large),
        TaskFunction("not_json", not_json),
        TaskFunction("pid", pid),
        TaskFunction("light_and_turn", light_and_turn),
        TaskFunction("leave_claimed", leave_claimed),
    )
}


class Submit:
    """Submit a pool task by name."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def on_post(self, req: falcon.Request, resp: falcon.Response, task: str) -> None:
        from reactor_unit.gateway_protocol import LockHeld

        answer = self._gateway.submit(task, req.get_media(default_when_empty={}), lock=req.get_param("lock"))
        resp.status = "202 Accepted"
        if isinstance(answer, LockHeld):
            resp.media = {"status": "in_progress", "lock": answer.lock}
        else:
            resp.media = {"task_id": answer.task_id}


def extend(app: UnitApp, gateway: Gateway) -> None:
    app.add_route("/unit_api/test/{task}", Submit(gateway))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], functions=FUNCTIONS, extend=extend))
