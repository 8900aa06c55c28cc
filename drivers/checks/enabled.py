"""Check of what a Raspberry Pi and the unit's user have to be allowed: groups, I2C, hardware PWM."""

import grp
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from ..hardware import PI
from .bench import FAIL, OK, SKIPPED, Bench, Finding

GROUPS = ("gpio", "i2c")
I2C_BUS = "i2c-1"
BOOT_CONFIG = Path("/boot/firmware/config.txt")
I2C_LINE = "dtparam=i2c_arm=on"
STRICT_LINE = "dtparam=strict_gpiod"
PWM_LINE = "dtoverlay=pwm-2chan,pin=12,func=4,pin2=13,func2=4"
_TAKES_EFFECT = "then restart the Raspberry Pi"


def own_groups() -> Collection[str]:
    """Return the names of the groups that this process is in; root needs none, and is in all of them."""
    if os.geteuid() == 0:
        return GROUPS
    numbers = {os.getegid(), *os.getgroups()}
    return {group.gr_name for group in grp.getgrall() if group.gr_gid in numbers}


@dataclass(frozen=True)
class Machine:
    """Where a Raspberry Pi shows what is enabled."""

    devices: Path = Path("/dev")
    groups: Callable[[], Collection[str]] = own_groups


def check_enabled(bench: Bench, machine: Machine = Machine()) -> Finding:
    """See whether I2C and hardware PWM are enabled, and whether this user is in the groups that may use them."""
    name = "enabled"
    if bench.hardware.kind != PI:
        return Finding(name, SKIPPED, "There is nothing to enable for the simulated reactor.")
    faults, remedies = [], []
    missing = [group for group in GROUPS if group not in machine.groups()]
    if missing:
        faults.append(f"This user is not in {'the groups' if missing[1:] else 'the group'} {' and '.join(missing)}.")
        remedies.append(f"Run `sudo usermod -aG {','.join(missing)} $USER` and log in again.")
    if not (machine.devices / I2C_BUS).exists():
        faults.append(f"I2C is not enabled: there is no {machine.devices / I2C_BUS}.")
        remedies.append(f"Run `sudo raspi-config nonint do_i2c 0` ({I2C_LINE}, module i2c-dev), {_TAKES_EFFECT}.")
    if bench.hardware.pwm_root is None:
        faults.append("Hardware PWM is not enabled, so GPIO 12 and 13 have software PWM, whose time is less exact.")
        remedies.append(f"Add {PWM_LINE} to {BOOT_CONFIG}, {_TAKES_EFFECT}.")
    if faults:
        return Finding(name, FAIL, " ".join(faults), " ".join(remedies))
    return Finding(name, OK, "I2C and hardware PWM are enabled, and this user is in the groups gpio and i2c.")
