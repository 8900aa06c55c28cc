"""The heater under the vial, and the thermometer on its board."""

from .board import Board
from .closing import Closing
from .i2c import Chip, I2CBus
from .leased_pwm import LeasedPWM
from .tmp1075 import TMP1075

FREQUENCY_HZ = 16.0  # a resistor wants no more; at 16 Hz software keeps a duty cycle within 0.2 %
_REMEDIATION = "Check the flat cable between the HAT and the heater board, at both ends. Heating stays off without it."


class Heater(Closing):
    """Heat at a duty cycle in %. It knows no temperature: whoever drives it reads one and stops when it cannot.

    Owns the PWM it is given: `close()` turns it off and may be called twice.
    """

    def __init__(self, pwm: LeasedPWM) -> None:
        self._pwm = pwm

    @property
    def pin(self) -> int:
        """The heater's pin, a BCM number."""
        return self._pwm.pin

    @property
    def duty_cycle(self) -> float:
        """The duty cycle in %, 0..100, that was last set."""
        return self._pwm.duty_cycle

    def set_duty_cycle(self, duty_cycle: float) -> None:
        """Be at `duty_cycle` (%, 0..100). Idempotent."""
        self._pwm.set_duty_cycle(duty_cycle)

    @property
    def generation(self) -> int:
        """The number of its last command, for `restore`."""
        return self._pwm.generation

    def restore(self, duty_cycle: float, generation: int) -> bool:
        """Heat again at a duty cycle in % unless a newer command came after `generation`; return whether it does."""
        return self._pwm.restore(duty_cycle, generation)

    def close(self) -> None:
        """Turn it off. May be called twice."""
        self._pwm.close()


def open_thermometer(bus: I2CBus, board: Board) -> TMP1075:
    """Open the thermometer of the heater board; raises HardwareFault unless it is there."""
    return TMP1075(Chip(bus, board.temperature_address, "The thermometer (TMP1075)", _REMEDIATION))
