"""The seam: the part of `RPi.GPIO`'s interface that devices are built on.

`RPi.GPIO`, `rpi-lgpio` and `simulation.gpio.SimulatedGPIO` all have it. A device is given one and cannot tell which.
"""

from collections.abc import Callable, Iterable
from typing import Protocol


class SoftwarePWM(Protocol):
    """One running or stopped software PWM; the last reference to it keeps it running."""

    def start(self, dutycycle: float, /) -> None:
        """Run at a duty cycle in %, 0..100; raises ValueError outside."""

    def ChangeDutyCycle(self, dutycycle: float, /) -> None:  # noqa: N802 - RPi.GPIO's name
        """Take another duty cycle in %, 0..100, within one period."""

    def ChangeFrequency(self, frequency: float, /) -> None:  # noqa: N802 - RPi.GPIO's name
        """Take another frequency in Hz, above 0."""

    def stop(self) -> None:
        """Ask for the end; the pin goes low within one period, which may be after this returns."""


class GPIO(Protocol):
    """The functions and constants of `RPi.GPIO` 0.7.1 that are used here."""

    BCM: int
    IN: int
    OUT: int
    LOW: int
    HIGH: int
    PUD_OFF: int
    PUD_DOWN: int
    PUD_UP: int
    RISING: int
    FALLING: int
    BOTH: int

    @property
    def PWM(self) -> Callable[[int, float], SoftwarePWM]:  # noqa: N802 - RPi.GPIO's name
        """The class of software PWMs: `PWM(channel, frequency_hz)`."""

    def setmode(self, mode: int, /) -> None:
        """Choose how pins are numbered, once."""

    def setwarnings(self, state: bool, /) -> None:
        """Warn, or not, of a pin that is already an output."""

    def setup(self, channel: int | Iterable[int], direction: int, pull_up_down: int = ..., initial: int = ...) -> None:
        """Make a pin an input or output; with `initial` the level is written before the direction."""

    def output(self, channel: int | Iterable[int], value: int | Iterable[int], /) -> None:
        """Write a level to an output of this process."""

    def input(self, channel: int, /) -> int:
        """Return a pin's level, 0 or 1."""

    def add_event_detect(
        self, channel: int, edge: int, /, callback: Callable[[int], object] = ..., bouncetime: int = ...
    ) -> None:
        """Call back at each edge, from a thread of the library.

        Raises RuntimeError where the kernel does not offer what the library needs.
        """

    def remove_event_detect(self, channel: int, /) -> None:
        """End edge detection on a pin."""

    def cleanup(self, channel: int | Iterable[int] = ...) -> None:
        """Make a pin a floating input and end its edge detection."""
