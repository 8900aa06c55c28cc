"""One output under PWM: what every kind of it does, its limits, and the kind that RPi.GPIO makes in software."""

from typing import Protocol

from .closing import Closing
from .errors import HardwareFault
from .gpio_api import GPIO, SoftwarePWM

MIN_FREQUENCY_HZ = 0.1  # a period of 10 s; slower is a switch, not a PWM
MAX_FREQUENCY_HZ = 10_000.0  # the limit of rpi-lgpio's PWM thread


class PWM(Protocol):
    """An output under PWM, in software or hardware.

    `set_duty_cycle` is idempotent. `close()` leaves the output off and may be called twice. Both raise HardwareFault.
    """

    pin: int  # BCM number
    frequency_hz: float

    @property
    def duty_cycle(self) -> float:
        """The duty cycle in %, 0..100, that was last set."""
        ...

    def set_duty_cycle(self, duty_cycle: float) -> None:
        """Be at `duty_cycle` (%, 0..100)."""

    def close(self) -> None:
        """Be off, for good."""


def check_frequency(frequency_hz: float, pin: int) -> None:
    """Raise HardwareFault for a frequency outside the limits, NaN too."""
    if not MIN_FREQUENCY_HZ <= frequency_hz <= MAX_FREQUENCY_HZ:
        raise HardwareFault(
            f"A PWM frequency of {frequency_hz} Hz on GPIO {pin} is outside "
            f"{MIN_FREQUENCY_HZ:g}..{MAX_FREQUENCY_HZ:g} Hz.",
            remediation="Change the frequency in the configuration.",
        )


def check_duty_cycle(duty_cycle: float, pin: int) -> None:
    """Raise HardwareFault for a duty cycle outside 0..100 %: the last guard before the wire."""
    # The comparison also refuses NaN, which RPi.GPIO would take.
    if not 0.0 <= duty_cycle <= 100.0:
        raise HardwareFault(
            f"A duty cycle of {duty_cycle} % on GPIO {pin} is outside 0..100 %.",
            remediation="Ask for a duty cycle from 0 to 100 %.",
        )


def check_percent(percent: float, output: str) -> None:
    """Raise HardwareFault for an intensity outside 0..100 %, NaN too: the last guard before the wire."""
    if not 0.0 <= percent <= 100.0:
        raise HardwareFault(
            f"An intensity of {percent} % on {output} is outside 0..100 %.",
            remediation="Ask for an intensity from 0 to 100 %.",
        )


class PWMOutput(Closing):
    """Drive one pin (BCM number) at a duty cycle in %.

    The pin is an output at low level from the first moment. `close()` leaves it that way and may be called twice;
    so does the end of a `with` block. Raises HardwareFault for a refused frequency or duty cycle and for a pin that
    cannot be had.
    """

    def __init__(self, gpio: GPIO, pin: int, frequency_hz: float) -> None:
        check_frequency(frequency_hz, pin)
        self.pin = pin
        self.frequency_hz = frequency_hz
        self._gpio = gpio
        self._duty_cycle = 0.0
        self._running = False
        self._closed = False
        try:
            gpio.setup(pin, gpio.OUT, initial=gpio.LOW)
            self._pwm: SoftwarePWM | None = gpio.PWM(pin, frequency_hz)
        except (RuntimeError, ValueError, OSError) as ex:
            raise HardwareFault(f"GPIO {pin} cannot be a PWM output.", cause=str(ex)) from ex

    @property
    def duty_cycle(self) -> float:
        """The duty cycle in %, 0..100, that was last set."""
        return self._duty_cycle

    def start(self, duty_cycle: float = 0.0) -> None:
        """Run at `duty_cycle` (%); the same as `set_duty_cycle`, under the name that GPIO libraries use."""
        self.set_duty_cycle(duty_cycle)

    def set_duty_cycle(self, duty_cycle: float) -> None:
        """Be at `duty_cycle` (%, 0..100), starting the PWM if it does not run yet. Idempotent."""
        check_duty_cycle(duty_cycle, self.pin)
        if self._closed or self._pwm is None:
            raise HardwareFault(f"The PWM on GPIO {self.pin} is closed.", remediation="Open it again.")
        try:
            if self._running:
                self._pwm.ChangeDutyCycle(duty_cycle)
            else:
                self._pwm.start(duty_cycle)
                self._running = True
        except (RuntimeError, ValueError, OSError) as ex:
            raise HardwareFault(f"The PWM on GPIO {self.pin} does not take {duty_cycle} %.", cause=str(ex)) from ex
        self._duty_cycle = duty_cycle

    def close(self) -> None:
        """Stop the PWM and leave the pin an output at low level. May be called twice; after a failure it tries again.

        The level is written last, and each step is tried even if the one before failed. `stop()` of RPi.GPIO only
        asks its thread to end; asleep in a high phase, that thread leaves the pin high for the rest of it: 5 ms at
        200 Hz, 10 s at 0.1 Hz. Writing low here ends the phase now. With the duty cycle at 0 before, what the
        thread writes on waking is low too, so the order of its write and this one does not matter.

        The pin is not handed to `cleanup()`, which would make it a floating input: whether each driver's gate is
        pulled down is up to the HAT, and the kernel of a Pi keeps a released output at its last level.
        """
        if self._closed:
            return
        try:
            if self._pwm is not None:
                self._pwm.ChangeDutyCycle(0.0)
        except (RuntimeError, ValueError, OSError):
            pass  # the two steps below make the pin safe without it
        try:
            if self._pwm is not None:
                self._pwm.stop()
        except (RuntimeError, ValueError, OSError):
            pass  # the level below is what matters
        # Dropped now: the library stops whatever PWM the pin has when an old object for it goes.
        self._pwm = None
        self._duty_cycle = 0.0
        try:
            self._gpio.output(self.pin, self._gpio.LOW)
        except (RuntimeError, ValueError, OSError) as ex:
            raise HardwareFault(f"GPIO {self.pin} could not be driven low.", cause=str(ex)) from ex
        self._closed = True
