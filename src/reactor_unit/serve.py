"""The serving processes put together: what `reactor-unit serve` and `reactor-unit safe` do.

Imported by `reactor_unit.serve_command` once the command line is understood.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import resource
import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from reactor_unit import config as configuration
from reactor_unit import home, lean, logs, succession
from reactor_unit.calibrations.library import broken_files
from reactor_unit.catalogue import Catalogue
from reactor_unit.channel import Channel, Message
from reactor_unit.clock import UnitClock, utc_timestamp
from reactor_unit.drivers import hardware as board_hardware
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.leases import ALL_LEDS, ALL_PINS, LeaseTable
from reactor_unit.drivers.simulation.state import SharedPlant
from reactor_unit.errors import AlreadyServing, ConfigError, StorageFault, UnitError
from reactor_unit.faults import read_faults
from reactor_unit.home import DataFolder
from reactor_unit.import_swap import finish as finish_import
from reactor_unit.install_requests import Wanted
from reactor_unit.job_history import JobHistory
from reactor_unit.job_spec import AUTOMATION_NAME
from reactor_unit.plugins import are_skipped
from reactor_unit.reactor import find_model, simulation_setup
from reactor_unit.serve_command import LOG_LEVELS, Extend, ServeOptions
from reactor_unit.system_adapter import ACTIONS_FILE, DrySystem, RealSystem, SystemAdapter
from reactor_unit.unit import Unit
from reactor_unit.web_process import WebProcess
from reactor_unit.workers import calibration_tasks, file_tasks, hardware_check, import_child
from reactor_unit.workers.job import Job, run_job
from reactor_unit.workers.job_desk import JobRequest
from reactor_unit.workers.jobs import JOBS
from reactor_unit.workers.safety import Outputs
from reactor_unit.workers.service_manager import ServiceManager
from reactor_unit.workers.supervisor import RESTART, Supervisor, UnitParts, default_workers
from reactor_unit.workers.task_desk import Task
from reactor_unit.workers.tasks import TaskContext, TaskFunction, TaskFunctions

log = logging.getLogger(__name__)

BACKLOG = 1024  # connections the kernel keeps for us while the web process is being replaced
DESCRIPTORS = 1024  # of which the web server's 256 connections are the most
INSTALL_WITHIN_S = 45 * 60.0
MB = 1_000_000
STANDING_JOBS = ("monitor",)
BUILT_IN = {name: job.spec for name, job in JOBS.items()}


def safe(options: ServeOptions) -> int:
    """Drive all outputs to their safe state, whoever left them how; return the exit code.

    Raises HardwareFault, and AlreadyServing, after it did so, when a unit serves that may drive them again.
    """
    folder = DataFolder.find(options.dot, os.environ)
    kind = board_hardware.choose(options.hardware)
    hardware = board_hardware.open_hardware(kind, home.run_directory(folder.path, os.environ), home=folder.path)
    try:
        hardware.make_safe([ALL_PINS])
        print(f"All pins are low ({board_hardware.describe(kind)}).", flush=True)
        hardware.make_safe([ALL_LEDS])
        print("All LEDs are off.")
    finally:
        hardware.close()
    if folder.path.is_dir():
        lock = folder.lock()
        try:
            lock.acquire()
        except AlreadyServing as ex:
            raise AlreadyServing(
                "All outputs are off, but a unit serves here and its jobs may drive them again.",
                cause=ex.message,
                remediation="Stop its jobs with `reactor-unit jobs stop --all`, or end it.",
            ) from ex
        lock.release()
    return 0


def serve(options: ServeOptions, *, functions: TaskFunctions, extend: Extend | None) -> int:
    """Run a unit until SIGTERM or Ctrl-C; return the exit code.

    Raises UnitError or HardwareFault when it cannot start; then no output was touched.
    """
    return prepare(options, functions=functions, extend=extend, updates=True).run()


@dataclass(frozen=True)
class Extras:
    """What whoever has a unit served adds to it; with `updates` it has a process to itself and may become another."""

    functions: TaskFunctions
    extend: Extend | None
    updates: bool


@dataclass(frozen=True)
class PreparedUnit:
    """A unit that can run at once: it has its folder and its port, and what its processes share is made.

    Several may be prepared in one process that then forks another for each: what they share costs once.
    """

    unit: Unit
    options: ServeOptions
    config: configuration.Config
    parts: UnitParts
    listener: socket.socket
    locks: tuple[home.Lock, ...]
    last_job_id: int | None
    extras: Extras
    imported: Message | None  # the record of an import that was completed at this start

    @property
    def url(self) -> str:
        """Where it will answer."""
        return _url(self.listener)

    def run(self) -> int:
        """Run it until SIGTERM or Ctrl-C; return the exit code.

        After an import it is put together anew, in this process and on the same socket, and goes on.
        """
        logs.configure(self.options.log_level or _log_level(self.config), self.unit.folder.log_file, "supervisor")
        service_manager = ServiceManager.adopt(os.environ)
        supervisor = self._supervisor(service_manager, succession.last_update(self.unit.folder.path))
        print(self._greeting(), flush=True)
        lean.give_back_free_memory()
        while (code := supervisor.run()) == RESTART:
            del supervisor
            gc.unfreeze()
            gc.collect()
            supervisor = self._put_together_anew()._supervisor(service_manager, None)
            lean.give_back_free_memory()
        if supervisor.makes_way:
            service_manager.alive()
            succession.become_new(self.listener, service_manager.environ())
        self.listener.close()
        for lock in self.locks:
            lock.release()
        log.info("Ended.")
        return code

    def _supervisor(self, service_manager: ServiceManager, last_update: Any) -> Supervisor:
        unit = self.unit
        built_in = (name for name, spec in BUILT_IN.items() if not spec.is_long_running)
        return Supervisor(
            self.parts,
            self.listener,
            unit_name=unit.name,
            leader=self.config.leader_hostname(unit.name),
            max_workers=self.options.workers or default_workers(),
            last_job_id=self.last_job_id or 0,
            faults=read_faults(unit.folder.faults, built_in),
            standing_jobs=STANDING_JOBS if _is_monitored(self.options, self.config) else (),
            service_manager=service_manager,
            last_update=last_update,
            ended_task=self.imported,
        )

    def _put_together_anew(self) -> PreparedUnit:
        return _put_together(self.options, self.unit.folder, self.unit.hardware, self.extras, self.locks, self.listener)

    def let_go(self) -> None:
        """Leave port and locks to the process that was forked to run it."""
        self.listener.close()
        for lock in self.locks:
            lock.let_go()

    def _greeting(self) -> str:
        unit = self.unit
        speed = f", {unit.clock.speed:g} times as fast" if unit.clock.speed != 1.0 else ""
        hardware = f"{board_hardware.describe(unit.hardware)}{speed}"
        system = "system commands dry" if unit.system.is_dry else "system commands real"
        return f"{unit.name} listens on {self.url}: {hardware}, {system}, data in {unit.folder.path}"


def prepare(
    options: ServeOptions, *, functions: TaskFunctions, extend: Extend | None, updates: bool = False
) -> PreparedUnit:
    """Take the folder and the port of a unit and make what its processes share.

    A unit with `updates` has a process to itself, which can become another version of the program.

    Raises UnitError or HardwareFault when it cannot run; no output is touched.
    """
    folder = DataFolder.find(options.dot, os.environ)
    folder.create_root()
    lock = folder.lock()
    lock.acquire()
    logs.configure(options.log_level or "INFO", folder.log_file, "supervisor")
    _raise_descriptor_limit()
    kind = board_hardware.choose(options.hardware)
    check_simulated(options, kind)
    board_lock = home.board_lock()
    if kind == "pi":
        board_lock.acquire()
    return _put_together(options, folder, kind, Extras(functions, extend, updates), (board_lock, lock), None)


def _put_together(
    options: ServeOptions,
    folder: DataFolder,
    kind: str,
    extras: Extras,
    locks: tuple[home.Lock, ...],
    listener: socket.socket | None,
) -> PreparedUnit:
    """Return a unit as its data folder is now, after an import was completed; one that starts again has a listener."""
    imported = finish_import(folder, partial(_check_startable, folder.path, options, kind))
    folder.create()
    folder.remove_leftovers()
    config = configuration.load_config(folder.path)
    config.check()
    if options.log_level is None:
        logs.configure(_log_level(config), folder.log_file, "supervisor")
    name = configuration.unit_name(options.name, os.environ)
    unit = _unit(options, name, folder, kind, config)
    if kind == board_hardware.SIMULATED:
        _set_up_simulation(unit, options, config)
    if listener is None:
        port = config.port() if options.port is None else options.port
        listener = succession.adopt_listener(os.environ) or _listen(options.host or config.get("http", "host"), port)
    last_job_id = _close_old_jobs(folder)
    parts = _parts(unit, options, config, extras, keeps_history=last_job_id is not None)
    return PreparedUnit(unit, options, config, parts, listener, locks, last_job_id, extras, imported)


def _check_startable(path: Path, options: ServeOptions, kind: str) -> None:
    """Raise StorageFault, ConfigError or HardwareFault where a unit would not start with the data folder `path`."""
    DataFolder(path).check()
    config = configuration.load_config(path)
    config.check()
    _log_level(config)
    for option, section in (("keep_days", "readings"), ("max_mb", "readings"), ("max_upload_mb", "http")):
        _above_zero(config, option, section)
    if options.port is None:
        config.port()
    config.pwm_assignment()
    config.get_boolean("monitor", "enabled")
    model = find_model(os.environ, config, path, simulated=kind == board_hardware.SIMULATED)
    board_hardware.load_board(kind, model=model, home=path)
    if kind == board_hardware.SIMULATED:
        simulation_setup(config, model, speed=options.speed, seed=options.seed)


def check_simulated(options: ServeOptions, kind: str) -> None:
    """Raise ConfigError where a real reactor was told what only the simulated one can do."""
    for option, value in (("--speed", options.speed), ("--seed", options.seed)):
        if value is not None and kind != board_hardware.SIMULATED:
            raise ConfigError(
                f"{option} is for the simulated reactor, and this unit runs on a Raspberry Pi.",
                cause="The time and the noise of a real reactor are its own.",
                remediation=f"Leave {option} out, or add --hardware simulated.",
            )


def _unit(options: ServeOptions, name: str, folder: DataFolder, kind: str, config: configuration.Config) -> Unit:
    model = find_model(os.environ, config, folder.path, simulated=kind == board_hardware.SIMULATED)
    return Unit(
        name,
        folder,
        home.run_directory(folder.path, os.environ),
        kind,
        config.pwm_assignment(),
        LeaseTable(),
        model,
        UnitClock(options.speed or 1.0),
        keep_days=_above_zero(config, "keep_days"),
        max_mb=_above_zero(config, "max_mb"),
        system=_system(options, kind, home.run_directory(folder.path, os.environ)),
    )


def _system(options: ServeOptions, kind: str, run_directory: Path) -> SystemAdapter:
    """Return what runs the machine's commands: the dry one beside simulated hardware, unless the options say more."""
    chosen = options.system or ("dry" if kind == board_hardware.SIMULATED else "real")
    if chosen == "dry":
        return DrySystem(run_directory / ACTIONS_FILE)
    return RealSystem(os.environ.get("PATH", ""))


def _set_up_simulation(unit: Unit, options: ServeOptions, config: configuration.Config) -> None:
    """Put the simulated reactor together as the configuration says, once, before anything looks at it."""
    setup = simulation_setup(config, unit.model, speed=options.speed, seed=options.seed)
    with contextlib.closing(SharedPlant(unit.run_directory / "plant.bin")) as plant:
        setup.apply(plant)


def _log_level(config: configuration.Config) -> str:
    level = config.get("logging", "console_log_level").upper()
    if level not in LOG_LEVELS:
        raise ConfigError(f"[logging] console_log_level {level} is none of {', '.join(LOG_LEVELS)}.")
    return level


def _above_zero(config: configuration.Config, option: str, section: str = "readings") -> float:
    value = config.get_float(section, option)
    if value <= 0:
        raise ConfigError(f"[{section}] {option} {value:g} is not above 0.")
    return value


def _is_monitored(options: ServeOptions, config: configuration.Config) -> bool:
    return options.monitor and config.get_boolean("monitor", "enabled")


def _raise_descriptor_limit() -> None:
    """Have room for the connections that the web server takes, if the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _listen(host: str, port: int) -> socket.socket:
    name = host.encode() if host.isascii() else host  # a text makes Python load tables of Unicode: 0.6 MB
    try:
        family = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as ex:
        raise ConfigError(
            f"Cannot listen on {host} port {port}: {ex.strerror or ex}.",
            remediation="Choose another address or port with --host and --port, or end what uses it.",
        ) from ex


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _close_old_jobs(folder: DataFolder) -> int | None:
    """Mark what a killed predecessor left running as lost; return the highest job id there was.

    None when the history cannot be used; then no process of this unit writes into it, since job ids start anew.
    """
    try:
        history = JobHistory(folder.job_history)
        try:
            history.mark_lost(utc_timestamp(), "The unit was ended while this job ran.")
            return history.last_job_id()
        finally:
            history.close()
    except StorageFault as ex:
        log.error("The history of jobs cannot be used: %s", ex)
        return None


def _parts(
    unit: Unit, options: ServeOptions, config: configuration.Config, extras: Extras, *, keeps_history: bool
) -> UnitParts:
    catalogue = Catalogue(BUILT_IN)
    plugins = None if are_skipped(os.environ) else unit.folder.plugins
    max_upload_bytes = int(_above_zero(config, "max_upload_mb", "http") * MB)
    web = WebProcess(unit, config, catalogue, plugins, extras.extend, max_upload_bytes, keeps_history=keeps_history)
    web.warm_up()
    # Every job needs the board: its built-in data is parsed once, and a file that cannot be used is said now. `safe`
    # children keep to this one: a file that somebody is changing must not keep an output on.
    pins = board_hardware.load_board(unit.hardware, model=unit.model, home=unit.folder.path)

    def run_one_job(channel: Channel, request: JobRequest) -> None:
        run_job(
            channel,
            request,
            _job_class(catalogue, request, channel),
            partial(unit.open_hardware, request.job_name),
            unit.load_config,
            unit.leases,
            unit.clock,
            data_folder=unit.folder.path,
        )

    def drive_safe(outputs: Outputs) -> NoReturn:
        try:
            unit.open_hardware("safe", pins).make_safe(outputs)
        except HardwareFault as ex:
            log.error("%s %s", ex, ex.cause)
            os._exit(1)
        os._exit(0)

    def prepare_import(channel: Channel, request: Message) -> None:
        check = partial(_check_startable, options=options, kind=unit.hardware)
        import_child.run(channel, request, unit.folder, unit.name, check)

    return UnitParts(
        web_main=web.main,
        run_job=run_one_job,
        drive_safe=drive_safe,
        catalogue=catalogue,
        functions={**_own_functions(unit), **extras.functions},
        leases=unit.leases,
        open_hardware=unit.open_hardware,
        unit_clock=unit.clock,
        system=unit.system,
        prepare_import=prepare_import,
        plugins=plugins,
        updater=_Updater(unit.folder.path) if extras.updates else None,
    )


def _job_class(catalogue: Catalogue, request: JobRequest, channel: Channel) -> type[Job]:
    """Return the job's class, in its own process; a plugin that has it is imported here and nowhere else."""
    automation_name = request.options.get(AUTOMATION_NAME, "")
    plugin = catalogue.plugin_of(request.job_name, automation_name)
    if plugin is None:
        return JOBS[request.job_name]
    from reactor_unit.workers.plugin_code import job_class_of  # with what it imports, for this process alone

    try:
        return job_class_of(plugin, catalogue[request.job_name], automation_name)
    except UnitError as error:
        log.error("%s %s", error.message, error.cause)
        channel.send({"error": error.to_dict()})
        os._exit(1)


class _Updater:
    """Updates of this unit. What they take is imported in the process that makes one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self, channel: Channel, task: Task) -> None:
        """See `update_desk.Updater`."""
        from reactor_unit.workers.update_task import prepare

        prepare(channel, task, self._folder)

    def await_outcome(self, channel: Channel, update_id: str) -> None:
        """See `update_desk.Updater`."""
        from reactor_unit.workers.update_task import await_outcome

        await_outcome(channel, update_id)


def _install_plugin(folder: Path, context: TaskContext, **wanted: str) -> Any:
    from reactor_unit.workers.plugin_tasks import install  # for the process that does it alone

    return install(folder, context, Wanted(**wanted))


def _uninstall_plugin(folder: Path, context: TaskContext, name: str) -> Any:
    from reactor_unit.workers.plugin_tasks import uninstall

    return uninstall(folder, context, name)


def _own_functions(unit: Unit) -> TaskFunctions:
    """Return what the pool of every unit can do."""
    own = (
        hardware_check.task_function(unit.folder, unit.hardware, partial(broken_files, unit.folder)),
        *calibration_tasks.task_functions(unit.load_config),
        *file_tasks.task_functions(unit.folder),
        TaskFunction("install_plugin", partial(_install_plugin, unit.folder.path), INSTALL_WITHIN_S),
        TaskFunction("uninstall_plugin", partial(_uninstall_plugin, unit.folder.path), INSTALL_WITHIN_S),
    )
    return {function.name: function for function in own}
