"""The simulated reactor as everybody meets it: pins for the GPIO, voltages for chips, deeds for a person.

What it says is of the moment when it is asked; what it is told holds from that moment on, for every process.
"""

from dataclasses import dataclass

from . import optics, person
from .constants import WALL_CLOCK_JUMP_S
from .fault_set import Faults
from .layout import HALL_SENSOR, PIN_COUNT, ROLES, PinRecord
from .plant import hall_level
from .plant_file import PlantFile

__all__ = ["HALL_SENSOR", "PIN_COUNT", "Pin", "PinRecord", "SharedPlant"]


@dataclass(frozen=True, slots=True)
class Pin:
    """One pin as seen from outside."""

    mode: str  # "in" or "out"
    level: int  # 0 or 1; an output under PWM counts as high when its duty cycle is above 0
    duty_cycle: float  # %, 0..100; 100 for an output that is simply high, 0 for an input
    frequency_hz: float  # 0.0 without PWM


class SharedPlant(PlantFile):
    """The simulated reactor of one run directory; every process that opens the same file sees the same one."""

    # Pins

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
        if ROLES[record.role] == HALL_SENSOR:
            return hall_level(self.look())
        return 1 if record.pull == 2 else 0

    def pin_record(self, pin: int) -> PinRecord:
        """Return what is stored of a pin (BCM number)."""
        return self._read().pins[pin]

    def pins_of(self, role: str) -> tuple[int, ...]:
        """Return the pins (BCM numbers) that `role` is plugged into."""
        return tuple(pin for pin, record in enumerate(self._read().pins) if ROLES[record.role] == role)

    # Time

    @property
    def speed(self) -> float:
        """How many seconds pass for the plant in one of the clock."""
        return self._read().speed

    def plant_time_s(self) -> float:
        """Return the plant's time: seconds since it was made, as they passed for it."""
        snapshot = self._read()
        return snapshot.plant.time_s + snapshot.speed * max(0.0, self.clock() - snapshot.clock_s)

    def wall_clock_offset_s(self) -> float:
        """Return how many seconds the wall clock of a simulated unit is ahead: 0 but for the fault `clock_jump`."""
        return WALL_CLOCK_JUMP_S if self._read().plant.faults.clock_jump else 0.0

    # What chips see and drive

    def photodiode_voltage_v(self, pd_channel: str) -> float:
        """Return the voltage of a photodiode ("1".."4") at its ADC's input now, in V, noise included."""
        return optics.photodiode_voltage_v(self.look(), pd_channel)

    def aux_voltage_v(self) -> float:
        """Return the PWM rail as its ADC sees it now (rail x 0.134), in V."""
        return optics.aux_voltage_v(*self.look_with_drives())

    def heater_board_temperature_c(self) -> float:
        """Return what the thermometer on the heater board touches now, in degC, noise included."""
        return optics.heater_board_temperature_c(self.look())

    def set_led(self, channel: str, percent: float) -> None:
        """Have an LED ("A".."D") at an intensity of 0..100 % from now on."""
        number = person.led_number(channel)
        if not 0.0 <= percent <= 100.0:
            raise ValueError(f"The intensity must be within 0..100 %, not {percent!r}.")
        self.update(lambda state: state._replace(leds=_with(state.leds, number, float(percent))))

    def led(self, channel: str) -> float:
        """Return the intensity of an LED ("A".."D") in %."""
        return self._read().plant.leds[person.led_number(channel)]

    # Faults

    def faults(self) -> frozenset[str]:
        """Return the names of the faults in force."""
        return self._read().plant.faults.names()

    def inject(self, name: str) -> None:
        """Have one more fault from now on; raises ValueError for a name that is none."""
        self.update(lambda state: state._replace(faults=state.faults.with_fault(name)))

    def clear(self, name: str | None = None) -> None:
        """Have a fault no more, or none of them; raises ValueError for a name that is none."""
        self.update(
            lambda state: state._replace(faults=Faults() if name is None else state.faults.without(name)),
        )

    # What a person does, and reads off; `update` takes all else that the module `person` offers

    def put_standard(self, od: float) -> None:
        """Put a vial with a standard of an OD in; it does not grow."""
        self.update(lambda state: person.put_standard(state, od))

    def put_blank(self) -> None:
        """Put a vial with fresh media and no cells in."""
        self.update(person.put_blank)

    def inoculate(self, od: float) -> None:
        """Bring what is in the vial to an OD of cells."""
        self.update(lambda state: person.inoculate(state, od))

    def tube_into_beaker(self, pump: str) -> None:
        """Put a pump's tube ("media", "alt_media", "waste") into its beaker, empty."""
        self.update(lambda state: person.tube_into_beaker(state, pump))

    def tube_into_vial(self, pump: str) -> None:
        """Put a pump's tube back where it belongs."""
        self.update(lambda state: person.tube_into_vial(state, pump))

    def volume_expelled_ml(self, pump: str) -> float:
        """Return what the pump's beaker holds: all since its tube was put in, in ml."""
        return person.volume_expelled_ml(self.look(), pump)

    def refill(self) -> None:
        """Put full bottles of media and alt-media in place."""
        self.update(person.refill)

    def empty_waste(self) -> None:
        """Empty the waste bottle and wipe the bench."""
        self.update(person.empty_waste)


def _with(leds: tuple[float, float, float, float], number: int, percent: float) -> tuple[float, float, float, float]:
    a, b, c, d = (percent if place == number else led for place, led in enumerate(leds))
    return a, b, c, d
