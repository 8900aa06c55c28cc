"""What a check of the hardware is given, and what it finds."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..board import Board
from ..hardware import Hardware

OK, FAIL, SKIPPED = "ok", "fail", "skipped"
REFERENCE = "REF"  # the angle of the photodiode that looks at the LED itself


@dataclass(frozen=True)
class Finding:
    """What one check found: `what` in one sentence, and as `remedy` what to do, empty when all is well."""

    name: str
    status: str  # OK, FAIL or SKIPPED
    what: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return it as JSON has it."""
        return {"name": self.name, "status": self.status, "what": self.what, "remedy": self.remedy}


@dataclass(frozen=True)
class Bench:
    """Open hardware and what the configuration says of it.

    `needs` is the board of the model that is asked about; `hardware.board` is what the unit runs with. `observe(pump)`
    is what a person would read off the beaker of a pump, in ml, or None where there is nobody to ask; `clock_jump_s()`
    how far the wall clock has left the time since the start, in s, or None where no start is known.
    """

    hardware: Hardware
    needs: Board
    assignment: Mapping[str, str] = field(default_factory=dict)  # the section [PWM]: channel -> role
    leds: Mapping[str, str] = field(default_factory=dict)  # the section [leds]: channel -> name
    angles: Mapping[str, str] = field(default_factory=dict)  # [od_config.photodiode_channel]: channel -> angle or REF
    stirring_duty_cycle: float = 30.0  # %
    stirring_hz: float = 200.0
    pumps: bool = False  # whether liquid may be moved
    observe: Callable[[str], float | None] = lambda _pump: None
    clock_jump_s: Callable[[], float | None] = lambda: None
    wait: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic

    @property
    def board(self) -> Board:
        """The board that the unit runs with."""
        return self.hardware.board

    def pin(self, role: str) -> int:
        """Return the pin (BCM number) that drives a role; raises HardwareFault when none or several do."""
        return self.board.pwm_pin(role, self.assignment)

    @property
    def photodiode_channels(self) -> tuple[str, ...]:
        """The photodiodes that are in use and have an ADC."""
        return tuple(channel for channel in self.board.photodiode_channels if self.angles.get(channel))
