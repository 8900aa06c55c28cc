"""The simulated reactor's state, shared between processes through one small memory-mapped file.

The file holds two slots. A slot is a whole state: when it was written, the plant, every pin, a sequence number and
a checksum. A writer fills the older slot and never touches the newer one, so a reader always finds a whole state,
and a writer that is killed in the middle leaves the state as it was before.

Nothing runs while nobody looks: a state is valid for its own moment, and whoever looks integrates the plant from
there to now with what drives it. Looking writes nothing and takes no lock. Only a change writes, of a pin, a lamp, a
fault or by a person: the state integrated to now, with the change.

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
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ..errors import HardwareFault
from . import layout
from .constants import ALT_MEDIA, FASTEST_SPEED, HEATING, MEDIA, STIRRING, WASTE
from .layout import HALL_SENSOR, PIN_COUNT, PinRecord, Snapshot
from .plant import PlantState, advance

LOCK_TIMEOUT_S = 0.2  # thousands of times the usual hold, and well within the 500 ms that a `safe` child has
DEFAULT_WIRING: Mapping[int, str] = {
    17: STIRRING,
    13: MEDIA,
    16: ALT_MEDIA,
    12: WASTE,
    18: HEATING,
    21: HALL_SENSOR,
}
"""BCM pin -> what is plugged in there: HAT 1.2 with the shipped section [PWM]."""


class Look(NamedTuple):
    """The plant at the moment of a look, and how it came there from the last change."""

    changed: PlantState  # as it was at the last change
    state: PlantState  # as it is now
    drives: Mapping[str, float]  # role -> duty cycle in %, since the last change


class PlantFile:
    """The file, opened by one process: look at the state of now, or change it.

    It is made on first use, readable by its owner alone. `wiring` says what is plugged into which pin (BCM number ->
    role); without it the file's own stays, and DEFAULT_WIRING holds in a new one. `speed` is how many seconds pass
    for the plant in one of the clock; without it the file's own stays, 1 in a new one. `seed` is for a new one. Open
    it after a fork, not before: the lock belongs to the descriptor, and a child shares its parent's. `close()` may be
    called twice.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        wiring: Mapping[int, str] | None = None,
        seed: int = 0,
        speed: float | None = None,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
    ) -> None:
        self.path = Path(path)
        self.clock = clock
        self._lock_timeout_s = lock_timeout_s
        self._threads = threading.Lock()  # `flock` does not tell threads apart
        self._map: mmap.mmap | None = None
        self._seen: tuple[bytes, Snapshot | None] = (b"", None)  # the slot that was read last
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as ex:
            raise HardwareFault(
                f"The simulated reactor's file {self.path} cannot be opened.",
                cause=str(ex),
                remediation="Check that the run directory exists and belongs to this user.",
            ) from ex
        try:
            self._open(wiring, seed, speed)
        except BaseException:
            self.close()
            raise

    def look(self) -> PlantState:
        """Return the plant as it is now."""
        return self.look_with_drives()[0]

    def look_with_drives(self) -> tuple[PlantState, dict[str, float]]:
        """Return the plant as it is now, and what drives it: role -> duty cycle in %."""
        look = self.look_back()
        return look.state, dict(look.drives)

    def look_back(self) -> Look:
        """Return the plant as it is now, with what it was at the last change."""
        snapshot = self._read()
        seconds = snapshot.speed * max(0.0, self.clock() - snapshot.clock_s)
        return Look(snapshot.plant, advance(snapshot.plant, snapshot.drives, seconds), snapshot.drives)

    def change(self, pins: Iterable[int], how: Callable[[PinRecord], PinRecord]) -> None:
        """Replace the records of some pins by `how(record)`, from now on.

        Other processes see all of it or nothing. Raises HardwareFault when the lock cannot be had in time.
        """
        changed = frozenset(pins)
        with self._locked():
            self._rewrite(pins=lambda pin, record: how(record) if pin in changed else record)

    def update(self, how: Callable[[PlantState], PlantState], *, speed: float | None = None) -> None:
        """Replace the plant's state by `how(state)`, from now on, as one step that others see whole or not at all.

        The plant's speed is replaced in the same step, if one is given.
        """
        _check_speed(speed)
        with self._locked():
            self._rewrite(plant=how, speed=speed)

    def close(self) -> None:
        """Let go of the file. What the pins do stays as it is. May be called twice."""
        mapped, self._map = self._map, None
        if mapped is not None:
            mapped.close()
        fd, self._fd = self._fd, -1
        if fd != -1:
            os.close(fd)

    def _open(self, wiring: Mapping[int, str] | None, seed: int, speed: float | None) -> None:
        _check_speed(speed)
        boot_id = _boot_id()
        if os.fstat(self._fd).st_size == layout.FILE_SIZE:
            self._map = mmap.mmap(self._fd, layout.FILE_SIZE)
            if wiring is None and speed is None and self._is_whole(boot_id):
                return
        with self._locked():
            if os.fstat(self._fd).st_size != layout.FILE_SIZE:
                # Room that is missing is an error now, not a SIGBUS later.
                os.posix_fallocate(self._fd, 0, layout.FILE_SIZE)
            if self._map is None:
                self._map = mmap.mmap(self._fd, layout.FILE_SIZE)
            if not self._is_whole(boot_id):  # looked at again: another process may have made it meanwhile
                self._make(boot_id, seed)
            if wiring is not None:
                self._rewrite(
                    pins=lambda pin, record: record._replace(role=layout.role_number(wiring.get(pin, ""))), speed=speed
                )
            elif speed is not None:
                self._rewrite(speed=speed)

    def _is_whole(self, boot_id: bytes) -> bool:
        return layout.HEADER.unpack_from(self._mapped(), 0) == (layout.MAGIC, boot_id) and self._try_read() is not None

    def _make(self, boot_id: bytes, seed: int) -> None:
        mapped = self._mapped()
        mapped[:] = bytes(layout.FILE_SIZE)
        pins = tuple(PinRecord(role=layout.role_number(DEFAULT_WIRING.get(pin, ""))) for pin in range(PIN_COUNT))
        self._write(1, self.clock(), 1.0, PlantState(seed=seed), pins)
        layout.HEADER.pack_into(mapped, 0, layout.MAGIC, boot_id)  # last: until then the file is not valid

    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            raise HardwareFault("The simulated reactor is closed.", remediation="Open it again.")
        return self._map

    def _rewrite(
        self,
        *,
        pins: Callable[[int, PinRecord], PinRecord] | None = None,
        plant: Callable[[PlantState], PlantState] | None = None,
        speed: float | None = None,
    ) -> None:
        """Write the state of now with what is changed about it; the lock is held."""
        snapshot = self._read()
        now = max(self.clock(), snapshot.clock_s)
        state = advance(snapshot.plant, snapshot.drives, snapshot.speed * (now - snapshot.clock_s))
        records = snapshot.pins
        if pins is not None:
            records = tuple(pins(pin, record) for pin, record in enumerate(records))
        if plant is not None:
            state = plant(state)
        self._write(snapshot.sequence + 1, now, snapshot.speed if speed is None else speed, state, records)

    def _write(
        self, sequence: int, clock_s: float, speed: float, plant: PlantState, pins: tuple[PinRecord, ...]
    ) -> None:
        at = layout.SLOTS_AT + sequence % 2 * layout.SLOT_SIZE
        self._mapped()[at : at + layout.SLOT_SIZE] = layout.packed(sequence, clock_s, speed, plant, pins)

    def _read(self) -> Snapshot:
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

    def _try_read(self) -> Snapshot | None:
        mapped, at = self._mapped(), layout.SLOTS_AT
        slots = [mapped[at : at + layout.SLOT_SIZE], mapped[at + layout.SLOT_SIZE : at + 2 * layout.SLOT_SIZE]]
        slots.sort(key=_sequence_of, reverse=True)
        for slot in slots:
            known, snapshot = self._seen
            if slot == known:
                return snapshot
            if layout.is_whole(slot):
                snapshot = layout.unpacked(slot)
                self._seen = (slot, snapshot)
                return snapshot
        return None

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
                    layout.HOLDER.pack_into(self._map, layout.HOLDER_AT, os.getpid())
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
        holder = layout.HOLDER.unpack_from(self._map, layout.HOLDER_AT)[0] if self._map is not None else 0
        return HardwareFault(
            f"The simulated reactor's file {self.path} stayed locked for {self._lock_timeout_s * 1000:.0f} ms.",
            cause=f"Process {holder} took the lock last; it is stopped, or the computer is overloaded.",
            remediation=f"Continue or end process {holder}." if holder else "Try again.",
        )


def _check_speed(speed: float | None) -> None:
    if speed is not None and not 0.0 < speed <= FASTEST_SPEED:
        raise ValueError(f"The speed must be above 0 and at most {FASTEST_SPEED:g}, not {speed!r}.")


def _sequence_of(slot: bytes) -> int:
    return int.from_bytes(slot[:8], "little")


def _boot_id() -> bytes:
    """Return what tells this run of the computer from the one before, 16 bytes; monotonic time begins anew with it."""
    try:
        return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)
