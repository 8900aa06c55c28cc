"""The LED channels A to D, driven by whatever chip the HAT has for them."""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

from .board import Board
from .claims import Claims
from .closing import Closing
from .dac43608 import DAC43608
from .errors import HardwareFault
from .i2c import Chip, I2CBus
from .leases import LED_S, led_output
from .pico import Pico
from .pwm import check_percent

LED_CHANNELS = ("A", "B", "C", "D")
IR = "IR"
_REMEDIATION = (
    "Check that the HAT sits on all pins of the Raspberry Pi; if it does, restart the Pi, which loads its firmware."
)


class LEDDriver(Protocol):
    """The chip that drives the LEDs."""

    @property
    def chip(self) -> Chip:
        """The chip, whose bus keeps processes apart."""
        ...

    def set_led(self, channel: str, percent: float) -> None:
        """Be at an intensity in %, 0..100. Raises HardwareFault."""


class LEDs(Closing):
    """Set LEDs by channel ("A".."D") or by what is plugged in there, such as "IR".

    A channel is claimed when it is first set, and lit under a lease. `names` is the section [leds] of the
    configuration, channel -> name, empty where nothing is plugged in. `close()` turns off what this object turned on,
    gives the claims back and may be called twice; after a failure it tries again.
    """

    def __init__(self, driver: LEDDriver, claims: Claims, names: Mapping[str, str] | None = None) -> None:
        self._driver = driver
        self._claims = claims
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
        """Be at an intensity in %, 0..100. Idempotent.

        While another process reads with all other LEDs dark, the channel is lit only after that. Raises OutputClaimed
        when another process has the channel.
        """
        if self._closed:
            raise HardwareFault("The LEDs are closed.", remediation="Open them again.")
        channel = self.channel_of(led)
        check_percent(percent, f"LED channel {channel}")
        output, leases = led_output(channel), self._claims.leases
        lease = self._claims.held(output) or self._claims.claim(output, LED_S)
        if percent > 0.0:
            lease.hold()
        # Noted first: if the chip took it and the answer was lost, `close` still turns it off.
        self._intensities[channel] = percent
        with self._driver.chip.bus.exclusive(self._driver.chip):
            leases.set_level(output, percent)
            if not leases.is_shaded(output):
                self._driver.set_led(channel, percent)
        if percent == 0.0:
            lease.rest()

    def release(self, led: str) -> None:
        """Turn a channel off, and let another process have it. Idempotent."""
        channel = self.channel_of(led)
        if self._claims.held(led_output(channel)) is not None:
            self.set_intensity(channel, 0.0)
            del self._intensities[channel]
            self._claims.release(led_output(channel))

    def intensity(self, led: str) -> float:
        """Return the intensity in % that this object last set, 0.0 before."""
        return self._intensities.get(self.channel_of(led), 0.0)

    def intensities(self) -> dict[str, float]:
        """Return the intensity in % that is wanted of each channel, whichever process wants it."""
        return {channel: self._claims.leases.level(led_output(channel)) for channel in LED_CHANNELS}

    @contextlib.contextmanager
    def darkness(self, for_s: float, but: Collection[str] = ()) -> Iterator[None]:
        """Keep the channels of other processes dark for a moment, at most `for_s` real seconds, all except `but`.

        Their owners need not know: what they set meanwhile is lit when the moment is over.
        """
        leases, chip = self._claims.leases, self._driver.chip
        channels = [channel for channel in LED_CHANNELS if channel not in but]
        try:
            with chip.bus.exclusive(chip):
                leases.shade(map(led_output, channels), for_s)
                self._set_all(dict.fromkeys(channels, 0.0))
            yield
        finally:
            self.relight(channels)

    def relight(self, channels: Collection[str] = LED_CHANNELS) -> None:
        """Have channels at the intensity that their owners want, and dark when nobody has them."""
        leases, chip = self._claims.leases, self._driver.chip
        with chip.bus.exclusive(chip):
            leases.shade(map(led_output, channels), 0.0)
            self._set_all({channel: leases.level(led_output(channel)) for channel in channels})

    def close(self) -> None:
        """Turn off what this object turned on, and give it back. May be called twice."""
        if self._closed:
            return
        for channel in self._intensities:
            self._claims.leases.set_level(led_output(channel), 0.0)
        with self._driver.chip.bus.exclusive(self._driver.chip):  # who relights them now would leave them lit for good
            self._set_all(dict.fromkeys(self._intensities, 0.0))
        for channel in self._intensities:
            self._claims.release(led_output(channel))
        self._closed = True

    def _set_all(self, intensities: Mapping[str, float]) -> None:
        failed: HardwareFault | None = None
        for channel, percent in intensities.items():
            try:
                self._driver.set_led(channel, percent)
            except HardwareFault as ex:
                failed = failed or ex
        if failed is not None:
            raise failed


def open_leds(bus: I2CBus, board: Board, claims: Claims, names: Mapping[str, str] | None = None) -> LEDs:
    """Open the LEDs of a board; raises HardwareFault unless their driver is there."""
    if board.led_driver == "dac43608":
        return LEDs(DAC43608(Chip(bus, board.led_address, "The LED driver (DAC43608)", _REMEDIATION)), claims, names)
    return LEDs(Pico(Chip(bus, board.led_address, "The LED driver (RP2040)", _REMEDIATION)), claims, names)
