"""The registers of the I2C chips, on simulated voltages and temperatures.

Each chip takes functions for what it measures and drives. Registers, their order of bytes, quantisation and limits
are those of the datasheets; see the devices of the same names for the pages.
"""

import math
from collections.abc import Callable, Mapping
from typing import Protocol

Analog = Callable[[], float]  # an input's voltage in V
SetLED = Callable[[str, float], None]  # channel, %
_LED_CHANNELS = "ABCD"


class SimulatedChip(Protocol):
    """A chip that is addressed by a register's number."""

    def read(self, register: int) -> bytes:
        """Return a register."""
        ...

    def write(self, register: int, data: bytes) -> None:
        """Write a register; one that cannot be written stays as it is."""


class SimulatedADS111x:
    """ADS1115 (`with_mux`) or ADS1114: register 0 the conversion, 1 the configuration."""

    _POWER_UP = 0x8583
    _FULL_SCALES_V = (6.144, 4.096, 2.048, 1.024, 0.512, 0.256, 0.256, 0.256)
    _RATES_HZ = (8, 16, 32, 64, 128, 250, 475, 860)

    def __init__(self, inputs: Mapping[int, Analog], clock: Callable[[], float], *, with_mux: bool) -> None:
        self._inputs = inputs
        self._clock = clock
        self._with_mux = with_mux
        self._config = self._POWER_UP & 0x7FFF
        self._conversion = 0
        self._done_at: float | None = None  # of the single conversion that runs

    def read(self, register: int) -> bytes:
        """Return conversion or configuration."""
        if self._done_at is not None and self._clock() >= self._done_at:
            self._done_at = None
            self._convert()
        if register == 0:
            if not self._is_single_shot():
                self._convert()
            return self._conversion.to_bytes(2, signed=True)
        if register == 1:
            ready = 0x8000 if self._done_at is None and self._is_single_shot() else 0
            return (self._config | ready).to_bytes(2)
        return b""

    def write(self, register: int, data: bytes) -> None:
        """Take a configuration; with the bit OS, begin a conversion."""
        if register != 1 or len(data) != 2:
            return
        value = int.from_bytes(data)
        self._config = value & 0x7FFF
        if value & 0x8000 and self._is_single_shot():
            self._done_at = self._clock() + 1.0 / self._RATES_HZ[value >> 5 & 7]

    def _is_single_shot(self) -> bool:
        return bool(self._config & 0x0100)

    def _convert(self) -> None:
        mux = self._config >> 12 & 7
        if not self._with_mux:
            voltage_v = self._input(0)
        elif mux >= 4:
            voltage_v = self._input(mux - 4)
        else:
            positive, negative = ((0, 1), (0, 3), (1, 3), (2, 3))[mux]
            voltage_v = self._input(positive) - self._input(negative)
        full_scale_v = self._FULL_SCALES_V[self._config >> 9 & 7]
        code = voltage_v / full_scale_v * 32768.0
        self._conversion = math.floor(min(max(code, -32768.0), 32767.0))

    def _input(self, channel: int) -> float:
        return self._inputs[channel]() if channel in self._inputs else 0.0


class SimulatedPico:
    """RP2040: registers 0..3 the LEDs, 4..7 the ADC, 8 the firmware's version."""

    _SUPPLY_V = 3.3

    def __init__(self, inputs: Mapping[int, Analog], set_led: SetLED, firmware_version: tuple[int, int]) -> None:
        self._inputs = inputs
        self._set_led = set_led
        self._version = firmware_version
        self._full_scale = 4095 * (32 if firmware_version >= (0, 4) else 16)

    def read(self, register: int) -> bytes:
        """Return an input's sum or the version, least significant byte first."""
        if 4 <= register <= 7:
            voltage_v = self._inputs[register - 4]() if register - 4 in self._inputs else 0.0
            fraction = min(max(voltage_v / self._SUPPLY_V, 0.0), 1.0)
            return min(round(fraction * self._full_scale), 0xFFFF).to_bytes(2, "little")
        if register == 8:
            major, minor = self._version
            return bytes([minor, major])
        return b"\xff\xff"

    def write(self, register: int, data: bytes) -> None:
        """Take an LED's duty cycle."""
        if register < len(_LED_CHANNELS) and data:
            self._set_led(_LED_CHANNELS[register], data[0] / 255.0 * 100.0)


class SimulatedDAC43608:
    """DAC43608: register 1 the power-down bits, 8..15 the outputs A..H.

    Codes are this object's. An output that is dark in the plant counts as powered down, whichever process did that;
    E to H drive nothing.
    """

    def __init__(self, set_led: SetLED, led: Callable[[str], float]) -> None:
        self._set_led = set_led
        self._led = led
        self._codes = [0xFF] * 8  # the maximum, as after power-up
        self._powered_down = 0xFF

    def read(self, register: int) -> bytes:
        """Return the power-down bits or an output's code."""
        if register == 1:
            return bytes([0, self._bits()])
        if 8 <= register <= 15:
            return (self._codes[register - 8] << 4).to_bytes(2)
        return b"\x00\x00"

    def write(self, register: int, data: bytes) -> None:
        """Take power-down bits or a code."""
        if len(data) != 2:
            return
        before = self._bits()
        if register == 1:
            bits = 0xFF if data[0] & 1 else data[1]
            self._powered_down = bits
            for output, channel in enumerate(_LED_CHANNELS):
                if (before ^ bits) >> output & 1:
                    self._set_led(channel, 0.0 if bits >> output & 1 else self._percent(output))
        elif 8 <= register <= 15:
            output = register - 8
            self._codes[output] = int.from_bytes(data) >> 4 & 0xFF
            if output < len(_LED_CHANNELS) and not before >> output & 1:
                self._set_led(_LED_CHANNELS[output], self._percent(output))

    def _bits(self) -> int:
        """Return the power-down bits, those of A..D as the plant has them."""
        bits = self._powered_down & 0xF0
        for output, channel in enumerate(_LED_CHANNELS):
            lit = self._led(channel) > 0.0
            # A powered output may be at code 0; another process's may be lit without this one having powered it.
            powered = lit or (self._codes[output] == 0 and not self._powered_down >> output & 1)
            bits |= 0 if powered else 1 << output
        return bits

    def _percent(self, output: int) -> float:
        return self._codes[output] / 255.0 * 100.0


class SimulatedTMP1075:
    """TMP1075: register 0 the temperature, 12 bits, in two's complement; 15 the chip's identity."""

    def __init__(self, temperature_c: Callable[[], float]) -> None:
        self._temperature_c = temperature_c

    def read(self, register: int) -> bytes:
        """Return the temperature, held at the ends of the range, or the identity."""
        if register == 0:
            code = round(self._temperature_c() / 0.0625)
            return (min(max(code, -2048), 2047) << 4).to_bytes(2, signed=True)
        return b"\x75\x00" if register == 15 else b"\x00\x00"

    def write(self, register: int, data: bytes) -> None:
        """Leave all as it is: limits and modes are not simulated."""
