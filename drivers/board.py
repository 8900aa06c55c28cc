"""Which pin does what: the HAT's pin map, and the configuration's assignment of its PWM channels."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from .errors import HardwareFault

DEFAULT_HAT_VERSION = "1.2"
HEATER_ROLE = "heating"
_HATS = Path(__file__).with_name("data") / "hats.yaml"
_VENDOR = "Pioreactor Inc."  # the HAT's EEPROM, field `vendor`
_PRODUCT_VERSION = re.compile(r"0x[0-9a-fA-F]*([0-9])([0-9])")  # "0x0012" is version 1.2


@dataclass(frozen=True)
class Board:
    """The pins of one HAT version, as BCM numbers."""

    hat_version: str
    pwm_to_pin: Mapping[str, int]  # PWM channel "1".."5" -> pin
    heater_pwm_channel: str
    hall_sensor_pin: int
    button_pin: int
    pcb_led_pin: int

    @property
    def output_pins(self) -> tuple[int, ...]:
        """Every pin that drives something: all PWM channels, then the LED."""
        return (*self.pwm_to_pin.values(), self.pcb_led_pin)

    def pwm_pin(self, role: str, assignment: Mapping[str, str]) -> int:
        """Return the pin that drives `role` ("stirring", "media", ...).

        `assignment` is the section [PWM] of the configuration, channel -> role. The heater is soldered to its
        channel, so "heating" is found there whatever the section says. Raises HardwareFault unless exactly one
        channel has the role.
        """
        if role == HEATER_ROLE:
            return self.pwm_to_pin[self.heater_pwm_channel]
        channels = [channel for channel, assigned in assignment.items() if assigned == role]
        if len(channels) == 1 and channels[0] in self.pwm_to_pin:
            return self.pwm_to_pin[channels[0]]
        known = ", ".join(self.pwm_to_pin)
        if not channels:
            message = f"No PWM channel is assigned to {role}."
            cause = f"No entry of the section [PWM] of the configuration has the value {role!r}."
        elif len(channels) > 1:
            message = f"More than one PWM channel is assigned to {role}."
            cause = f"The section [PWM] of the configuration gives {role!r} to the channels {', '.join(channels)}."
        else:
            message = f"The PWM channel {channels[0]!r} assigned to {role} does not exist."
            cause = f"HAT {self.hat_version} has the PWM channels {known}."
        raise HardwareFault(message, cause=cause, remediation=f"Give {role} one of {known} in [PWM].")


@functools.cache
def load(hat_version: str = DEFAULT_HAT_VERSION) -> Board:
    """Return the pin map of a HAT version; raises HardwareFault for one that is not known."""
    hats: dict[str, dict[str, Any]] = yaml.safe_load(_HATS.read_text(encoding="utf-8"))
    if hat_version not in hats:
        raise HardwareFault(
            f"HAT version {hat_version!r} is not known.",
            cause=f"The pin maps of {', '.join(hats)} are known.",
            remediation="Check the version printed on the HAT, or update this software.",
        )
    hat = hats[hat_version]
    return Board(hat_version=hat_version, **{**hat, "pwm_to_pin": MappingProxyType(hat["pwm_to_pin"])})


def detect_hat_version(device_tree: Path) -> str | None:
    """Return the version of the attached HAT, such as "1.2", or None where there is none of ours.

    The firmware copies the HAT's EEPROM to `hat/` in the device tree at boot. Another vendor's HAT has a version
    too, so the vendor must be ours.
    """
    if _text(device_tree / "hat" / "vendor") not in (None, _VENDOR):
        return None
    match = _PRODUCT_VERSION.fullmatch(_text(device_tree / "hat" / "product_ver") or "")
    return ".".join(match.groups()) if match else None


def pi_model(device_tree: Path) -> str | None:
    """Return the computer's model, such as "Raspberry Pi 4 Model B Rev 1.4", or None where the device tree has none."""
    return _text(device_tree / "model") or None


def _text(path: Path) -> str | None:
    """Return a device tree's text, which ends in NUL, or None where it cannot be read."""
    try:
        return path.read_bytes().rstrip(b"\0\n").decode("utf-8", "replace").strip()
    except OSError:
        return None
