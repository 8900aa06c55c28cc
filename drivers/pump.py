"""A peristaltic pump: a motor under PWM."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from .errors import HardwareFault
from .pwm import PWM

DEFAULT_FREQUENCY_HZ = 250.0  # of the calibration that a pump has before its first


class Pump:
    """Run a pump at a duty cycle in %. How much it moves is the calibration's business.

    Owns the PWM it is given: `close()` stops the pump and may be called twice.
    """

    def __init__(self, pwm: PWM, role: str) -> None:
        self.role = role  # "media", "alt_media" or "waste"
        self._pwm = pwm

    @property
    def pin(self) -> int:
        """The pump's pin, a BCM number."""
        return self._pwm.pin

    @property
    def duty_cycle(self) -> float:
        """The duty cycle in %, 0..100; 0 when it stands still."""
        return self._pwm.duty_cycle

    def set_duty_cycle(self, duty_cycle: float) -> None:
        """Be at `duty_cycle` (%, 0..100). Idempotent."""
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
        if not 0.0 <= duration_s < float("inf"):
            raise HardwareFault(
                f"The {self.role} pump cannot run for {duration_s} s.", remediation="Ask for a duration of 0 s or more."
            )
        began = clock()
        try:
            self.set_duty_cycle(duty_cycle)
            wait(duration_s)
        finally:
            self.stop()
        return clock() - began

    def close(self) -> None:
        """Stop it, for good. May be called twice."""
        self._pwm.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, ex: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
