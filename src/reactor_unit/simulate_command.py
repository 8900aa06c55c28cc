"""`reactor-unit simulate`: be the person, and the bad luck, at this machine's simulated reactor."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from reactor_unit.client import ClientError
from reactor_unit.console import print_json, print_pairs, say

if TYPE_CHECKING:
    from pathlib import Path

    from reactor_unit.drivers.simulation.state import SharedPlant
    from reactor_unit.home import DataFolder

EPILOG = """\b
Faults:
  sensor_unplugged:ADDRESS   the chip at an I2C address (0x4f) does not answer
  bus_stuck                  no transfer on the I2C bus ends
  adc_saturated              every photodiode is beyond its ADC's range
  hall_silent                the stirrer turns without pulses
  stirrer_stalled            the stirrer stands, whatever drives it
  heater_stuck_on            the heater heats at 100 %, whatever it is told
  sensor_fallen_off          the thermometer hangs in the room, off the heater
  thermometer_stuck          the thermometer says 36.5 degC, whatever it touches
  pump_blocked:PUMP          the pump (media, alt_media, waste) moves nothing
  noisy_light                other light reaches the photodiodes
  ambient_light              the lid is open: steady light reaches the photodiodes
  ir_led_dim                 the infrared LED gives 5 % of its light
  heater_unpowered           the heater stays cold, whatever it is told
  supply_too_high            the outputs are supplied with 24 V
  clock_jump                 the wall clock is a year ahead
"""
PUMPS = click.Choice(("media", "alt_media", "waste"))


@dataclass
class Folder:
    """Whose simulated reactor is meant: the data folder, None for the usual one."""

    dot: str | None = None

    @contextmanager
    def plant(self) -> Iterator[SharedPlant]:
        """Open the reactor in the run directory of the data folder, and make it where there is none yet.

        Where a unit serves the folder and there is none, the unit's is in another run directory: that is refused.
        """
        from reactor_unit.drivers.errors import HardwareFault
        from reactor_unit.drivers.simulation.state import SharedPlant
        from reactor_unit.errors import UnitError, from_exception
        from reactor_unit.home import DataFolder, run_directory

        folder = DataFolder.find(self.dot, os.environ)
        if not folder.path.is_dir():
            raise ClientError(
                f"There is no data folder {folder.path}.",
                remediation="Name it with --dot; `reactor-unit serve` makes one.",
            )
        try:
            file = run_directory(folder.path, os.environ) / "plant.bin"
            if not file.exists():
                _check_unserved(folder, file.parent)
            with closing(SharedPlant(file)) as plant:
                yield plant
        except ValueError as ex:
            raise click.UsageError(str(ex)) from ex
        except (UnitError, HardwareFault) as ex:
            error = from_exception(ex)
            raise ClientError(error.message, cause=error.cause, remediation=error.remediation) from ex


def _check_unserved(folder: DataFolder, run_directory: Path) -> None:
    """Raise ClientError where a unit serves the data folder."""
    from reactor_unit.errors import AlreadyServing

    lock = folder.lock()
    try:
        lock.acquire()
    except AlreadyServing as ex:
        raise ClientError(
            f"The simulated reactor of the unit that serves {folder.path} is not in {run_directory}.",
            remediation="Give the same RUNTIME_DIRECTORY or XDG_RUNTIME_DIR as the unit has.",
        ) from ex
    finally:
        lock.release()


def _complete_fault(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the faults that begin so; not those with a colon, which parts words in bash."""
    from reactor_unit.drivers.simulation.fault_set import PLAIN_FAULTS

    return [name for name in PLAIN_FAULTS if name.startswith(incomplete) and ":" not in name]


@click.group(epilog=EPILOG)
@click.option("--dot", metavar="DIR", help="Data folder of the unit (default: DOT_PIOREACTOR, else ~/.pioreactor).")
@click.pass_context
def simulate(ctx: click.Context, dot: str | None) -> None:
    """Break, mend, handle and show the simulated reactor.

    The reactor is that of the unit with this data folder, whether that serves or not. Give the same RUNTIME_DIRECTORY
    or XDG_RUNTIME_DIR as the unit has, if it has one. Nothing here reaches real hardware.
    """
    ctx.obj = Folder(dot)


@simulate.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.pass_obj
def faults(folder: Folder, as_json: bool) -> None:
    """List the faults in force."""
    with folder.plant() as plant:
        names = sorted(plant.faults())
    if as_json:
        print_json(names)
        return
    for name in names or ["No fault is in force."]:
        say(name)


@simulate.command()
@click.argument("name", metavar="FAULT", shell_complete=_complete_fault)
@click.pass_obj
def inject(folder: Folder, name: str) -> None:
    """Inject FAULT, which lasts until it is cleared. `simulate --help` lists all faults."""
    with folder.plant() as plant:
        plant.inject(name)
    say(f"{name} is in force.")


@simulate.command()
@click.argument("name", metavar="[FAULT]", required=False, shell_complete=_complete_fault)
@click.pass_obj
def clear(folder: Folder, name: str | None) -> None:
    """Mend one fault, or all of them."""
    with folder.plant() as plant:
        plant.clear(name)
    say(f"{name} is mended." if name else "All faults are mended.")


@simulate.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_obj
def show(folder: Folder, as_json: bool) -> None:
    """Show how the reactor really is, whatever its sensors say."""
    with folder.plant() as plant:
        truths = _truths(plant)
    if as_json:
        print_json(truths)
        return
    print_pairs({name: _shown(value) for name, value in truths.items()})


def _truths(plant: SharedPlant) -> dict[str, Any]:
    state, drives = plant.look_with_drives()
    vessels = state.vessels._asdict()
    return {
        "time_s": round(state.time_s, 1),
        "speed": plant.speed,
        "stirrer_rpm": round(state.rpm, 1),
        "od": round(state.culture.biomass_od, 4),
        "substrate_od": round(state.culture.substrate_od, 4),
        "alt_media_fraction": round(state.culture.alt_fraction, 4),
        "vial_c": round(state.vial_c, 2),
        "heater_board_c": round(state.board_c, 2),
        "room_c": state.room_c,
        **{name: round(volume_ml, 3) for name, volume_ml in vessels.items()},
        "leds_percent": dict(zip("ABCD", state.leds, strict=True)),
        "duty_cycles_percent": {role: duty_cycle for role, duty_cycle in sorted(drives.items()) if duty_cycle},
        "faults": sorted(state.faults.names()),
    }


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:g}" for name, number in value.items()) or "none"
    return (", ".join(value) or "none") if isinstance(value, list) else f"{value:g}"


@simulate.group()
def person() -> None:
    """Do what a person does: vials, tubes, bottles."""


Deed = Callable[["SharedPlant"], object]


def _do(folder: Folder, deed: Deed, said: str) -> None:
    with folder.plant() as plant:
        deed(plant)
    say(said)


@person.command(name="put-standard")
@click.argument("od", type=float)
@click.pass_obj
def put_standard(folder: Folder, od: float) -> None:
    """Put in a vial with a standard of OD. It does not grow."""
    _do(folder, lambda plant: plant.put_standard(od), f"A standard of OD {od:g} is in.")


@person.command(name="put-blank")
@click.pass_obj
def put_blank(folder: Folder) -> None:
    """Put in a vial with fresh media and no cells."""
    _do(folder, lambda plant: plant.put_blank(), "A blank is in.")


@person.command()
@click.argument("od", type=float)
@click.pass_obj
def inoculate(folder: Folder, od: float) -> None:
    """Put cells into the vial, for an optical density of OD."""
    _do(folder, lambda plant: plant.inoculate(od), f"The vial is at OD {od:g}.")


@person.command(name="tube-into-beaker")
@click.argument("pump", type=PUMPS)
@click.pass_obj
def tube_into_beaker(folder: Folder, pump: str) -> None:
    """Put a pump's tube into its beaker, empty."""
    _do(folder, lambda plant: plant.tube_into_beaker(pump), f"The tube of the {pump} pump is in its beaker.")


@person.command(name="tube-into-vial")
@click.argument("pump", type=PUMPS)
@click.pass_obj
def tube_into_vial(folder: Folder, pump: str) -> None:
    """Put a pump's tube back where it belongs."""
    _do(folder, lambda plant: plant.tube_into_vial(pump), f"The tube of the {pump} pump is in its place.")


@person.command()
@click.argument("pump", type=PUMPS)
@click.pass_obj
def expelled(folder: Folder, pump: str) -> None:
    """Read off the volume in a pump's beaker, in ml."""
    with folder.plant() as plant:
        say(f"{plant.volume_expelled_ml(pump):.3f}")


@person.command()
@click.pass_obj
def refill(folder: Folder) -> None:
    """Put full bottles of media and alt-media in place."""
    _do(folder, lambda plant: plant.refill(), "The bottles are full.")


@person.command(name="empty-waste")
@click.pass_obj
def empty_waste(folder: Folder) -> None:
    """Empty the waste bottle and wipe the bench."""
    _do(folder, lambda plant: plant.empty_waste(), "The waste bottle is empty and the bench is dry.")
