"""A peristaltic pump: a motor under PWM."""

import time
from collections.abc import Callable

from .closing import Closing
from .errors import HardwareFault
from .leased_pwm import LeasedPWM
from .leases import LONGEST_PUMP_RUN_S, PUMP_SPARE_S

DEFAULT_FREQUENCY_HZ = 250.0  # of the calibration that a pump has before its first


class Pump(Closing):
    """Run a pump at a duty cycle in %. How much it moves is the calibration's business.

    It turns only for a planned time, at most `longest_run_s` at once: whoever wants it to go on says so again. `speed`
    is how many of the caller's seconds pass in a real one. Owns the PWM it is given: `close()` stops the pump and may
    be called twice.
    """

    def __init__(
        self, pwm: LeasedPWM, role: str, *, longest_run_s: float = LONGEST_PUMP_RUN_S, speed: float = 1.0
    ) -> None:
        self.role = role  # "media", "alt_media" or "waste"
        self.longest_run_s = longest_run_s
        self._pwm = pwm
        self._speed = speed

    @property
    def pin(self) -> int:
        """The pump's pin, a BCM number."""
        return self._pwm.pin

    @property
    def duty_cycle(self) -> float:
        """The duty cycle in %, 0..100; 0 when it stands still."""
        return self._pwm.duty_cycle

    def turn(self, duty_cycle: float, for_s: float) -> None:
        """Turn at `duty_cycle` (%, 0..100) from now on, and have stopped it `for_s` seconds from now.

        Whoever has not stopped it a second after that is taken for hung, and ended. Raises HardwareFault.
        """
        self._check_duration(for_s)
        self._pwm.plan(for_s / self._speed + PUMP_SPARE_S)
        self._pwm.set_duty_cycle(duty_cycle)

    def stop(self) -> None:
        """Stand still. Idempotent."""
        self._pwm.set_duty_cycle(0.0)

    def run_for(
        self,
        duration_s: float,
        duty_cycle: float,
        wait: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> float:
        """Run for some seconds, then stop; return how long it ran, in s, as measured.

        `wait(duration_s)` is how the caller sleeps: one that returns early or raises ends the run early, and the pump
        is stopped in any case.
        """
        self._check_duration(duration_s)
        began = clock()
        try:
            self.turn(duty_cycle, duration_s)
            wait(duration_s)
        finally:
            self.stop()
        return clock() - began

    def _check_duration(self, duration_s: float) -> None:
        if not 0.0 <= duration_s <= self.longest_run_s:
            raise HardwareFault(
                f"The {self.role} pump cannot run for {duration_s} s.",
                remediation=f"Ask for a duration of 0 to {self.longest_run_s:g} s.",
            )

    def close(self) -> None:
        """Stop it, for good. May be called twice."""
        self._pwm.close()
