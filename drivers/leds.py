"""The LED channels A to D, driven by whatever chip the HAT has for them."""

from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from .board import Board
from .dac43608 import DAC43608
from .errors import HardwareFault
from .i2c import Chip, I2CBus
from .pico import Pico
from .pwm import check_percent

LED_CHANNELS = ("A", "B", "C", "D")
IR = "IR"
_REMEDIATION = (
    "Check that the HAT sits on all pins of the Raspberry Pi; if it does, restart the Pi, which loads its firmware."
)


class LEDDriver(Protocol):
    """The chip that drives the LEDs."""

    def set_led(self, channel: str, percent: float) -> None:
        """Be at an intensity in %, 0..100. Raises HardwareFault."""


class LEDs:
    """Set LEDs by channel ("A".."D") or by what is plugged in there, such as "IR".

    `names` is the section [leds] of the configuration, channel -> name, empty where nothing is plugged in. `close()`
    turns off what this object turned on and may be called twice; after a failure it tries again.
    """

    def __init__(self, driver: LEDDriver, names: Mapping[str, str] | None = None) -> None:
        self._driver = driver
        self._names = dict(names or {})
        self._intensities: dict[str, float] = {}
        self._closed = False

    def channel_of(self, led: str) -> str:
        """Return the channel of an LED given by channel or name; raises HardwareFault unless there is exactly one."""
        if led in LED_CHANNELS:
            return led
        channels = [channel for channel, name in self._names.items() if name == led and channel in LED_CHANNELS]
        if led and len(channels) == 1:
            return channels[0]
        raise HardwareFault(
            f"More than one LED channel is assigned to {led}." if channels else f"No LED channel is assigned to {led}.",
            cause=f"The section [leds] of the configuration gives {led!r} to {', '.join(channels) or 'none'}.",
            remediation=f"Give {led} to one of {', '.join(LED_CHANNELS)} in [leds].",
        )

    def set_intensity(self, led: str, percent: float) -> None:
        """Be at an intensity in %, 0..100. Idempotent."""
        if self._closed:
            raise HardwareFault("The LEDs are closed.", remediation="Open them again.")
        channel = self.channel_of(led)
        check_percent(percent, f"LED channel {channel}")
        # Noted first: if the chip took it and the answer was lost, `close` still turns it off.
        self._intensities[channel] = percent
        self._driver.set_led(channel, percent)

    def intensity(self, led: str) -> float:
        """Return the intensity in % that this object last set, 0.0 before."""
        return self._intensities.get(self.channel_of(led), 0.0)

    def all_off(self) -> None:
        """Turn all four channels off, whoever turned them on; each is tried, then the first failure is raised."""
        self._turn_off(LED_CHANNELS)

    def close(self) -> None:
        """Turn off what this object turned on. May be called twice."""
        if not self._closed:
            self._turn_off(tuple(self._intensities))
            self._closed = True

    def _turn_off(self, channels: tuple[str, ...]) -> None:
        failed: HardwareFault | None = None
        for channel in channels:
            try:
                self._driver.set_led(channel, 0.0)
                self._intensities[channel] = 0.0
            except HardwareFault as ex:
                failed = failed or ex
        if failed is not None:
            raise failed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, ex: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def open_leds(bus: I2CBus, board: Board, names: Mapping[str, str] | None = None) -> LEDs:
    """Open the LEDs of a board; raises HardwareFault unless their driver is there."""
    if board.led_driver == "dac43608":
        return LEDs(DAC43608(Chip(bus, board.led_address, "The LED driver (DAC43608)", _REMEDIATION)), names)
    return LEDs(Pico(Chip(bus, board.led_address, "The LED driver (RP2040)", _REMEDIATION)), names)
