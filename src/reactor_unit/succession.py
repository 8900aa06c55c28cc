"""How a unit makes way for its new version: the same process, by exec, with the same listening socket."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import NoReturn

from reactor_unit.clock import boot_clock, boot_id
from reactor_unit.environment import LISTENER, OVER, TRIAL, CannotChange, Environment, Record

log = logging.getLogger(__name__)

WATCH_WITHIN_S = 30.0
TOLD_FOR_S = 24 * 3600.0  # as long as tasks are kept


def adopt_listener(environ: MutableMapping[str, str]) -> socket.socket | None:
    """Return the listening socket that a predecessor left to this process, None where there is none."""
    said = environ.pop(LISTENER, "")
    if not said.isdecimal():
        return None
    try:
        listener = socket.socket(fileno=int(said))
        listener.set_inheritable(False)
        if listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return listener
        listener.detach()
    except OSError as ex:
        log.warning("No listening socket was handed over: %s.", ex)
    return None


def last_update(data_folder: Path) -> Record | None:
    """Return the record of this unit's last update, while its task is to be told of; None where there is none."""
    try:
        record = Environment.current().read_record()
    except CannotChange:
        return None
    if record is None or record.get("data_folder") != str(data_folder.resolve()):
        return None
    if record.get("boot_id") != boot_id():
        record["accepted_stamp"] = boot_clock()
    return record if boot_clock() - record["accepted_stamp"] < TOLD_FOR_S else None


def become_new(listener: socket.socket, environ: Mapping[str, str]) -> NoReturn:
    """Put the prepared version in place, have it watched, and become it; where that fails, become what there is.

    Nothing of the unit runs any more but this process. `environ` is added to the environment of the new program.
    """
    argv = [sys.executable, *sys.orig_argv[1:]]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # nothing has to be ended any more
    for name, value in environ.items():
        os.environ[name] = value
    listener.set_inheritable(True)
    try:
        _put_in_place(listener, argv, is_managed="NOTIFY_SOCKET" in environ)
    except (CannotChange, OSError, KeyError) as ex:
        log.critical("The update is not made: %s", ex)
    os.environ[LISTENER] = str(listener.fileno())
    sys.stdout.flush()
    os.execv(argv[0], argv)


def _put_in_place(listener: socket.socket, argv: list[str], *, is_managed: bool) -> None:
    import subprocess  # here alone: it is no small one

    environment = Environment.current()
    record = environment.read_record()
    if record is None:
        raise CannotChange("There is no record of what was prepared.")
    host, port = listener.getsockname()[:2]
    trial = {
        "pid": os.getpid(),
        "host": {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host),
        "port": port,
        "argv": argv,
        "cwd": os.getcwd(),
        "is_managed": is_managed,
        "fd": listener.fileno(),
    }
    failed = record.pop("failed")
    environment.write_record({**record, "state": TRIAL, "trial": trial})
    try:
        subprocess.run(
            [sys.executable, "-I", "-m", "reactor_unit.update_watch", record["id"]],
            stdin=subprocess.DEVNULL,
            pass_fds=(listener.fileno(),),
            timeout=WATCH_WITHIN_S,
            check=True,
        )
        environment.exchange()
    except (OSError, subprocess.SubprocessError) as ex:
        said = {**failed, "error": "It could not be put in place.", "cause": str(ex)}
        environment.write_record({**record, "state": OVER, "failed": said})
        raise CannotChange(str(ex)) from ex
    log.info("Version %s makes way for %s.", record["from"], record["to"])
