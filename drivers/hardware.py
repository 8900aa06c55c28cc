"""Which hardware there is, a Pi or the simulated reactor, and how to open it.

Importing this module needs no Pi and starts nothing: libraries for GPIO are imported, files mapped and threads
started in `open_hardware`, which belongs into the process that drives pins, after its fork.
"""

import importlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

from . import board
from .claims import Claims
from .errors import HardwareFault
from .gpio_api import GPIO
from .hall_sensor import HallSensor
from .heater import FREQUENCY_HZ as HEATER_HZ
from .heater import Heater
from .i2c import I2CBus, open_bus
from .leased_pwm import LeasedPWM
from .leases import ALL_LEDS, ALL_PINS, HEATER_S, LONGEST_PUMP_RUN_S, STIRRER_S, LeaseTable
from .leds import LEDs, open_leds
from .models import Model
from .outputs import drive_low, leds_of, pins_of, turn_leds_off
from .photodiodes import Photodiodes, open_photodiodes
from .pump import DEFAULT_FREQUENCY_HZ, Pump
from .pwm import PWMOutput
from .simulation.gpio import SimulatedGPIO
from .simulation.smbus import SimulatedSMBus
from .simulation.state import HALL_SENSOR, SharedPlant
from .simulation.sysfs import SimulatedPWMRoot
from .stirrer import Stirrer
from .sysfs_pwm import PWM_ROOT, PWMRoot, find_chip, open_pwm

DEVICE_TREE = Path("/proc/device-tree")
PI = "pi"
SIMULATED = "simulated"
_PI_MODELS = "Raspberry Pi"  # how the device tree's model begins


@dataclass
class Hardware:
    """Open hardware: the seams, and the map of what is on them.

    `close()` ends what opening started and may be called twice. It leaves pins alone: each device closes its own,
    and a general `cleanup()` would turn outputs that were left low into floating inputs.
    """

    kind: str  # PI or SIMULATED
    gpio: GPIO
    board: board.Board
    claims: Claims
    _simulated: SimulatedGPIO | None = field(default=None, repr=False)
    pwm_root: PWMRoot | None = None  # the hardware PWM, None where the kernel offers none
    _open_i2c: Callable[[], I2CBus] | None = field(default=None, repr=False)
    _i2c: I2CBus | None = field(default=None, repr=False)
    model: Model | None = None  # None when nobody said or knows which it is
    speed: float = 1.0  # how many of the reactor's seconds pass in a real one

    @property
    def i2c(self) -> I2CBus:
        """The I2C bus, opened when it is first asked for: a job that needs none works where there is none.

        Raises HardwareFault.
        """
        if self._i2c is None:
            if self._open_i2c is None:
                raise HardwareFault("The hardware is closed, or has no I2C bus.", remediation="Open it again.")
            self._i2c = self._open_i2c()
        return self._i2c

    @property
    def plant(self) -> SharedPlant | None:
        """The simulated reactor behind the seams; None on a Pi."""
        return None if self._simulated is None else self._simulated.plant

    # Devices whose outputs stay on: each claims them, and raises OutputClaimed when another process has one.

    def open_pwm(self, pin: int, frequency_hz: float) -> LeasedPWM:
        """Open the PWM of a pin, in hardware where there is one, under a lease that is renewed."""
        return LeasedPWM(self.claims, pin, lambda: open_pwm(self.gpio, self.pwm_root, pin, frequency_hz), STIRRER_S)

    def open_stirrer(self, assignment: Mapping[str, str], frequency_hz: float, *, measures: bool = True) -> Stirrer:
        """Open the stirrer by the section [PWM], standing, with the sensor of its speed unless it is not to measure."""
        hall = HallSensor(self.gpio, self.board.hall_sensor_pin, clock=self.edge_clock) if measures else None
        try:
            return Stirrer(self.open_pwm(self.board.pwm_pin("stirring", assignment), frequency_hz), hall)
        except BaseException:
            if hall is not None:
                hall.close()
            raise

    def open_heater(self) -> Heater:
        """Open the heater, off. Its pin has no hardware PWM in use, so software makes it."""
        pin = self.board.pwm_to_pin[self.board.heater_pwm_channel]
        return Heater(LeasedPWM(self.claims, pin, lambda: PWMOutput(self.gpio, pin, HEATER_HZ), HEATER_S))

    def open_pump(
        self,
        role: str,
        assignment: Mapping[str, str],
        frequency_hz: float = DEFAULT_FREQUENCY_HZ,
        longest_run_s: float = LONGEST_PUMP_RUN_S,
    ) -> Pump:
        """Open a pump by its role in the section [PWM]; each of its runs has a lease of its own."""
        pin = self.board.pwm_pin(role, assignment)
        pwm = LeasedPWM(self.claims, pin, lambda: open_pwm(self.gpio, self.pwm_root, pin, frequency_hz), None)
        return Pump(pwm, role, longest_run_s=longest_run_s, speed=self.speed)

    def open_leds(self, names: Mapping[str, str] | None = None) -> LEDs:
        """Open the LEDs; a channel is claimed when it is first set."""
        return open_leds(self.i2c, self.board, self.claims, names)

    def open_photodiodes(self, channels: Iterable[str] | None = None) -> Photodiodes:
        """Open photodiode channels, or all; ADCs with a range that is set are claimed."""
        return open_photodiodes(self.i2c, self.board, channels, self.claims.claim_chip)

    # Outputs of the dead

    def make_safe(self, outputs: Iterable[str] = (ALL_PINS, ALL_LEDS)) -> None:
        """Make outputs safe that no living process has: pins low, LEDs dark; pins first, since a bus may be stuck.

        Raises HardwareFault that names what failed, after all was tried.
        """
        wanted = frozenset(outputs)
        pins = pins_of(wanted, self.board.output_pins)
        try:
            drive_low(self.gpio, pins, self.pwm_root)
        finally:
            leds = leds_of(wanted)
            if leds:
                turn_leds_off(self.open_leds(), leds, self.claims.leases)

    def edge_clock(self) -> float:
        """Return monotonic seconds; within the callback of a pin's edge, when the edge came.

        The simulated reactor says when that was, in the plant's time. On a Pi it is now.
        """
        return time.monotonic() if self._simulated is None else self._simulated.edge_clock()

    def wall_clock_offset_s(self) -> float:
        """Return how many seconds the simulated reactor puts the wall clock ahead (fault `clock_jump`); 0 on a Pi."""
        return 0.0 if self._simulated is None else self._simulated.plant.wall_clock_offset_s()

    def close(self) -> None:
        """Let go of the hardware. May be called twice."""
        i2c, self._i2c, self._open_i2c = self._i2c, None, None
        try:
            if i2c is not None:
                i2c.close()
        finally:
            self.claims.close()
            if self._simulated is not None:
                self._simulated.close()


def choose(wanted: str, device_tree: Path = DEVICE_TREE) -> str:
    """Return "pi" or "simulated" for what was wanted: "auto", "pi" or "simulated".

    "auto" takes the Pi when this is one. Raises HardwareFault when "pi" was wanted and this is none.
    """
    if wanted not in ("auto", PI, SIMULATED):
        raise ValueError(f"The hardware must be auto, pi or simulated, not {wanted!r}.")
    model = board.pi_model(device_tree)
    is_pi = model is not None and model.startswith(_PI_MODELS)
    if wanted == PI and not is_pi:
        raise HardwareFault(
            "This computer is not a Raspberry Pi.",
            cause=f"{device_tree / 'model'} says {model!r}." if model else f"{device_tree / 'model'} cannot be read.",
            remediation="Choose the simulated hardware, or run this on a Raspberry Pi.",
        )
    return PI if is_pi and wanted != SIMULATED else SIMULATED


def describe(kind: str, device_tree: Path = DEVICE_TREE, *, hat_version: str | None = None) -> str:
    """Return the hardware in a few words, such as "Raspberry Pi 4 Model B, HAT 1.2"."""
    if kind == SIMULATED:
        return "simulated reactor"
    model = (board.pi_model(device_tree) or _PI_MODELS).partition(" Rev ")[0]
    version = hat_version or board.detect_hat_version(device_tree)
    return f"{model}, HAT {version}" if version else f"{model}, no HAT found, taken as {board.DEFAULT_HAT_VERSION}"


def load_board(
    kind: str,
    *,
    hat_version: str | None = None,
    device_tree: Path = DEVICE_TREE,
    model: Model | None = None,
    home: Path | None = None,
) -> board.Board:
    """Return the map that `open_hardware` takes. Raises HardwareFault, also for a file of `home` that is no use."""
    detected = board.detect_hat_version(device_tree) if kind == PI and hat_version is None else None
    return board.load(hat_version or detected or board.DEFAULT_HAT_VERSION, model=model, home=home)


def open_hardware(
    kind: str,
    run_dir: Path,
    *,
    hat_version: str | None = None,
    assignment: Mapping[str, str] | None = None,
    device_tree: Path = DEVICE_TREE,
    model: Model | None = None,
    home: Path | None = None,
    pwm_root: Path = PWM_ROOT,
    leases: LeaseTable | None = None,
    holder: str = "another program",
    pins: board.Board | None = None,
) -> Hardware:
    """Open the seams of this process; call it after the fork.

    `run_dir` holds the simulated reactor's file and the locks of the I2C bus. `hat_version` overrules what is
    detected; a Pi whose HAT cannot be read is taken as the newest version, since the outputs are the same on all.
    `assignment` is the section [PWM] of the configuration: it plugs the simulated reactor's parts into these
    channels, and without it they stay where they were. `model` and the files below `home`/hardware say what differs
    from the HAT. `pwm_root` is the folder with the Pi's PWM chips. `leases` is the table that the supervisor watches,
    without it nobody does; `holder` says to others who has what this process claims. `pins` is a map that was loaded
    before, instead of what the files say now. Raises HardwareFault.
    """
    if kind not in (PI, SIMULATED):
        raise ValueError(f"The kind of hardware must be pi or simulated, not {kind!r}.")
    claims = Claims(run_dir / "claims", holder, leases or LeaseTable())
    if pins is None:
        pins = load_board(kind, hat_version=hat_version, device_tree=device_tree, model=model, home=home)
    if kind == SIMULATED:
        simulated = SimulatedGPIO(run_dir / "plant.bin", wiring=_wiring(pins, assignment))
        simulated.setmode(simulated.BCM)
        simulated.setwarnings(False)
        speed = simulated.plant.speed
        return Hardware(
            kind,
            simulated,
            pins,
            claims,
            simulated,
            pwm_root=SimulatedPWMRoot(simulated.plant),
            speed=speed,
            model=model,
            _open_i2c=lambda: I2CBus(
                SimulatedSMBus(simulated.plant, pins, clock=lambda: speed * time.monotonic()),
                name="/dev/i2c-1 (simulated)",
                lock_folder=run_dir,
                speed=speed,
            ),
        )
    gpio = _raspberry_pi_gpio(run_dir)
    chip = find_chip(pwm_root, pi_model=board.pi_model(device_tree))
    return Hardware(
        kind, gpio, pins, claims, pwm_root=chip, model=model, _open_i2c=partial(open_bus, lock_folder=run_dir)
    )


def _raspberry_pi_gpio(run_dir: Path) -> GPIO:
    os.environ.setdefault("LG_WD", str(run_dir))  # lgpio puts notification files here, else into the working directory
    try:
        gpio = cast(GPIO, importlib.import_module("RPi.GPIO"))
        gpio.setmode(gpio.BCM)
        gpio.setwarnings(
            False
        )  # they would be about pins that were left as outputs, which is how they are meant to be left
    except (ImportError, RuntimeError, OSError, NotImplementedError) as ex:
        raise HardwareFault(
            "The GPIO library of this Raspberry Pi cannot be used.",
            cause=f"{type(ex).__name__}: {ex}",
            remediation="Install the extra `pi` (RPi.GPIO), or `lgpio` (rpi-lgpio) for a Raspberry Pi 5 or kernel 6.6 "
            "and later, and put this user into the group gpio.",
        ) from ex
    return gpio


def _wiring(pins: board.Board, assignment: Mapping[str, str] | None) -> dict[int, str] | None:
    """Return BCM pin -> what the simulated reactor has there, or None to leave it as it is."""
    if assignment is None:
        return None
    wiring = {pins.pwm_to_pin[channel]: role for channel, role in assignment.items() if channel in pins.pwm_to_pin}
    return {**wiring, pins.hall_sensor_pin: HALL_SENSOR}
