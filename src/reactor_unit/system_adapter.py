"""What a unit does to its machine: power and clock. The real adapter runs commands, the dry one writes them down."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from reactor_unit import strict_json
from reactor_unit.clock import utc_timestamp
from reactor_unit.errors import CommandFailed

if TYPE_CHECKING:
    import subprocess

log = logging.getLogger(__name__)

Json = dict[str, Any]

REBOOT, SHUT_DOWN, SET_CLOCK, SYNC_CLOCK = "reboot", "shut_down", "set_clock", "sync_clock"

ACTIONS_FILE = "system_actions.jsonl"
MAX_BYTES = 64 * 1024  # of recorded actions; the log has all of them
COMMAND_TIMEOUT_S = 20.0
MAX_OUTPUT_BYTES = 2000  # of what a command printed last
LOOK_EVERY_S = 0.05  # whether a command has ended whose output somebody else still holds

REMEDIES = {
    REBOOT: "The unit needs the right to reboot the machine (polkit: org.freedesktop.login1.reboot); "
    "see docs/system.md.",
    SHUT_DOWN: "The unit needs the right to power the machine off (polkit: org.freedesktop.login1.power-off); "
    "see docs/system.md. Switch it off by hand if the reactor is in danger.",
    SET_CLOCK: "The unit needs the right to set the time (polkit: org.freedesktop.timedate1.set-time), and the machine "
    "must not follow a network's time meanwhile (`timedatectl set-ntp false`); see docs/system.md.",
    SYNC_CLOCK: "Check that chrony runs (`chronyc tracking`). It takes `makestep` from root and from its own user "
    "only, and corrects the clock by itself, more slowly; see docs/system.md.",
}


def command_of(action: str, utc_clock_time: str = "") -> list[str]:
    """Return the words of the command that does `action`; `set_clock` takes a time such as `2026-01-31T12:45:00Z`."""
    if action == REBOOT:
        return ["systemctl", "--no-ask-password", "reboot"]
    if action == SHUT_DOWN:
        return ["systemctl", "--no-ask-password", "poweroff"]
    if action == SET_CLOCK:
        at = utc_clock_time.removesuffix("Z").replace("T", " ")
        return ["timedatectl", "--no-ask-password", "set-time", f"{at} UTC"]
    if action == SYNC_CLOCK:
        return ["chronyc", "makestep"]
    raise ValueError(f"{action!r} is no action")


class SystemAdapter(Protocol):
    """Does things to the machine.

    `run` returns `{"action", "reason", "command", "dry"}` with, for a command that ran, its `exit_code` (0) and the end
    of its `output`. Raises CommandFailed.
    """

    is_dry: bool

    def run(self, action: str, *, reason: str, utc_clock_time: str = "") -> Json:
        """Do `action` because of `reason`."""


class DrySystem:
    """Writes down in the file `record`, one JSON object a line, what it would run, and does nothing."""

    is_dry = True

    def __init__(self, record: Path) -> None:
        self._record = record

    def run(self, action: str, *, reason: str, utc_clock_time: str = "") -> Json:
        """Write the action down; a file that cannot be written is logged."""
        command = command_of(action, utc_clock_time)
        log.warning("Not run, since system commands are dry: %s (%s)", " ".join(command), reason)
        done = {"action": action, "reason": reason, "command": command, "dry": True}
        line = strict_json.dumps({"at": utc_timestamp(), **done, "done": False})
        try:
            if not self._record.exists() or self._record.stat().st_size < MAX_BYTES:
                with open(self._record, "ab") as file:
                    file.write(line + b"\n")
        except OSError as ex:
            log.error("The action cannot be written down in %s: %s.", self._record, ex.strerror)
        return done


class RealSystem:
    """Runs commands, found on `search_path` (as in PATH) and nowhere else, each with a time-out and no shell.

    The commands see `search_path` as their PATH too.
    """

    is_dry = False

    def __init__(self, search_path: str, timeout_s: float = COMMAND_TIMEOUT_S) -> None:
        self._search_path = search_path
        self._timeout_s = timeout_s

    def run(self, action: str, *, reason: str, utc_clock_time: str = "") -> Json:
        """Run the action's command. Raises CommandFailed when it is missing, fails, or does not end in time."""
        command = command_of(action, utc_clock_time)
        log.warning("Running %s (%s)", " ".join(command), reason)
        output = self._output_of(action, command)
        return {
            "action": action,
            "reason": reason,
            "command": command,
            "dry": False,
            "exit_code": 0,
            "output": output,
        }

    def _output_of(self, action: str, command: list[str]) -> str:
        program = shutil.which(command[0], path=self._search_path)
        if program is None:
            raise CommandFailed(
                f"{command[0]} is not installed, so the unit cannot run `{' '.join(command)}`.",
                cause=f"There is no executable {command[0]} on the path {self._search_path or '(empty)'}.",
                remediation=f"Install what {command[0]} belongs to, or do by hand what it would have done.",
            )
        code, output = self._run(action, program, command)
        if code != 0:
            how = f"failed with exit code {code}" if code > 0 else f"was killed by signal {-code}"
            raise CommandFailed(
                f"`{' '.join(command)}` {how}.",
                cause=f"It said: {output}" if output else "It said nothing.",
                remediation=REMEDIES[action],
            )
        return output

    def _run(self, action: str, program: str, command: list[str]) -> tuple[int, str]:
        import subprocess  # in the one forked child that needs it

        try:
            process = subprocess.Popen(
                command,
                executable=program,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={"PATH": self._search_path, "LC_ALL": "C"},
                process_group=0,
            )
        except OSError as ex:
            raise CommandFailed(
                f"`{' '.join(command)}` could not be started: {ex.strerror or ex}.", remediation=REMEDIES[action]
            ) from ex
        try:
            output, ended = _read_until_end(process, time.monotonic() + self._timeout_s)
        finally:
            _end_group(process)
        if not ended:
            raise CommandFailed(
                f"`{' '.join(command)}` was ended because it took longer than {self._timeout_s:g} s.",
                cause=f"It said: {output}" if output else "It said nothing.",
                remediation="Whether it did its work is unknown. Look at the machine before you try again.",
            )
        return process.returncode, output


def _read_until_end(process: subprocess.Popen[bytes], deadline: float) -> tuple[str, bool]:
    """Return the end of what the process printed, and whether it ended before `deadline` (monotonic).

    A process of its own that it leaves behind may hold its output for ever; nobody waits for that one.
    """
    assert process.stdout is not None
    tail = b""
    is_open = True
    while time.monotonic() < deadline:
        if is_open and select.select([process.stdout], [], [], LOOK_EVERY_S)[0]:
            data = os.read(process.stdout.fileno(), 65536)
            is_open = bool(data)
            tail = (tail + data)[-MAX_OUTPUT_BYTES:]
        elif process.poll() is not None:
            break
        elif not is_open:
            time.sleep(LOOK_EVERY_S)
    return tail.decode("utf-8", "replace").strip(), process.poll() is not None


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the process, and what it started in its group, if it still runs."""
    assert process.stdout is not None
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    process.stdout.close()


def end_with_command(_number: int, _frame: object) -> NoReturn:
    """Answer a signal by leaving `run`, which ends the command; for the process that runs one."""
    raise SystemExit(1)
