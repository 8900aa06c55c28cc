"""The DAC43608 that drives the LED channels A to D of HAT 1.0: 8 bits, a power-down bit for each output.

Register 1 is the device configuration (low byte: bit n = 1 powers output n down), 8..11 are the outputs A..D with the
code in bits 11..4 (datasheet SLASEW6). After power-up the outputs are at their maximum, so turning all off belongs
to the start of a unit.
"""

from .i2c import Chip
from .pwm import check_percent

DEVICE_CONFIG = 0x01
OUTPUT_A = 0x08
_OUTPUTS = {"A": 0, "B": 1, "C": 2, "D": 3}


class DAC43608:
    """The LED driver of HAT 1.0. The constructor raises HardwareFault unless the chip is there.

    Outputs keep their last value; whoever set them sets them to 0.
    """

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        chip.probe()

    def set_led(self, channel: str, percent: float) -> None:
        """Be at an intensity in %, 0..100, in steps of 1/255; 0 powers the output down."""
        check_percent(percent, f"LED channel {channel}")
        output = _OUTPUTS[channel]
        code = round(percent / 100.0 * 255.0)
        # Read, changed and written: between the two another process might change the bit of its own channel.
        with self.chip.bus.exclusive(self.chip):
            high, low = self.chip.read(DEVICE_CONFIG, 2)
            if code == 0:
                self.chip.write(DEVICE_CONFIG, bytes([high, low | 1 << output]))
            elif low >> output & 1:
                # The code comes before the power, so that what the output had last, the maximum after power-up, does
                # not flash; and again after it, which holds if a powered-down output took no code.
                self._write_code(output, code)
                self.chip.write(DEVICE_CONFIG, bytes([high, low & ~(1 << output) & 0xFF]))
                self._write_code(output, code)
            else:
                self._write_code(output, code)

    def _write_code(self, output: int, code: int) -> None:
        self.chip.write(OUTPUT_A + output, (code << 4).to_bytes(2))
