"""What a person sees and presses on the HAT: the blue LED and the button."""

import time
from collections.abc import Callable

from .closing import Closing
from .errors import HardwareFault
from .gpio_api import GPIO

BLINK_S = 0.14  # s on; as long off
BETWEEN_CODES_S = 0.6


class PCBLED(Closing):
    """The blue LED on the HAT. It is off from the first moment; `close()` leaves it off and may be called twice."""

    def __init__(self, gpio: GPIO, pin: int) -> None:
        self.pin = pin
        self._gpio = gpio
        self._closed = False
        try:
            gpio.setup(pin, gpio.OUT, initial=gpio.LOW)
        except (RuntimeError, ValueError, OSError) as ex:
            raise HardwareFault(f"GPIO {pin} cannot be the LED's output.", cause=str(ex)) from ex

    def set_on(self, on: bool) -> None:
        """Be on, or off. Idempotent."""
        if self._closed:
            raise HardwareFault(f"The LED on GPIO {self.pin} is closed.", remediation="Open it again.")
        self._write(on)

    def blink(self, times: int, wait: Callable[[float], object] = time.sleep) -> None:
        """Blink some times, an error code for instance, and stay off; `wait` is how the caller sleeps."""
        try:
            for _ in range(times):
                self.set_on(True)
                wait(BLINK_S)
                self.set_on(False)
                wait(BLINK_S)
            wait(BETWEEN_CODES_S)
        finally:
            if not self._closed:
                self.set_on(False)

    def close(self) -> None:
        """Be off, for good. May be called twice."""
        if not self._closed:
            self._write(False)
            self._closed = True

    def _write(self, on: bool) -> None:
        try:
            self._gpio.output(self.pin, self._gpio.HIGH if on else self._gpio.LOW)
        except (RuntimeError, ValueError, OSError) as ex:
            raise HardwareFault(f"The LED on GPIO {self.pin} could not be switched.", cause=str(ex)) from ex


class Button:
    """The push button on the HAT, which connects its pin to 3.3 V. `close()` frees the pin and may be called twice.

    It is asked, not waited for: a person presses for a tenth of a second, and looking every 50 ms costs nothing that
    edge detection with its thread would save.
    """

    def __init__(self, gpio: GPIO, pin: int) -> None:
        self.pin = pin
        self._gpio = gpio
        self._closed = False
        try:
            gpio.setup(pin, gpio.IN, pull_up_down=gpio.PUD_DOWN)
        except (RuntimeError, ValueError, OSError) as ex:
            raise HardwareFault(f"GPIO {pin} cannot be the button's input.", cause=str(ex)) from ex

    @property
    def pressed(self) -> bool:
        """Whether it is pressed now."""
        if self._closed:
            raise HardwareFault(f"The button on GPIO {self.pin} is closed.", remediation="Open it again.")
        try:
            return bool(self._gpio.input(self.pin))
        except (RuntimeError, ValueError, OSError) as ex:
            raise HardwareFault(f"The button on GPIO {self.pin} cannot be read.", cause=str(ex)) from ex

    def close(self) -> None:
        """Free the pin. May be called twice."""
        if self._closed:
            return
        self._closed = True
        try:
            self._gpio.cleanup(self.pin)
        except (RuntimeError, ValueError, OSError) as ex:
            raise HardwareFault(f"GPIO {self.pin} could not be freed.", cause=str(ex)) from ex
