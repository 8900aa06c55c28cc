"""Runs and stops of jobs, and the registry of what runs: the supervisor's side of every job."""

from __future__ import annotations

import contextlib
import itertools
import logging
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reactor_unit import errors
from reactor_unit.channel import Channel, ChannelClosed, Message
from reactor_unit.clock import utc_timestamp
from reactor_unit.drivers.leases import PROCESSES
from reactor_unit.job_spec import NO_EXPERIMENT, JobSpec
from reactor_unit.workers.children import Child, Exit, Nursery
from reactor_unit.workers.fault_desk import FaultDesk
from reactor_unit.workers.guardian import Guardian
from reactor_unit.workers.hub import Hub, JobLine
from reactor_unit.workers.loop import Loop, Timer
from reactor_unit.workers.task_desk import Task, TaskDesk

log = logging.getLogger(__name__)

START_INTERVAL_S = 1.0  # between two accepted starts of one job name
READY_WITHIN_S = 30.0
MAX_JOINING = 8  # run requests that a job which takes them has not answered yet
STOP_GRACE_S = 0.6  # then a job that was asked to stop is killed: a stop is done within a second
STOP_GIVE_UP_S = 10.0  # then the stop task says that outputs could not be made safe
SYSTEM = "system"  # the job_source of what the unit starts for itself; `stop all` leaves it alone

INIT, READY, SLEEPING, DISCONNECTED, LOST = "init", "ready", "sleeping", "disconnected", "lost"

RunJob = Callable[[Channel, "JobRequest"], None]


@dataclass(frozen=True)
class JobRequest:
    """What a job's process is told when it starts."""

    job_id: str
    job_name: str
    options: dict[str, Any]
    env: dict[str, str]
    config_overrides: list[list[str]]
    experiment: str
    job_source: str
    number: int = 0  # among the jobs that run now, for its own lease
    command: str = ""  # what to do instead of running
    recalled: dict[str, Any] = field(default_factory=dict)  # table -> what is remembered for the experiment
    calibrations: dict[str, Any] = field(default_factory=dict)  # device -> its active calibration or estimator


@dataclass(eq=False)
class RunningJob:
    """One job from the moment it was accepted until its outputs are safe."""

    request: JobRequest
    row: dict[str, Any]
    child: Child
    line: JobLine
    run_task: Task
    ready_timer: Timer | None = None
    state: str = INIT
    settings: dict[str, Any] = field(default_factory=dict)
    stopping: bool = False
    finished: bool = False  # it did what it was to do, and ends by itself
    joining: dict[int, Task] = field(default_factory=dict)  # run requests that it has not taken up yet
    error: errors.UnitError | None = None

    def view(self) -> dict[str, Any]:
        """Return the job as the web process mirrors it."""
        return {"row": self.row, "settings": {**self.settings, "$state": self.state}}


@dataclass(eq=False)
class _StopTask:
    task: Task
    waiting_for: set[str]
    give_up: Timer
    stopped: list[dict[str, Any]] = field(default_factory=list)


class JobDesk:
    """Starts jobs, hears what they publish, stops them, and cleans up after those that died.

    `on_change(job)` is called whenever a job's row or settings changed, `on_gone(job)` when it runs no more,
    `on_readings` with what it measured, and `on_remember(experiment, values)` with what it wants to be kept. `faults`
    keeps jobs from starting. `on_answer` and `on_left` belong to whoever changes settings of jobs,
    `on_shut_down(job, reason)` to whoever turns the machine's power off for one.
    """

    def __init__(
        self,
        loop: Loop,
        nursery: Nursery,
        desk: TaskDesk,
        guardian: Guardian,
        catalogue: Mapping[str, JobSpec],
        run_job: RunJob,
        *,
        unit_name: str,
        leader: str,
        last_job_id: int,
        on_change: Callable[[RunningJob], None],
        on_gone: Callable[[RunningJob], None],
        on_readings: Callable[[list[Any]], None],
        on_remember: Callable[[str, Mapping[str, Any]], None],
        faults: FaultDesk,
    ) -> None:
        self._loop = loop
        self._nursery = nursery
        self._desk = desk
        self._guardian = guardian
        self._catalogue = catalogue
        self._run_job = run_job
        self._unit_name = unit_name
        self._leader = leader
        self._last_job_id = last_job_id
        self._on_change = on_change
        self._on_gone = on_gone
        self._on_readings = on_readings
        self._on_remember = on_remember
        self._faults = faults
        self.on_answer: Callable[[Message], None] = lambda _answer: None
        self.on_left: Callable[[RunningJob], None] = lambda _job: None
        self._hub = Hub(loop)
        self._jobs: dict[str, RunningJob] = {}
        self._join_numbers = itertools.count(1)
        self._last_start: dict[str, float] = {}
        self._stop_tasks: set[_StopTask] = set()
        self.on_shut_down: Callable[[RunningJob, str], None] = lambda _job, _reason: None
        self._holds: dict[str, errors.UnitError] = {}
        desk.carry("run_job", self._run)
        desk.carry("stop_jobs", self._stop, stop_lane=True)

    def jobs(self) -> list[RunningJob]:
        """Return every job that has not ended."""
        return list(self._jobs.values())

    def hold_starts(self, reason: errors.UnitError | None, held_by: str = "outputs") -> None:
        """Refuse to start jobs for `reason`, or start them again (None) as far as `held_by` is concerned."""
        self._holds.pop(held_by, None)
        if reason is not None:
            self._holds[held_by] = reason

    # Starting

    def _run(self, task: Task) -> None:
        name = task.args["job_name"]
        spec = self._catalogue.get(name)
        if spec is None:
            raise errors.NoSuchJob(f"There is no job called {name!r}.")
        if task.args.get("env", {}).get("ACTIVE") == "0" and not spec.is_long_running:
            raise errors.UnitInactive(f"{name} was not started: this unit is inactive.")
        for reason in self._holds.values():
            raise reason
        running = next((job for job in self._jobs.values() if job.request.job_name == name), None)
        if running is not None and spec.joins and not running.stopping:
            self._join(running, task)
            return
        self._check_rate(name)
        self._check_not_running(name)
        if not task.args.get("command"):
            self._check_others(spec)
        self._faults.check(name)
        if len(self._jobs) >= PROCESSES:
            raise errors.Unavailable(f"{PROCESSES} jobs are running, which is as many as can be watched.")
        self._last_start[name] = time.monotonic()
        request = self._request(task.args)
        try:
            child = self._nursery.fork(
                name, lambda channel: self._run_job(channel, request), self._on_exit, self._on_message
            )
        except OSError as ex:
            raise errors.Unavailable(f"No process could be started for {name}: {ex}.", retry_after_s=5) from ex
        job = RunningJob(request, self._row(request, spec, child.pid), child, self._hub.join(spec, child), task)
        self._jobs[request.job_id] = job
        job.ready_timer = self._loop.call_later(READY_WITHIN_S, lambda: self._not_ready_in_time(job))
        self._desk.start(task)
        self._on_change(job)

    def _check_rate(self, name: str) -> None:
        wait_s = self._last_start.get(name, -START_INTERVAL_S) + START_INTERVAL_S - time.monotonic()
        if wait_s > 0:
            raise errors.RateLimited(f"{name} was started less than {START_INTERVAL_S:g} s ago.", retry_after_s=wait_s)

    def _check_not_running(self, name: str) -> None:
        for job in self._jobs.values():
            if job.request.job_name == name:
                raise errors.JobAlreadyRunning(
                    f"{name} is already running.",
                    cause=f"Job {job.request.job_id} ({job.state}) started at {job.row['started_at']}.",
                )

    def _check_others(self, spec: JobSpec) -> None:
        for job in self._jobs.values():
            other = job.request.job_name
            if other in spec.excludes or spec.name in self._catalogue[other].excludes:
                raise errors.Conflict(
                    f"{spec.name} cannot run beside {other}, which runs.",
                    cause="Both need the same part of the reactor.",
                    remediation=f"Stop {other} first.",
                )
        running = {job.request.job_name for job in self._jobs.values() if not job.stopping}
        for needed in spec.needs:
            if needed not in running:
                raise errors.JobNeeded(
                    f"{spec.name} needs {needed}, which does not run.", remediation=f"Start {needed} first."
                )

    def _request(self, args: Mapping[str, Any]) -> JobRequest:
        self._last_job_id += 1
        env = args.get("env", {})
        return JobRequest(
            job_id=str(self._last_job_id),
            job_name=args["job_name"],
            options=args.get("options", {}),
            env=env,
            config_overrides=args.get("config_overrides", []),
            experiment=env.get("EXPERIMENT", NO_EXPERIMENT),
            job_source=env.get("JOB_SOURCE", "user"),
            number=self._free_number(),
            command=args.get("command", ""),
            recalled=args.get("recalled", {}),
            calibrations=args.get("calibrations", {}),
        )

    def _free_number(self) -> int:
        used = {job.request.number for job in self._jobs.values()}
        return next(number for number in itertools.count() if number not in used)

    def _row(self, request: JobRequest, spec: JobSpec, pid: int) -> dict[str, Any]:
        return {
            "job_id": request.job_id,
            "unit": self._unit_name,
            "experiment": request.experiment,
            "job_name": request.job_name,
            "job_source": request.job_source,
            "started_at": utc_timestamp(),
            "is_running": 1,
            "leader": self._leader,
            "pid": pid,
            "is_long_running_job": int(spec.is_long_running),
            "ended_at": None,
            "state": INIT,
            "cause": None,
            "options": request.options,
        }

    def _join(self, job: RunningJob, task: Task) -> None:
        """Hand a run request to the job of that name, which runs; the task ends when the job has answered."""
        if len(job.joining) >= MAX_JOINING:
            raise errors.RateLimited(f"{job.request.job_name} has {MAX_JOINING} requests to answer.", retry_after_s=1)
        number = next(self._join_numbers)
        job.joining[number] = task
        self._desk.start(task)
        job.line.request({"again": task.args.get("options", {}), "seq": number})

    def _joined(self, job: RunningJob, message: Message) -> None:
        task = job.joining.pop(message["joined"], None)
        if task is None:
            return
        if "error" in message:
            self._desk.fail(task, errors.from_dict(message["error"]))
        else:
            self._desk.finish(task, _summary(job))

    def _start_for(self, job: RunningJob, job_name: str, options: dict[str, Any]) -> None:
        """Start a job that another one asks for, unless it runs already; it ends with that one."""
        if job.stopping or any(other.request.job_name == job_name for other in self._jobs.values()):
            return
        env = {"EXPERIMENT": job.request.experiment, "JOB_SOURCE": _source_of(job)}
        try:
            spec = self._catalogue.get(job_name)
            if spec is None or spec.recalls:  # only the web process can recall
                raise errors.InternalError(f"No job can start {job_name!r}.")
            options = spec.parse_options(options)
            self._desk.submit({"name": "run_job", "args": {"job_name": job_name, "options": options, "env": env}})
        except errors.UnitError as error:
            log.warning("%s could not be started for %s: %s", job_name, job.request.job_name, error.message)

    def _not_ready_in_time(self, job: RunningJob) -> None:
        job.error = errors.TaskTimedOut(f"{job.request.job_name} was not ready within {READY_WITHIN_S:g} s.")
        self._guardian.revoke(job.child)
        job.child.end(self._loop, STOP_GRACE_S)

    # Hearing

    def _on_message(self, child: Child, message: Message) -> None:
        job = self._job_of(child)
        if "re" in message:
            self.on_answer(message)
        elif "joined" in message:
            self._joined(job, message)
        elif "lease" in message:
            self._guardian.look()
        elif "error" in message:
            job.error = job.error or errors.from_dict(message["error"])
        elif "settings" in message:
            self._published(job, message)
        elif "state" in message:
            self._set_state(job, message["state"])
        else:
            self._asked(job, message)

    def _published(self, job: RunningJob, message: Message) -> None:
        for name, value in message["settings"].items():
            if value is None:
                job.settings.pop(name, None)
            else:
                job.settings[name] = value
        self._on_change(job)
        self._hub.publish(job.request.job_name, message["settings"])
        if "readings" in message:
            self._on_readings(message["readings"])

    def _asked(self, job: RunningJob, message: Message) -> None:
        """Do what a job asks the unit for."""
        if "remember" in message:
            self._on_remember(message["experiment"], message["remember"])
        elif "start" in message:
            self._start_for(job, **message["start"])
        elif "fault" in message:
            self._latch(job, message["fault"])
        elif "finished" in message:
            job.finished = True
        elif "shut_down" in message:
            self.on_shut_down(job, message["shut_down"])

    def _latch(self, job: RunningJob, said: Message) -> None:
        """Latch a fault, stop the other jobs that it concerns, and make safe what nobody drives."""
        fault = self._faults.latch(said, job.request.job_name, job.request.experiment)
        for other in self.jobs():
            if other is not job and not other.stopping and other.request.job_name in fault.jobs:
                log.error("Job %s is stopped because of fault %s.", other.request.job_name, fault.id)
                other.error = errors.FaultLatched(f"Stopped because of fault {fault.id}: {fault.message}")
                self.stop_job(other)
        self._guardian.make_unowned_safe(said["outputs"])

    def _set_state(self, job: RunningJob, state: str) -> None:
        job.state = job.row["state"] = state
        if state != DISCONNECTED:  # that is told when its outputs are safe, or that it is lost
            self._hub.publish(job.request.job_name, {"$state": state})
        if state == READY and job.ready_timer is not None:
            job.ready_timer.cancel()
            job.ready_timer = None
            log.info("Job %s (%s) is ready.", job.request.job_name, job.request.job_id)
            if not job.stopping:
                self._desk.finish(job.run_task, _summary(job))
        self._on_change(job)

    def _job_of(self, child: Child) -> RunningJob:
        return next(job for job in self._jobs.values() if job.child is child)

    # Ending

    def _on_exit(self, child: Child, how: Exit) -> None:
        job = self._job_of(child)
        if job.ready_timer is not None:
            job.ready_timer.cancel()
        # It said that it cleaned up, or it was asked to stop before it could have driven anything.
        clean = job.state == DISCONNECTED or (job.stopping and how.code == -signal.SIGTERM)
        if not clean and not job.stopping:
            log.error("Job %s (%s) ended unexpectedly: it %s.", job.request.job_name, job.request.job_id, how)
        job.error = self._guardian.verdict(child) or job.error
        self._guardian.clean_up(child, lambda: self._gone(job, clean, how), lambda why: self._trouble(job, why))

    def _trouble(self, job: RunningJob, why: str) -> None:
        job.row["cause"] = f"Its outputs could not be made safe yet: {why}."
        self._on_change(job)

    def _gone(self, job: RunningJob, clean: bool, how: Exit) -> None:
        name, job_id = job.request.job_name, job.request.job_id
        job.state = DISCONNECTED if clean else LOST
        cause = job.error.message if job.error else None if clean else f"Its process {how}."
        job.row.update(state=job.state, cause=cause, is_running=0, ended_at=utc_timestamp())
        del self._jobs[job_id]
        self._hub.leave(name, job.state)
        self.on_left(job)
        if job.finished and clean:
            self._desk.finish(job.run_task, _summary(job))
        self._desk.fail(job.run_task, self._why_not_ready(job, how))
        self._on_gone(job)
        log.info("Job %s (%s) is %s.", name, job_id, job.state)
        for other in self.jobs():
            if other.request.job_source == _source_of(job):
                self.stop_job(other)
        for task in job.joining.values():
            self._run_again(job, task)
        for stop in list(self._stop_tasks):
            self._tell_stop_task(stop, job)

    def _run_again(self, job: RunningJob, task: Task) -> None:
        """Carry out a run request that the job which ended did not take up, unless a stop came after it."""
        try:
            if job.stopping:
                raise errors.Stopped(f"{job.request.job_name} was stopped before it took this up.")
            self._run(task)
        except errors.UnitError as error:
            self._desk.fail(task, error)

    def _why_not_ready(self, job: RunningJob, how: Exit) -> errors.UnitError:
        name = job.request.job_name
        if job.error is not None:
            return job.error
        if job.stopping:
            return errors.Stopped(f"{name} was stopped before it was ready.")
        return errors.ProcessDied(f"{name} ended before it was ready.", cause=f"Its process {how}.")

    # Stopping

    def _stop(self, task: Task) -> None:
        matched = [job for job in self._jobs.values() if _matches(job, task.args)]
        give_up = self._loop.call_later(STOP_GIVE_UP_S, lambda: self._give_up(stop))
        stop = _StopTask(task, {job.request.job_id for job in matched}, give_up)
        self._stop_tasks.add(stop)
        self._desk.start(task)
        for job in matched:
            self.stop_job(job)
        if not stop.waiting_for:
            self._end_stop_task(stop)

    def stop_job(self, job: RunningJob) -> None:
        """Ask a job to end, by message and signal; kill it if it does not."""
        job.stopping = True
        if job.child.ended:
            return  # its outputs are being made safe; then it is gone
        self._guardian.revoke(job.child)
        with contextlib.suppress(ChannelClosed, BlockingIOError):  # the signal says the same
            job.child.channel.send({"stop": True})
        job.child.end(self._loop, STOP_GRACE_S)

    def _tell_stop_task(self, stop: _StopTask, job: RunningJob) -> None:
        if job.request.job_id in stop.waiting_for:
            stop.waiting_for.discard(job.request.job_id)
            stop.stopped.append(_summary(job))
            if not stop.waiting_for:
                self._end_stop_task(stop)

    def _end_stop_task(self, stop: _StopTask) -> None:
        self._stop_tasks.discard(stop)
        stop.give_up.cancel()
        self._desk.finish(stop.task, {"stopped": stop.stopped})

    def _give_up(self, stop: _StopTask) -> None:
        if stop in self._stop_tasks:
            self._stop_tasks.discard(stop)
            names = [job.request.job_name for job in self._jobs.values() if job.request.job_id in stop.waiting_for]
            self._desk.fail(
                stop.task,
                errors.HardwareFault(
                    f"{', '.join(names)}: not stopped and safe within {STOP_GIVE_UP_S:g} s. The unit goes on trying.",
                    remediation="Switch the reactor's power off if its outputs are still on; see the unit's log.",
                ),
            )


def _source_of(job: RunningJob) -> str:
    """Return the job_source of the jobs that this one has started."""
    return f"job:{job.request.job_name}"


def _summary(job: RunningJob) -> dict[str, Any]:
    return {"job_id": job.request.job_id, "job_name": job.request.job_name, "state": job.state}


def _matches(job: RunningJob, filters: Mapping[str, Any]) -> bool:
    if filters.get("all"):
        return job.request.job_source != SYSTEM
    return bool(filters) and all(str(job.row[name]) == str(value) for name, value in filters.items())
