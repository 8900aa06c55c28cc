"""The supervisor's half of the task pool: workers come on demand, and one that dies takes only its own task along."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from reactor_unit import errors
from reactor_unit.channel import Channel, ChannelClosed, Message
from reactor_unit.clock import UnitClock
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.workers.children import Child, Exit, Nursery
from reactor_unit.workers.guardian import Guardian
from reactor_unit.workers.loop import Loop, Timer
from reactor_unit.workers.task_desk import Task, TaskDesk
from reactor_unit.workers.tasks import TaskFunctions
from reactor_unit.workers.worker import run_worker

log = logging.getLogger(__name__)

IDLE_S = 30.0  # a worker without work ends after this, and gives its memory back
TASKS_PER_WORKER = 200  # then it is replaced: leaks of what tasks use stay small
KILL_GRACE_S = 0.3


@dataclass(eq=False)
class _Worker:
    child: Child
    task: Task | None = None
    tasks_done: int = 0
    timer: Timer | None = None  # the task's time-out, or the end of an idle time
    verdict: errors.UnitError | None = None  # why the supervisor ended it
    on_safe: list[Callable[[], None]] = field(default_factory=list)  # who waits until what it had on is off

    def set_timer(self, timer: Timer | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = timer


class Pool:
    """Runs tasks in at most `max_workers` forked processes, in the order of their admission."""

    def __init__(
        self,
        loop: Loop,
        nursery: Nursery,
        desk: TaskDesk,
        guardian: Guardian,
        functions: TaskFunctions,
        max_workers: int,
        open_hardware: Callable[[str], Hardware],
        unit_clock: UnitClock,
        *,
        idle_s: float = IDLE_S,
        tasks_per_worker: int = TASKS_PER_WORKER,
    ) -> None:
        self._loop = loop
        self._nursery = nursery
        self._desk = desk
        self._guardian = guardian
        self._functions = functions
        self._max_workers = max_workers
        self._open_hardware = open_hardware
        self._unit_clock = unit_clock
        self._idle_s = idle_s
        self._tasks_per_worker = tasks_per_worker
        self._waiting: deque[Task] = deque()
        self._workers: set[_Worker] = set()
        self._on_empty: Callable[[], None] | None = None
        self._hold: errors.UnitError | None = None
        for name in functions:
            desk.carry(name, self._enqueue)

    def stop(self, reason: errors.UnitError, on_empty: Callable[[], None]) -> None:
        """Fail what waits and what runs with `reason`, end all workers, then call `on_empty`."""
        for task in self._waiting:
            self._desk.fail(task, reason)
        self._waiting.clear()
        self._on_empty = on_empty
        for worker in self._workers:
            self._end(worker, reason)
        self._check_empty()

    def cancel(self, task_id: str, reason: errors.UnitError, done: Callable[[], None]) -> None:
        """Fail a task with `reason`; call `done` when it does nothing any more and what it had on is off."""
        for task in self._waiting:
            if task.task_id == task_id:
                self._waiting.remove(task)
                self._desk.fail(task, reason)
                done()
                return
        for worker in self._workers:
            if worker.task is not None and worker.task.task_id == task_id:
                worker.on_safe.append(done)
                self._end(worker, worker.verdict or reason)
                return
        done()

    def hold(self, reason: errors.UnitError | None) -> None:
        """Refuse new tasks for `reason`, or take them again (None)."""
        self._hold = reason

    def cancel_all(self, reason: errors.UnitError, done: Callable[[], None]) -> None:
        """Fail every task with `reason`; call `done` when none does anything any more and what it had on is off."""
        tasks = [*self._waiting, *(worker.task for worker in self._workers if worker.task is not None)]
        left = {task.task_id for task in tasks}

        def ended(task_id: str) -> None:
            left.discard(task_id)
            if not left:
                done()

        if not tasks:
            done()
        for task in tasks:
            self.cancel(task.task_id, reason, partial(ended, task.task_id))

    def _enqueue(self, task: Task) -> None:
        if self._hold is not None:
            raise self._hold
        self._waiting.append(task)
        self._loop.call_later(0, self._dispatch)  # after the answer to the client

    def _dispatch(self) -> None:
        while self._waiting:
            worker = self._free_worker()
            if worker is None:
                return
            self._give(worker, self._waiting.popleft())

    def _free_worker(self) -> _Worker | None:
        for worker in self._workers:
            if worker.task is None and worker.verdict is None:
                return worker
        if len(self._workers) >= self._max_workers:
            return None
        try:
            child = self._nursery.fork("worker", self._child_main, self._on_exit, self._on_message)
        except OSError as ex:
            log.error("No worker could be started: %s", ex)
            self._loop.call_later(1.0, self._dispatch)
            return None
        worker = _Worker(child)
        self._workers.add(worker)
        return worker

    def _child_main(self, channel: Channel) -> None:
        run_worker(channel, self._functions, self._guardian.leases, self._open_hardware, self._unit_clock)

    def _give(self, worker: _Worker, task: Task) -> None:
        worker.task = task
        self._desk.start(task)
        timeout_s = self._functions[task.name].timeout_s
        worker.set_timer(self._loop.call_later(timeout_s, lambda: self._time_out(worker, timeout_s)))
        try:
            worker.child.channel.send({"task_id": task.task_id, "name": task.name, "args": task.args})
        except (ChannelClosed, BlockingIOError):
            worker.child.end(self._loop, KILL_GRACE_S)  # its end, seen later, fails the task

    def _time_out(self, worker: _Worker, timeout_s: float) -> None:
        if worker.task is not None:
            reason = errors.TaskTimedOut(
                f"The task {worker.task.name} was ended because it took longer than {timeout_s:g} s."
            )
            self._end(worker, reason)

    def _end(self, worker: _Worker, reason: errors.UnitError) -> None:
        worker.verdict = reason
        self._guardian.revoke(worker.child)
        worker.child.end(self._loop, KILL_GRACE_S)

    def _worker_of(self, child: Child) -> _Worker:
        return next(worker for worker in self._workers if worker.child is child)

    def _on_message(self, child: Child, message: Message) -> None:
        worker = self._worker_of(child)
        task = worker.task
        if "lease" in message:
            self._guardian.look()
            return
        if task is None or worker.verdict is not None:
            return  # a verdict that has been passed stands
        if "progress" in message:
            self._desk.progress(task, message["progress"])
            return
        if "error" in message:
            self._desk.fail(task, errors.from_dict(message["error"]))
        else:
            self._desk.finish(task, message["result"], message["bytes"])
        self._rest(worker, ends="ends" in message)

    def _rest(self, worker: _Worker, *, ends: bool) -> None:
        worker.task = None
        worker.tasks_done += 1
        if ends or worker.tasks_done >= self._tasks_per_worker:
            self._retire(worker)
        else:
            worker.set_timer(self._loop.call_later(self._idle_s, lambda: self._retire(worker)))
        self._dispatch()

    def _retire(self, worker: _Worker) -> None:
        worker.set_timer(None)
        self._end(worker, errors.TaskFailed("The worker was retired."))

    def _on_exit(self, child: Child, how: Exit) -> None:
        worker = self._worker_of(child)
        self._workers.discard(worker)
        worker.set_timer(None)
        if worker.task is not None:
            error = (
                worker.verdict
                or self._guardian.verdict(child)
                or errors.ProcessDied(
                    f"The task {worker.task.name} was lost: its worker process ended before it was done.",
                    cause=f"Worker process {child.pid} {how}.",
                )
            )
            self._desk.fail(worker.task, error)
        self._guardian.clean_up(child, lambda: self._is_safe(worker))
        if self._on_empty is None:
            self._dispatch()

    def _is_safe(self, worker: _Worker) -> None:
        for done in worker.on_safe:
            done()
        self._check_empty()

    def _check_empty(self) -> None:
        if self._on_empty is not None and not self._workers:
            on_empty, self._on_empty = self._on_empty, lambda: None
            on_empty()
