"""Task functions: what the pool can do, by name. JSON in, JSON out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reactor_unit.clock import UnitClock
from reactor_unit.drivers.hardware import Hardware

Json = Any
MAX_PROGRESS_TEXT = 200  # characters

Report = Callable[[dict[str, Any]], None]
Renew = Callable[[], float]


class TaskContext:
    """What a task function is given besides its arguments.

    A task's time is the unit's, as a job's is: `clock` is its monotonic seconds, and every wait is a call of `wait`.
    """

    def __init__(
        self, report: Report, renew: Renew, open_hardware: Callable[[], Hardware], unit_clock: UnitClock
    ) -> None:
        self._report = report
        self._renew = renew
        self._unit_clock = unit_clock
        self.open_hardware = open_hardware  # whoever opens it closes it, and what it opened on it before
        self.clock = unit_clock.monotonic

    def progress(self, done: float, total: float, message: str = "") -> None:
        """Tell those who wait how far this task is; shown in its record while it is in progress."""
        self._report({"done": done, "total": total, "message": message[:MAX_PROGRESS_TEXT]})

    def wait(self, seconds: float) -> None:
        """Wait so many seconds, and renew the leases of what this task has on meanwhile."""
        until = self.clock() + seconds
        while True:
            renew_within_s = self._renew()
            left_s = until - self.clock()
            if left_s <= 0:
                return
            time.sleep(min(self._unit_clock.real_seconds(left_s), renew_within_s))


@dataclass(frozen=True)
class TaskFunction:
    """A function the pool can run: `function(context, **args)` returns JSON.

    A task that is not done after `timeout_s` seconds is killed and failed.
    """

    name: str
    function: Callable[..., Json]
    timeout_s: float = 60.0


TaskFunctions = Mapping[str, TaskFunction]
