"""The simulated reactor's state, shared between processes through one small memory-mapped file.

The file holds two slots. A slot is a whole state: when it was written, the plant, every pin, a sequence number and
a checksum. A writer fills the older slot and never touches the newer one, so a reader always finds a whole state,
and a writer that is killed in the middle leaves the state as it was before.

Nothing runs while nobody looks: a state is valid for its own moment, and whoever looks integrates the plant from
there to now with what drives it. Looking writes nothing and takes no lock. Only a change of a pin writes: the state
integrated to now, with the change.

Writers exclude one another by `flock`, which the kernel releases when a process ends in any way. They hold it for
some 100 microseconds. A process that is *stopped* in there (SIGSTOP, a debugger) keeps it: others try for
LOCK_TIMEOUT_S and then raise HardwareFault naming it, so nobody is stalled for good, and whoever ends the stopped
process frees the lock. The lock is never taken from a living process, because that one would go on to overwrite the
newer state: a pin made safe could be on again.

An output keeps what it was last told, whoever told it: the PWM of a process that was killed goes on at its last
duty cycle, as the released output of a Pi stays at its last level. So "the process is gone" is not "the output is
off". A restart of the computer resets all pins and the plant.
"""

import contextlib
import fcntl
import mmap
import os
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import HardwareFault
from .plant import STIRRING, PlantState, advance, hall_level

PIN_COUNT = 28  # BCM 0..27, all that reach the Pi's header
LOCK_TIMEOUT_S = 0.2  # thousands of times the usual hold, and well within the 500 ms that a `safe` child has
HALL_SENSOR = "hall_sensor"
DEFAULT_WIRING: Mapping[int, str] = {
    17: STIRRING,
    13: "media",
    16: "alt_media",
    12: "waste",
    18: "heating",
    21: HALL_SENSOR,
}
"""BCM pin -> what is plugged in there: HAT 1.2 with the shipped section [PWM]."""

# A role is stored as its place in this list; 0 is nothing, and what the plant does not know is nothing to it.
_ROLES = ("", STIRRING, "media", "alt_media", "waste", "heating", HALL_SENSOR)

_MAGIC = b"rusim001"  # with a version: a file of another layout is made anew
_HEADER = struct.Struct("<8s16s")  # magic, boot id
_HOLDER = struct.Struct("<I")  # pid of the process that last took the lock
_HOLDER_AT = _HEADER.size
_SLOT = struct.Struct("<Qd" + "dddQ" + "5Bdd" * PIN_COUNT)  # sequence, clock; plant; pins
_CHECKSUM = struct.Struct("<I")
_SLOT_SIZE = _SLOT.size + _CHECKSUM.size
_SLOTS_AT = 64
_FILE_SIZE = _SLOTS_AT + 2 * _SLOT_SIZE


class PinRecord(NamedTuple):
    """One pin as it is stored."""

    out: bool = False
    level: int = 0
    pull: int = 0  # 0 none, 1 down, 2 up
    pwm: bool = False  # a software PWM drives it, at the two numbers below
    role: int = 0
    frequency_hz: float = 0.0
    duty_cycle: float = 0.0

    @property
    def drive(self) -> float:
        """What the pin gives to what is plugged in, as a duty cycle in %.

        A pin that is an input gives nothing: the gates of the simulated HAT are pulled down.
        """
        if not self.out:
            return 0.0
        return self.duty_cycle if self.pwm else 100.0 * self.level


@dataclass(frozen=True, slots=True)
class Pin:
    """One pin as seen from outside."""

    mode: str  # "in" or "out"
    level: int  # 0 or 1; an output under PWM counts as high when its duty cycle is above 0
    duty_cycle: float  # %, 0..100; 100 for an output that is simply high, 0 for an input
    frequency_hz: float  # 0.0 without PWM


class _Snapshot(NamedTuple):
    sequence: int
    clock_s: float
    plant: PlantState
    pins: tuple[PinRecord, ...]

    def drives(self) -> dict[str, float]:
        """Return what drives the plant: role -> duty cycle in %."""
        return {_ROLES[pin.role]: pin.drive for pin in self.pins if pin.role}


class SharedPlant:
    """The simulated reactor of one run directory; every process that opens the same file sees the same one.

    The file is made on first use, readable by its owner alone. `wiring` says what is plugged into which pin (BCM
    number -> role); without it the file's own stays, and DEFAULT_WIRING holds in a new one. Open it after a fork,
    not before: the lock belongs to the descriptor, and a child shares its parent's. `close()` may be called twice.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        wiring: Mapping[int, str] | None = None,
        seed: int = 0,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
    ) -> None:
        self.path = Path(path)
        self._clock = clock
        self._lock_timeout_s = lock_timeout_s
        self._threads = threading.Lock()  # `flock` does not tell threads apart
        self._map: mmap.mmap | None = None
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as ex:
            raise HardwareFault(
                f"The simulated reactor's file {self.path} cannot be opened.",
                cause=str(ex),
                remediation="Check that the run directory exists and belongs to this user.",
            ) from ex
        try:
            self._open(wiring, seed)
        except BaseException:
            self.close()
            raise

    def look(self) -> PlantState:
        """Return the plant as it is now."""
        return self.look_with_drives()[0]

    def look_with_drives(self) -> tuple[PlantState, dict[str, float]]:
        """Return the plant as it is now, and what drives it: role -> duty cycle in %."""
        snapshot = self._read()
        drives = snapshot.drives()
        return advance(snapshot.plant, drives, max(0.0, self._clock() - snapshot.clock_s)), drives

    def true_rpm(self) -> float:
        """Return the stirrer's speed in rpm, without the noise of its sensor."""
        return self.look().rpm

    def pin(self, pin: int) -> Pin:
        """Return what a pin (BCM number) is and does now."""
        record = self.pin_record(pin)
        frequency_hz = record.frequency_hz if record.pwm else 0.0
        return Pin("out" if record.out else "in", self.level(pin), record.drive, frequency_hz)

    def level(self, pin: int) -> int:
        """Return the level that reading a pin gives, 0 or 1; an input takes the sensor's level or its pull's."""
        record = self.pin_record(pin)
        if record.out:
            return 1 if record.drive > 0.0 else 0
        if _ROLES[record.role] == HALL_SENSOR:
            return hall_level(self.look())
        return 1 if record.pull == 2 else 0

    def pin_record(self, pin: int) -> PinRecord:
        """Return what is stored of a pin (BCM number)."""
        return self._read().pins[pin]

    def pins_of(self, role: str) -> tuple[int, ...]:
        """Return the pins (BCM numbers) that `role` is plugged into."""
        return tuple(pin for pin, record in enumerate(self._read().pins) if _ROLES[record.role] == role)

    def change(self, pins: Iterable[int], how: Callable[[PinRecord], PinRecord]) -> None:
        """Replace the records of some pins by `how(record)`, from now on.

        Other processes see all of it or nothing. Raises HardwareFault when the lock cannot be had in time.
        """
        changed = frozenset(pins)
        with self._locked():
            self._rewrite(lambda pin, record: how(record) if pin in changed else record)

    def close(self) -> None:
        """Let go of the file. What the pins do stays as it is. May be called twice."""
        mapped, self._map = self._map, None
        if mapped is not None:
            mapped.close()
        fd, self._fd = self._fd, -1
        if fd != -1:
            os.close(fd)

    def _open(self, wiring: Mapping[int, str] | None, seed: int) -> None:
        boot_id = _boot_id()
        if os.fstat(self._fd).st_size == _FILE_SIZE:
            self._map = mmap.mmap(self._fd, _FILE_SIZE)
            if wiring is None and self._is_whole(boot_id):
                return
        with self._locked():
            if os.fstat(self._fd).st_size != _FILE_SIZE:
                os.posix_fallocate(self._fd, 0, _FILE_SIZE)  # room that is missing is an error now, not a SIGBUS later
            if self._map is None:
                self._map = mmap.mmap(self._fd, _FILE_SIZE)
            if not self._is_whole(boot_id):  # looked at again: another process may have made it meanwhile
                self._make(boot_id, seed)
            if wiring is not None:
                self._rewrite(lambda pin, record: record._replace(role=_role(wiring.get(pin, ""))))

    def _is_whole(self, boot_id: bytes) -> bool:
        return _HEADER.unpack_from(self._mapped(), 0) == (_MAGIC, boot_id) and self._try_read() is not None

    def _make(self, boot_id: bytes, seed: int) -> None:
        mapped = self._mapped()
        mapped[:] = bytes(_FILE_SIZE)
        pins = tuple(PinRecord(role=_role(DEFAULT_WIRING.get(pin, ""))) for pin in range(PIN_COUNT))
        self._write(_Snapshot(1, self._clock(), PlantState(seed=seed), pins))
        _HEADER.pack_into(mapped, 0, _MAGIC, boot_id)  # last: until then the file is not valid

    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            raise HardwareFault("The simulated reactor is closed.", remediation="Open it again.")
        return self._map

    def _rewrite(self, how: Callable[[int, PinRecord], PinRecord]) -> None:
        """Write the state of now with other pins; the lock is held."""
        snapshot = self._read()
        now = max(self._clock(), snapshot.clock_s)
        plant = advance(snapshot.plant, snapshot.drives(), now - snapshot.clock_s)
        pins = tuple(how(pin, record) for pin, record in enumerate(snapshot.pins))
        self._write(_Snapshot(snapshot.sequence + 1, now, plant, pins))

    def _write(self, snapshot: _Snapshot) -> None:
        plant = snapshot.plant
        values = [value for pin in snapshot.pins for value in pin]
        slot = _SLOT.pack(
            snapshot.sequence, snapshot.clock_s, plant.time_s, plant.rpm, plant.turns, plant.seed, *values
        )
        at = _SLOTS_AT + snapshot.sequence % 2 * _SLOT_SIZE
        self._mapped()[at : at + _SLOT_SIZE] = slot + _CHECKSUM.pack(zlib.crc32(slot))

    def _read(self) -> _Snapshot:
        # Both slots can look torn to a reader that is interrupted for as long as two writes take. A second look
        # finds one whole.
        for _ in range(1000):
            snapshot = self._try_read()
            if snapshot is not None:
                return snapshot
        raise HardwareFault(
            f"The simulated reactor's file {self.path} is damaged.",
            cause="Neither of its two states has the right checksum.",
            remediation="Stop the unit, delete the file and start again.",
        )

    def _try_read(self) -> _Snapshot | None:
        mapped = self._mapped()
        slots = [mapped[at : at + _SLOT_SIZE] for at in (_SLOTS_AT, _SLOTS_AT + _SLOT_SIZE)]
        whole = [s for s in slots if _CHECKSUM.unpack_from(s, _SLOT.size)[0] == zlib.crc32(memoryview(s)[: _SLOT.size])]
        if not whole:
            return None
        newest = max(whole, key=lambda slot: int.from_bytes(slot[:8], "little"))
        sequence, clock_s, time_s, rpm, turns, seed, *values = _SLOT.unpack_from(newest)
        pins = tuple(
            PinRecord(bool(values[i]), values[i + 1], values[i + 2], bool(values[i + 3]), *values[i + 4 : i + 7])
            for i in range(0, len(values), 7)
        )
        return _Snapshot(sequence, clock_s, PlantState(time_s, rpm, turns, seed), pins)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Exclude other writers, threads and processes; raises HardwareFault when that takes too long."""
        deadline = time.monotonic() + self._lock_timeout_s
        # Bounded as well: a signal handler that writes would otherwise wait for the code it interrupted.
        if not self._threads.acquire(timeout=self._lock_timeout_s):
            raise self._lock_refused()
        try:
            while not self._try_flock():
                if time.monotonic() >= deadline:
                    raise self._lock_refused()
                time.sleep(0.0005)
            try:
                if self._map is not None:
                    _HOLDER.pack_into(self._map, _HOLDER_AT, os.getpid())
                yield
            finally:
                if self._fd != -1:
                    fcntl.flock(self._fd, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def _try_flock(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as ex:
            raise HardwareFault(f"The simulated reactor's file {self.path} cannot be locked.", cause=str(ex)) from ex
        return True

    def _lock_refused(self) -> HardwareFault:
        holder = _HOLDER.unpack_from(self._map, _HOLDER_AT)[0] if self._map is not None else 0
        return HardwareFault(
            f"The simulated reactor's file {self.path} stayed locked for {self._lock_timeout_s * 1000:.0f} ms.",
            cause=f"Process {holder} took the lock last; it is stopped, or the computer is overloaded.",
            remediation=f"Continue or end process {holder}." if holder else "Try again.",
        )


def _role(name: str) -> int:
    return _ROLES.index(name) if name in _ROLES else 0


def _boot_id() -> bytes:
    """Return what tells this run of the computer from the one before, 16 bytes; monotonic time begins anew with it."""
    try:
        return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)
