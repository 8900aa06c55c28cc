"""What the protocols that measure optical density share: which photodiodes there are, and measuring with them."""

from __future__ import annotations

from reactor_unit.calibrations.steps import Field
from reactor_unit.calibrations.walk import NotPossible, Visit
from reactor_unit.config import Config
from reactor_unit.errors import ConfigError, Json

OD_ANGLES = ("45", "90", "135")
REF = "REF"
JOBS = ("stirring", "od_reading")
FASTEST_RPM = 10000.0


def od_devices(config: Config) -> list[str]:
    """Return the devices of the configured photodiodes, and `od`, which means all of them, when there are several."""
    angles = set(channels(config).values())
    devices = [f"od{angle}" for angle in OD_ANGLES if angle in angles]
    return [*devices, "od"] if len(devices) > 1 else devices


def channels(config: Config) -> dict[str, str]:
    """Return channel -> angle of every configured photodiode, the reference included."""
    section = "od_config.photodiode_channel"
    return config.section(section) if config.has_section(section) else {}


def signal_channels(config: Config, device: str) -> dict[str, str]:
    """Return channel -> angle of those that a device stands for."""
    angles = OD_ANGLES if device in ("od", "od_fused") else (device.removeprefix("od"),)
    return {channel: angle for channel, angle in channels(config).items() if angle in angles}


def ir_led_intensity(config: Config) -> float:
    """Return the configured intensity of the infrared LED in %. Raises NotPossible when it is not a number."""
    try:
        return config.get_float("od_reading.config", "ir_led_intensity")
    except ConfigError as ex:
        raise NotPossible(
            "The intensity of the infrared LED is not a fixed number.",
            cause=ex.message,
            remediation="Set ir_led_intensity in [od_reading.config] to a number, such as 80: a calibration holds for "
            "one intensity.",
        ) from ex


def check_photodiodes(visit: Visit) -> None:
    """Raise NotPossible unless the unit can measure optical density for the device."""
    ir_led_intensity(visit.config)
    if REF not in channels(visit.config).values():
        raise NotPossible("No photodiode is the reference (REF) in [od_config.photodiode_channel].")
    if not signal_channels(visit.config, visit.device):
        raise NotPossible(f"No photodiode of {visit.device} is in [od_config.photodiode_channel].")


def check_three_angles(visit: Visit) -> None:
    """Raise NotPossible unless the unit is an XR with photodiodes at all three angles."""
    check_photodiodes(visit)
    if not visit.model_name.endswith("_XR"):
        raise NotPossible(
            f"Fused optical density needs an XR model; this unit is {visit.model_name or 'of no known model'}.",
            remediation="Set model_name in [bioreactor], if it is one.",
        )
    missing = set(OD_ANGLES) - set(channels(visit.config).values())
    if missing:
        raise NotPossible(
            f"There is no photodiode at {', '.join(sorted(missing))} degrees in [od_config.photodiode_channel]."
        )


def rpm_field(visit: Visit) -> Field:
    """Return the field that asks how fast to stir."""
    usual = visit.config.get_float("stirring.config", "initial_target_rpm", 500.0)
    return Field("rpm", "Speed (rpm)", "float", usual, None, 0.0, FASTEST_RPM)


def measure(visit: Visit, task: str, **more: float) -> Json:
    """Have a task measure the vial's optical signal; the lamp is compared with what it was at the first vial."""
    found: Json = visit.measure(
        task,
        {
            "rpm": visit.data["rpm"],
            "ir_led_intensity": visit.data.setdefault("ir_led_intensity", ir_led_intensity(visit.config)),
            "channels": {
                **signal_channels(visit.config, visit.device),
                **{channel: angle for channel, angle in channels(visit.config).items() if angle == REF},
            },
            "first_ref_v": visit.data.get("first_ref_v"),
            **more,
        },
    )
    visit.data.setdefault("first_ref_v", found["first_ref_v"])
    return found
