"""A unit's fixed facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reactor_unit import config as configuration
from reactor_unit.clock import UnitClock
from reactor_unit.drivers import hardware as board_hardware
from reactor_unit.drivers.board import Board
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.drivers.leases import LeaseTable
from reactor_unit.drivers.models import Model
from reactor_unit.home import DataFolder
from reactor_unit.system_adapter import SystemAdapter


@dataclass(frozen=True)
class Unit:
    """A unit's fixed facts, the same in all of its processes."""

    name: str
    folder: DataFolder
    run_directory: Path
    hardware: str
    pwm_assignment: Mapping[str, str]  # as it was when the unit started: what is plugged where
    leases: LeaseTable  # made before the first fork: the memory of it is shared
    model: Model | None
    clock: UnitClock
    keep_days: float  # of readings
    max_mb: float
    system: SystemAdapter

    def open_hardware(self, holder: str, pins: Board | None = None) -> Hardware:
        """Open the reactor's hardware for `holder`, in a forked child only, with the map as it is now or with `pins`.

        Raises HardwareFault.
        """
        return board_hardware.open_hardware(
            self.hardware,
            self.run_directory,
            assignment=self.pwm_assignment,
            model=self.model,
            home=self.folder.path,
            leases=self.leases,
            holder=holder,
            pins=pins,
        )

    def load_config(self) -> configuration.Config:
        """Read the configuration as it is now. Raises ConfigError."""
        return configuration.load_config(self.folder.path)
