"""`reactor-unit install-service`: have the operating system start this computer's unit and look after it."""

from __future__ import annotations

import difflib
import grp
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

import reactor_unit
from reactor_unit import config as configuration
from reactor_unit.client import ClientError
from reactor_unit.console import say
from reactor_unit.drivers.checks.enabled import BOOT_CONFIG, I2C_LINE, PWM_LINE, STRICT_LINE
from reactor_unit.errors import UnitError
from reactor_unit.home import write_atomically
from reactor_unit.service_files import (
    SERVICE,
    SYSTEM_HOME,
    SYSTEM_USER,
    SYSUSERS,
    TMPFILES,
    Service,
    service_files,
    who_can_reach,
)

ROOT = Path("/")
BOOT_LINES = {
    I2C_LINE: "I2C: photodiodes, LEDs, thermometer",
    STRICT_LINE: "the kernel turns the outputs of a dead process off",
    PWM_LINE: "hardware PWM on GPIO 12 and 13",
}
COMMAND_TIMEOUT_S = 120.0
FILE_MODE = 0o644  # polkit reads its rule as a user of its own
Run = Callable[[Sequence[str]], None]


@dataclass(frozen=True)
class Installation:
    """Where the files go: below `root`. `run` has the running system do something; None where `root` is not that."""

    root: Path
    run: Run | None

    def write(self, files: Mapping[Path, str]) -> bool:
        """Write what is not as it should be, show what changes, and return whether anything did."""
        changed = False
        for path, text in files.items():
            target = self._at(path)
            old = target.read_text(encoding="utf-8") if target.exists() else None
            if old == text:
                say(f"unchanged  {target}")
                continue
            changed = True
            say(f"{'new' if old is None else 'changed':<9}  {target}")
            for line in difflib.unified_diff((old or "").splitlines(), text.splitlines(), "now", "then", lineterm=""):
                if old is not None:
                    say(f"  {line}")
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, text.encode(), mode=FILE_MODE)
        return changed

    def take_effect(self, *, changed: bool, now: bool) -> None:
        """Make user, folders and service known to the system; with `now` also start it, and at each boot."""
        if self.run is None:
            return
        self.run(["systemd-sysusers", str(SYSUSERS)])
        self.run(["systemd-tmpfiles", "--create", str(TMPFILES)])
        self.run(["systemctl", "daemon-reload"])
        if now:
            self.run(["systemctl", "enable", SERVICE])
            self.run(["systemctl", "restart" if changed else "start", SERVICE])

    def remove(self, paths: Sequence[Path]) -> None:
        """End the service, for this and each later boot, and delete its files."""
        found = [path for path in paths if self._at(path).exists()]
        if found and self.run is not None:
            self.run(["systemctl", "disable", "--now", SERVICE])
        for path in found:
            self._at(path).unlink()
            say(f"removed    {self._at(path)}")
        if found and self.run is not None:
            self.run(["systemctl", "daemon-reload"])
        if not found:
            say("There is nothing to remove.")

    def _at(self, path: Path) -> Path:
        return self.root / path.relative_to(ROOT)


@click.command(name="install-service")
@click.option("--user", default=SYSTEM_USER, show_default=True, metavar="NAME", help="Who runs the unit.")
@click.option("--dot", metavar="DIR", help="Data folder (default: .pioreactor in that user's home).")
@click.option("--host", metavar="ADDRESS", help="Address to listen on (default: what [http] host says).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on (default: [http] port, [ui] port).")
@click.option("--print", "only_print", is_flag=True, help="Print the files and write nothing.")
@click.option("--now", is_flag=True, help="Start it, now and at each boot; after a change start it anew.")
@click.option("--remove", is_flag=True, help="End the service and delete its files; user and data stay.")
@click.option(
    "--destination",
    type=click.Path(file_okay=False, path_type=Path),
    default=ROOT,
    metavar="ROOT",
    help="Write below this folder, such as a mounted card, and run no command.",
)
def install_service(
    user: str,
    dot: str | None,
    host: str | None,
    port: int | None,
    only_print: bool,
    now: bool,
    remove: bool,
    destination: Path,
) -> None:
    """Have systemd run this unit.

    It is started at boot, and again whenever it ends, with no more rights than it needs. Writes the service, its user,
    and a rule by which it may switch the computer off and set its clock; needs root. Unless --now is given nothing is
    started. Run it again after a change of port or of the environment: it says what changes. See docs/install.md.
    """
    try:
        service = _service(user, dot, host, port)
        files = service_files(service)
    except ValueError as ex:
        raise click.UsageError(str(ex)) from ex
    except UnitError as ex:
        raise ClientError(ex.message, cause=ex.cause, remediation=ex.remediation) from ex
    if only_print:
        for path, text in files.items():
            click.echo(f"# ==> {path}\n{text}")
        return
    is_here = destination.resolve() == ROOT
    if is_here and os.geteuid() != 0:
        raise ClientError(
            "Only root can install a service.",
            remediation=f"Run `sudo {service.program} install-service ...`, or look at the files with --print.",
        )
    installation = Installation(destination.resolve(), _run if is_here else None)
    try:
        if remove:
            installation.remove(list(files))
            return
        if is_here:
            _check_reach(service)
        changed = installation.write(files)
        installation.take_effect(changed=changed, now=now)
    except (UnitError, OSError) as ex:
        cause = ex.cause if isinstance(ex, UnitError) else str(ex)
        remediation = "Mend what the cause says, then run this again: it goes on where it stopped."
        raise ClientError("The service is not as it should be.", cause=cause, remediation=remediation) from ex
    for line in (*notes(service, destination), *next_steps(service, changed=changed, now=now and is_here)):
        say(line)


def _service(user: str, dot: str | None, host: str | None, port: int | None) -> Service:
    if sys.prefix == sys.base_prefix:
        raise ClientError(
            f"reactor-unit is installed in {sys.prefix}, which belongs to the operating system.",
            remediation="Install it into a virtual environment, as docs/install.md says.",
        )
    home, group = _home_and_group(user)
    folder = Path(dot).absolute() if dot else home / ".pioreactor"
    try:
        config = configuration.load_config(folder)
    except PermissionError as ex:
        raise ClientError(
            f"The configuration in {folder} cannot be read.", cause=str(ex), remediation="Run this as root, with sudo."
        ) from ex
    return Service(
        user,
        group,
        folder,
        Path(sys.prefix) / "bin" / "reactor-unit",
        Path(sys.prefix),
        (Path(sys.base_prefix), Path(reactor_unit.__file__).parent),
        host or config.get("http", "host"),
        port or config.port(),
        host,
        port,
    )


def _home_and_group(user: str) -> tuple[Path, str]:
    if user == SYSTEM_USER:
        return SYSTEM_HOME, SYSTEM_USER
    try:
        entry = pwd.getpwnam(user)
        return Path(entry.pw_dir), grp.getgrgid(entry.pw_gid).gr_name
    except KeyError:
        raise ClientError(
            f"There is no user {user!r}.", remediation=f"Leave --user out: then a user {SYSTEM_USER} is made."
        ) from None


def _check_reach(service: Service) -> None:
    """Refuse a service that could not run: its user has to get to the program, and to own the data."""
    try:
        uid = pwd.getpwnam(service.user).pw_uid
        groups = os.getgrouplist(service.user, pwd.getpwnam(service.user).pw_gid)
    except KeyError:  # it will be made, and is nobody's fellow yet
        uid, groups = -1, []
    folder = service.dot.parent
    if not folder.is_dir() and folder != SYSTEM_HOME:
        raise ClientError(
            f"The folder {folder}, which is to hold the data folder, does not exist.",
            remediation="Check the path for typing errors; make the folder first; is the disk mounted?",
        )
    for path in (service.program, *service.reads, *([service.dot] if folder.is_dir() else [])):
        closed = closed_folder(path, uid, groups)
        if closed is not None:
            raise ClientError(
                f"The user {service.user} could not use {path}: {closed} is closed to it.",
                remediation="Have environment and data where docs/install.md says, or name the owner of "
                f"{closed} with --user.",
            )
    if service.dot.exists() and service.dot.stat().st_uid != uid:
        raise ClientError(
            f"The data folder {service.dot} does not belong to {service.user}.",
            remediation=f"Run `sudo chown -R {service.user} {service.dot}`, or name another folder with --dot.",
        )


def closed_folder(path: Path, uid: int, groups: Sequence[int]) -> Path | None:
    """Return the first folder on the way to `path` that a user may not enter, None when there is none."""
    for folder in reversed(path.resolve().parents):
        found = folder.stat()
        bit = 0o100 if found.st_uid == uid else 0o010 if found.st_gid in groups else 0o001
        if not found.st_mode & bit:
            return folder
    return None


def notes(service: Service, root: Path = ROOT) -> list[str]:
    """Return what a person should know: who can reach the unit, who installs plugins, what to enable and how."""
    lines = ["", who_can_reach(service.effective_host, service.effective_port)]
    if service.environment.is_dir() and service.environment.stat().st_uid == 0:
        lines.append(
            f"{service.environment} belongs to root, so root alone installs plugins and updates. For the unit to do so:"
        )
        lines.append(f"  sudo chown -R {service.user} {service.environment}")
    return lines + what_to_enable(root)


def what_to_enable(root: Path = ROOT) -> list[str]:
    """Return which lines the Raspberry Pi's boot configuration below `root` lacks, and how to add them."""
    path = root / BOOT_CONFIG.relative_to(ROOT)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [f"There is no {BOOT_CONFIG}, so nothing can be said about what to enable."]
    present = {"".join(line.split()) for line in text.splitlines()}
    missing = {line: why for line, why in BOOT_LINES.items() if line not in present}
    if not missing:
        return [f"{BOOT_CONFIG} enables I2C, strict_gpiod and hardware PWM."]
    lines = [f"{BOOT_CONFIG} does not enable:"]
    lines += [f"  {why} ({line.partition(',')[0]})" for line, why in missing.items()]
    lines += ["Enable it, then restart the Raspberry Pi:"]
    added = "\\n".join(["", "[all]", *missing, ""])
    lines += [f"  printf '{added}' | sudo tee -a {BOOT_CONFIG}"]
    if I2C_LINE in missing:
        lines += ["  echo i2c-dev | sudo tee /etc/modules-load.d/reactor-unit.conf"]
    return lines


def next_steps(service: Service, *, changed: bool, now: bool) -> list[str]:
    """Return what is left to do."""
    if now:
        return ["", f"The unit runs. See it with: systemctl status {SERVICE}"]
    start = f"  sudo systemctl enable --now {SERVICE}"
    again = [f"  sudo systemctl restart {SERVICE}   (if it runs already; jobs end)"] if changed else []
    return ["", "Nothing was started. To start the unit, now and at each boot:", start, *again]


def _run(words: Sequence[str]) -> None:
    """Run one of the system's commands. Raises ClientError with what it said."""
    try:
        subprocess.run(words, check=True, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)
    except (subprocess.SubprocessError, OSError) as ex:
        said = getattr(ex, "stderr", None) or str(ex)
        raise ClientError(
            f"`{' '.join(words)}` failed.",
            cause=str(said).strip(),
            remediation="Mend that, then run this again.",
        ) from ex
