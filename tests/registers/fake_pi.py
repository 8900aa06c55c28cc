"""A Raspberry Pi 4 made of files, for the real RPi.GPIO: its registers, and how to run something on it."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

HALL_PIN = 21
HERE = Path(__file__).parent
PAGE = 4096
REVISION = 0xC03114  # Pi 4 Model B, 4 GB, revision 1.4
CPUINFO = (
    f"processor\t: 0\n\nHardware\t: BCM2711\nRevision\t: {REVISION:x}\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n"
)
DEVICE_TREE = {
    "model": b"Raspberry Pi 4 Model B Rev 1.4\0",
    "system/linux,revision": struct.pack(">I", REVISION),
    "hat/vendor": b"Pioreactor Inc.\0",
    "hat/product_ver": b"0x0012\0",
}

# The registers' offsets in 32-bit words, and the two of pads.c.
GPFSEL, GPSET, GPCLR, GPLEV, LATCH, WAS_HIGH = 0, 7, 10, 13, 64, 66
INPUT, OUTPUT = 0, 1
PINS = range(28)


class Registers:
    """The page of GPIO registers, as the library writes it and as pads.c completes it."""

    def __init__(self, path: Path, pads: Path) -> None:
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), PAGE)
        self._words = memoryview(self._page).cast("I")
        self._pads = ctypes.CDLL(str(pads))

    def close(self) -> None:
        self._words.release()
        self._page.close()

    def word(self, offset: int) -> int:
        return int(self._words[offset])

    def function(self, pin: int) -> int:
        return self.word(GPFSEL + pin // 10) >> pin % 10 * 3 & 7

    def outputs(self) -> set[int]:
        return {pin for pin in PINS if self.function(pin) == OUTPUT}

    def high(self) -> set[int]:
        """Return the pins at high level, inputs and outputs."""
        return _pins(self.word(GPLEV))

    def were_high(self) -> set[int]:
        """Return the outputs that were high at any moment since `forget_past`."""
        return _pins(self.word(WAS_HIGH))

    def forget_past(self) -> None:
        """Begin anew with what was high, and with the last words that set and cleared."""
        for offset in (WAS_HIGH, GPSET, GPCLR):
            self._words[offset] = 0

    def leave(self, pin: int, *, function: int, latch: int) -> None:
        """Have a pin as somebody left it before; nobody may write meanwhile."""
        shift = pin % 10 * 3
        self._words[GPFSEL + pin // 10] = self.word(GPFSEL + pin // 10) & ~(7 << shift) | function << shift
        for offset, value in ((LATCH, latch), (GPLEV, latch if function == OUTPUT else 0)):
            self._words[offset] = self.word(offset) & ~(1 << pin) | value << pin

    def drive_input(self, pin: int, level: int) -> None:
        """Do to an input what a sensor does; safe while others write."""
        page = ctypes.c_char.from_buffer(self._page)
        self._pads.drive_input(ctypes.byref(page), pin, level)


class FakePi:
    """One Pi's files in a folder; `python` is an interpreter that runs on it, with RPi.GPIO installed."""

    def __init__(self, folder: Path, library: Path) -> None:
        for name in ("dev", "proc", "run/lock"):
            (folder / name).mkdir(parents=True)
        (folder / "gpiomem").write_bytes(bytes(PAGE))
        (folder / "cpuinfo").write_text(CPUINFO)
        for name, content in DEVICE_TREE.items():
            path = folder / "device-tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.registers = Registers(folder / "gpiomem", library / "pads.so")
        self.python = folder / "python"
        self.python.write_text(
            f'#!/bin/sh\nRPI_GPIO={library} exec unshare -m sh {HERE / "as_pi.sh"} {folder} {sys.executable} "$@"\n'
        )
        self.python.chmod(0o755)

    def run(self, *words: str, within_s: float = 60.0, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run Python with these words on the Pi."""
        return subprocess.run(
            [str(self.python), *words],
            capture_output=True,
            text=True,
            timeout=within_s,
            env={**os.environ, **environ},
            check=False,
        )


def _pins(word: int) -> set[int]:
    return {pin for pin in PINS if word >> pin & 1}


@contextlib.contextmanager
def turning_magnet(pi: FakePi, high_s: float) -> Iterator[list[float]]:
    """Pass the hall sensor again and again: low for 10 ms, then high for so long; yield when it passed."""
    over = threading.Event()
    passed_at_s: list[float] = []

    def turn() -> None:
        while not over.is_set():
            passed_at_s.append(time.monotonic())
            for level, seconds in ((0, 0.01), (1, high_s)):
                pi.registers.drive_input(HALL_PIN, level)
                time.sleep(seconds)

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield passed_at_s
    finally:
        over.set()
        thread.join()


def mean_rpm(passed_at_s: list[float]) -> float:
    """Return how fast it was in truth, which on a busy machine is slower than asked for."""
    return 60.0 * (len(passed_at_s) - 1) / (passed_at_s[-1] - passed_at_s[0])
