"""Which hardware there is, a Pi or the simulated reactor, and how to open it.

Importing this module needs no Pi and starts nothing: libraries for GPIO are imported, files mapped and threads
started in `open_hardware`, which belongs into the process that drives pins, after its fork.
"""

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from . import board
from .errors import HardwareFault
from .gpio_api import GPIO
from .simulation.gpio import SimulatedGPIO
from .simulation.state import HALL_SENSOR

DEVICE_TREE = Path("/proc/device-tree")
PI = "pi"
SIMULATED = "simulated"
_PI_MODELS = "Raspberry Pi"  # how the device tree's model begins


@dataclass
class Hardware:
    """Open hardware: the GPIO seam and the map of its pins.

    `close()` ends what opening started and may be called twice. It leaves pins alone: each device closes its own,
    and a general `cleanup()` would turn outputs that were left low into floating inputs.
    """

    kind: str  # PI or SIMULATED
    gpio: GPIO
    board: board.Board
    _simulated: SimulatedGPIO | None = field(default=None, repr=False)

    def close(self) -> None:
        """Let go of the hardware. May be called twice."""
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


def open_hardware(
    kind: str,
    run_dir: Path,
    *,
    hat_version: str | None = None,
    assignment: Mapping[str, str] | None = None,
    device_tree: Path = DEVICE_TREE,
) -> Hardware:
    """Open the GPIO of this process; call it after the fork.

    `run_dir` holds the simulated reactor's file. `hat_version` overrules what is detected; a Pi whose HAT cannot be
    read is taken as the newest version, since the outputs are the same on all. `assignment` is the section [PWM] of
    the configuration: it plugs the simulated reactor's parts into these channels, and without it they stay where
    they were. Raises HardwareFault.
    """
    if kind == SIMULATED:
        pins = board.load(hat_version or board.DEFAULT_HAT_VERSION)
        simulated = SimulatedGPIO(run_dir / "plant.bin", wiring=_wiring(pins, assignment))
        simulated.setmode(simulated.BCM)
        simulated.setwarnings(False)
        return Hardware(kind, simulated, pins, simulated)
    if kind != PI:
        raise ValueError(f"The kind of hardware must be pi or simulated, not {kind!r}.")
    pins = board.load(hat_version or board.detect_hat_version(device_tree) or board.DEFAULT_HAT_VERSION)
    return Hardware(kind, _raspberry_pi_gpio(run_dir), pins)


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
