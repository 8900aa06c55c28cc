"""The hardware check as the unit runs it: as the pool task `hardware_check`, and for `reactor-unit doctor`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from reactor_unit import config as configuration
from reactor_unit.clock import boot_clock
from reactor_unit.config import Config
from reactor_unit.drivers import board
from reactor_unit.drivers.checks import CHECKS, FAIL, Bench, Finding, run_checks
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.hardware import SIMULATED, Hardware
from reactor_unit.drivers.models import Model, load_models
from reactor_unit.drivers.simulation.constants import PUMPS
from reactor_unit.drivers.simulation.state import SharedPlant
from reactor_unit.errors import ConfigError, InvalidRequest
from reactor_unit.home import DataFolder
from reactor_unit.workers.folder_checks import BrokenFiles, check_folder, check_plugins
from reactor_unit.workers.tasks import TaskContext, TaskFunction

NAME = "hardware_check"
TIMEOUT_S = 120.0
Progress = Callable[[float, float, str], object]
OpenHardware = Callable[[Model | None], Hardware]


@dataclass(frozen=True)
class Start:
    """When the unit started, by both clocks: afterwards they must have come equally far."""

    wall_s: float = field(default_factory=time.time)
    boot_s: float = field(default_factory=boot_clock)

    def jump_s(self, plant: SharedPlant | None) -> float:
        """Return how far the wall clock has left the boot clock since; `plant` has a wall clock of its own."""
        ahead_s = 0.0 if plant is None else plant.wall_clock_offset_s()
        return time.time() + ahead_s - self.wall_s - (boot_clock() - self.boot_s)


def task_function(folder: DataFolder, kind: str, broken_files: BrokenFiles = tuple) -> TaskFunction:
    """Return the pool task; its result is `{"ok": bool, "findings": [...]}`. The unit starts now.

    `broken_files` tells of each calibration and estimator that cannot be used.
    """
    start = Start()

    def check(
        context: TaskContext,
        *,
        model_name: str | None = None,
        model_version: str | None = None,
        pumps: bool = False,
        broken_plugins: Collection[str] = (),
    ) -> dict[str, Any]:
        asked = (model_name, model_version) if model_name and model_version else None
        return as_result(
            check_unit(
                folder,
                kind,
                lambda _model: context.open_hardware(),
                asked=asked,
                pumps=pumps,
                start=start,
                broken_files=broken_files,
                broken_plugins=broken_plugins,
                progress=context.progress,
                wait=context.wait,
            )
        )

    return TaskFunction(NAME, check, timeout_s=TIMEOUT_S)


def as_result(findings: list[Finding]) -> dict[str, Any]:
    """Return findings as the task's result."""
    ok = all(finding.status != FAIL for finding in findings)
    return {"ok": ok, "findings": [finding.as_dict() for finding in findings]}


def check_unit(
    folder: DataFolder,
    kind: str,
    open_hardware: OpenHardware,
    *,
    wait: Callable[[float], object],
    asked: tuple[str, str] | None = None,
    pumps: bool = False,
    start: Start | None = None,
    broken_files: BrokenFiles = tuple,
    broken_plugins: Collection[str] = (),
    progress: Progress = lambda *_: None,
) -> list[Finding]:
    """Check the data folder, then the hardware, and return all findings.

    `open_hardware` opens it for the configured model; `asked` is another model whose chips are looked for instead.
    `wait` waits so many of the reactor's seconds. `pumps` has each pump run for a second; `broken_plugins` are told, a
    line each. Without a `start` there is nothing to compare a Pi's wall clock with. Raises InvalidRequest for a model
    that is not registered.
    """
    progress(0, len(CHECKS) + 1, "data folder")
    findings = [*check_folder(folder, broken_files), check_plugins(broken_plugins)]
    try:
        config = configuration.load_config(folder.path)
    except ConfigError:
        config = configuration.default_config()  # what is wrong has been found; the hardware may still be checked
    models = load_models(folder.path / "models")
    if asked is not None and asked not in models:
        raise InvalidRequest(f"There is no model {asked[0]!r}, version {asked[1]!r}.")
    model = models.get(_configured(config, kind))
    try:
        hardware = open_hardware(model)
    except HardwareFault as ex:
        return [*findings, Finding("hardware", FAIL, f"{ex} {ex.cause}", ex.remediation)]
    try:
        wanted = models[asked] if asked is not None else model
        bench = _bench(hardware, config, _needs(hardware, wanted, folder), pumps=pumps, start=start, wait=wait)
        return findings + run_checks(bench, lambda done, total, name: progress(done + 1, total + 1, name))
    finally:
        hardware.close()


def _configured(config: Config, kind: str) -> tuple[str, str]:
    try:
        return configuration.model(os.environ, config, kind == SIMULATED) or ("", "")
    except ConfigError:
        return ("", "")


def _needs(hardware: Hardware, model: Model | None, folder: DataFolder) -> board.Board:
    return board.load(hardware.board.hat_version, model=model, home=folder.path)


def _bench(
    hardware: Hardware,
    config: Config,
    needs: board.Board,
    *,
    pumps: bool,
    start: Start | None,
    wait: Callable[[float], object],
) -> Bench:
    plant = hardware.plant
    return Bench(
        hardware,
        needs,
        assignment=config.pwm_assignment(),
        leds=config.section("leds"),
        angles=config.section("od_config.photodiode_channel"),
        stirring_duty_cycle=_number(config, "stirring.config", "initial_duty_cycle"),
        stirring_hz=_number(config, "stirring.config", "pwm_hz"),
        pumps=pumps,
        observe=_nobody if plant is None else lambda pump: volume_in_beaker_ml(plant, pump),
        clock_jump_s=_clock_jump(plant, start),
        wait=wait,
        clock=hardware.edge_clock,
    )


def _number(config: Config, section: str, option: str) -> float:
    try:
        return config.get_float(section, option)
    except ConfigError:
        return configuration.default_config().get_float(section, option)


def _nobody(_pump: str) -> None:
    """Read no beaker: on a real unit only a person can."""


def volume_in_beaker_ml(plant: SharedPlant, pump: str) -> float | None:
    """Be the person at a simulated reactor: read a pump's beaker, in ml; None while its tube is not in there."""
    in_beaker = plant.look().pipework.beakers >> PUMPS.index(pump) & 1
    return plant.volume_expelled_ml(pump) if in_beaker else None


def _clock_jump(plant: SharedPlant | None, start: Start | None) -> Callable[[], float | None]:
    if start is not None:
        return lambda: start.jump_s(plant)
    return (lambda: None) if plant is None else plant.wall_clock_offset_s
