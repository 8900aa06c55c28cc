"""The parent of all processes of a unit: it forks them, hears of their end, and cleans up after them.

Single-threaded, no polling, no user code, and after its start neither hardware nor any disk but for its log lines.
See docs/architecture.md.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import os
import signal
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from reactor_unit import errors
from reactor_unit.catalogue import Catalogue
from reactor_unit.channel import Message
from reactor_unit.clock import UnitClock
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.drivers.leases import LeaseTable
from reactor_unit.environment import Record
from reactor_unit.faults import FaultRecord
from reactor_unit.system_adapter import SystemAdapter
from reactor_unit.workers.children import Child, Nursery
from reactor_unit.workers.fault_desk import FaultDesk
from reactor_unit.workers.guardian import Guardian
from reactor_unit.workers.import_desk import ImportDesk, PrepareImport
from reactor_unit.workers.job_desk import JobDesk, RunJob, RunningJob
from reactor_unit.workers.live_settings import LiveSettings
from reactor_unit.workers.loop import Loop
from reactor_unit.workers.plugin_desk import PluginDesk
from reactor_unit.workers.pool import Pool
from reactor_unit.workers.safety import DriveSafe, Safety
from reactor_unit.workers.service_manager import ServiceManager
from reactor_unit.workers.standing_jobs import StandingJobs
from reactor_unit.workers.system_desk import SystemDesk
from reactor_unit.workers.task_desk import TaskDesk
from reactor_unit.workers.tasks import TaskFunctions
from reactor_unit.workers.update_desk import UpdateDesk, Updater
from reactor_unit.workers.web_keeper import WebKeeper, WebMain
from reactor_unit.workers.web_link import WebLink

log = logging.getLogger(__name__)

ENDING_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
TRIES_BEFORE_WEB = 2
END_GIVE_UP_S = 8.0  # systemd kills a service 90 s after it was asked to stop; a person sooner
CANCELLED = errors.Stopped("The task was ended before it was done, as asked.")
RESTART = -1  # in the place of an exit code: the unit is to be put together anew, in this process
RESTARTING = errors.Unavailable(
    "The unit is about to start again, with what was imported.", remediation="Try again in a moment.", retry_after_s=5
)
SHUTTING_DOWN = errors.Unavailable("The unit is shutting down.", remediation="Try again when it has started again.")


@dataclass(frozen=True)
class UnitParts:
    """What the supervisor runs: all of it is called in forked children, never in the supervisor itself.

    `leases` is the memory that those children share with it; `open_hardware(holder)` is for tasks of the pool.
    `plugins` is the folder of plugins, None for a unit without; without an `updater` it cannot be updated.
    """

    web_main: WebMain
    run_job: RunJob
    drive_safe: DriveSafe
    catalogue: Catalogue
    functions: TaskFunctions
    leases: LeaseTable
    open_hardware: Callable[[str], Hardware]
    unit_clock: UnitClock
    system: SystemAdapter
    prepare_import: PrepareImport
    plugins: Path | None = None
    updater: Updater | None = None


class Supervisor:
    """Runs one unit until it is told to end.

    `listener` is the bound and listening socket.
    """

    def __init__(
        self,
        parts: UnitParts,
        listener: socket.socket,
        *,
        unit_name: str,
        leader: str,
        max_workers: int,
        last_job_id: int,
        faults: FaultRecord | None = None,
        standing_jobs: Collection[str] = (),
        service_manager: ServiceManager | None = None,
        last_update: Record | None = None,
        ended_task: Message | None = None,
    ) -> None:
        self._parts = parts
        self._service_manager = service_manager or ServiceManager()
        self._is_ready = False
        self._listener = listener
        self._loop = Loop()
        self._nursery = Nursery(self._loop)
        self._safety = Safety(self._loop, self._nursery, parts.drive_safe)
        self._guardian = Guardian(self._loop, self._nursery, self._safety, parts.leases)
        self._link = WebLink(self._loop)
        self._desk = TaskDesk(self._link.task_changed)
        self._faults = FaultDesk(faults or FaultRecord(), self._link.faults_changed)
        self._jobs = JobDesk(
            self._loop,
            self._nursery,
            self._desk,
            self._guardian,
            parts.catalogue,
            parts.run_job,
            unit_name=unit_name,
            leader=leader,
            last_job_id=last_job_id,
            on_change=self._link.job_changed,
            on_gone=self._on_job_gone,
            on_readings=self._link.readings_came,
            on_remember=self._link.remember,
            faults=self._faults,
        )
        self._standing = StandingJobs(self._loop, self._desk, standing_jobs)
        self._live_settings = LiveSettings(self._loop, self._jobs)
        self._pool = Pool(
            self._loop,
            self._nursery,
            self._desk,
            self._guardian,
            parts.functions,
            max_workers,
            parts.open_hardware,
            parts.unit_clock,
        )
        self._web = WebKeeper(
            self._loop,
            self._nursery,
            self._desk,
            self._link,
            parts.web_main,
            listener,
            self._on_web_started,
            self._on_web_message,
        )
        self._system = SystemDesk(
            self._loop, self._nursery, self._desk, self._jobs, self._pool, self._standing, parts.system
        )
        self._import = ImportDesk(self._loop, self._nursery, self._desk, parts.prepare_import, self._restart)
        if ended_task is not None:
            self._desk.adopt_ended(ended_task)
        self._plugins = PluginDesk(
            self._loop,
            self._nursery,
            parts.catalogue,
            parts.plugins,
            lambda: self._link.plugins_changed(self._plugins.message()),
        )
        self._updates = UpdateDesk(self._loop, self._nursery, self._desk, parts.updater, self._make_way)
        self._last_update = last_update
        self._ending = False
        self._restarting = False
        self._end_reason: errors.UnitError = SHUTTING_DOWN
        self._jobs_ended = False
        self._done = False
        self.makes_way = False  # whether the process that ended is to become a new version of the unit
        self._exit_code = 0

    def run(self) -> int:
        """Start everything, serve until SIGTERM or SIGINT, end everything in order; return the exit code.

        1 means that the outputs could not be made safe, RESTART that the unit is to be put together anew.
        """
        self._watch_signals()
        gc.collect()
        gc.freeze()  # what is shared with the children stays shared
        try:
            if self._last_update is not None:
                self._updates.go_on(self._last_update)
            self._make_all_safe_first()
            while not self._done:
                self._link.flush()
                self._loop.turn()
        except Exception:
            log.critical("The supervisor met an unexpected error. All processes end.", exc_info=True)
            self._end_at_once()
            return 1
        self._let_go_of_signals()
        return RESTART if self._restarting else self._exit_code

    # Signals

    def _watch_signals(self) -> None:
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._signal_reader, self._signal_writer = reader, writer
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in ENDING_SIGNALS:
            signal.signal(number, lambda _number, _frame: None)  # the wake-up descriptor tells
        self._loop.watch(reader, self._on_signal)

    def _on_signal(self) -> None:
        numbers = set(self._signal_reader.recv(64))
        if not numbers & ENDING_SIGNALS:
            return
        self._restarting = False
        if not self._ending:
            log.info("Ending.")
            self._service_manager.stopping()
            self._end(SHUTTING_DOWN)
        elif self.makes_way:
            log.info("Ending, without an update.")
            self.makes_way = False

    def _let_go_of_signals(self) -> None:
        """Leave signals as they were found; one that came at the last moment ends the unit all the same."""
        for number in ENDING_SIGNALS:
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
        signal.set_wakeup_fd(-1)
        with contextlib.suppress(BlockingIOError):
            self._on_signal()
        self._loop.close()
        self._signal_reader.close()
        self._signal_writer.close()

    # Starting

    def _make_all_safe_first(self) -> None:
        """Make all outputs safe before anything else: a predecessor may have been killed.

        A second try is waited for, since the machine may be busy. When that fails, people are to see what is wrong.
        """
        self._jobs.hold_starts(
            errors.HardwareFault(
                "The outputs have not been made safe yet.", remediation="Try again in a moment.", retry_after_s=1
            )
        )
        failures = itertools.count(1)

        def failed(_how: str) -> None:
            if next(failures) == TRIES_BEFORE_WEB:
                self._web.start_once()

        self._safety.make_all_safe(self._outputs_safe, failed)

    def _outputs_safe(self) -> None:
        if not self._ending:
            self._jobs.hold_starts(None)
            self._web.start_once()
            self._standing.start_all()

    # The web process

    def _on_web_started(self, child: Child) -> None:
        self._link.connect(child, self._desk, self._jobs, self._faults)
        if not self._is_ready:
            self._is_ready = True
            self._service_manager.ready(self._loop, f"Serving on port {self._listener.getsockname()[1]}")

    def _on_web_message(self, child: Child, message: Message) -> None:
        if message["op"] == "set":
            self._live_settings.change(message, self._link.replier(child, message))
        elif message["op"] == "clear_fault":
            self._link.clear_fault(child, message, self._faults)
        elif message["op"] == "look_at_plugins":
            looked = self._link.replier(child, message)
            self._plugins.look(lambda: looked({}))
        elif message["op"] == "cancel":
            reply = self._link.replier(child, message)
            self._pool.cancel(message["task_id"], CANCELLED, lambda: reply({}))
        else:
            self._link.handle(child, message, self._desk)

    # Jobs

    def _on_job_gone(self, job: RunningJob) -> None:
        self._link.job_gone(job)
        if self._ending:
            self._end_pool_when_jobs_ended()
        else:
            self._standing.gone(job)
            self._system.job_gone()

    # Ending: jobs, then workers, then all outputs once more, then the web process.

    def _make_way(self) -> None:
        """End everything in order, for a new version that this process is to become."""
        if not self._ending:
            self.makes_way = True
            self._end(SHUTTING_DOWN)

    def _restart(self) -> None:
        if not self._ending:
            log.info("Starting again.")
            self._restarting = True
            self._end(RESTARTING)

    def _end(self, reason: errors.UnitError) -> None:
        self._ending = True
        self._end_reason = reason
        self._desk.close(reason)
        self._import.stop(reason)
        self._plugins.stop()
        self._loop.call_later(END_GIVE_UP_S, self._give_up_ending)
        for job in self._jobs.jobs():
            self._jobs.stop_job(job)
        self._end_pool_when_jobs_ended()

    def _end_pool_when_jobs_ended(self) -> None:
        if not self._jobs.jobs():
            self._pool.stop(self._end_reason, lambda: self._updates.end(self._make_all_safe_last))

    def _make_all_safe_last(self) -> None:
        self._safety.make_all_safe(self._end_web)

    def _give_up_ending(self) -> None:
        if not self._jobs_ended:
            log.critical(
                "The outputs could not be made safe within %g s. Switch the reactor's power off.", END_GIVE_UP_S
            )
            self._exit_code = 1
            for child in self._nursery.children - self._web.children:
                child.signal(signal.SIGKILL)
            self._end_web()

    def _end_at_once(self) -> None:
        """Kill all children, then let one last child make the outputs safe; the loop cannot be trusted any more."""
        for child in self._nursery.children:
            child.signal(signal.SIGKILL)
        loop = Loop()
        over: list[bool] = []
        Safety(loop, Nursery(loop), self._parts.drive_safe).make_all_safe(lambda: over.append(True))
        loop.call_later(END_GIVE_UP_S, lambda: over.append(False))
        while not over:
            loop.turn()

    def _end_web(self) -> None:
        if self._jobs_ended:
            return
        self._jobs_ended = True
        self._web.end(self._on_web_ended)

    def _on_web_ended(self) -> None:
        self._done = True


def default_workers() -> int:
    """Return how many pool workers this machine should have at most."""
    return max(1, min(4, os.cpu_count() or 1))
