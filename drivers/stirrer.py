"""The stirrer: a motor under PWM and, where there is one, the hall sensor that counts its turns."""

from collections.abc import Callable

from .closing import Closing
from .errors import HardwareFault
from .hall_sensor import HallSensor
from .pwm import PWM


class Stirrer(Closing):
    """Turn the stir bar at a duty cycle and measure how fast it turns.

    Owns the parts it is given: `close()` stops the motor, then frees the sensor. It may be called twice.
    """

    def __init__(self, pwm: PWM, hall: HallSensor | None = None) -> None:
        self._pwm = pwm
        self._hall = hall

    @property
    def duty_cycle(self) -> float:
        """The motor's duty cycle in %, 0..100."""
        return self._pwm.duty_cycle

    @property
    def can_measure(self) -> bool:
        """Whether there is a sensor to measure the speed with."""
        return self._hall is not None

    def set_duty_cycle(self, duty_cycle: float) -> None:
        """Be at `duty_cycle` (%, 0..100). Idempotent."""
        self._pwm.set_duty_cycle(duty_cycle)

    def start(self, duty_cycle: float, kick_s: float, wait: Callable[[float], object]) -> None:
        """Turn at `duty_cycle` (%) from rest, where friction is larger: at full power for `kick_s` seconds before."""
        self.set_duty_cycle(100.0)
        wait(kick_s)
        self.set_duty_cycle(duty_cycle)

    def measure_rpm(self, window_s: float, wait: Callable[[float], object]) -> float:
        """Return the mean speed in rpm over the next `window_s` seconds, 0.0 when it does not turn.

        See `HallSensor.measure_rpm`. Raises HardwareFault when there is no sensor.
        """
        if self._hall is None:
            raise HardwareFault("The stirrer has no hall sensor.", remediation="Set use_rpm in [stirring.config].")
        return self._hall.measure_rpm(window_s, wait)

    def close(self) -> None:
        """Stop the motor first, since nothing may come between an end and a safe output; then free the sensor."""
        try:
            self._pwm.close()
        finally:
            if self._hall is not None:
                self._hall.close()
