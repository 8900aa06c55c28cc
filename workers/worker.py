"""The child's half of the task pool: take a task, run it, tell how it ended."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial

from reactor_unit import errors, strict_json
from reactor_unit.channel import Channel, ChannelClosed, Message
from reactor_unit.clock import UnitClock
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.drivers.leases import LeaseTable, OutputRevoked
from reactor_unit.workers.children import TerminationGuard
from reactor_unit.workers.tasks import TaskContext, TaskFunctions

log = logging.getLogger(__name__)

MAX_RESULT_BYTES = 1024 * 1024
END_GRACE_S = 1.0


class _Terminated(BaseException):
    """The process was asked to end; not an Exception, so that no task function answers it."""


def run_worker(
    channel: Channel,
    functions: TaskFunctions,
    leases: LeaseTable,
    open_hardware: Callable[[str], Hardware],
    unit_clock: UnitClock,
) -> None:
    """Run tasks until the supervisor closes the channel or asks this process to end.

    A worker whose task left an output claimed ends: then the supervisor makes the output safe.
    """
    leases.on_begin = lambda: channel.send({"lease": True})

    def terminate() -> None:
        raise _Terminated

    TerminationGuard(terminate, lambda: None, END_GRACE_S)
    try:
        while True:
            message = channel.receive()
            context = TaskContext(
                lambda progress: channel.send({"progress": progress}),
                leases.renew,
                partial(open_hardware, message["name"]),
                unit_clock,
            )
            final = _run(context, message, functions)
            if leases.owned():
                log.error("A task left %s claimed; this worker ends.", ", ".join(sorted(leases.owned())))
                channel.send({**final, "ends": True})  # so that it is not given another task
                os._exit(1)
            channel.send(final)
    except (ChannelClosed, OutputRevoked, _Terminated):
        os._exit(0)


def _run(context: TaskContext, message: Message, functions: TaskFunctions) -> Message:
    """Return the final message of one task."""
    try:
        result = functions[message["name"]].function(context, **message["args"])
        size = len(strict_json.dumps(result))
    except (ChannelClosed, OutputRevoked):
        raise
    except Exception as ex:
        if not isinstance(ex, errors.UnitError):
            log.exception("Task %s (%s) failed.", message["task_id"], message["name"])
        return {"error": errors.from_exception(ex).to_dict()}
    if size > MAX_RESULT_BYTES:
        too_large = errors.TaskFailed(f"The result has {size} bytes; the limit is {MAX_RESULT_BYTES}.")
        return {"error": too_large.to_dict()}
    return {"result": result, "bytes": size}
