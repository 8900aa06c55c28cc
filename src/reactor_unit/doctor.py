"""The check of this machine's reactor in the process of the command line, for when no unit serves."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from typing import Any, NoReturn

from reactor_unit import config as configuration
from reactor_unit import home
from reactor_unit.calibrations.library import broken_files
from reactor_unit.clock import UnitClock
from reactor_unit.drivers import hardware
from reactor_unit.drivers.leases import LeaseTable
from reactor_unit.drivers.models import Model
from reactor_unit.drivers.simulation.state import SharedPlant
from reactor_unit.errors import AlreadyServing, ConfigError
from reactor_unit.home import DataFolder
from reactor_unit.plugins import problems
from reactor_unit.workers.hardware_check import as_result, check_unit
from reactor_unit.workers.plugin_check import look_once
from reactor_unit.workers.tasks import TaskContext

Progress = Callable[[float, float, str], object]


def check_locally(
    dot: str | None, wanted: str, *, model: tuple[str, str] | None, pumps: bool, progress: Progress
) -> dict[str, Any]:
    """Check the reactor of a data folder and return the same as the task `hardware_check`.

    Takes what keeps a unit from starting meanwhile: the lock of the data folder and, on a Pi, that of the board.
    Raises AlreadyServing when a unit has one of them, HardwareFault when the hardware that is wanted is not there,
    InvalidRequest for a model that is not registered.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)  # by default they end a process without turning anything off
    folder = DataFolder.find(dot, os.environ)
    kind = hardware.choose(wanted)
    with ExitStack() as locks:
        try:
            if folder.path.is_dir():
                _take(folder.lock(), locks)
            if kind == hardware.PI:
                _take(home.board_lock(), locks)
        except AlreadyServing as ex:
            raise AlreadyServing(
                ex.message, remediation="Have that unit check itself: name it with --url, or end it first."
            ) from ex
        leases = LeaseTable()  # watched by nobody: the signals above are what ends this process
        opener = partial(_open, folder, kind, leases)
        context = TaskContext(lambda _progress: None, leases.renew, partial(opener, None), _clock(folder, kind))
        return as_result(
            check_unit(
                folder,
                kind,
                opener,
                asked=model,
                pumps=pumps,
                broken_files=partial(broken_files, folder),
                broken_plugins=problems(look_once(folder.plugins)),
                progress=progress,
                wait=context.wait,
            )
        )


def _end(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


def _take(lock: home.Lock, locks: ExitStack) -> None:
    lock.acquire()
    locks.callback(lock.release)


def _clock(folder: DataFolder, kind: str) -> UnitClock:
    """Return the clock of the reactor; a simulated one is as fast as the last unit left it."""
    if kind == hardware.PI:
        return UnitClock()
    with closing(SharedPlant(home.run_directory(folder.path, os.environ) / "plant.bin")) as plant:
        return UnitClock(plant.speed)


def _open(folder: DataFolder, kind: str, leases: LeaseTable, model: Model | None) -> hardware.Hardware:
    try:
        assignment = configuration.load_config(folder.path).pwm_assignment()
    except ConfigError:
        assignment = configuration.default_config().pwm_assignment()
    run_directory = home.run_directory(folder.path, os.environ)
    return hardware.open_hardware(
        kind,
        run_directory,
        assignment=assignment,
        model=model,
        home=folder.path,
        leases=leases,
        holder="reactor-unit doctor",
    )
