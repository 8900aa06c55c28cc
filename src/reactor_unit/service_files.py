"""What makes a Raspberry Pi run a unit as a service: the files of systemd, of polkit, and of the service's user."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

SERVICE = "reactor-unit.service"
UNIT_FILE = Path("/etc/systemd/system") / SERVICE
POLKIT_RULE = Path("/etc/polkit-1/rules.d/50-reactor-unit.rules")
SYSUSERS = Path("/etc/sysusers.d/reactor-unit.conf")
TMPFILES = Path("/etc/tmpfiles.d/reactor-unit.conf")
SYSTEM_USER = "reactor-unit"  # made for the service; any other user has to exist
SYSTEM_HOME = Path("/var/lib/reactor-unit")
FIRST_FREE_PORT = 1024  # below, the kernel asks for a capability
_HOMES = tuple(map(Path, ("/home", "/root", "/run/user")))  # what ProtectHome is about
_USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_HOST = re.compile(r"[0-9A-Za-z:.%_-]+")


@dataclass(frozen=True)
class Service:
    """One unit as a service.

    `group` is the user's own. `program` is the command `reactor-unit`, `environment` the folder of the virtual
    environment it is in, `reads` are other folders that the program needs. `host` and `port` are what is written into
    the command line, None to leave them to the configuration; `effective_host` and `effective_port` are where it
    listens then. Raises ValueError for what cannot stand in the files.
    """

    user: str
    group: str
    dot: Path
    program: Path
    environment: Path
    reads: tuple[Path, ...]
    effective_host: str
    effective_port: int
    host: str | None = None
    port: int | None = None

    def __post_init__(self) -> None:
        if not _USER_NAME.fullmatch(self.user) or self.user == "root":
            raise ValueError(f"{self.user!r} is not a user that a service can have.")
        if self.host is not None and not _HOST.fullmatch(self.host):
            raise ValueError(f"{self.host!r} is not an address or the name of a host.")
        for path in (self.dot, self.program, self.environment):
            if not path.is_absolute() or not str(path).isprintable() or '"' in str(path) or "\\" in str(path):
                raise ValueError(f"{str(path)!r} is not a path that a service can have.")

    @property
    def is_below_homes(self) -> bool:
        """Whether the service needs something that lies in people's homes."""
        paths = (self.dot, self.program, self.environment, *self.reads)
        return any(path.is_relative_to(home) for path in paths for home in _HOMES)


def service_files(service: Service) -> dict[Path, str]:
    """Return the text of each file by its path."""
    return {
        SYSUSERS: _sysusers(service),
        TMPFILES: _tmpfiles(service),
        POLKIT_RULE: _polkit_rule(service),
        UNIT_FILE: _unit_file(service),
    }


def who_can_reach(host: str, port: int) -> str:
    """Say in a sentence who can talk to a unit that listens there, and so can run its pumps and its heater."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return (
            f"Whoever reaches the address of {host} can use port {port}, and so run the reactor: there is no password."
        )
    if address.is_loopback:
        return f"Only programs on this computer can use port {port} of {host}. Use --host 0.0.0.0 for a lab's network."
    where = "any of this computer's addresses" if address.is_unspecified else f"the address {host}"
    return (
        f"Everybody whose computer reaches {where} can use port {port}, and so run the reactor: there is no password."
    )


def _sysusers(service: Service) -> str:
    own = f'u {service.user} - "Bioreactor unit" {SYSTEM_HOME}\n' if service.user == SYSTEM_USER else ""
    return f"""\
# The groups that udev gives the pins and the I2C bus to, and who is in them.
g gpio -
g i2c -
{own}m {service.user} gpio
m {service.user} i2c
"""


def _tmpfiles(service: Service) -> str:
    own = f"d {SYSTEM_HOME} 0750 {service.user} {service.group} -\n" if service.user == SYSTEM_USER else ""
    return f"""\
# The lock on this computer's one board, for whichever user runs a unit or `reactor-unit doctor`.
f /run/lock/reactor-unit-board.lock 0666 root root -
# The data folder; one that exists keeps its owner and mode.
{own}d {_path(service.dot)} :0750 :{service.user} :{service.group} -
"""


def _polkit_rule(service: Service) -> str:
    return f"""\
// What the unit's user may ask of the system over D-Bus, without sudo and without a password: power and clock.
polkit.addRule(function(action, subject) {{
    var allowed = [
        "org.freedesktop.login1.power-off",
        "org.freedesktop.login1.power-off-multiple-sessions",
        "org.freedesktop.login1.reboot",
        "org.freedesktop.login1.reboot-multiple-sessions",
        "org.freedesktop.timedate1.set-time",
        "org.freedesktop.timedate1.set-ntp",
    ];
    if (subject.user == "{service.user}" && allowed.indexOf(action.id) >= 0) {{
        return polkit.Result.YES;
    }}
}});
"""


def _unit_file(service: Service) -> str:
    dot = _argument(service.dot)
    where = "".join(
        f" {option} {str(value).replace('%', '%%')}"
        for option, value in (("--host", service.host), ("--port", service.port))
        if value is not None
    )
    capability = "CAP_NET_BIND_SERVICE" if 0 < service.effective_port < FIRST_FREE_PORT else ""
    return f"""\
# Written by `reactor-unit install-service`, which overwrites it; changes of your own: systemctl edit {SERVICE}
[Unit]
Description=Bioreactor unit
After=network.target time-set.target
# It is started again however often it ends: nobody else looks after what is in the vial.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={_argument(service.program)} serve --dot {dot}{where}
# Hardware PWM goes on when the program that set it is dead, so somebody else turns everything off.
ExecStopPost={_argument(service.program)} safe --dot {dot}
Restart=always
RestartSec=2
WatchdogSec=30
TimeoutStartSec=60
TimeoutStopSec=20
# The supervisor alone is told to end, and ends the others in order: jobs first. What is left then is killed, and with
# it an installer that the unit has started: either it is done before the unit ends, or it runs outside of this
# service's cgroup (systemd-run).
KillMode=mixed
OOMPolicy=continue

User={service.user}
SupplementaryGroups=gpio i2c
UMask=0027
# lgpio puts pipes into its working directory. Task records outlive a restart of the service, not of the computer.
RuntimeDirectory=reactor-unit
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
WorkingDirectory=/run/reactor-unit
# pip unpacks here; /tmp may be in memory, of which there is little.
Environment=TMPDIR=/var/tmp PYTHONUNBUFFERED=1 LANG=C.UTF-8

# Needs the kernel's memory cgroup, which Raspberry Pi OS leaves out by default: see docs/install.md.
MemoryMax=320M
TasksMax=256
LimitNOFILE=1024

# Files: it writes its data, the environment (plugins and updates are installed there, if the owner of the folder lets
# it) and the board's lock.
ProtectSystem=strict
ReadWritePaths={_path(service.dot)} {_path(service.environment)} -/run/lock
ProtectHome={"read-only" if service.is_below_homes else "yes"}
PrivateTmp=yes
# /sys stays writable as far as its modes let this user: hardware PWM is set by files of /sys/devices, as old GPIO
# edges are. ProtectKernelTunables would make all of /sys read-only. Of /proc and /sys the user owns nothing, and the
# group gpio has the PWM and GPIO files that udev gave it.
ProtectKernelTunables=no
ProtectControlGroups=yes
ProtectProc=invisible

# Devices: the pins and the I2C bus.
DevicePolicy=closed
DeviceAllow=char-gpiochip rw
DeviceAllow=char-*gpiomem rw
DeviceAllow=char-i2c rw

# Rights: none of root's{", but to listen below port 1024" if capability else ""}.
# Power and clock are asked for over D-Bus.
CapabilityBoundingSet={capability}
AmbientCapabilities={capability}
NoNewPrivileges=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
LockPersonality=yes
MemoryDenyWriteExecute=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
PrivateIPC=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources

[Install]
WantedBy=multi-user.target
"""


def _path(path: Path) -> str:
    """Return a path as systemd reads it: one word without a specifier."""
    return f'"{str(path).replace("%", "%%")}"'


def _argument(path: Path) -> str:
    """Return a path as a word of a command line, where a dollar sign stands for a variable too."""
    return _path(path).replace("$", "$$")
