"""What is done to the machine itself: power and clock. Jobs are stopped before its power goes."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from reactor_unit import errors
from reactor_unit.channel import Channel, Message
from reactor_unit.gateway_protocol import POWER_LOCK
from reactor_unit.system_adapter import (
    COMMAND_TIMEOUT_S,
    REBOOT,
    SET_CLOCK,
    SHUT_DOWN,
    SYNC_CLOCK,
    SystemAdapter,
    end_with_command,
)
from reactor_unit.workers.children import Child, Exit, Nursery
from reactor_unit.workers.job_desk import STOP_GIVE_UP_S, JobDesk, RunningJob
from reactor_unit.workers.loop import Loop, Timer
from reactor_unit.workers.pool import Pool
from reactor_unit.workers.standing_jobs import StandingJobs
from reactor_unit.workers.task_desk import Task, TaskDesk

log = logging.getLogger(__name__)

HOLD = "power"
CHILD_LIMIT_S = COMMAND_TIMEOUT_S + 5.0  # a child that hangs itself
CHILD_GRACE_S = 2.0
STILL_UP_AFTER_S = 60.0  # a machine that was told to end and did not: jobs may start again
ANNOUNCED = {REBOOT: "to reboot", SHUT_DOWN: "to power off"}

Answer = Callable[[Message], None]


class SystemDesk:
    """Carries out the tasks `reboot`, `shut_down`, `set_clock` and `sync_clock`, each command in a child of its own.

    Before the power goes, jobs and tasks of the pool are stopped, and none is started meanwhile. If that takes longer
    than STOP_GIVE_UP_S the command is run all the same: a machine without power drives nothing.
    """

    def __init__(
        self,
        loop: Loop,
        nursery: Nursery,
        desk: TaskDesk,
        jobs: JobDesk,
        pool: Pool,
        standing: StandingJobs,
        system: SystemAdapter,
    ) -> None:
        self._loop = loop
        self._nursery = nursery
        self._desk = desk
        self._jobs = jobs
        self._pool = pool
        self._standing = standing
        self._system = system
        self._departure: _Departure | None = None
        for name in (REBOOT, SHUT_DOWN):
            desk.carry(name, self._depart)
        for name in (SET_CLOCK, SYNC_CLOCK):
            desk.carry(name, self._run_task)
        jobs.on_shut_down = self.shut_down_for

    def shut_down_for(self, job: RunningJob, reason: str) -> None:
        """Have the machine's power off, because a job wants it."""
        log.critical("%s wants the power off: %s", job.request.job_name, reason)
        try:
            answer = self._desk.submit({"name": SHUT_DOWN, "args": {"reason": reason}, "lock": POWER_LOCK})
        except errors.UnitError as error:
            log.critical("The power is not turned off: %s", error.message)
            return
        if "lock" in answer:
            log.critical("The power is being turned off, or the machine rebooted, already.")

    def job_gone(self) -> None:
        """Take note that a job is gone: if it was the last, the machine's power may go."""
        if self._departure is not None:
            self._departure.look()

    # The clock

    def _run_task(self, task: Task) -> None:
        self._desk.start(task)

        def answered(answer: Message) -> None:
            if "error" in answer:
                self._desk.fail(task, errors.from_dict(answer["error"]))
            else:
                self._desk.finish(task, answer["result"])

        self._run(task.name, task.args, answered)

    # The power

    def _depart(self, task: Task) -> None:
        names = [job.request.job_name for job in self._jobs.jobs()]
        self._desk.start(task)
        hold = errors.Unavailable(f"The machine is about {ANNOUNCED[task.name]}.", retry_after_s=5)
        self._jobs.hold_starts(hold, HOLD)
        self._pool.hold(hold)
        self._departure = _Departure(self, task, [name for name in names if name in self._standing.names], len(names))
        for job in self._jobs.jobs():
            self._jobs.stop_job(job)
        reason = errors.Stopped(f"The task was ended because the machine is about {ANNOUNCED[task.name]}.")
        self._pool.cancel_all(reason, self._departure.pool_is_empty)
        self._departure.give_up = self._loop.call_later(STOP_GIVE_UP_S, self._departure.go)
        self._departure.look()

    def left_to_stop(self) -> list[str]:
        """Return the names of the jobs that have not ended."""
        return [job.request.job_name for job in self._jobs.jobs()]

    def progress(self, task: Task, done: int, total: int, message: str) -> None:
        """Tell how far the departure is."""
        self._desk.progress(task, {"done": done, "total": total, "message": message})

    def run_departure(self, departure: _Departure) -> None:
        """Run the command of a departure for which all is stopped."""
        self._run(departure.task.name, departure.task.args, lambda answer: self._departed(departure, answer))

    def _departed(self, departure: _Departure, answer: Message) -> None:
        if "error" in answer:
            self._stay(departure)
            failed = errors.from_dict(answer["error"])
            remedy = f"{failed.remediation} Jobs were stopped: start them again."
            self._desk.fail(departure.task, type(failed)(failed.message, cause=failed.cause, remediation=remedy))
            return
        result = {**answer["result"], "not_stopped": self.left_to_stop()}
        if result["dry"]:
            self._stay(departure)
        else:
            self._loop.call_later(STILL_UP_AFTER_S, lambda: self._still_up(departure))
        self._desk.finish(departure.task, result)

    def _still_up(self, departure: _Departure) -> None:
        log.error("The machine was told %s %g s ago, and did not.", ANNOUNCED[departure.task.name], STILL_UP_AFTER_S)
        self._stay(departure)

    def _stay(self, departure: _Departure) -> None:
        """Let jobs start again, and start what the unit runs for itself, unless another departure began meanwhile."""
        if self._departure is not departure:
            return
        self._departure = None
        self._jobs.hold_starts(None, HOLD)
        self._pool.hold(None)
        self._standing.start(departure.standing)

    # Commands

    def _run(self, action: str, args: dict[str, Any], answer: Answer) -> None:
        """Run the command of `action` in a child; `answer` is called once, with its result or error."""
        said: list[Message] = []

        def on_exit(child: Child, how: Exit) -> None:
            limit.cancel()
            died = errors.ProcessDied(f"Whether {action} was done is unknown.", cause=f"Process {child.pid} {how}.")
            answer(said[0] if said else {"error": died.to_dict()})

        try:
            child = self._nursery.fork(
                "system",
                lambda channel: run_command(channel, self._system, action, args),
                on_exit,
                lambda _child, message: said.append(message),
            )
        except OSError as ex:
            answer({"error": errors.Unavailable(f"No process could be started: {ex}.").to_dict()})
            return
        limit = self._loop.call_later(CHILD_LIMIT_S, lambda: child.end(self._loop, CHILD_GRACE_S))


class _Departure:
    """One reboot or shutdown on its way: what is still to be stopped, and then the command, once."""

    def __init__(self, desk: SystemDesk, task: Task, standing: list[str], jobs: int) -> None:
        self.task = task
        self.standing = standing  # to be started again if the machine stays
        self.give_up: Timer | None = None
        self._desk = desk
        self._jobs = jobs
        self._pool_is_empty = False
        self._has_gone = False
        self._began = time.monotonic()

    def pool_is_empty(self) -> None:
        """Take note that no task of the pool runs any more."""
        self._pool_is_empty = True
        self.look()

    def look(self) -> None:
        """Go if nothing has to be waited for."""
        left = self._desk.left_to_stop()
        if not self._has_gone:
            message = f"stopping {', '.join(left)}" if left else "stopping tasks"
            self._desk.progress(self.task, self._jobs - len(left), self._jobs + 1, message)
        if self._pool_is_empty and not left:
            self.go()

    def go(self) -> None:
        """Run the command, whatever still runs."""
        if self._has_gone:
            return
        self._has_gone = True
        if self.give_up is not None:
            self.give_up.cancel()
        left = self._desk.left_to_stop()
        if left:
            waited_s = time.monotonic() - self._began
            log.critical("%s: not stopped and safe within %.0f s; the power goes anyway.", ", ".join(left), waited_s)
        self._desk.progress(self.task, self._jobs, self._jobs + 1, f"running {self.task.name}")
        self._desk.run_departure(self)


def run_command(channel: Channel, system: SystemAdapter, action: str, args: dict[str, Any]) -> None:
    """Be the child that runs one command: do it, say how it went, end."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end_with_command)
    try:
        answer: Message = {"result": system.run(action, **args)}
    except Exception as ex:
        if not isinstance(ex, errors.UnitError):
            log.exception("%s failed.", action)
        answer = {"error": errors.from_exception(ex).to_dict()}
    channel.send(answer)
    os._exit(0)
