"""The I2C seam: the part of smbus2's `SMBus` that is used, and transfers that retry within a bound.

The kernel carries out one transfer after another whichever process asks, and each register read here is one transfer
(write the pointer, repeated start, read). So processes share a bus without a lock, except where a chip needs several
transfers that belong together: the conversion of an ADS1115, whose input is chosen by the first, and the power-down
bits of a DAC43608, which are read, changed and written. For those there is `I2CBus.exclusive`.
"""

import contextlib
import errno
import fcntl
import importlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar, cast

from .errors import HardwareFault

BUS_NUMBER = 1  # SDA on GPIO 2, SCL on GPIO 3
RETRY_PAUSES_S = (0.001, 0.002, 0.004, 0.008, 0.016)
"""s. Before each further try: a chip that is busy for a moment (the RP2040 in an interrupt) answers within the first
two, a disturbance on a cable within the rest; 31 ms in all."""
RETRY_LIMIT_S = 0.05
"""s. No try begins later than this after the first: a reading is 0.85 s of 40 samples a channel, and a heater waits."""
LOCK_TIMEOUT_S = 0.25
"""s. Some 20 conversions of an ADS1115; who waits longer waits for a stopped process."""

# A chip that does not acknowledge (EREMOTEIO or ENXIO, by the controller), lost arbitration, a line error. A stuck bus
# is ETIMEDOUT; the kernel has waited a second for it already, and asking again only doubles that.
_WORTH_RETRYING = frozenset({errno.EREMOTEIO, errno.ENXIO, errno.EAGAIN, errno.EIO})
_T = TypeVar("_T")


class SMBus(Protocol):
    """The methods of smbus2's `SMBus` that are used; each raises OSError when the transfer fails."""

    def write_quick(self, i2c_addr: int) -> None:
        """Write no byte at all: fails unless a chip acknowledges the address."""

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        """Write the register's number, then read `length` bytes, in one transfer."""
        ...

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
        """Write the register's number and up to 32 bytes."""

    def close(self) -> None:
        """Close the bus's file."""


class I2CBus:
    """One bus with its retries and its locks. `close()` may be called twice.

    `lock_folder` is where processes exclude one another, the run directory; without it only one process may use the
    bus. `wait` and `clock` are for the pauses between tries and for locks. `speed` is how many seconds pass for the
    chips in one of theirs: above 1 for those of a simulated reactor that runs faster.
    """

    def __init__(
        self,
        smbus: SMBus,
        *,
        name: str = f"/dev/i2c-{BUS_NUMBER}",
        lock_folder: Path | None = None,
        wait: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        speed: float = 1.0,
    ) -> None:
        self.name = name
        self.wait = wait
        self.clock = clock
        self._speed = speed
        self._smbus: SMBus | None = smbus
        self._lock_folder = lock_folder
        self._exclusive: dict[int, int] = {}  # address -> the thread that has the chip to itself

    def chip_clock(self) -> float:
        """Return monotonic seconds as they pass for the chips."""
        return self._speed * self.clock()

    def wait_for_chip(self, seconds: float) -> None:
        """Wait so many seconds of the chips' time, as for a conversion."""
        self.wait(seconds / self._speed)

    def answers(self, address: int) -> bool:
        """Return whether a chip acknowledges this address, after the same retries as a transfer.

        Raises HardwareFault when the bus itself does not work.
        """
        try:
            Chip(self, address, "A chip").probe()
        except ChipSilent:
            return False
        return True

    def scan(self, addresses: Iterable[int]) -> tuple[int, ...]:
        """Return those addresses that a chip acknowledges, asked once each and without retries.

        Raises HardwareFault when the bus itself does not work.
        """
        found = []
        for address in addresses:
            if self._smbus is None:
                raise HardwareFault(f"The bus {self.name} is closed.", remediation="Open it again.")
            try:
                self._smbus.write_quick(address)
                found.append(address)
            except OSError as ex:
                fault = _fault(Chip(self, address, "A chip"), ex, 1, 0.0)
                if not isinstance(fault, ChipSilent):
                    raise fault from ex
        return tuple(found)

    def transfer(self, chip: "Chip", do: Callable[[SMBus], _T]) -> _T:
        """Return `do(smbus)`, tried again on errors that pass; then HardwareFault naming bus, address and chip."""
        if self._smbus is None:
            raise HardwareFault(f"The bus {self.name} is closed.", remediation="Open it again.")
        began = self.clock()
        for tries, pause_s in enumerate((*RETRY_PAUSES_S, None), start=1):
            try:
                return do(self._smbus)
            except OSError as ex:
                took_s = self.clock() - began
                if pause_s is None or ex.errno not in _WORTH_RETRYING or took_s + pause_s > RETRY_LIMIT_S:
                    raise _fault(chip, ex, tries, took_s) from ex
                self.wait(pause_s)
        raise AssertionError("not reached: the last try returns or raises")

    @contextlib.contextmanager
    def exclusive(self, chip: "Chip") -> Iterator[None]:
        """Keep other processes and threads from interleaving transfers to a chip; the end of a process frees it.

        May be entered again by the thread that is in it. Raises HardwareFault when it takes longer than
        LOCK_TIMEOUT_S.
        """
        if self._lock_folder is None or self._exclusive.get(chip.address) == threading.get_ident():
            yield
            return
        path = self._lock_folder / f"i2c-{chip.address:02x}.lock"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as ex:
            raise HardwareFault(
                f"The lock of {chip.where} cannot be opened.",
                cause=str(ex),
                remediation="Check that the run directory exists and belongs to this user.",
            ) from ex
        try:
            self._flock(fd, chip)
            self._exclusive[chip.address] = threading.get_ident()
            try:
                yield
            finally:
                del self._exclusive[chip.address]
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the bus. May be called twice."""
        smbus, self._smbus = self._smbus, None
        if smbus is not None:
            smbus.close()

    def _flock(self, fd: int, chip: "Chip") -> None:
        deadline = self.clock() + LOCK_TIMEOUT_S
        while True:
            try:
                return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as ex:
                if self.clock() >= deadline:
                    raise HardwareFault(
                        f"{chip.where} stayed in use for {LOCK_TIMEOUT_S * 1000:.0f} ms.",
                        cause="Another process of this unit is in the middle of using it: it is stopped, or the "
                        "computer is overloaded.",
                        remediation="Stop that job, then try again.",
                    ) from ex
            self.wait(0.001)


class Chip:
    """One chip at an address of a bus: named, so that its errors say what to look at.

    `name` says what it is to a user ("The thermometer (TMP1075)"), `remediation` what to check when it is silent.
    """

    def __init__(
        self, bus: I2CBus, address: int, name: str, remediation: str = "Check its cable and its power."
    ) -> None:
        self.bus = bus
        self.address = address
        self.name = name
        self.remediation = remediation

    @property
    def where(self) -> str:
        """Name, address and bus, for messages."""
        return f"{self.name} at 0x{self.address:02x} on {self.bus.name}"

    def probe(self) -> None:
        """Raise HardwareFault unless a chip acknowledges the address."""
        self.bus.transfer(self, lambda smbus: smbus.write_quick(self.address))

    def read(self, register: int, length: int) -> bytes:
        """Return `length` bytes from a register, on."""
        data = self.bus.transfer(self, lambda smbus: smbus.read_i2c_block_data(self.address, register, length))
        return bytes(data)

    def write(self, register: int, data: bytes) -> None:
        """Write bytes to a register. It may be sent again after an error, so writing twice has to be harmless."""
        self.bus.transfer(self, lambda smbus: smbus.write_i2c_block_data(self.address, register, list(data)))


class ChipSilent(HardwareFault):
    """A chip does not acknowledge its address; the bus may be fine."""


class BusStuck(HardwareFault):
    """No transfer ends: a line of the bus is held."""


def _fault(chip: Chip, ex: OSError, tries: int, took_s: float) -> HardwareFault:
    tried = f"{tries} {'try' if tries == 1 else 'tries'} in {took_s * 1000:.0f} ms; the last ended with: {ex}"
    if ex.errno == errno.ETIMEDOUT:
        return BusStuck(
            f"The bus {chip.bus.name} is stuck: a transfer with {chip.name[:1].lower()}{chip.name[1:]} "
            f"at 0x{chip.address:02x} did not end.",
            cause=f"A chip or a cable holds SDA (GPIO 2) or SCL (GPIO 3) low. {tried}.",
            remediation="Unplug the boards from the HAT one by one until it works, then switch the power off and on.",
        )
    if ex.errno in (errno.EREMOTEIO, errno.ENXIO):
        return ChipSilent(f"{chip.where} does not answer.", cause=f"{tried}.", remediation=chip.remediation)
    return HardwareFault(f"{chip.where} cannot be reached.", cause=f"{tried}.", remediation=chip.remediation)


def open_bus(
    number: int = BUS_NUMBER,
    *,
    lock_folder: Path | None = None,
    wait: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> I2CBus:
    """Open a bus of this Raspberry Pi. Raises HardwareFault; smbus2 is imported here, not with this module."""
    name = f"/dev/i2c-{number}"
    try:
        smbus = cast(SMBus, importlib.import_module("smbus2").SMBus(number))
    except (ImportError, OSError) as ex:
        if isinstance(ex, ImportError):
            remediation = "Install the extra `pi` or `lgpio`, which bring smbus2."
        elif isinstance(ex, PermissionError):
            remediation = "Put this user into the group i2c and log in again."
        else:
            remediation = "Enable I2C: `sudo raspi-config nonint do_i2c 0` (dtparam=i2c_arm=on), then restart the Pi."
        raise HardwareFault(
            f"The bus {name} cannot be opened.", cause=f"{type(ex).__name__}: {ex}", remediation=remediation
        ) from ex
    return I2CBus(smbus, name=name, lock_folder=lock_folder, wait=wait, clock=clock)
