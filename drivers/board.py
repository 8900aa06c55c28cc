"""Which pin and which I2C address does what: the HAT's map, the model's over it, and who gets which PWM channel."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .errors import HardwareFault
from .hardware_files import built_in, merged, read_mods
from .models import Model

DEFAULT_HAT_VERSION = "1.2"
HEATER_ROLE = "heating"
_VENDOR = "Pioreactor Inc."  # the HAT's EEPROM, field `vendor`
_PRODUCT_VERSION = re.compile(r"0x[0-9a-fA-F]*([0-9])([0-9])")  # "0x0012" is version 1.2


_PHOTODIODE = re.compile(r"pd([1-9])")
_LAST_PIN = 27  # of the header, as a BCM number
_ADDRESSES = range(0x03, 0x78)  # those that the I2C specification does not reserve


@dataclass(frozen=True)
class ADCInput:
    """One input of an ADC."""

    driver: str  # "ads1115", "ads1114" or "pico"
    address: int
    channel: int


@dataclass(frozen=True)
class Board:
    """The pins of one HAT version, as BCM numbers, and the I2C chips of the HAT and the model."""

    hat_version: str
    pwm_to_pin: Mapping[str, int]  # PWM channel "1".."5" -> pin
    heater_pwm_channel: str
    hall_sensor_pin: int
    button_pin: int
    pcb_led_pin: int
    adc: Mapping[str, ADCInput] = field(default_factory=dict)  # "pd1".., "aux", "version"
    other_adc: tuple[Mapping[str, ADCInput], ...] = ()  # further layouts of `adc`, see `settle_adc`
    led_driver: str = "pico"  # or "dac43608"
    led_address: int = 0x2C
    temperature_address: int = 0x4F

    @property
    def photodiode_channels(self) -> tuple[str, ...]:
        """The photodiode channels that have an ADC, such as ("1", "2")."""
        return tuple(sorted(match[1] for match in map(_PHOTODIODE.fullmatch, self.adc) if match))

    @property
    def i2c_addresses(self) -> tuple[int, ...]:
        """Every address where a chip should answer, each once, in order."""
        chips = {entry.address for entry in self.adc.values()} | {self.led_address, self.temperature_address}
        return tuple(sorted(chips))

    def drivers_at(self, address: int) -> frozenset[str]:
        """Return the kinds of chips that should be at an address; more than one cannot be told apart."""
        chips = {(self.led_address, self.led_driver), (self.temperature_address, "tmp1075")}
        chips |= {(entry.address, entry.driver) for entry in self.adc.values()}
        return frozenset(driver for at, driver in chips if at == address)

    def settle_adc(self, answers: Callable[[int], bool]) -> "Board":
        """Return the board with the layout of its ADCs whose chips answer; `answers(address)` asks one.

        A model may be built with either of several layouts. The first stays unless one of its chips is missing and
        all those of another are there.
        """
        for layout in (self.adc, *self.other_adc):
            if all(answers(address) for address in sorted({entry.address for entry in layout.values()})):
                return replace(self, adc=layout, other_adc=())
        return replace(self, other_adc=())

    @property
    def output_pins(self) -> tuple[int, ...]:
        """Every pin that drives something: all PWM channels, then the LED."""
        return (*self.pwm_to_pin.values(), self.pcb_led_pin)

    def pwm_pin(self, role: str, assignment: Mapping[str, str]) -> int:
        """Return the pin that drives `role` ("stirring", "media", ...).

        `assignment` is the section [PWM] of the configuration, channel -> role. The heater is soldered to its
        channel, so "heating" is found there whatever the section says, and nothing else is. Raises HardwareFault
        unless exactly one other channel has the role.
        """
        if role == HEATER_ROLE:
            return self.pwm_to_pin[self.heater_pwm_channel]
        channels = [channel for channel, assigned in assignment.items() if assigned == role]
        free = [channel for channel in self.pwm_to_pin if channel != self.heater_pwm_channel]
        if len(channels) == 1 and channels[0] in free:
            return self.pwm_to_pin[channels[0]]
        known = ", ".join(free)
        if not channels:
            message = f"No PWM channel is assigned to {role}."
            cause = f"No entry of the section [PWM] of the configuration has the value {role!r}."
        elif len(channels) > 1:
            message = f"More than one PWM channel is assigned to {role}."
            cause = f"The section [PWM] of the configuration gives {role!r} to the channels {', '.join(channels)}."
        elif channels[0] == self.heater_pwm_channel:
            message = f"The PWM channel {channels[0]!r} assigned to {role} is the heater's."
            cause = f"The heater is soldered to it; it would heat in place of {role}."
        else:
            message = f"The PWM channel {channels[0]!r} assigned to {role} does not exist."
            cause = f"HAT {self.hat_version} has the PWM channels {known}, and {self.heater_pwm_channel} of the heater."
        raise HardwareFault(message, cause=cause, remediation=f"Give {role} one of {known} in [PWM].")


def load(hat_version: str = DEFAULT_HAT_VERSION, *, model: Model | None = None, home: Path | None = None) -> Board:
    """Return the map of a HAT version and a model.

    Over the built-in data of the HAT come the files of `home`/hardware/hats/<version>/, then the model's built-in
    data, then `home`/hardware/models/<name>/<version>/: the model wins. Raises HardwareFault for a HAT version that
    is not known and for a file that cannot be used.
    """
    hats: Mapping[str, Mapping[str, Any]] = built_in("hats.yaml")
    if hat_version not in hats:
        raise HardwareFault(
            f"HAT version {hat_version!r} is not known.",
            cause=f"The pin maps of {', '.join(hats)} are known.",
            remediation="Check the version printed on the HAT, or update this software.",
        )
    mods: dict[str, Any] = dict(hats[hat_version])
    if home is not None:
        mods = merged(mods, read_mods(home / "hardware" / "hats" / hat_version))
    others: list[Any] = []
    if model is not None:
        hat_adc = mods["adc"]
        of_model = {mod: content for mod, content in model.hardware.items() if mod != "other_adc"}
        mods = merged(mods, of_model)
        others = [merged(hat_adc, layout) for layout in model.hardware.get("other_adc", ())]
        if home is not None:
            over = read_mods(home / "hardware" / "models" / model.model_name / model.model_version)
            mods = merged(mods, over)
            others = [] if any(_PHOTODIODE.fullmatch(str(name)) for name in over.get("adc", ())) else others
    try:
        return _board(hat_version, mods, others)
    except (ValueError, TypeError, KeyError, AttributeError) as ex:
        what = f"HAT {hat_version}" + (f" with {model.display_name}" if model else "")
        reason = f"{ex.args[0]} is missing" if isinstance(ex, KeyError) else str(ex)
        raise HardwareFault(
            f"The hardware description of {what} is not valid.",
            cause=f"{reason[:1].upper()}{reason[1:]}.",
            remediation=f"Correct the files in {home / 'hardware'}." if home else "Install this software again.",
        ) from ex


def _board(hat_version: str, mods: Mapping[str, Any], other_adc: list[Any]) -> Board:
    """Return what the merged description says; raises ValueError, TypeError or KeyError where it says nonsense."""
    pwm, gpio = mods["pwm"], mods["gpio"]
    pwm_to_pin = {str(channel): _pin(f"PWM channel {channel}", pin) for channel, pin in pwm["pwm_to_pin"].items()}
    if len(set(pwm_to_pin.values())) != len(pwm_to_pin):
        raise ValueError("two PWM channels have the same pin")
    heater = str(pwm["heater_pwm_channel"])
    if heater not in pwm_to_pin:
        raise ValueError(f"the heater's PWM channel {heater} has no pin")
    return Board(
        hat_version=hat_version,
        pwm_to_pin=MappingProxyType(pwm_to_pin),
        heater_pwm_channel=heater,
        hall_sensor_pin=_pin("hall_sensor_pin", gpio["hall_sensor_pin"]),
        button_pin=_pin("pcb_button_pin", gpio["pcb_button_pin"]),
        pcb_led_pin=_pin("pcb_led_pin", gpio["pcb_led_pin"]),
        adc=_adc(mods["adc"]),
        other_adc=tuple(map(_adc, other_adc)),
        led_driver=_one_of("the LED driver", mods["dac"]["driver"], ("pico", "dac43608")),
        led_address=_address("the LED driver", mods["dac"]["address"]),
        temperature_address=_address("the thermometer", mods["temp"]["address"]),
    )


def _adc(entries: Mapping[str, Any]) -> Mapping[str, ADCInput]:
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            raise ValueError(f"{name} is {entry!r:.40}, not a mapping of driver, address and channel")
    return MappingProxyType(
        {
            name: ADCInput(
                _one_of(f"the driver of {name}", entry["driver"], ("ads1115", "ads1114", "pico")),
                _address(name, entry["address"]),
                _integer(f"the channel of {name}", entry["channel"], range(4)),
            )
            for name, entry in entries.items()
        }
    )


def _pin(what: str, value: Any) -> int:
    return _integer(what, value, range(_LAST_PIN + 1))


def _address(what: str, value: Any) -> int:
    return _integer(f"the I2C address of {what}", value, _ADDRESSES)


def _integer(what: str, value: Any, among: range) -> int:
    """Return a whole number; text such as "0x48" is taken too."""
    number = int(value, 0) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int) or number not in among:
        raise ValueError(f"{what} is {value!r}, which is not a whole number from {among[0]} to {among[-1]}")
    return number


def _one_of(what: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"{what} is {value!r}, which is none of {', '.join(choices)}")
    return str(value)


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
