"""The task `update`: prepared by a child; then the unit makes way for its new version, in which the task goes on."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from reactor_unit import errors
from reactor_unit.channel import Channel, Message
from reactor_unit.gateway_protocol import UPDATE_LOCK
from reactor_unit.workers.children import Child, ChildMain, Exit, Nursery
from reactor_unit.workers.loop import Loop, Timer
from reactor_unit.workers.task_desk import IN_PROGRESS, Task, TaskDesk

log = logging.getLogger(__name__)

PREPARED_WITHIN_S = 45 * 60.0
OUTCOME_WITHIN_S = 15 * 60.0
NAME = "update"


class Updater(Protocol):
    """What the children of updates run."""

    def prepare(self, channel: Channel, task: Task) -> None:
        """Prepare the update and say `prepared`, then keep the environment for it until told to end.

        Or say the error, or the result where there is no other version.
        """

    def await_outcome(self, channel: Channel, update_id: str) -> None:
        """Say how an update ended, as soon as that is known."""


class UpdateDesk:
    """Carries the task `update`.

    When the new version is prepared, `on_prepared` is called: the unit is to end in order and become it. The child that
    prepared it keeps others from changing the environment until `end`. `go_on` takes up the task of an update that an
    earlier process began.
    """

    def __init__(
        self, loop: Loop, nursery: Nursery, desk: TaskDesk, updater: Updater | None, on_prepared: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._nursery = nursery
        self._desk = desk
        self._updater = updater
        self._on_prepared = on_prepared
        self._children: set[Child] = set()  # one that said its last word may still be there beside the next one
        self.is_prepared = False
        self._on_ended: Callable[[], None] | None = None
        desk.carry(NAME, _refuse if updater is None else partial(self._prepare, updater))

    def end(self, on_ended: Callable[[], None]) -> None:
        """Kill whatever prepares or waits, then call `on_ended`."""
        self._on_ended = on_ended
        for child in self._children:
            child.signal(signal.SIGKILL)
        self._check_ended()

    def _check_ended(self) -> None:
        if self._on_ended is not None and not self._children:
            self._on_ended()

    def go_on(self, record: dict[str, Any]) -> None:
        """Take up the task of the update that a record tells of."""
        if self._updater is None:
            return
        task = Task(
            record["id"],
            NAME,
            {},
            UPDATE_LOCK,
            IN_PROGRESS,
            accepted_at=record["accepted_at"],
            accepted_stamp=record["accepted_stamp"],
        )
        self._desk.adopt(task)
        self._fork(task, partial(self._updater.await_outcome, update_id=task.task_id), OUTCOME_WITHIN_S, goes_on=True)

    def _prepare(self, updater: Updater, task: Task) -> None:
        self._desk.start(task)
        try:
            self._fork(task, partial(updater.prepare, task=task), PREPARED_WITHIN_S)
        except OSError as ex:
            raise errors.Unavailable(f"No process could be started: {ex}.", retry_after_s=5) from ex

    def _fork(self, task: Task, main: ChildMain, within_s: float, *, goes_on: bool = False) -> None:
        """Fork a child for a task, which fails with it, unless the task `goes_on` in another process of the unit."""
        limit: Timer | None = None

        def on_message(_child: Child, message: Message) -> None:
            if "progress" in message:
                self._desk.progress(task, message["progress"])
            elif "prepared" in message:
                log.info("The update to %s is prepared; the unit restarts.", message["prepared"]["to"])
                self.is_prepared = True
                self._on_prepared()
            elif "error" in message:
                self._desk.fail(task, errors.from_dict(message["error"]))
            else:
                self._desk.finish(task, message["result"])
            if limit is not None and "progress" not in message:
                limit.cancel()

        def on_exit(child: Child, how: Exit) -> None:
            if limit is not None:
                limit.cancel()
            self._children.discard(child)
            if not self.is_prepared and not (goes_on and self._on_ended is not None):
                self._desk.fail(task, errors.ProcessDied("The update was ended.", cause=f"Process {child.pid} {how}."))
            self._check_ended()

        child = self._nursery.fork("update", main, on_exit, on_message)
        self._children.add(child)
        limit = self._loop.call_later(within_s, lambda: child.signal(signal.SIGKILL))


def _refuse(_task: Task) -> None:
    raise errors.Conflict(
        "This unit shares its program with others, and is not updated by itself.",
        remediation="Update the environment that the units of the fleet run from, then start them again.",
    )
