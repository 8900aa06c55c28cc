"""The RP2040 on HAT 1.1 and 1.2: four ADC inputs, and a PWM for each of the LED channels A to D.

Its firmware is an I2C slave with a pointer: the first byte written says which register. Registers 0..3 take the duty
cycle of LED A..D, 4..7 give an ADC input, 8 gives the firmware's version. All other registers read 0xFF 0xFF.
"""

from .adc import Gain, Sample, check_channel
from .errors import HardwareFault
from .i2c import Chip
from .pwm import check_percent

LED_REGISTERS = {"A": 0, "B": 1, "C": 2, "D": 3}
ADC_REGISTER = 4
VERSION_REGISTER = 8
SUPPLY_V = 3.3
_COUNTS = 4095  # of 12 bits
_WIDER_SUM = (0, 4)  # from this firmware on a value is the sum of 32 conversions, before of 16
_LARGEST = 0xFFFF  # of a register: with the wider sum it is reached at 1.65 V, half of the ADC's own range
_NOT_LOADED = (0xFF, 0xFF)


class Pico:
    """The HAT's microcontroller: an ADC without gain, and the LED driver.

    The constructor reads the firmware's version, so it raises HardwareFault unless the chip is there and runs. LEDs
    keep their last value; whoever set them sets them to 0.
    """

    channels = 4
    gains: tuple[Gain, ...] = (Gain.ONE,)

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        minor, major = chip.read(VERSION_REGISTER, 2)
        if (major, minor) == _NOT_LOADED:
            raise HardwareFault(
                f"{chip.where} does not tell the version of its firmware.",
                cause="Register 8 reads 0xFF 0xFF.",
                remediation="Restart the Raspberry Pi: the firmware is loaded at each start.",
            )
        self.firmware_version = (major, minor)
        self._full_scale = _COUNTS * (32 if self.firmware_version >= _WIDER_SUM else 16)

    def read(self, channel: int, gain: Gain = Gain.ONE) -> Sample:
        """Return one input, 0..3; `gain` is taken and means nothing.

        The range is 0..3.3 V, with firmware 0.4 and later 0..1.65 V, where the register is full.
        """
        check_channel(self, channel)
        raw = int.from_bytes(self.chip.read(ADC_REGISTER + channel, 2), "little")
        if raw > self._full_scale:
            raise HardwareFault(
                f"{self.chip.where} gave a value that its ADC cannot have.",
                cause=f"Register {ADC_REGISTER + channel} reads {raw}, its limit is {self._full_scale}.",
                remediation="Restart the Raspberry Pi: the firmware is loaded at each start.",
            )
        return Sample(raw, raw / self._full_scale * SUPPLY_V, raw >= min(self._full_scale, _LARGEST))

    def set_led(self, channel: str, percent: float) -> None:
        """Be at an intensity in %, 0..100, in steps of 1/255."""
        check_percent(percent, f"LED channel {channel}")
        self.chip.write(LED_REGISTERS[channel], bytes([round(percent / 100.0 * 255.0)]))
