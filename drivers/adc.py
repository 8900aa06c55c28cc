"""The ADCs of Texas Instruments: ADS1115 on HAT 1.0, ADS1114 on the photodiode boards of the 1.5 models.

Register 0 is the conversion, register 1 the configuration, both 16 bits, most significant byte first (datasheet
SBAS444E, section 8.6). Both chips convert at 128 samples per second here.
"""

from enum import Enum
from typing import NamedTuple, Protocol

from .errors import HardwareFault
from .i2c import Chip

CONVERSION, CONFIG = 0x00, 0x01
CONVERSION_S = 1.1 / 128.0  # s. One conversion; the chip's oscillator may be 10 % slow (datasheet, section 6.5)
_POLL_S = 0.001
_POLLS = 20  # more than twice a conversion in all
_READY = _START = 0x8000  # the bit OS: written it starts a single conversion, read it says that none runs
_SINGLE_SHOT = 0x0100
_SPS_128 = 0x0080
_NO_COMPARATOR = 0x0003
_HIGHEST, _LOWEST = 0x7FFF, -0x8000
_COUNTS = 32767  # for the full scale, as in the reference: calibrations made there hold here


class Gain(Enum):
    """The ranges of the amplifier: name -> (full scale in V, code)."""

    TWO_THIRDS = (6.144, 0)
    ONE = (4.096, 1)
    TWO = (2.048, 2)
    FOUR = (1.024, 3)
    EIGHT = (0.512, 4)
    SIXTEEN = (0.256, 5)

    def __init__(self, full_scale_v: float, code: int) -> None:
        self.full_scale_v = full_scale_v
        self.code = code


def gain_for(voltage_v: float) -> Gain:
    """Return the finest range that holds a voltage with 15 % to spare.

    >>> gain_for(0.1), gain_for(1.0), gain_for(3.3)
    (<Gain.SIXTEEN: (0.256, 5)>, <Gain.TWO: (2.048, 2)>, <Gain.ONE: (4.096, 1)>)
    """
    for gain in reversed(Gain):
        if voltage_v < 0.85 * gain.full_scale_v:
            return gain
    return Gain.TWO_THIRDS


class Sample(NamedTuple):
    """One conversion. A saturated one says only that the input is at or beyond that voltage."""

    raw: int
    voltage_v: float
    saturated: bool


class ADC(Protocol):
    """An analog-to-digital converter with some inputs."""

    channels: int
    gains: tuple[Gain, ...]  # what `gain` may be; one entry where there is no amplifier

    @property
    def chip(self) -> Chip:
        """The chip, for messages."""
        ...

    def read(self, channel: int, gain: Gain = Gain.ONE) -> Sample:
        """Convert one input, once. Raises HardwareFault."""
        ...


class ADS1115:
    """Four inputs against ground, converted one at a time on demand (HAT 1.0).

    The constructor raises HardwareFault unless the chip is there. There is nothing to close.
    """

    channels = 4
    gains: tuple[Gain, ...] = tuple(Gain)

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        chip.probe()

    def read(self, channel: int, gain: Gain = Gain.ONE) -> Sample:
        """Convert one input, 0..3, once; takes about 10 ms."""
        check_channel(self, channel)
        config = _START | (4 + channel) << 12 | gain.code << 9 | _SINGLE_SHOT | _SPS_128 | _NO_COMPARATOR
        with self.chip.bus.exclusive(self.chip):  # the three steps belong together: the first chooses the input
            self.chip.write(CONFIG, config.to_bytes(2))
            self.chip.bus.wait_for_chip(CONVERSION_S)
            self._wait_until_ready()
            return _sample(self.chip.read(CONVERSION, 2), gain)

    def _wait_until_ready(self) -> None:
        for _ in range(_POLLS):
            if int.from_bytes(self.chip.read(CONFIG, 2)) & _READY:
                return
            self.chip.bus.wait_for_chip(_POLL_S)
        raise HardwareFault(
            f"{self.chip.where} does not finish a conversion.",
            cause=f"It was still converting {(CONVERSION_S + _POLLS * _POLL_S) * 1000:.0f} ms after the start.",
            remediation="Switch the power off and on; if it stays, the HAT is damaged.",
        )


class ADS1114:
    """One input, converted all the time (photodiode boards of the 1.5 models).

    The constructor sets the chip up, and raises HardwareFault unless it is there. There is nothing to close.
    """

    channels = 1
    gains: tuple[Gain, ...] = tuple(Gain)

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self._gain: Gain | None = None  # what the chip is set to, None when that is not known
        self._next_at = 0.0
        self._set_up(Gain.ONE)

    def read(self, channel: int = 0, gain: Gain = Gain.ONE) -> Sample:
        """Return a conversion that no read has seen yet, waiting for it: up to one period, 8.6 ms."""
        check_channel(self, channel)
        if gain is not self._gain:
            self._set_up(gain)
        bus = self.chip.bus
        bus.wait_for_chip(max(0.0, self._next_at - bus.chip_clock()))
        try:
            data = self.chip.read(CONVERSION, 2)
        except HardwareFault:
            self._gain = None  # it may have been without power, and begins then in another mode and range
            raise
        self._next_at = bus.chip_clock() + CONVERSION_S
        return _sample(data, gain)

    def _set_up(self, gain: Gain) -> None:
        self._gain = None
        self.chip.write(CONFIG, (gain.code << 9 | _SPS_128 | _NO_COMPARATOR).to_bytes(2))
        self._gain = gain
        self._next_at = self.chip.bus.chip_clock() + CONVERSION_S


def check_channel(adc: ADC, channel: int) -> None:
    """Raise HardwareFault unless the ADC has this input."""
    if not 0 <= channel < adc.channels:
        raise HardwareFault(
            f"{adc.chip.where} has no input {channel}.",
            cause=f"Its inputs are 0..{adc.channels - 1}.",
            remediation="Correct the entry in the hardware's adc.yaml.",
        )


def _sample(data: bytes, gain: Gain) -> Sample:
    raw = int.from_bytes(data, signed=True)
    return Sample(raw, raw / _COUNTS * gain.full_scale_v, raw in (_HIGHEST, _LOWEST))
