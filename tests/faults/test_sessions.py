"""Processes killed in the middle of calibration sessions: no session is lost or unreadable, nothing is half written."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import RunningUnit, running_unit, wait_for

from reactor_unit.calibrations.store import CALIBRATIONS

SESSIONS = "/calibrations/sessions"
FIELDS = {
    "name_input": {"calibration_name": "killed"},
    "name_overwrite_confirm": {"overwrite": True},
    "volume_targets": {"mls_to_calibrate_for": [0.3]},
    "pwm_settings": {"hz": 250, "dc": 100},
    "prime_pump_duration": {"prime_duration_s": 5},
    "tracer_volume": {"volume_ml": 0.09},
    "test_volume": {"volume_ml": 0.3},
    "bad_fit": {"next_action": "save it all the same", "point": 1},
}


class Walker:
    """A client that takes one session after another through its steps, however often it is interrupted."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.unit: RunningUnit | None = None
        self.acknowledged: dict[str, int] = {}  # by session: the step up to which the unit said that it was taken
        self.finished = 0
        self.unexpected: list[Any] = []
        self._session_id: str | None = None

    def walk(self) -> None:
        while not self.over.wait(0.001):
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._take_a_step()

    def _take_a_step(self) -> None:
        unit = self.unit
        assert unit is not None
        if self._session_id is None:
            begun = unit.post(SESSIONS, {"target_device": "media_pump", "protocol_name": "duration_based"})
            if begun.status == 201:
                self._session_id = begun.json["session"]["session_id"]
                self.acknowledged[self._session_id] = 0
            return
        shown = unit.get(f"{SESSIONS}/{self._session_id}")
        if shown.status != 200:
            self.unexpected.append(shown)
            return
        session = shown.json["session"]
        if session["status"] != "in_progress":
            self.finished += 1
            self._session_id = None
            return
        body = {"inputs": FIELDS.get(session["step_id"], {}), "revision": session["revision"]}
        answer = unit.ask("POST", f"{SESSIONS}/{session['session_id']}/inputs", body, timeout_s=20)
        if answer.status == 200:
            self.acknowledged[session["session_id"]] = answer.json["session"]["revision"]
        elif answer.status not in (409, 500, 503):  # the step is still being taken; a worker died; the unit is ending
            self.unexpected.append(answer)


@contextlib.contextmanager
def walking(walker: Walker) -> Iterator[None]:
    thread = threading.Thread(target=walker.walk)
    thread.start()
    try:
        yield
    finally:
        walker.over.set()
        thread.join()


def victim(unit: RunningUnit, kind: str) -> int:
    """Return the process to kill; a worker where there is one, else the web process."""
    web = unit.web().pid
    if kind == "supervisor":
        return unit.process.pid
    workers = [child.pid for child in unit.children() if child.pid != web]
    return workers[0] if kind == "worker" and workers else web


def check(unit: RunningUnit, walker: Walker, path: Path) -> None:
    """Every session that was acknowledged is there, at that step or a later one; every file and database is whole."""
    wait_for(lambda: is_served(unit), "a unit that serves")
    for session_id, revision in list(walker.acknowledged.items()):
        shown = unit.get(f"{SESSIONS}/{session_id}")
        assert shown.status == 200, shown
        assert shown.json["session"]["revision"] >= revision
        assert shown.json["step"] is not None
    for file in path.rglob("*.yaml"):
        CALIBRATIONS.load(file.read_bytes())
    assert not list(path.rglob("*.corrupt-*"))
    with contextlib.closing(sqlite3.connect(path / "local_persistent_pioreactor_metadata.sqlite")) as database:
        assert database.execute("PRAGMA quick_check").fetchone() == ("ok",)


def is_served(unit: RunningUnit) -> bool:
    try:
        return unit.get("/health").status == 200
    except (OSError, http.client.HTTPException):
        return False


def kill_rounds(tmp_path: Path, rounds: int) -> None:
    moments, walker = random.Random(5), Walker()
    storage = tmp_path / "dot" / "storage"
    number = 0
    with contextlib.ExitStack() as threads:
        while number < rounds:
            with running_unit(tmp_path, "--speed", "60") as unit:
                walker.unit = unit
                if number == 0:
                    threads.enter_context(walking(walker))
                kind = ""
                while kind != "supervisor" and number < rounds:
                    threading.Event().wait(moments.uniform(0.0, 0.3))
                    kind = moments.choice(("web", "web", "worker", "worker", "supervisor"))
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(victim(unit, kind), signal.SIGKILL)
                    number += 1
                    if kind != "supervisor":
                        check(unit, walker, storage)
                for session_id in list(walker.acknowledged)[:-5]:  # those expire in time
                    del walker.acknowledged[session_id]
    with running_unit(tmp_path, "--speed", "60") as unit:
        check(unit, walker, storage)
    assert walker.unexpected == []
    print(f"\n{rounds} kills: {walker.finished} sessions walked to their end, none lost or unreadable")


@pytest.mark.timeout(180)
def test_kills_in_the_middle_of_sessions_lose_none(tmp_path: Path) -> None:
    kill_rounds(tmp_path, 20)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_two_hundred_kills_in_the_middle_of_sessions_lose_none(tmp_path: Path) -> None:
    kill_rounds(tmp_path, 200)
