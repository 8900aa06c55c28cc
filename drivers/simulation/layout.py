"""How the simulated reactor is laid out in its file: a header and two slots, each a whole state with a checksum."""

import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from .constants import ALT_MEDIA, HEATING, MEDIA, STIRRING, WASTE
from .fault_set import Faults
from .growth import Culture
from .liquids import Pipework, Vessels
from .plant import Light, PlantState

PIN_COUNT = 28  # BCM 0..27, all that reach the Pi's header
HALL_SENSOR = "hall_sensor"
# A role is stored as its place in this list; 0 is nothing, and what the plant does not know is nothing to it.
ROLES = ("", STIRRING, MEDIA, ALT_MEDIA, WASTE, HEATING, HALL_SENSOR)

MAGIC = b"rusim003"  # with a version: a file of another layout is made anew
HEADER = struct.Struct("<8s16s")  # magic, boot id
HOLDER = struct.Struct("<I")  # pid of the process that last took the lock
HOLDER_AT = HEADER.size
# sequence, clock, speed; time, rpm, turns, seed, suspended, temperatures; culture; vessels; pipework; LEDs; light;
# faults; brake; pins
_SLOT = struct.Struct("<Qdd" + "dddQdddd" + "3d" + "8d" + "ddB" + "4d" + "5B" + "Q16s" + "d" + "5Bdd" * PIN_COUNT)
_CHECKSUM = struct.Struct("<I")
SLOT_SIZE = _SLOT.size + _CHECKSUM.size
SLOTS_AT = 64
FILE_SIZE = SLOTS_AT + 2 * SLOT_SIZE


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


class Snapshot(NamedTuple):
    """A whole state: valid at `clock_s`, and with what drives it from there on."""

    sequence: int
    clock_s: float
    speed: float  # seconds of the plant per second of the clock
    plant: PlantState
    pins: tuple[PinRecord, ...]
    drives: Mapping[str, float]  # role -> duty cycle in %


_PINS_FROM = 37  # the place of the first pin's first value in a slot


def drives_of(pins: tuple[PinRecord, ...]) -> dict[str, float]:
    """Return what drives the plant: role -> duty cycle in %."""
    return {ROLES[pin.role]: pin.drive for pin in pins if pin.role}


def role_number(name: str) -> int:
    """Return how a role is stored."""
    return ROLES.index(name) if name in ROLES else 0


def packed(sequence: int, clock_s: float, speed: float, plant: PlantState, pins: tuple[PinRecord, ...]) -> bytes:
    """Return the bytes of a slot."""
    slot = _SLOT.pack(
        sequence,
        clock_s,
        speed,
        *plant[:8],
        *plant.culture,
        *plant.vessels,
        *plant.pipework,
        *plant.leds,
        *plant.light,
        plant.faults.named,
        plant.faults.unplugged.to_bytes(16, "little"),
        plant.brake,
        *[value for pin in pins for value in pin],
    )
    return slot + _CHECKSUM.pack(zlib.crc32(slot))


def is_whole(slot: bytes) -> bool:
    """Return whether a slot's bytes belong together."""
    return bool(_CHECKSUM.unpack_from(slot, _SLOT.size)[0] == zlib.crc32(memoryview(slot)[: _SLOT.size]))


def unpacked(slot: bytes) -> Snapshot:
    """Return what a whole slot says."""
    values = _SLOT.unpack_from(slot)
    pins = tuple(
        PinRecord(bool(values[i]), values[i + 1], values[i + 2], bool(values[i + 3]), *values[i + 4 : i + 7])
        for i in range(_PINS_FROM, len(values), 7)
    )
    sequence, clock_s, speed, time_s, rpm, turns, seed, suspended, board_c, vial_c, room_c = values[:11]
    plant = PlantState(
        time_s,
        rpm,
        turns,
        seed,
        suspended,
        board_c,
        vial_c,
        room_c,
        Culture(*values[11:14]),
        Vessels(*values[14:22]),
        Pipework(*values[22:25]),
        values[25:29],
        Light(*values[29:34]),
        Faults(values[34], int.from_bytes(values[35], "little")),
        values[36],
    )
    return Snapshot(sequence, clock_s, speed, plant, pins, drives_of(pins))
