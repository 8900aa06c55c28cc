"""The command that injects faults into a simulated reactor, also while a unit runs on it.

    python -m reactor_unit.drivers.simulation.faults RUN_DIR inject NAME
    python -m reactor_unit.drivers.simulation.faults RUN_DIR clear [NAME]
    python -m reactor_unit.drivers.simulation.faults RUN_DIR list

Each prints the faults in force then. Names: bus_stuck, adc_saturated, hall_silent, stirrer_stalled, heater_stuck_on,
noisy_light, clock_jump, pump_blocked:ROLE (media, alt_media, waste), sensor_unplugged:ADDRESS (an I2C address such
as 0x4f). Exit code 1: no simulated reactor there, or it cannot be written; 2: a name or an argument that is none.
"""

import contextlib
import sys
from pathlib import Path

from ..errors import HardwareFault
from .state import SharedPlant


def main(arguments: list[str]) -> int:
    """Inject, clear or list faults, and print those in force."""
    name: str | None
    match arguments:
        case [run_dir, ("inject" | "clear") as verb, name]:
            pass
        case [run_dir, ("clear" | "list") as verb]:
            name = None
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    path = Path(run_dir) / "plant.bin"
    if not path.is_file():
        print(f"There is no simulated reactor in {run_dir}: {path.name} is missing.", file=sys.stderr)
        return 1
    try:
        with contextlib.closing(SharedPlant(path)) as plant:
            if verb == "inject" and name is not None:
                plant.inject(name)
            elif verb == "clear":
                plant.clear(name)
            for fault in sorted(plant.faults()):
                print(fault)
    except (ValueError, HardwareFault) as ex:
        print(ex, file=sys.stderr)
        return 2 if isinstance(ex, ValueError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
