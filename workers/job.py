"""The life of one job inside its process: states, settings, waiting, and an end that leaves outputs safe."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import select
import signal
import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from reactor_unit import errors
from reactor_unit.channel import Channel, ChannelClosed, Message
from reactor_unit.clock import UnitClock, utc_timestamp
from reactor_unit.config import Config, model
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.hardware import SIMULATED, Hardware
from reactor_unit.drivers.leases import LeaseTable, OutputRevoked, process_lease
from reactor_unit.job_spec import AUTOMATION_NAME, JobSpec
from reactor_unit.workers.children import TerminationGuard
from reactor_unit.workers.job_desk import DISCONNECTED, INIT, READY, SLEEPING, JobRequest
from reactor_unit.workers.live import Asleep, Awake, Finished, Mailbox

log = logging.getLogger(__name__)

NEXT_STATES = {
    "": (INIT,),
    INIT: (READY, DISCONNECTED),
    READY: (SLEEPING, DISCONNECTED),
    SLEEPING: (READY, DISCONNECTED),
    DISCONNECTED: (),
}
TROUBLE_LIMIT = 3  # ticks in a row that end with an error of the hardware; then the job ends
ALIVE_S = 30.0  # real seconds within which a job comes back to `wait`; one that does not hangs, and is ended
NAP_S = 3600.0  # one of many waits while sleeping
END_GRACE_S = 1.0  # for a job whose supervisor died: then its outputs are driven low and it exits


class StopRequested(BaseException):
    """The job was asked to end; not an Exception, so that no job answers it by accident."""


class SystemWishes:
    """What a job may want done to the machine; the supervisor does it, or says in the log why not."""

    def __init__(self, tell: Callable[[Message], None]) -> None:
        self._tell = tell

    def shut_down(self, reason: str) -> None:
        """Want the machine's power off, because of `reason`. All jobs are stopped first, this one too."""
        self._tell({"shut_down": reason})


class JobRuntime:
    """What a job sees of the unit.

    A job's time is the unit's: `clock` is its monotonic seconds, and every wait of a job is a call of `wait`. It runs
    faster than real time where the simulated reactor does.
    """

    def __init__(
        self,
        channel: Channel,
        request: JobRequest,
        spec: JobSpec,
        leases: LeaseTable,
        unit_clock: UnitClock | None = None,
    ) -> None:
        self.request = request
        self.unit_clock = unit_clock or UnitClock()
        self.clock = self.unit_clock.monotonic
        self.published: dict[str, Any] = {}
        self.schedule = Schedule(self.clock())
        self.mailbox: Mailbox | None = None  # there is one as soon as there is a job
        self.state = ""
        self.calibrations = request.calibrations  # device -> its active calibration or estimator, as in a file
        self._recalled = dict(request.recalled)
        automation_name = request.options.get(AUTOMATION_NAME)
        self._settings = {setting.name: setting for setting in spec.every_setting(automation_name)}
        self._unread: deque[Message] = deque()
        self.system = SystemWishes(self.tell)
        self.data_folder = Path(".")
        self._handling = False
        self.model: tuple[str, str] | None = None  # name and version; None when unknown
        self._channel = channel
        self._leases = leases
        leases.on_begin = lambda: self.tell({"lease": True})
        leases.take(process_lease(request.number), ALIVE_S).hold()  # every wait renews it
        self._stopping = False
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)

    def request_stop(self) -> None:
        """Make the current or next `wait` raise StopRequested; may be called from a signal handler."""
        self._stopping = True
        with contextlib.suppress(BlockingIOError):  # it is awake already
            self._wake_writer.send(b"!")

    def utc_timestamp(self) -> str:
        """Return the wall time as the unit has it, for what the job publishes."""
        return utc_timestamp(self.unit_clock.utc_now())

    def wait(self, seconds: float, *, or_message: bool = False) -> None:
        """Wait, and raise StopRequested as soon as the job is to end.

        Meanwhile the job hears what it subscribes to and its settings are changed, and with `or_message` that ends the
        wait. While one message is carried out, the others wait until that is done, whatever it waits for itself. The
        leases of what this job has on are renewed.
        """
        deadline = self.clock() + seconds
        while True:
            if self._stopping:
                raise StopRequested
            renew_within_s = self._leases.renew()
            if self._handle_one():
                if or_message:
                    return
                continue
            left_s = deadline - self.clock()
            sources: list[Any] = [self._channel, self._wake_reader]
            real_s = max(0.0, min(self.unit_clock.real_seconds(left_s), renew_within_s))
            readable, _, _ = select.select(sources, [], [], real_s)
            if self._channel in readable:
                self._hear()  # also by a job that is late for everything
            elif left_s <= 0 and not readable:
                return

    def _hear(self) -> None:
        """Read all that has come: a stop goes before what came earlier."""
        try:
            while select.select([self._channel], [], [], 0)[0]:
                message = self._channel.receive()
                if "stop" in message:
                    self._stopping = True
                elif self.mailbox is not None:
                    self._unread.append(message)
        except ChannelClosed:
            self._stopping = True  # the supervisor is gone

    def _handle_one(self) -> bool:
        """Carry out the next message that has come, unless another one is being carried out; return whether it was."""
        if self._handling or self.mailbox is None or not self._unread:
            return False
        with self.undisturbed():
            self.mailbox.handle(self._unread.popleft())
        return True

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Let all messages but a stop wait until the end of this context."""
        before, self._handling = self._handling, True
        try:
            yield
        finally:
            self._handling = before

    def tell(self, message: Message) -> None:
        """Send a message to the supervisor; a supervisor that is gone is noticed by the next wait."""
        try:
            self._channel.send(message)
        except ChannelClosed:
            self._stopping = True

    def publish(self, settings: Mapping[str, Any]) -> None:
        """Publish settings, JSON values by name, and the readings in them; None takes a setting away.

        Raises ValueError for one the spec lacks.
        """
        unknown = settings.keys() - self._settings.keys()
        if unknown:
            raise ValueError(f"{self.request.job_name} publishes no setting called {', '.join(sorted(unknown))}")
        self.published.update(settings)
        message: Message = {"settings": dict(settings)}
        readings = [
            reading
            for name, value in settings.items()
            if (series := self._settings[name].series) is not None and value is not None
            for reading in series.readings(value, self.unit_clock.utc_now().timestamp())
        ]
        if readings:
            message["readings"] = readings
        self.tell(message)

    def latch_fault(
        self, kind: str, message: str, remediation: str, *, jobs: Iterable[str], outputs: Iterable[str] = ()
    ) -> None:
        """Have the unit keep `jobs` from starting until a person clears this fault; those that run are stopped.

        This job itself goes on; it publishes `message` as its setting `fault`. `outputs` that nobody drives are made
        safe. A fault of this kind that this job has latched before stays as it is.
        """
        fault = {
            "kind": kind,
            "message": message,
            "cause": message,
            "remediation": remediation,
            "jobs": list(jobs),
            "outputs": list(outputs),
        }
        self.tell({"fault": fault})
        self.publish({"fault": message})

    def recalled(self, table: str) -> Any:
        """Return what a table that the spec `recalls` has for the job's experiment, None for nothing."""
        return self._recalled.get(table)

    def remember(self, table: str, value: str | float | None, *, experiment: str | None = None) -> None:
        """Keep a value for the job's experiment, or another, beyond the end of job and unit; None forgets it.

        It is written within about a minute.
        """
        key = self.request.experiment if experiment is None else experiment
        if key == self.request.experiment:
            self._recalled[table] = value
        self.tell({"remember": {table: value}, "experiment": key})

    def start_job(self, job_name: str, options: Mapping[str, Any]) -> None:
        """Have another job running until this one ends; one that runs already stays as it is, and goes on then.

        Who wants to know how that goes subscribes to the other job.
        """
        self.tell({"start": {"job_name": job_name, "options": dict(options)}})

    def set_state(self, state: str) -> None:
        """Move to the next `$state` and publish it. Raises ValueError for a step that the states do not have."""
        if state not in NEXT_STATES[self.state]:
            raise ValueError(f"a job cannot go from {self.state!r} to {state!r}")
        self.state = state
        self.tell({"state": state})

    def close(self) -> None:
        """Close what waking needs; the channel stays its owner's."""
        self._wake_reader.close()
        self._wake_writer.close()


class Job(ABC):
    """One job: opens devices in `start`, acts in `tick`, leaves its outputs safe in `close`.

    A subclass carries its `spec`. `close` may be called twice and after a `start` that failed.
    """

    spec: ClassVar[JobSpec]
    trouble_limit: ClassVar[int] = TROUBLE_LIMIT

    def __init__(self, runtime: JobRuntime, hardware: Hardware, config: Config, options: Mapping[str, Any]) -> None:
        self.runtime = runtime
        self.hardware = hardware
        self.config = config
        self.options = options

    @abstractmethod
    def start(self) -> float:
        """Open the devices and publish the first settings; return the seconds until the first tick."""

    @property
    @abstractmethod
    def interval_s(self) -> float:
        """Seconds from one tick to the next, counted from their planned beginnings."""

    @abstractmethod
    def tick(self) -> None:
        """Read, decide, act, publish.

        A HardwareFault of a driver is tried again: `on_trouble` is told, the next tick comes at its time, and only
        `trouble_limit` in a row end the job.
        """

    @abstractmethod
    def close(self) -> None:
        """Leave all outputs safe."""

    # Each settable setting has a method `set_NAME(value)`, called by `runtime.wait` wherever the job waits, also in the
    # middle of a tick. It publishes the value that is then in force. A Conflict or InvalidRequest is the answer to who
    # asked; any other error ends the job.

    # Each command of the spec has a method `run_NAME()`, called instead of `start`; the job ends after it.

    def change_setting(self, name: str, value: Any) -> None:
        """Change a settable setting; a job whose settings are not known beforehand does it in its own way."""
        getattr(self, f"set_{name}")(value)

    def run_again(self, options: Mapping[str, Any]) -> None:
        """Take a further run request of a job whose spec `joins`; errors and Finished are as for `set_NAME`."""
        raise errors.Conflict(f"{self.spec.name} runs already, and takes one run request.")

    def hear(self, job_name: str, setting: str, value: Any) -> None:  # noqa: B027 - nothing, unless a job says more
        """Take note of another job's setting or `$state`; None is a setting taken away. Must not wait."""

    def on_trouble(self, error: HardwareFault) -> None:  # noqa: B027
        """Do what cannot wait for the next tick after one that the hardware failed, such as no heat. Must not wait."""

    def sleep(self) -> None:  # noqa: B027
        """Leave all outputs safe until `wake`; a tick that was under way has been broken off."""

    def wake(self) -> None:  # noqa: B027
        """Go on after `sleep`; the next tick comes at its planned time."""


class Schedule:
    """Planned times on a grid: they do not drift, and a stalled loop skips those it missed."""

    def __init__(self, first: float) -> None:
        self._next = first
        self._planned = False

    def seconds_left(self, now: float) -> float:
        """Return the seconds from `now` to the next planned time, 0 when it has come."""
        return max(0.0, self._next - now)

    def advance(self, now: float, interval_s: float) -> None:
        """Move to the first planned time after `now`; one that has not come yet stays, as does one of `plan`."""
        if self._planned:
            self._planned = False
            return
        self._next += interval_s * max(0, math.floor((now - self._next) / interval_s) + 1)

    def plan(self, to: float) -> None:
        """Let the next planned time be `to`, even if it passes before the tick that plans it ends."""
        self._next, self._planned = to, True

    def late_s(self, now: float) -> float:
        """Return how long the next planned time is past, in s; 0 when it has not come."""
        return max(0.0, now - self._next)

    def move(self, to: float) -> None:
        """Let the next planned time be `to`, sooner or later; the grid moves with it."""
        self._next = to

    def bring_forward(self, to: float) -> None:
        """Let the next planned time be `to`, if that is sooner; the grid moves with it."""
        self._next = min(self._next, to)


class Trouble:
    """Counts the ticks of a job that the hardware failed, and gives up after too many in a row."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._in_a_row = 0

    def watch(self, tick: Callable[[], None]) -> None:
        """Carry out a tick. Raises its HardwareFault when it was the last one too many."""
        name = self._job.runtime.request.job_name
        try:
            tick()
        except OutputRevoked:
            raise  # the job is to end
        except HardwareFault as ex:
            self._in_a_row += 1
            log.warning("%s: %s (%d of %d in a row)", name, ex, self._in_a_row, self._job.trouble_limit)
            self._job.on_trouble(ex)
            if self._in_a_row >= self._job.trouble_limit:
                raise
        else:
            if self._in_a_row:
                log.info("%s: the hardware answers again.", name)
            self._in_a_row = 0


def run_job(
    channel: Channel,
    request: JobRequest,
    job_class: type[Job],
    open_hardware: Callable[[], Hardware],
    load_config: Callable[[], Config],
    leases: LeaseTable,
    unit_clock: UnitClock | None = None,
    *,
    data_folder: Path = Path("."),
) -> None:
    """Be the process of one job, from its init to its end; never returns to the supervisor's code."""
    runtime = JobRuntime(channel, request, job_class.spec, leases, unit_clock)
    runtime.data_folder = data_folder
    hardware: Hardware | None = None
    job: Job | None = None

    def leave_outputs_low() -> None:
        if job is not None:
            with contextlib.suppress(Exception):
                job.close()  # ends a PWM of this process, which would go on over a level that is written below
        if hardware is not None:
            hardware.make_safe(leases.owned())

    TerminationGuard(runtime.request_stop, leave_outputs_low, END_GRACE_S)
    code = 0
    try:
        runtime.set_state(INIT)
        config = _overridden(load_config(), request)
        hardware = open_hardware()
        runtime.unit_clock.wall_offset_s = hardware.wall_clock_offset_s
        runtime.model = model({**os.environ, **request.env}, config, hardware.kind == SIMULATED)
        job = job_class(runtime, hardware, config, request.options)
        _live(job)
    except (StopRequested, OutputRevoked):
        pass
    except Finished:
        runtime.tell({"finished": True})
    except Exception as ex:
        code = 1
        error = errors.from_exception(ex)
        if isinstance(error, errors.InternalError):
            log.exception("%s met an unexpected error and ends.", request.job_name)
        else:
            log.error("%s ends: %s", request.job_name, error.message)
        runtime.tell({"error": error.to_dict()})
    finally:
        if hardware is not None:
            hardware.close()
    if not leases.owned():  # else the supervisor makes safe what could not be
        runtime.set_state(DISCONNECTED)
    signal.setitimer(signal.ITIMER_REAL, 0)
    os._exit(code)


def _overridden(config: Config, request: JobRequest) -> Config:
    """Return the configuration of one run. Raises InvalidRequest, also for other plugs: no run changes those.

    A media pump under the waste pump's name, or the stirrer's, would fill the vial and not be counted.
    """
    changed = config.with_overrides(request.config_overrides)
    if changed.pwm_assignment() != config.pwm_assignment():
        raise errors.InvalidRequest(
            "What is plugged into which PWM channel cannot be changed for one run.",
            remediation="Leave [PWM] out of config_overrides; if the plugs were changed, change [PWM] in config.ini.",
        )
    return changed


def _live(job: Job) -> None:
    runtime, trouble = job.runtime, Trouble(job)
    try:
        if runtime.request.command:
            getattr(job, f"run_{runtime.request.command}")()
            raise Finished
        runtime.mailbox = Mailbox(job)
        first_in_s = job.start()
        runtime.schedule = Schedule(runtime.clock() + first_in_s)
        runtime.set_state(READY)
        while True:
            try:
                # Once at least: a job that is late for everything shows life and hears that it is to end as well.
                runtime.wait(runtime.schedule.seconds_left(runtime.clock()), or_message=True)
                while (left_s := runtime.schedule.seconds_left(runtime.clock())) > 0:
                    runtime.wait(left_s, or_message=True)  # a message may have brought the tick forward
                trouble.watch(job.tick)
            except Asleep as ex:
                _sleep(job, runtime.mailbox, ex)
            runtime.schedule.advance(runtime.clock(), job.interval_s)
    finally:
        job.close()


def _sleep(job: Job, mailbox: Mailbox, asleep: Asleep) -> None:
    """Make the job sleep until somebody wakes it."""
    runtime = job.runtime
    with runtime.undisturbed():
        job.sleep()
    runtime.set_state(SLEEPING)
    if asleep.number is not None:
        mailbox.answer(asleep.number, SLEEPING)
    try:
        while True:
            runtime.wait(NAP_S)
    except Awake as ex:
        awake = ex
    with runtime.undisturbed():
        job.wake()
    runtime.set_state(READY)
    mailbox.answer(awake.number, READY)
