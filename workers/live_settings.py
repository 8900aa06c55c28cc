"""Changes of settings while a job runs: asked by the web process, carried out by the job's own process."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reactor_unit import errors
from reactor_unit.channel import Message
from reactor_unit.clock import boot_clock
from reactor_unit.workers.job_desk import DISCONNECTED, JobDesk, RunningJob
from reactor_unit.workers.loop import Loop, Timer

ANSWER_WITHIN_S = 4.5  # the web process waits a little longer
MAX_WAITING = 8  # changes that one job has not answered yet

Reply = Callable[[Message], None]


@dataclass(eq=False)
class _Change:
    job: RunningJob
    setting: str
    value: Any
    reply: Reply
    timer: Timer


class LiveSettings:
    """Hands each change to its job and the job's answer back; a job that is gone or silent is an error.

    `$state` `disconnected` is a stop: it is answered when the job is gone and its outputs are safe.
    """

    def __init__(self, loop: Loop, jobs: JobDesk) -> None:
        self._loop = loop
        self._jobs = jobs
        self._changes: dict[int, _Change] = {}
        self._sequence = itertools.count(1)
        jobs.on_answer = self._answered
        jobs.on_left = self._gone

    def change(self, request: Message, reply: Reply) -> None:
        """Carry out {"job_name", "setting", "value"}; `reply` gets {"value": in force} or {"error": ...}, once."""
        try:
            self._hand_on(request["job_name"], request["setting"], request["value"], reply)
        except errors.UnitError as error:
            reply({"error": error.to_dict()})

    def _hand_on(self, job_name: str, setting: str, value: Any, reply: Reply) -> None:
        job = self._running(job_name)
        if sum(change.job is job for change in self._changes.values()) >= MAX_WAITING:
            raise errors.Unavailable(f"{job_name} has {MAX_WAITING} changes to answer.", retry_after_s=1)
        number = next(self._sequence)
        timer = self._loop.call_later(ANSWER_WITHIN_S, lambda: self._too_late(number))
        self._changes[number] = _Change(job, setting, value, reply, timer)
        if (setting, value) == ("$state", DISCONNECTED):
            self._jobs.stop_job(job)
        else:
            deadline = boot_clock() + ANSWER_WITHIN_S
            job.line.request({"set": {setting: value}, "seq": number, "deadline": deadline})

    def _running(self, job_name: str) -> RunningJob:
        for job in self._jobs.jobs():
            if job.request.job_name == job_name:
                if job.stopping:
                    raise errors.JobNotRunning(f"{job_name} is being stopped.")
                return job
        raise errors.JobNotRunning(f"{job_name} does not run.", remediation=f"Start {job_name} first.")

    def _answered(self, message: Message) -> None:
        change = self._changes.pop(message["re"], None)
        if change is not None:
            change.timer.cancel()
            change.reply({key: message[key] for key in ("value", "error") if key in message})

    def _gone(self, job: RunningJob) -> None:
        for number, change in list(self._changes.items()):
            if change.job is not job:
                continue
            del self._changes[number]
            change.timer.cancel()
            if (change.setting, change.value) == ("$state", DISCONNECTED):
                change.reply({"value": job.state})
                continue
            error = errors.JobNotRunning(
                f"{change.setting} was not set: {job.request.job_name} ended.", cause=job.row["cause"]
            )
            change.reply({"error": error.to_dict()})

    def _too_late(self, number: int) -> None:
        change = self._changes.pop(number)
        name = change.job.request.job_name
        error = errors.Unavailable(
            f"{name} did not answer within {ANSWER_WITHIN_S:g} s.",
            remediation=f"Look at its settings before you try again; if it goes on, stop {name} and start it again.",
            retry_after_s=ANSWER_WITHIN_S,
        )
        change.reply({"error": error.to_dict()})
