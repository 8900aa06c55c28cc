"""The thermometer on the heater board, a TMP1075."""

from collections.abc import Callable

from .errors import HardwareFault
from .i2c import Chip

TEMPERATURE = 0x00
LSB_C = 0.0625  # degC a step, 12 bits in two's complement (datasheet SBOS854, section 8.5)
_LIMITS_C = (-55.0, 125.0)  # what the chip is specified for


class TMP1075:
    """Read the heater board's surface temperature. The constructor raises HardwareFault unless the chip is there."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        chip.probe()

    def read_temperature_c(self) -> float:
        """Return the temperature in degC, in steps of 0.0625.

        Raises HardwareFault for a value that the chip cannot give: a heater must not be driven by it.
        """
        data = self.chip.read(TEMPERATURE, 2)
        temperature_c = (int.from_bytes(data, signed=True) >> 4) * LSB_C
        # The lowest four bits are always 0; a line that stays high reads as 1 everywhere.
        if data[1] & 0x0F or not _LIMITS_C[0] <= temperature_c <= _LIMITS_C[1]:
            raise HardwareFault(
                f"{self.chip.where} gave a value that is no temperature.",
                cause=f"Register 0 reads 0x{data.hex()}.",
                remediation=self.chip.remediation,
            )
        return temperature_c

    def mean_temperature_c(self, reads: int, interval_s: float, wait: Callable[[float], object]) -> float:
        """Return the mean of some reads, `interval_s` apart; `wait(interval_s)` is how the caller sleeps."""
        total_c = self.read_temperature_c()
        for _ in range(reads - 1):
            wait(interval_s)
            total_c += self.read_temperature_c()
        return total_c / reads
