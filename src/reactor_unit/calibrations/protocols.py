"""The guided ways to make a calibration, as data: what they are for and what they need. Open for more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reactor_unit.config import Config
from reactor_unit.errors import Json

OD_ANGLES = ("45", "90", "135")
PUMPS = ("media_pump", "alt_media_pump", "waste_pump")


@dataclass(frozen=True)
class Protocol:
    """One protocol. `{device}` in its texts stands for the device; lower `priority` is listed first.

    `target_devices` says, from the unit's configuration, for which devices it can be chosen.
    """

    protocol_name: str
    target_devices: Callable[[Config], Sequence[str]]
    title: str
    description: str
    requirements: tuple[str, ...] = ()
    priority: int = 99

    def descriptor(self, device: str) -> Json:
        """Return what the API says about it for one device."""
        spoken = device.replace("_", " ")
        return {
            "id": f"{device}_{self.protocol_name}",
            "target_device": device,
            "protocol_name": self.protocol_name,
            "priority": self.priority,
            "title": self.title.replace("{device}", spoken),
            "description": self.description.replace("{device}", spoken),
            "requirements": [text.replace("{device}", spoken) for text in self.requirements],
        }


def od_devices(config: Config) -> list[str]:
    """Return the devices of the configured photodiodes, and `od`, which means all of them, when there are several."""
    section = "od_config.photodiode_channel"
    angles = set(config.section(section).values()) if config.has_section(section) else set()
    devices = [f"od{angle}" for angle in OD_ANGLES if angle in angles]
    return [*devices, "od"] if len(devices) > 1 else devices


PROTOCOLS: dict[str, Protocol] = {}


def register(protocol: Protocol) -> Protocol:
    """Add a protocol. Raises ValueError when there is another one of its name."""
    if PROTOCOLS.setdefault(protocol.protocol_name, protocol) is not protocol:
        raise ValueError(f"There is a protocol named {protocol.protocol_name} already.")
    return protocol


def descriptors(config: Config) -> list[Json]:
    """Return what the API says about every protocol and device, in the order in which people see them."""
    found = [
        protocol.descriptor(device) for protocol in PROTOCOLS.values() for device in protocol.target_devices(config)
    ]
    return sorted(found, key=lambda one: (one["target_device"], one["priority"], one["title"]))


register(
    Protocol(
        "standards",
        od_devices,
        title="Standards of known OD600",
        description="Relate what the photodiodes read to OD600, with vials whose optical density you know.",
        requirements=(
            "Several vials of known OD600 (four or more are best), and one with media only, as the blank.",
            "A stir bar in each vial.",
            "A fixed intensity of the IR LED, and a reference photodiode.",
        ),
    )
)
register(
    Protocol(
        "od_fusion_standards",
        lambda config: ["od_fused"],
        title="Fused OD from standards",
        description="Fit one estimate of optical density to the readings at 45, 90 and 135 degrees together.",
        requirements=(
            "An XR model, with photodiodes at 45, 90 and 135 degrees.",
            "At least four vials of different known OD600, none of them a blank.",
            "A stir bar in each vial.",
        ),
        priority=1,
    )
)
register(
    Protocol(
        "od_fusion_offset",
        lambda config: ["od_fused"],
        title="Fused OD by two standards",
        description="Adapt an estimator that was made before, here or on another unit, with two standards.",
        requirements=(
            "An XR model, with photodiodes at 45, 90 and 135 degrees.",
            "An estimator for fused OD to start from.",
            "Two vials of different known OD600, with a stir bar in each.",
        ),
        priority=2,
    )
)
register(
    Protocol(
        "duration_based",
        lambda config: PUMPS,
        title="Volumes by duration",
        description="Find how many mL the {device} moves in a second, by running it for several durations.",
        requirements=(
            "Water, and a vessel to pump it into.",
            "A scale or a measuring cylinder that shows 0.1 mL.",
            "The {device} with the tubing that it will be used with.",
        ),
    )
)
register(
    Protocol(
        "dc_based",
        lambda config: ["stirring"],
        title="Speeds by duty cycle",
        description="Find how fast the stirrer turns at each duty cycle; it runs by itself for about two minutes.",
        requirements=("A vial with a stir bar, filled as in an experiment.",),
    )
)
