"""A smbus2 `SMBus` in front of the simulated reactor: the chips of a HAT and a model, with their registers.

Each transfer behaves as on the wire: a chip that is not there, or is unplugged, is OSError EREMOTEIO, a bus whose
lines are held is OSError ETIMEDOUT. What the chips measure and drive is the plant's; the pointers and configurations
are this object's, so each process has its own. The LEDs are shared, through the plant.
"""

import errno
import os
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from ..board import Board
from .chips import Analog, SimulatedADS111x, SimulatedChip, SimulatedDAC43608, SimulatedPico, SimulatedTMP1075

_LONGEST_BLOCK = 32  # bytes, of the kernel's interface


class Plant(Protocol):
    """What the chips need of the simulated reactor."""

    def photodiode_voltage_v(self, pd_channel: str) -> float:
        """Return the voltage at a photodiode channel's ADC in V, noise and all."""
        ...

    def aux_voltage_v(self) -> float:
        """Return the voltage at the ADC of the PWM outputs' supply in V, behind the divider."""
        ...

    def heater_board_temperature_c(self) -> float:
        """Return the heater board's temperature in degC."""
        ...

    def set_led(self, channel: str, percent: float) -> None:
        """Light an LED channel, "A".."D"."""

    def led(self, channel: str) -> float:
        """Return the intensity of an LED channel in %."""
        ...

    def faults(self) -> frozenset[str]:
        """Return what is broken: "sensor_unplugged:0x4f", "bus_stuck", "adc_saturated"."""
        ...


class SimulatedSMBus:
    """The bus of one process. `close()` may be called twice; afterwards each transfer is OSError EBADF.

    The firmware version is that of the simulated RP2040.
    """

    def __init__(
        self,
        plant: Plant,
        board: Board,
        *,
        firmware_version: tuple[int, int] = (0, 5),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plant = plant
        self._closed = False
        self._chips = self._solder(board, firmware_version, clock)

    def write_quick(self, i2c_addr: int) -> None:
        """Write no byte at all."""
        self._chip(i2c_addr)

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        """Write the pointer, then read bytes; a chip gives 0xFF beyond its register."""
        chip = self._chip(i2c_addr)
        _check_block(register, length)
        return list(chip.read(register).ljust(length, b"\xff")[:length])

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
        """Write the pointer, then bytes."""
        chip = self._chip(i2c_addr)
        _check_block(register, len(data))
        chip.write(register, bytes(data))

    def close(self) -> None:
        """Close this process's bus. What the chips do stays as it is."""
        self._closed = True

    def _chip(self, address: int) -> SimulatedChip:
        if self._closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if not 0 <= address <= 0x7F:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        faults = self._plant.faults()
        if "bus_stuck" in faults:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        chip = self._chips.get(address)
        if chip is None or f"sensor_unplugged:0x{address:02x}" in faults:
            raise OSError(errno.EREMOTEIO, os.strerror(errno.EREMOTEIO))
        return chip

    def _solder(
        self, board: Board, firmware_version: tuple[int, int], clock: Callable[[], float]
    ) -> dict[int, SimulatedChip]:
        chips: dict[int, SimulatedChip] = {
            board.temperature_address: SimulatedTMP1075(self._plant.heater_board_temperature_c)
        }
        if board.led_driver == "dac43608":
            chips[board.led_address] = SimulatedDAC43608(self._plant.set_led, self._plant.led)
        inputs: dict[int, dict[int, Analog]] = {}
        drivers: dict[int, str] = {}
        for name, entry in board.adc.items():
            drivers[entry.address] = entry.driver
            inputs.setdefault(entry.address, {})[entry.channel] = self._analog(name)
        picos = {address for address, driver in drivers.items() if driver == "pico"}
        if board.led_driver == "pico":
            picos.add(board.led_address)
        for address in picos:
            chips[address] = SimulatedPico(inputs.get(address, {}), self._plant.set_led, firmware_version)
        for address in drivers.keys() - picos:
            chips[address] = SimulatedADS111x(inputs[address], clock, with_mux=drivers[address] == "ads1115")
        return chips

    def _analog(self, name: str) -> Analog:
        """Return what an ADC's input is connected to, by the input's name; in V."""

        def voltage_v() -> float:
            if name.startswith("pd"):
                if "adc_saturated" in self._plant.faults():
                    return float("inf")
                return self._plant.photodiode_voltage_v(name.removeprefix("pd"))
            return self._plant.aux_voltage_v() if name == "aux" else 0.0

        return voltage_v


def _check_block(register: int, length: int) -> None:
    if not (0 <= register <= 0xFF and 0 <= length <= _LONGEST_BLOCK):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
