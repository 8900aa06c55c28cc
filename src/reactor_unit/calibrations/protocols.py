"""The guided ways to make a calibration: what they are for, what they need, how they go. Open for more.

Those that every unit has are in `reactor_unit.calibrations.walks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reactor_unit.calibrations.walk import Walk
from reactor_unit.config import Config
from reactor_unit.errors import Json


@dataclass(frozen=True)
class Protocol:
    """One protocol. `{device}` in its texts stands for the device; lower `priority` is listed first.

    `target_devices` says, from the unit's configuration, for which devices it can be chosen. `walk` is how a session of
    it goes.
    """

    protocol_name: str
    target_devices: Callable[[Config], Sequence[str]]
    title: str
    description: str
    requirements: tuple[str, ...] = ()
    priority: int = 99
    walk: Walk | None = None

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
