"""The life of one job inside its process: states, settings, waiting, and an end that leaves outputs safe."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import select
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from reactor_unit import errors
from reactor_unit.channel import Channel, ChannelClosed, Message
from reactor_unit.config import Config, model
from reactor_unit.drivers.hardware import SIMULATED, Hardware
from reactor_unit.drivers.leases import LeaseTable, OutputRevoked
from reactor_unit.job_spec import JobSpec
from reactor_unit.workers.children import TerminationGuard
from reactor_unit.workers.job_desk import DISCONNECTED, INIT, READY, SLEEPING, JobRequest

log = logging.getLogger(__name__)

NEXT_STATES = {
    "": (INIT,),
    INIT: (READY, DISCONNECTED),
    READY: (SLEEPING, DISCONNECTED),
    SLEEPING: (READY, DISCONNECTED),
    DISCONNECTED: (),
}
END_GRACE_S = 1.0  # for a job whose supervisor died: then its outputs are driven low and it exits


class StopRequested(BaseException):
    """The job was asked to end; not an Exception, so that no job answers it by accident."""


class JobRuntime:
    """What a job sees of the unit. `clock` is monotonic seconds; every wait of a job is a call of `wait`."""

    def __init__(
        self,
        channel: Channel,
        request: JobRequest,
        spec: JobSpec,
        leases: LeaseTable,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.request = request
        self.clock = clock
        self._settings = frozenset(setting.name for setting in spec.settings)
        self._state = ""
        self.model: tuple[str, str] | None = None  # name and version; None when unknown
        self._channel = channel
        self._leases = leases
        leases.on_begin = lambda: self.tell({"lease": True})
        self._stopping = False
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)

    def request_stop(self) -> None:
        """Make the current or next `wait` raise StopRequested; may be called from a signal handler."""
        self._stopping = True
        with contextlib.suppress(BlockingIOError):  # it is awake already
            self._wake_writer.send(b"!")

    def wait(self, seconds: float) -> None:
        """Wait, renewing the leases of what this job has on; raise StopRequested as soon as the job is to end."""
        deadline = self.clock() + seconds
        while True:
            if self._stopping:
                raise StopRequested
            renew_within_s = self._leases.renew()
            left_s = deadline - self.clock()
            if left_s <= 0:
                return
            sources: list[Any] = [self._channel, self._wake_reader]
            readable, _, _ = select.select(sources, [], [], min(left_s, renew_within_s))
            if self._channel in readable:
                self._hear()

    def _hear(self) -> None:
        try:
            message = self._channel.receive()
        except ChannelClosed:
            self._stopping = True  # the supervisor is gone
            return
        if "stop" in message:
            self._stopping = True

    def tell(self, message: Message) -> None:
        """Send a message to the supervisor; a supervisor that is gone is noticed by the next wait."""
        try:
            self._channel.send(message)
        except ChannelClosed:
            self._stopping = True

    def publish(self, settings: Mapping[str, Any]) -> None:
        """Publish settings, JSON values by name; None takes one away. Raises ValueError for one the spec lacks."""
        unknown = settings.keys() - self._settings
        if unknown:
            raise ValueError(f"{self.request.job_name} publishes no setting called {', '.join(sorted(unknown))}")
        self.tell({"settings": dict(settings)})

    def set_state(self, state: str) -> None:
        """Move to the next `$state` and publish it. Raises ValueError for a step that the states do not have."""
        if state not in NEXT_STATES[self._state]:
            raise ValueError(f"a job cannot go from {self._state!r} to {state!r}")
        self._state = state
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
        """Read, decide, act, publish."""

    @abstractmethod
    def close(self) -> None:
        """Leave all outputs safe."""


class Schedule:
    """Planned times on a grid: they do not drift, and a stalled loop skips those it missed."""

    def __init__(self, first: float) -> None:
        self._next = first

    def seconds_left(self, now: float) -> float:
        """Return the seconds from `now` to the next planned time, 0 when it has come."""
        return max(0.0, self._next - now)

    def advance(self, now: float, interval_s: float) -> None:
        """Move to the first planned time after `now`."""
        missed = max(0, math.floor((now - self._next) / interval_s))
        self._next += interval_s * (missed + 1)


def run_job(
    channel: Channel,
    request: JobRequest,
    job_class: type[Job],
    open_hardware: Callable[[], Hardware],
    load_config: Callable[[], Config],
    leases: LeaseTable,
) -> None:
    """Be the process of one job, from its init to its end; never returns to the supervisor's code."""
    runtime = JobRuntime(channel, request, job_class.spec, leases)
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
        config = load_config().with_overrides(request.config_overrides)
        hardware = open_hardware()
        runtime.model = model({**os.environ, **request.env}, config, hardware.kind == SIMULATED)
        job = job_class(runtime, hardware, config, request.options)
        _live(job)
    except (StopRequested, OutputRevoked):
        pass
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


def _live(job: Job) -> None:
    runtime = job.runtime
    try:
        schedule = Schedule(runtime.clock() + job.start())
        runtime.set_state(READY)
        while True:
            runtime.wait(schedule.seconds_left(runtime.clock()))
            job.tick()
            schedule.advance(runtime.clock(), job.interval_s)
    finally:
        job.close()
