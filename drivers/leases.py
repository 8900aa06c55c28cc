"""For how long outputs may stay on: leases in memory that the supervisor shares with every process it forks.

Whoever has an output on says until when, in monotonic time, and renews that while it lives as it should. A lease that
lapses tells the supervisor that its owner hangs. Renewing is a write into shared memory: no message, no wake-up.

Each field of a lease has one writer: the owner's process, or the supervisor. A deadline is eight bytes, written at
once on 64 bits; a 32-bit machine may see half of one, which is wrong by a second at most.
"""

import math
import mmap
import os
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from .errors import HardwareFault

HEATER_S, STIRRER_S, LED_S = 5.0, 30.0, 30.0  # how long each may be on without a sign of life
PUMP_SPARE_S = 1.0  # beyond a pump's planned run
LONGEST_PUMP_RUN_S = 300.0
RENEWALS = 3  # in the time a lease lasts: one may come late, and the next one still saves it

ALL_PINS, ALL_LEDS = "GPIO *", "LED *"
_KINDS = {"GPIO": 0, "LED": 28, "process": 32, "I2C": 64}  # kind -> its first slot
PINS = range(28)  # BCM numbers that have a slot
SLOTS = 64  # of what has a lease; claims have room for I2C addresses behind
PROCESSES = 32
_EIGHT = 8


def pin_output(pin: int) -> str:
    """Return the name of a pin (BCM number) as an output."""
    return f"GPIO {pin}"


def led_output(channel: str) -> str:
    """Return the name of an LED channel ("A".."D") as an output."""
    return f"LED {channel}"


def process_lease(number: int) -> str:
    """Return the name of the lease under which a process lives at all: not an output, but watched like one."""
    return f"process {number}"


def is_output(name: str) -> bool:
    """Whether a lease is on an output, not on a process's own life."""
    return not name.startswith("process ")


def chip_output(address: int) -> str:
    """Return the name of an I2C chip whose settings one process at a time may change."""
    return f"I2C 0x{address:02x}"


def slot_of(output: str) -> int:
    """Return the place of an output in the shared memory and in the file of claims.

    >>> slot_of("GPIO 12"), slot_of("LED B"), slot_of("I2C 0x48")
    (12, 29, 104)
    """
    kind, _, which = output.partition(" ")
    number = "ABCD".index(which) if kind == "LED" else int(which, 16 if kind == "I2C" else 10)
    return _KINDS[kind] + number


def _name_of(slot: int) -> str:
    if slot >= _KINDS["process"]:
        return process_lease(slot - _KINDS["process"])
    return led_output("ABCD"[slot - _KINDS["LED"]]) if slot >= _KINDS["LED"] else pin_output(slot)


class OutputRevoked(HardwareFault):
    """The supervisor took an output away from this process, which is to end: a stop beats what is still in flight."""


@dataclass(frozen=True)
class Lapse:
    """A lease that was not renewed in time."""

    output: str
    pid: int


class Lease:
    """The right of this process to have one output on. Made by `LeaseTable.take`.

    With `lasting_s`, `hold` is good for so long and `LeaseTable.renew` goes on renewing it; without, it ends when it
    was planned to.
    """

    def __init__(self, table: "LeaseTable", output: str, lasting_s: float | None) -> None:
        self.output = output
        self.lasting_s = lasting_s
        self._table = table
        self._slot = slot_of(output)

    @property
    def is_held(self) -> bool:
        """Whether the output may be on now."""
        return self._table.deadline(self._slot) > 0.0

    def hold(self, for_s: float | None = None) -> None:
        """Have the output on from now on, for `for_s` real seconds or as long as it is renewed.

        Raises OutputRevoked.
        """
        self._table.extend(self._slot, self.lasting_s if for_s is None else for_s)

    def check_held(self) -> None:
        """Raise HardwareFault unless the output may be on."""
        if not self.is_held:
            self._table.check_not_revoked(self._slot)
            raise HardwareFault(f"{self.output} was to be turned on without a time after which it is to be off.")

    def rest(self) -> None:
        """Need no lease: the output is off. Idempotent."""
        self._table.set_deadline(self._slot, 0.0)

    def release(self) -> None:
        """Own the output no more; it is off. Idempotent."""
        self._table.give_back(self)


class LeaseTable:
    """All leases of a unit. The supervisor makes it; forked children share its memory, each with its own object.

    `on_begin` is called in the owner's process whenever an output is turned on that was off, so that the supervisor
    can be told to watch; set it after the fork.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.on_begin: Callable[[], None] = _nobody
        memory = memoryview(mmap.mmap(-1, 5 * SLOTS * _EIGHT))
        fields = [memory[at : at + SLOTS * _EIGHT] for at in range(0, 5 * SLOTS * _EIGHT, SLOTS * _EIGHT)]
        self._owners, self._revoked = fields[0].cast("Q"), fields[1].cast("Q")  # pids; 0 for nobody
        self._deadlines, self._levels, self._shades = (field.cast("d") for field in fields[2:])
        self._mine: dict[str, Lease] = {}  # those of this process

    # The owner's side

    def take(self, output: str, lasting_s: float | None) -> Lease:
        """Own an output that this process has claimed.

        Raises HardwareFault while a dead owner's is not safe yet, and OutputRevoked in a process that is to end.
        """
        slot = slot_of(output)
        for name in self._mine:
            self.check_not_revoked(slot_of(name))
        owner = self._owners[slot]
        if owner not in (0, os.getpid()):
            raise HardwareFault(
                f"{output} is not safe yet: process {owner}, which drove it, has ended.",
                remediation="Try again in a moment; if it stays so, look into the unit's log.",
            )
        self._levels[slot] = self._deadlines[slot] = 0.0
        self._revoked[slot] = 0
        self._owners[slot] = os.getpid()
        lease = self._mine[output] = Lease(self, output, lasting_s)
        return lease

    def give_back(self, lease: Lease) -> None:
        """Own an output no more."""
        if self._mine.pop(lease.output, None) is not None:
            self.clear([lease.output])

    def owned(self) -> frozenset[str]:
        """Return the outputs that this process owns: those it may have left on."""
        return frozenset(filter(is_output, self._mine))

    def renew(self) -> float:
        """Renew every lease of this process that is held; return the seconds within which it wants to be renewed again.

        Infinity when none does.
        """
        shortest_s = math.inf
        for lease in self._mine.values():
            if lease.lasting_s is not None and lease.is_held:
                shortest_s = min(shortest_s, lease.lasting_s / RENEWALS)
                slot = slot_of(lease.output)
                if not self._revoked[slot]:
                    self._deadlines[slot] = self.clock() + lease.lasting_s
        return shortest_s

    def extend(self, slot: int, for_s: float | None) -> None:
        """Have the owner's output on for so many seconds from now."""
        if for_s is None:
            raise ValueError("an output without a lasting lease needs a time")
        self.check_not_revoked(slot)
        began = self._deadlines[slot] == 0.0
        earlier = self.clock() + for_s < self._deadlines[slot]
        self._deadlines[slot] = self.clock() + for_s
        if began or earlier:
            self.on_begin()

    def check_not_revoked(self, slot: int) -> None:
        """Raise OutputRevoked when the supervisor has taken the output away from this process."""
        if self._revoked[slot] == os.getpid():
            raise OutputRevoked(f"{_name_of(slot)} stays off: this process is to end.")

    def deadline(self, slot: int) -> float:
        """Return until when the output may be on, 0.0 while it is off."""
        return self._deadlines[slot]

    def set_deadline(self, slot: int, deadline: float) -> None:
        """Say until when the output may be on."""
        self._deadlines[slot] = deadline

    # What LEDs share: the intensity their owner wants, and who wants it dark for a moment

    def level(self, output: str) -> float:
        """Return the intensity in % that the output's owner wants, 0.0 when nobody does."""
        slot = slot_of(output)
        return self._levels[slot] if self._owners[slot] else 0.0

    def set_level(self, output: str, percent: float) -> None:
        """Note the intensity in % that the owner wants."""
        self._levels[slot_of(output)] = percent

    def is_shaded(self, output: str) -> bool:
        """Whether another process wants this output dark for the moment."""
        return self._shades[slot_of(output)] > self.clock()

    def shade(self, outputs: Iterable[str], for_s: float) -> None:
        """Want outputs dark for so many seconds, 0 for no longer."""
        until = self.clock() + for_s if for_s > 0 else 0.0
        for output in outputs:
            self._shades[slot_of(output)] = until

    # The supervisor's side

    def outputs_of(self, pid: int) -> frozenset[str]:
        """Return the outputs that a process owns, or owned when it died."""
        return frozenset(filter(is_output, self._names_of(pid)))

    def owner_of(self, output: str) -> int:
        """Return the pid of the process that owns an output, 0 when nobody does."""
        return self._owners[slot_of(output)]

    def next_deadline(self) -> float:
        """Return when the first lease lapses unless it is renewed, infinity when none is held."""
        return min((deadline for deadline in self._deadlines if deadline > 0.0), default=math.inf)

    def lapsed(self) -> list[Lapse]:
        """Return the leases whose time is over."""
        now = self.clock()
        late = [slot for slot in range(SLOTS) if 0.0 < self._deadlines[slot] <= now]
        return [Lapse(_name_of(slot), self._owners[slot]) for slot in late]

    def revoke(self, pid: int) -> None:
        """Let a process turn nothing on any more; turning off is always allowed."""
        for slot in range(SLOTS):
            if self._owners[slot] == pid:
                self._revoked[slot] = pid
                self._deadlines[slot] = 0.0

    def forget(self, pid: int) -> None:
        """Clear all that a process owned: it has ended, and its outputs are safe."""
        self.clear(self._names_of(pid))

    def clear(self, outputs: Collection[str]) -> None:
        """Forget who owned outputs, which are safe now; `ALL_PINS` and `ALL_LEDS` mean what they say."""
        for slot in range(SLOTS):
            name = _name_of(slot)
            if name in outputs or f"{name.partition(' ')[0]} *" in outputs:
                self._deadlines[slot] = self._levels[slot] = 0.0
                self._owners[slot] = self._revoked[slot] = 0

    def _names_of(self, pid: int) -> list[str]:
        return [_name_of(slot) for slot in range(SLOTS) if self._owners[slot] == pid]


def _nobody() -> None:
    """Tell nobody: there is no supervisor that watches."""
