"""The kernel's hardware PWM in front of the simulated reactor: what `sysfs_pwm.SysfsFolder` is on a Pi.

There are no files behind it. What is read comes from the plant's pins and what is written goes there, so it is shared
between processes and outlives them, as the kernel's is. Refusals are the kernel's (drivers/pwm/sysfs.c and core.c of
Linux 6.6). Known difference: a pin that a process makes a GPIO output is not lost to the PWM until the next boot.
"""

import errno
import os
from collections.abc import Callable, Iterable
from typing import Protocol

from ..sysfs_pwm import CHANNELS
from .state import PinRecord

_NS = 1e9


class Pins(Protocol):
    """What this needs of `SharedPlant`."""

    def pin_record(self, pin: int) -> PinRecord:
        """Return what a pin (BCM number) is and does."""
        ...

    def change(self, pins: Iterable[int], how: Callable[[PinRecord], PinRecord]) -> None:
        """Replace the records of some pins."""


class SimulatedPWMRoot:
    """The folder pwmchip0 with its channels 0 and 1, on GPIO 12 and 13."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        self._exported: set[int] = set()  # by this object; a pin that has a period was exported by somebody

    def read(self, name: str) -> str:
        """Return a file's text."""
        if name == "npwm":
            return str(len(CHANNELS))
        pin, attribute = self._find(name)
        period_ns, duty_ns = _times(self._pins.pin_record(pin))
        if attribute == "period":
            return str(period_ns)
        if attribute == "duty_cycle":
            return str(duty_ns)
        return "1" if self._pins.pin_record(pin).pwm else "0"

    def write(self, name: str, text: str) -> None:
        """Write a file; raises OSError as the kernel does."""
        if not text.isascii() or not text.isdigit():
            raise _error(errno.EINVAL, name)
        if name == "export":
            self._export(int(text))
            return
        pin, attribute = self._find(name)
        period_ns, duty_ns = _times(self._pins.pin_record(pin))
        value = int(text)
        if attribute == "period":
            if value == 0 or value < duty_ns:
                raise _error(errno.EINVAL, name)
            self._set(pin, _NS / value, 100.0 * duty_ns / value)
        elif attribute == "duty_cycle":
            if period_ns == 0 or value > period_ns:
                raise _error(errno.EINVAL, name)
            self._set(pin, _NS / period_ns, 100.0 * value / period_ns)
        else:
            if value > 1 or (value and period_ns == 0):
                raise _error(errno.EINVAL, name)
            self._enable(pin, bool(value))

    def _export(self, channel: int) -> None:
        pin = next((pin for pin, its_channel in CHANNELS.items() if its_channel == channel), None)
        if pin is None:
            raise _error(errno.ENODEV, "export")
        if self._is_exported(pin):
            raise _error(errno.EBUSY, "export")
        self._exported.add(pin)

    def _find(self, name: str) -> tuple[int, str]:
        folder, _, attribute = name.partition("/")
        for pin, channel in CHANNELS.items():
            known = attribute in ("period", "duty_cycle", "enable")
            if folder == f"pwm{channel}" and known and self._is_exported(pin):
                return pin, attribute
        raise _error(errno.ENOENT, name)

    def _is_exported(self, pin: int) -> bool:
        return pin in self._exported or self._pins.pin_record(pin).frequency_hz > 0.0

    def _set(self, pin: int, frequency_hz: float, duty_cycle: float) -> None:
        self._pins.change([pin], lambda record: record._replace(frequency_hz=frequency_hz, duty_cycle=duty_cycle))

    def _enable(self, pin: int, on: bool) -> None:
        self._pins.change([pin], lambda record: record._replace(out=True, pull=0, level=0, pwm=on))


def _times(record: PinRecord) -> tuple[int, int]:
    """Return period and pulse in ns, (0, 0) before a period is set."""
    if record.frequency_hz <= 0.0:
        return 0, 0
    period_ns = round(_NS / record.frequency_hz)
    return period_ns, round(record.duty_cycle / 100.0 * period_ns)


def _error(number: int, name: str) -> OSError:
    return OSError(number, os.strerror(number), name)
