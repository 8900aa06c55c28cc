"""Preparing an update, in a child of the supervisor's: installed beside, checked, started once as a unit of its own."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from reactor_unit import __version__
from reactor_unit.channel import Channel, ChannelClosed, Message
from reactor_unit.clock import boot_id
from reactor_unit.environment import MARK, OVER, BeingChanged, CannotChange, Environment, Record
from reactor_unit.errors import Conflict, InstallFailed, UnitError, from_exception
from reactor_unit.install_requests import OWN_NAME, Wanted
from reactor_unit.update_watch import served_version
from reactor_unit.workers.installer import Found, Installer, be_humble, check_pip, end_group, environ_for_programs
from reactor_unit.workers.plugin_tasks import LATER, OWNERSHIP
from reactor_unit.workers.task_desk import Task

log = logging.getLogger(__name__)

STEPS = 6
START_WITHIN_S = 120.0  # a unit takes 10 s on a Pi Zero 2 W, while another one works
END_WITHIN_S = 20.0
LOOK_EVERY_S = 0.3
FREE_WITHIN_S = 30.0  # the old version's files are deleted after the outcome is known
CONFIGS = ("config.ini", "unit_config.ini")


def prepare(channel: Channel, task: Task, folder: Path) -> None:
    """Prepare the update of the unit with this data folder; see `update_desk.Updater`."""
    try:
        check_pip()
        environment = Environment.current()
        with environment.locked():
            said = _prepare(channel, environment, task, folder)
            if "prepared" in said:
                channel.send(said)
                while True:
                    channel.receive()
        channel.send(said)
    except BeingChanged as ex:
        _refuse(channel, Conflict(str(ex), remediation=LATER))
    except CannotChange as ex:
        _refuse(channel, InstallFailed(str(ex), remediation=OWNERSHIP))
    except ChannelClosed:
        return
    except Exception as ex:
        if not isinstance(ex, UnitError):
            log.exception("An update failed.")
        _refuse(channel, from_exception(ex))


def _prepare(channel: Channel, environment: Environment, task: Task, folder: Path) -> Message:
    """Return what is to be said: `prepared`, or the `result` where pip had no other version, and no job has to end."""

    def progress(done: int, message: str) -> None:
        channel.send({"progress": {"done": done, "total": STEPS, "message": message}})

    progress(0, "copies the environment")
    installer = Installer(environment, folder)
    progress(1, "installs the new version")
    wanted = Wanted(**task.args)
    installer.install(wanted, {})
    progress(2, "checks the new version")
    found = installer.check()
    if found.version == __version__ and not wanted.source:
        with suppress(OSError):  # the next change deletes it
            environment.drop_copy()
        return outcome({**_record(task, folder, found), "failed": None})
    progress(3, "starts the new version, beside this one")
    _try_start(environment, folder, found)
    (environment.copy.packages / MARK).write_text(task.task_id)
    environment.write_record(_record(task, folder, found))
    os.sync()  # here, so that there is little left to write when the unit stands still
    progress(4, "stops jobs and restarts")
    return {"prepared": {"from": __version__, "to": found.version}}


def _record(task: Task, folder: Path, found: Found) -> Record:
    return {
        "id": task.task_id,
        "accepted_at": task.accepted_at,
        "accepted_stamp": task.accepted_stamp,
        "boot_id": boot_id(),
        "data_folder": str(folder.resolve()),
        "from": __version__,
        "to": found.version,
        "state": OVER,
        "failed": _failed("The unit was ended before the restart."),
        "broken_plugins": {name: error for name, error in found.plugins.items() if error is not None},
    }


def await_outcome(channel: Channel, update_id: str) -> None:
    """Say how an update ended, as soon as that is known."""
    environment = Environment.current()
    channel.send({"progress": {"done": 5, "total": STEPS, "message": "the new version has to prove itself"}})
    while True:
        record = environment.read_record()
        if record is None or record["id"] != update_id:
            _refuse(channel, InstallFailed("What became of the update is unknown.", cause="Its record is gone."))
            return
        if record["state"] == OVER:
            _wait_until_free(environment)
            channel.send(outcome(record))
            return
        with suppress(CannotChange), environment.locked():
            _settle(environment, record)  # nobody watches any more, and the unit that asks is there
        time.sleep(LOOK_EVERY_S)


def _wait_until_free(environment: Environment) -> None:
    """Wait for the watch to end: with the task's end the environment may be changed again."""
    deadline = time.monotonic() + FREE_WITHIN_S
    while time.monotonic() < deadline:
        try:
            with environment.locked():
                return
        except BeingChanged:
            time.sleep(LOOK_EVERY_S)
        except CannotChange:
            return


def _settle(environment: Environment, record: Record) -> None:
    """Write down how a trial ended whose watch was killed: this process belongs to a unit that has started."""
    if environment.read_record() == record:
        failed = None if environment.is_in_place(record["id"]) else record.get("failed") or _failed("It was put back.")
        environment.write_record({**record, "state": OVER, "failed": failed})


def _failed(error: str) -> dict[str, str]:
    return {"error": error, "cause": "", "version": __version__}


def outcome(record: dict[str, Any]) -> dict[str, Any]:
    """Return the last word on an update that is over: `{"result"}` or `{"error"}`."""
    failed = record.get("failed")
    if failed is None:
        result = {name: record[name] for name in ("from", "to", "broken_plugins")}
        return {"result": {"name": OWN_NAME, **result}}
    error = InstallFailed(
        f"The update from {record['from']} to {record['to']} failed: {failed['error']} Version {failed['version']} "
        "is in place.",
        cause=failed["cause"] or failed["error"],
        remediation="The unit's log says more.",
    )
    return {"error": error.to_dict()}


def _refuse(channel: Channel, error: UnitError) -> None:
    with suppress(ChannelClosed):
        channel.send({"error": error.to_dict()})


def _try_start(environment: Environment, folder: Path, found: Found) -> None:
    """Start the new version as a unit of its own, with simulated hardware and this unit's configuration.

    Raises InstallFailed unless it serves, says its version, and ends when it is asked to.
    """
    trial = environment.folder / "trial"
    shutil.rmtree(trial, ignore_errors=True)
    dot = trial / "dot"
    dot.mkdir(parents=True)
    for name in CONFIGS:
        with suppress(FileNotFoundError):
            shutil.copyfile(folder / name, dot / name)
    (trial / "run").mkdir(mode=0o700)
    words = ["serve", "--dot", str(dot), "--host", "127.0.0.1", "--port", "0", "--name", "trial", "--no-monitor"]
    with open(trial / "output.txt", "wb") as output:
        process = subprocess.Popen(
            [str(environment.copy.python), "-I", "-m", "reactor_unit", *words, "--hardware", "simulated"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**environ_for_programs(os.environ), "RUNTIME_DIRECTORY": str(trial / "run"), "PYTHONUNBUFFERED": "1"},
            cwd=trial,
            process_group=0,
            preexec_fn=be_humble,
        )
        try:
            problem = _watch_start(process, trial / "output.txt", found.version)
        finally:
            end_group(process)
    if problem:
        said = (trial / "output.txt").read_text(errors="replace")[-2000:].strip()
        raise InstallFailed(f"The version {found.version} does not start.", cause=f"{problem} {said}".strip())
    shutil.rmtree(trial, ignore_errors=True)


def _watch_start(process: subprocess.Popen[bytes], output: Path, version: str) -> str:
    """Return what is wrong with the start of a unit, "" if nothing is."""
    deadline = time.monotonic() + START_WITHIN_S
    answered = ""
    while time.monotonic() < deadline and process.poll() is None and not answered:
        found = re.search(r"listens on http://127\.0\.0\.1:(\d+)", output.read_text(errors="replace"))
        answered = served_version("127.0.0.1", int(found[1])) if found else ""
        time.sleep(LOOK_EVERY_S)
    if process.returncode is not None:
        return f"It ended with exit code {process.returncode}."
    if answered != f"v{version}":
        return f"It did not answer within {START_WITHIN_S:g} s." if not answered else f"It says it is {answered}."
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(END_WITHIN_S)
    except subprocess.TimeoutExpired:
        return f"It did not end within {END_WITHIN_S:g} s."
    return "" if code == 0 else f"Asked to end, it ended with exit code {code}."
