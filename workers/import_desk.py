"""The supervisor's part of an import: a child checks and unpacks it, then the unit starts again and brings it in."""

from __future__ import annotations

import logging
from collections.abc import Callable

from reactor_unit import errors
from reactor_unit.channel import Channel, Message
from reactor_unit.workers.children import Child, Exit, Nursery
from reactor_unit.workers.loop import Loop
from reactor_unit.workers.task_desk import Task, TaskDesk

log = logging.getLogger(__name__)

IMPORT_ARCHIVE = "import_archive"
LIMIT_S = 4 * 3600.0  # 8 GiB on a card that writes 1 MB/s take 2.4 h
GRACE_S = 2.0

PrepareImport = Callable[[Channel, Message], None]


class ImportDesk:
    """Carries out the task `import_archive`.

    `prepare(channel, request)` runs in the child; the request has the task's `record` and `args`. It says how far it
    is, and at last `{"result": ...}` when all is ready for the next start of the unit, or `{"error": ...}` with nothing
    changed. Jobs go on meanwhile. `restart` has the unit end in order and start again; the task ends in the next one.
    Of a child that was killed another one deletes what it left: its request has no record.
    """

    def __init__(
        self, loop: Loop, nursery: Nursery, desk: TaskDesk, prepare: PrepareImport, restart: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._nursery = nursery
        self._desk = desk
        self._prepare = prepare
        self._restart = restart
        self._children: dict[Child, Task] = {}
        desk.carry(IMPORT_ARCHIVE, self._begin)

    def stop(self, reason: errors.UnitError) -> None:
        """End what is being prepared, and fail its task with `reason`."""
        for child, task in self._children.items():
            self._desk.fail(task, reason)
            child.end(self._loop, GRACE_S)

    def _begin(self, task: Task) -> None:
        request = {"record": {**task.record(), "status": "in_progress"}, "args": task.args}
        said: list[Message] = []

        def on_message(_child: Child, message: Message) -> None:
            if "progress" in message:
                self._desk.progress(task, message["progress"])
            else:
                said.append(message)

        def on_exit(child: Child, how: Exit) -> None:
            limit.cancel()
            del self._children[child]
            if said:
                self._ended(task, said[0])
            elif not task.ended:
                what = "The import was not prepared; the data folder is as it was."
                self._clear(task, errors.ProcessDied(what, cause=f"Process {child.pid} {how}."))

        try:
            child = self._nursery.fork("import", lambda channel: self._prepare(channel, request), on_exit, on_message)
        except OSError as ex:
            raise errors.Unavailable(f"No process could be started: {ex}.") from ex
        limit = self._loop.call_later(LIMIT_S, lambda: child.end(self._loop, GRACE_S))
        self._children[child] = task
        self._desk.start(task)

    def _clear(self, task: Task, died: errors.UnitError) -> None:
        def on_exit(child: Child, _how: Exit) -> None:
            del self._children[child]
            self._desk.fail(task, died)

        try:
            child = self._nursery.fork("import", lambda channel: self._prepare(channel, {"args": task.args}), on_exit)
        except OSError:  # the next start of the unit clears
            self._desk.fail(task, died)
        else:
            self._children[child] = task

    def _ended(self, task: Task, said: Message) -> None:
        if "error" in said:
            self._desk.fail(task, errors.from_dict(said["error"]))
        else:
            self._desk.progress(task, {"done": 1, "total": 1, "message": "starting again with what was imported"})
            self._restart()
