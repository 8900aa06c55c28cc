"""Hardware PWM through the kernel's folder /sys/class/pwm, on the two pins that have it.

It keeps exact time whatever the computer does. It also keeps running whatever happens to the process that started it,
so the end of a process has to be followed by `silence`.

The overlay `pwm-2chan,pin=12,func=4,pin2=13,func2=4` connects the pins to the PWM once, at boot. A pin that is made a
GPIO output afterwards is connected to that instead, until the next boot, and the PWM no longer reaches it. So where
there is hardware PWM these two pins are never touched through the GPIO library, not even to make them safe.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from .closing import Closing
from .errors import HardwareFault
from .gpio_api import GPIO
from .pwm import PWM, PWMOutput, check_duty_cycle, check_frequency

PWM_ROOT = Path("/sys/class/pwm")
CHANNELS = {12: 0, 13: 1}
"""BCM pin -> channel of the PWM chip."""
PERMISSION_PAUSES_S = (0.05, 0.1, 0.15)
"""s. After the export of a channel udev gives its files to the group gpio; until then a write is refused."""
_NS = 1e9
_T = TypeVar("_T")


class PWMRoot(Protocol):
    """The chip's folder, `pwmchip0`: what is read and written there. Both raise OSError, as files do."""

    def read(self, name: str) -> str:
        """Return a file's text, such as that of "pwm0/period"."""
        ...

    def write(self, name: str, text: str) -> None:
        """Write a file, such as "export"."""


class SysfsFolder:
    """The chip's folder in the file system. The constructor touches nothing; a missing folder fails on use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> str:
        """Return a file's text."""
        return (self.folder / name).read_text(encoding="ascii").strip()

    def write(self, name: str, text: str) -> None:
        """Write a file in one write, as the kernel wants it; the file has to exist, and may be write-only."""
        fd = os.open(self.folder / name, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode("ascii"))
        finally:
            os.close(fd)


def find_chip(root: Path = PWM_ROOT, *, pi_model: str | None = None) -> SysfsFolder | None:
    """Return the chip that drives GPIO 12 and 13, or None where the overlay is not enabled.

    It is chip 0, but on a Raspberry Pi 5 with kernel 6.6 chip 2.
    """
    pi_5 = (pi_model or "").startswith("Raspberry Pi 5")
    for name in ("pwmchip2", "pwmchip0") if pi_5 else ("pwmchip0",):
        if (root / name / "export").exists():
            return SysfsFolder(root / name)
    return None


class HardwarePWM(Closing):
    """Drive GPIO 12 or 13 at a duty cycle in %, in the same way as `PWMOutput`.

    The output is off from the first moment, even if a dead process left it on. `close()` leaves it off, may be called
    twice, and tries again after a failure. Raises HardwareFault.
    """

    def __init__(
        self, root: PWMRoot, pin: int, frequency_hz: float, *, wait: Callable[[float], object] = time.sleep
    ) -> None:
        check_frequency(frequency_hz, pin)
        if pin not in CHANNELS:
            raise HardwareFault(
                f"GPIO {pin} has no hardware PWM.", remediation=f"It is on GPIO {' and '.join(map(str, CHANNELS))}."
            )
        self.pin = pin
        self.frequency_hz = frequency_hz
        self._root = root
        self._wait = wait
        self._folder = f"pwm{CHANNELS[pin]}"
        self._period_ns = round(_NS / frequency_hz)
        self._duty_cycle = 0.0
        self._closed = False
        try:
            self._export()
            if self._read("period") != "0":  # else there is no duty cycle either, and the kernel refuses to set one
                self._write("duty_cycle", "0")  # first: the kernel refuses a period shorter than the pulse
            self._write("period", str(self._period_ns))
            self._write("duty_cycle", "0")
            self._write("enable", "1")
        except OSError as ex:
            raise self._fault("cannot be set up", ex) from ex

    @property
    def duty_cycle(self) -> float:
        """The duty cycle in %, 0..100, that was last set."""
        return self._duty_cycle

    def start(self, duty_cycle: float = 0.0) -> None:
        """Run at `duty_cycle` (%); the same as `set_duty_cycle`."""
        self.set_duty_cycle(duty_cycle)

    def set_duty_cycle(self, duty_cycle: float) -> None:
        """Be at `duty_cycle` (%, 0..100). Idempotent."""
        check_duty_cycle(duty_cycle, self.pin)
        if self._closed:
            raise HardwareFault(f"The PWM on GPIO {self.pin} is closed.", remediation="Open it again.")
        try:
            self._write("duty_cycle", str(round(duty_cycle / 100.0 * self._period_ns)))
        except OSError as ex:
            raise self._fault(f"does not take {duty_cycle} %", ex) from ex
        self._duty_cycle = duty_cycle

    def close(self) -> None:
        """Be off. The channel stays enabled at 0 %, which is low; disabled, its level is up to the chip."""
        if self._closed:
            return
        try:
            self._write("duty_cycle", "0")
        except OSError as ex:
            raise self._fault("could not be turned off", ex) from ex
        self._duty_cycle = 0.0
        self._closed = True

    def _export(self) -> None:
        try:
            self._root.read(f"{self._folder}/period")
        except FileNotFoundError:
            self._root.write("export", str(CHANNELS[self.pin]))
        except PermissionError:
            pass  # exported a moment ago; the writes wait for it

    def _read(self, name: str) -> str:
        return self._patiently(lambda: self._root.read(f"{self._folder}/{name}"))

    def _write(self, name: str, text: str) -> None:
        self._patiently(lambda: self._root.write(f"{self._folder}/{name}", text))

    def _patiently(self, do: Callable[[], _T]) -> _T:
        for pause_s in PERMISSION_PAUSES_S:
            try:
                return do()
            except PermissionError:
                self._wait(pause_s)
        return do()

    def _fault(self, what: str, ex: OSError) -> HardwareFault:
        return HardwareFault(
            f"The hardware PWM on GPIO {self.pin} {what}.",
            cause=str(ex),
            remediation="Put this user into the group gpio, and check the line `dtoverlay=pwm-2chan,pin=12,func=4,"
            "pin2=13,func2=4` in /boot/firmware/config.txt.",
        )


def silence(root: PWMRoot, pin: int) -> None:
    """Turn a pin's hardware PWM off, whoever turned it on. Idempotent; raises OSError."""
    folder = f"pwm{CHANNELS[pin]}"
    try:
        if root.read(f"{folder}/period") != "0":
            root.write(f"{folder}/duty_cycle", "0")
    except FileNotFoundError:
        root.read("npwm")  # never exported, so off; raises where there is no chip at all


def open_pwm(
    gpio: GPIO, root: PWMRoot | None, pin: int, frequency_hz: float, *, wait: Callable[[float], object] = time.sleep
) -> PWM:
    """Open the PWM of a pin: in hardware where the pin has it and the kernel offers it, else in software."""
    if root is not None and pin in CHANNELS:
        return HardwarePWM(root, pin, frequency_hz, wait=wait)
    return PWMOutput(gpio, pin, frequency_hz)
