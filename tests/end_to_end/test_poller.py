"""Client and poller against real units: fleets, killed processes, the command `reactor-unit poll`."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from harness import DEADLINE_S, wait_for

from reactor_unit.client.poll import Change, Poller
from reactor_unit.testing import SimulatedUnit

Fleet = Callable[..., list[SimulatedUnit]]
NOWHERE = "http://127.0.0.1:1"


def next_change(poller: Poller, kind: str, name: str, within_s: float = DEADLINE_S) -> Change:
    seen: list[Change] = []
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        seen += poller.next_changes(0.1) or []
        for change in seen:
            if (change.kind, change.name) == (kind, name):
                return change
    raise AssertionError(f"no {kind} of {name} in {seen}")


def test_what_happens_at_units_of_a_fleet_is_told(reactor_fleet: Fleet) -> None:
    first, second, third = reactor_fleet(3, name="pio")
    urls = [unit.url for unit in (first, second, third)]
    with Poller([*urls, NOWHERE], every_s=0.1, timeout_s=2.0) as poller:
        assert poller.wait_for_first_answers(DEADLINE_S)
        second.run_job("stirring", target_rpm=400)
        started = next_change(poller, "job_started", "pio2")
        assert started.job_name == "stirring"
        second.client.set_setting("stirring", "target_rpm", 450)
        wait_for(
            lambda: any(
                (change.what, change.after) == ("target_rpm", 450.0) for change in poller.next_changes(1.0) or []
            ),
            "the new speed",
        )
        os.kill(first.pid, signal.SIGKILL)
        assert next_change(poller, "unreachable", "pio1").after
        third.run_job("stirring")
        assert next_change(poller, "job_started", "pio3").url == third.url
        states = poller.table()
    assert [state.is_reachable for state in states] == [False, True, True, False]
    assert states[1].jobs["1"].settings["target_rpm"] == 450.0
    assert states[1].answered_at is not None


@pytest.mark.reactor_unit(speed=60, name="hot")
def test_a_latched_fault_and_its_clearing_are_told(reactor_unit: SimulatedUnit) -> None:
    unit = reactor_unit
    unit.run_job("temperature_automation", automation_name="thermostat", target_temperature=33)
    unit.advance(600.0)
    with Poller([unit.url], every_s=0.1) as poller:
        unit.inject("heater_stuck_on")
        latched = next_change(poller, "fault_latched", "hot")
        assert (latched.what, latched.job_name) == ("heater_stuck_on", "temperature_automation")
        unit.clear()
        unit.client.wait_for(unit.client.stop_all_jobs()["task_id"])
        unit.client.clear_fault(unit.client.faults()[0]["id"])
        assert next_change(poller, "fault_cleared", "hot").what == "heater_stuck_on"


def web_process(unit: SimulatedUnit) -> psutil.Process | None:
    """Return the process that answers, as the unit itself tells it; None while there is none."""
    pids = [child for child in psutil.Process(unit.pid).children() if child.is_running()]
    with contextlib.suppress(psutil.Error):
        for child in pids:
            if any(conn.status == psutil.CONN_ESTABLISHED for conn in child.net_connections("tcp")):
                return child
    return None


def test_starts_and_reads_go_on_while_web_processes_are_killed(reactor_unit: SimulatedUnit) -> None:
    """A request that breaks in the middle is made again, and a start that was made again is one start."""
    client = reactor_unit.client
    client.health()
    killed = 0
    for _ in range(4):
        web = web_process(reactor_unit)
        assert web is not None
        web.kill()
        killed += 1
        accepted = client.run_job("stirring")
        result = client.wait_for(accepted["task_id"])
        assert result["job_name"] == "stirring"
        assert len(client.running_jobs()) == 1
        client.wait_for(client.stop_all_jobs()["task_id"])
        time.sleep(1.0)  # the same job may be started once a second
    assert killed == 4
    assert len(client.job_history()) == 4


def test_a_wait_is_one_request(reactor_unit: SimulatedUnit) -> None:
    client = reactor_unit.client
    asked: list[str] = []
    client._http.event_hooks = {"request": [lambda request: asked.append(request.url.path)]}
    accepted = client.run_job("stirring")
    assert client.wait_for(accepted["task_id"])["state"] == "ready"
    assert len(asked) == 2


# The command


@contextlib.contextmanager
def command(*words: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "reactor_unit", "poll", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_command_prints_a_change_a_line_until_it_is_interrupted(reactor_fleet: Fleet) -> None:
    first, second = reactor_fleet(2)
    with command(first.url, second.url, NOWHERE, "--json", "--every", "0.2") as process:
        assert process.stdout is not None
        kinds = [json.loads(process.stdout.readline())["kind"] for _ in range(3)]
        assert sorted(kinds) == ["reachable", "reachable", "unreachable"]
        second.run_job("stirring")
        change = json.loads(process.stdout.readline())
        assert (change["kind"], change["name"], change["job_name"]) == ("job_started", "unit2", "stirring")
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("more", "code"), [([], 0), ([NOWHERE], 3), (["ftp://x"], 2)], ids=["all answer", "one does not", "no URL"]
)
def test_once_says_by_its_exit_code_whether_all_answered(
    reactor_unit: SimulatedUnit, more: list[str], code: int
) -> None:
    with command(reactor_unit.url, *more, "--once") as process:
        out, _ = process.communicate(timeout=30)
        assert process.returncode == code
    assert ("unit1" in out) == (code != 2)


def test_on_a_terminal_it_keeps_a_table(reactor_unit: SimulatedUnit, tmp_path: Path) -> None:
    reactor_unit.run_job("stirring")
    leader, follower = pty.openpty()
    words = [sys.executable, "-m", "reactor_unit", "poll", reactor_unit.url, NOWHERE, "--every", "0.2"]
    with subprocess.Popen(words, stdout=follower, stderr=subprocess.DEVNULL) as process:
        os.close(follower)
        shown = ""
        try:
            while not ("ok" in shown and "unreachable" in shown and shown.count("\x1b[J") > 2):
                shown += os.read(leader, 65536).decode()
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE_S) == 130
        finally:
            process.kill()
            os.close(leader)
    assert "unit1  " in shown
    assert "stirring" in shown
    assert "job started" in shown
