"""What the kernel says about the computer: disk, processor, supply, network. Plain files, read when asked for."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from pathlib import Path

from reactor_unit.drivers.board import pi_model
from reactor_unit.drivers.hardware import DEVICE_TREE

SIOCGIFADDR = 0x8915  # ioctl: the IPv4 address of an interface
INTERFACE_NAME_BYTES = 15


class Computer:
    """The computer that a unit runs on. `sys` and `device_tree` are where the kernel shows it.

    What cannot be read is None: not every computer has it.
    """

    def __init__(self, sys: Path = Path("/sys"), device_tree: Path = DEVICE_TREE) -> None:
        self._sys = sys
        self._device_tree = device_tree

    def disk_usage_percent(self, path: Path) -> float:
        """Return how much of the file system at `path` is used, in %, as `df` counts: without what only root gets."""
        disk = os.statvfs(path)
        used = disk.f_blocks - disk.f_bfree
        return round(100.0 * used / max(used + disk.f_bavail, 1), 1)

    def cpu_temperature_c(self) -> float | None:
        """Return the processor's temperature in degC."""
        text = _text(self._sys / "class/thermal/thermal_zone0/temp")
        try:
            return None if text is None else round(int(text) / 1000.0, 1)
        except ValueError:
            return None

    def is_undervolted(self) -> bool | None:
        """Return whether the Raspberry Pi's supply is too low now, by the kernel's own alarm."""
        for folder in sorted(self._sys.glob("class/hwmon/hwmon*")):
            if _text(folder / "name") == "rpi_volt":
                text = _text(folder / "in0_lcrit_alarm")
                return None if text is None else text == "1"
        return None

    def mac_address(self, kind: str) -> str | None:
        """Return the address of the first interface of a kind: `wlan` or `eth`."""
        folders = sorted(self._sys.glob(f"class/net/{kind}*"))
        return _text(folders[0] / "address") if folders else None

    def ipv4(self) -> str | None:
        """Return the IPv4 addresses but for the loopback's, separated by commas; None without any."""
        names = sorted(path.name for path in self._sys.glob("class/net/*") if path.name != "lo")
        return ",".join(address for address in map(_ipv4_of, names) if address) or None

    def machine(self) -> str | None:
        """Return the Raspberry Pi's model."""
        return pi_model(self._device_tree)

    def hat_serial(self) -> str | None:
        """Return the number by which the attached HAT differs from others."""
        return _text(self._device_tree / "hat/uuid")


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def _ipv4_of(interface: str) -> str | None:
    name = interface.encode()[:INTERFACE_NAME_BYTES]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        answer = fcntl.ioctl(asking.fileno(), SIOCGIFADDR, struct.pack("256s", name))
        return socket.inet_ntoa(answer[20:24])
    return None
