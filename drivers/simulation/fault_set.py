"""The simulated reactor's faults, by name and as what is stored.

Names: `sensor_unplugged:ADDRESS` (an I2C address, 0x4f or 79), `pump_blocked:ROLE`, and those of PLAIN_FAULTS.
"""

from typing import NamedTuple

from .constants import PUMPS

PLAIN_FAULTS = (
    "bus_stuck",
    "adc_saturated",
    "hall_silent",
    "stirrer_stalled",
    "heater_stuck_on",
    "noisy_light",
    "clock_jump",
    "sensor_fallen_off",
    "thermometer_stuck",
    "ambient_light",
    "ir_led_dim",
    "heater_unpowered",
    "supply_too_high",
)
_BEFORE_PUMPS = 7  # of the plain ones have their bits before those of the pumps
_UNPLUGGED, _BLOCKED = "sensor_unplugged:", "pump_blocked:"
# Bit n of a mask is fault n; add at the end only.
_NAMED = (*PLAIN_FAULTS[:_BEFORE_PUMPS], *(_BLOCKED + pump for pump in PUMPS), *PLAIN_FAULTS[_BEFORE_PUMPS:])


class Faults(NamedTuple):
    """The faults in force, as bit masks."""

    named: int = 0  # bit n: _NAMED[n]
    unplugged: int = 0  # bit n: I2C address n, 0..127

    @property
    def hall_silent(self) -> bool:
        """Whether the hall sensor gives no pulses."""
        return bool(self.named & 1 << 2)

    @property
    def stirrer_stalled(self) -> bool:
        """Whether the stirrer is held still."""
        return bool(self.named & 1 << 3)

    @property
    def heater_stuck_on(self) -> bool:
        """Whether the heater heats whatever it is told."""
        return bool(self.named & 1 << 4)

    @property
    def noisy_light(self) -> bool:
        """Whether other light comes in."""
        return bool(self.named & 1 << 5)

    @property
    def clock_jump(self) -> bool:
        """Whether the wall clock has jumped ahead."""
        return bool(self.named & 1 << 6)

    @property
    def sensor_fallen_off(self) -> bool:
        """Whether the thermometer hangs in the room instead of on the heater board."""
        return bool(self.named & 1 << 10)

    @property
    def thermometer_stuck(self) -> bool:
        """Whether the thermometer gives the same value whatever it touches."""
        return bool(self.named & 1 << 11)

    @property
    def ambient_light(self) -> bool:
        """Whether steady light comes in, as through an open lid."""
        return bool(self.named & 1 << 12)

    @property
    def ir_led_dim(self) -> bool:
        """Whether the infrared LED gives a small part of its light."""
        return bool(self.named & 1 << 13)

    @property
    def heater_unpowered(self) -> bool:
        """Whether the heater stays cold whatever it is told."""
        return bool(self.named & 1 << 14)

    @property
    def supply_too_high(self) -> bool:
        """Whether a supply of too high a voltage is plugged in."""
        return bool(self.named & 1 << 15)

    def pump_blocked(self, role: str) -> bool:
        """Whether a pump's tube lets nothing through."""
        return role in PUMPS and bool(self.named >> _BEFORE_PUMPS + PUMPS.index(role) & 1)

    def names(self) -> frozenset[str]:
        """Return the faults in force; addresses are written as in `sensor_unplugged:0x4f`."""
        named = {name for bit, name in enumerate(_NAMED) if self.named >> bit & 1}
        return frozenset(named | {f"{_UNPLUGGED}{n:#04x}" for n in range(128) if self.unplugged >> n & 1})

    def with_fault(self, name: str) -> "Faults":
        """Return these and one more; raises ValueError for a name that is none."""
        other = _parse(name)
        return Faults(self.named | other.named, self.unplugged | other.unplugged)

    def without(self, name: str) -> "Faults":
        """Return these without one, which need not be there; raises ValueError for a name that is none."""
        other = _parse(name)
        return Faults(self.named & ~other.named, self.unplugged & ~other.unplugged)


def _parse(name: str) -> Faults:
    if name in _NAMED:
        return Faults(named=1 << _NAMED.index(name))
    if name.startswith(_UNPLUGGED):
        try:
            address = int(name.removeprefix(_UNPLUGGED), 0)
        except ValueError:
            address = -1
        if 0 <= address < 128:
            return Faults(unplugged=1 << address)
        raise ValueError(f"{name!r} needs an I2C address such as 0x4f.")
    known = ", ".join((*_NAMED, _UNPLUGGED + "ADDRESS"))
    raise ValueError(f"{name!r} is no fault of the simulated reactor; there are {known}.")
