"""A real unit administers its machine, which here are stand-ins; its web process is replaced under load."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness import DEADLINE_S, RunningUnit, running_unit, wait_for
from stand_ins import stand_in

THREADS = 6
RESTARTS = 5


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """The whole PATH of the unit."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


@pytest.fixture
def real(tmp_path: Path, bin_folder: Path) -> Iterator[RunningUnit]:
    """A unit that runs commands: those that a test made, and no other."""
    with running_unit(tmp_path, "--system", "real", environ={"PATH": str(bin_folder)}) as unit:
        yield unit


def written(unit: RunningUnit) -> list[dict[str, Any]]:
    path = unit.run_directory / "system_actions.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def set_clock(unit: RunningUnit) -> str:
    return unit.accepted("/system/utc_clock", {"utc_clock_time": "2026-01-31T12:45:00Z"})


# Commands


def test_a_simulated_reactor_reboots_nobodys_machine(unit: RunningUnit) -> None:
    assert "system commands dry" in unit.first_line
    for path, action in (("reboot", "reboot"), ("shutdown", "shut_down")):
        result = unit.ended(unit.accepted(f"/system/{path}"))["result"]
        assert (result["action"], result["dry"]) == (action, True)
    assert [each["action"] for each in written(unit)] == ["reboot", "shut_down"]


def test_jobs_are_stopped_before_the_machine_reboots_and_start_again_if_it_stays(tmp_path: Path) -> None:
    with running_unit(tmp_path, monitor=True) as unit:
        wait_for(lambda: unit.get("/jobs/running/monitor").json, "its first job")
        unit.run_stirring(target_rpm=300)
        result = unit.ended(unit.accepted("/system/reboot"))["result"]
        assert result["not_stopped"] == []
        assert not unit.stirrer_is_driven()
        ended = {row["job_name"]: row["state"] for row in unit.get("/jobs").json if row["ended_at"]}
        assert ended == {"stirring": "disconnected", "monitor": "disconnected"}
        wait_for(lambda: unit.get("/jobs/running/monitor").json, "the unit's own job")
        assert unit.get("/jobs/running/stirring").json == []
        unit.run_stirring(target_rpm=300)


def test_the_real_commands_are_run_and_their_output_is_told(real: RunningUnit, bin_folder: Path) -> None:
    assert "system commands real" in real.first_line
    clock = stand_in(bin_folder, "timedatectl", says="clock set")
    result = real.ended(set_clock(real))["result"]
    assert (result["exit_code"], result["output"], result["dry"]) == (0, "clock set", False)
    assert clock.read_text() == "--no-ask-password set-time 2026-01-31 12:45:00 UTC\n"
    power = stand_in(bin_folder, "systemctl")
    assert real.ended(real.accepted("/system/reboot"))["result"]["exit_code"] == 0
    assert power.read_text() == "--no-ask-password reboot\n"
    refused = real.post("/jobs/run/job_name/stirring")  # the machine is on its way down
    assert (refused.status, "about to reboot" in refused.json["error"]) == (503, True)


def test_a_unit_that_does_not_lead_has_its_clock_fetched(tmp_path: Path, bin_folder: Path) -> None:
    calls = stand_in(bin_folder, "chronyc", says="200 OK")
    (tmp_path / "dot").mkdir()
    (tmp_path / "dot" / "config.ini").write_text("[cluster.topology]\nleader_hostname=leader\n")
    with running_unit(tmp_path, "--system", "real", environ={"PATH": str(bin_folder)}) as unit:
        assert unit.ended(unit.accepted("/system/utc_clock"))["result"]["output"] == "200 OK"
        assert calls.read_text() == "makestep\n"
        assert unit.get("/system/web_server/status").status == 403
        assert unit.post("/system/web_server/restart").status == 403


def test_a_command_that_fails_or_is_missing_leaves_a_unit_that_works(real: RunningUnit, bin_folder: Path) -> None:
    missing = real.ended(set_clock(real))
    assert (missing["status"], "timedatectl is not installed" in missing["error"]) == ("failed", True)
    stand_in(bin_folder, "systemctl", code=1, says="Interactive authentication required")
    failed = real.ended(real.accepted("/system/shutdown"))
    assert "Interactive authentication required" in failed["error_info"]["cause"]
    assert "start them again" in failed["error_info"]["remediation"]
    real.run_stirring(target_rpm=300)


def test_a_second_request_is_told_the_lock_while_a_command_runs(real: RunningUnit, bin_folder: Path) -> None:
    calls = stand_in(bin_folder, "timedatectl", hangs=True)
    task = set_clock(real)
    wait_for(calls.exists, "the command")
    second = real.post("/system/utc_clock", {"utc_clock_time": "2026-01-31T12:45:00Z"})
    assert (second.status, second.json) == (202, {"status": "in_progress", "lock": "clock-lock"})
    assert real.post("/jobs/stop/all").status == 202  # a command that hangs holds up nothing else
    with open(bin_folder / "timedatectl.pipe", "w") as pipe:
        pipe.write("end\n")
    assert real.ended(task)["status"] == "complete"


def test_a_command_that_hangs_ends_with_its_unit(real: RunningUnit, bin_folder: Path) -> None:
    calls = stand_in(bin_folder, "timedatectl", hangs=True)
    set_clock(real)
    wait_for(calls.exists, "the command")
    family = real.children()
    assert any("timedatectl" in " ".join(process.cmdline()) for process in family)
    real.end()
    wait_for(lambda: not any(process.is_running() for process in family), "the end of all its processes")


def test_tasks_are_stopped_before_the_power_goes(real: RunningUnit, bin_folder: Path) -> None:
    power = stand_in(bin_folder, "systemctl")
    check = real.accepted("/hardware/check")
    wait_for(lambda: real.task(check)["status"] == "in_progress", "a check that runs")
    assert real.ended(real.accepted("/system/shutdown"))["status"] == "complete"
    assert power.read_text() == "--no-ask-password poweroff\n"
    ended = real.ended(check)
    assert (ended["status"], "about to power off" in ended["error"]) == ("failed", True)


# The web process


class Client(threading.Thread):
    """Asks as fast as it can, on connections that it keeps or on new ones; notes whatever goes wrong."""

    def __init__(self, port: int, *, keeps: bool, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.keeps = keeps
        self.stop = stop
        self.answers = 0
        self.told_to_close = 0
        self.failures: list[str] = []

    def run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self.stop.is_set():
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
                if self.answers % 5:
                    connection.request("GET", "/unit_api/jobs/running")
                else:
                    connection.request("POST", "/unit_api/jobs/stop", b'{"job_name":"no_such"}')
                response = connection.getresponse()
                response.read()
                if response.status not in (200, 202):
                    self.failures.append(str(response.status))
                self.answers += 1
                closes = response.getheader("Connection") == "close"
                self.told_to_close += closes
                if closes or not self.keeps:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as ex:
                self.failures.append(repr(ex))
                connection = None
        if connection is not None:
            connection.close()


def restart(unit: RunningUnit) -> dict[str, Any]:
    record = unit.ended(unit.accepted("/system/web_server/restart"))
    assert record["status"] == "complete", record
    return dict(record["result"])


def test_no_request_fails_while_the_web_process_is_replaced_and_jobs_go_on(unit: RunningUnit) -> None:
    job = unit.run_stirring(target_rpm=300)
    stop = threading.Event()
    clients = [Client(unit.port, keeps=number % 2 == 0, stop=stop) for number in range(THREADS)]
    for client in clients:
        client.start()
    pids = [unit.web().pid]
    try:
        for _ in range(RESTARTS):
            before = sum(client.answers for client in clients)
            result = restart(unit)
            assert result["previous_pid"] == pids[-1]
            pids.append(result["pid"])
            wait_for(lambda: sum(c.answers for c in clients) > before + 50, "answers of the new one")  # noqa: B023
    finally:
        stop.set()
        for client in clients:
            client.join(DEADLINE_S)
    assert [client.failures for client in clients] == [[]] * THREADS
    assert sum(client.told_to_close for client in clients if client.keeps) >= RESTARTS
    assert len(set(pids)) == RESTARTS + 1
    (row,) = unit.get("/jobs/running/stirring").json
    assert (row["job_id"], row["pid"]) == (job["job_id"], job["pid"])
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids[:-1]), "the end of those replaced")
    assert "unexpected" not in unit.log()


def test_a_request_that_began_before_is_answered_by_the_one_it_reached(unit: RunningUnit) -> None:
    body = b'{"job_name":"no_such"}'
    head = b"POST /unit_api/jobs/stop HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", unit.port), timeout=DEADLINE_S) as connection:
        connection.sendall(head + body[:5])
        old = unit.web().pid
        wait_for(lambda: len(psutil.Process(old).net_connections("tcp")) >= 2, "the connection")
        assert restart(unit)["previous_pid"] == old
        assert psutil.pid_exists(old)
        connection.sendall(body[5:])
        answer = b""
        while b"result_url_path" not in answer:
            piece = connection.recv(4096)
            assert piece, answer
            answer += piece
    assert answer.startswith(b"HTTP/1.1 202")
    assert b"Connection: close" in answer
    task_id = json.loads(answer.partition(b"\r\n\r\n")[2])["task_id"]
    assert unit.ended(task_id)["result"] == {"stopped": []}


def test_the_task_of_a_restart_can_be_read_again(unit: RunningUnit) -> None:
    old = unit.web()
    accepted = unit.accepted("/system/web_server/restart")
    record = unit.ended(accepted)
    assert record["result"]["previous_pid"] == old.pid
    assert unit.task(accepted) == record  # it can be read again


def test_a_unit_that_ends_takes_those_along_that_finish_what_they_have(unit: RunningUnit) -> None:
    with socket.create_connection(("127.0.0.1", unit.port), timeout=DEADLINE_S) as connection:
        connection.sendall(b"GET /unit_api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        old = restart(unit)["previous_pid"]  # which has a connection that is kept
        assert psutil.pid_exists(old)
        family = unit.children()
        assert unit.end() == 0
        wait_for(lambda: not any(process.is_running() for process in family), "the end of all its processes")


def test_readings_and_records_written_by_both_are_all_there(unit: RunningUnit) -> None:
    unit.run_stirring(target_rpm=300)
    wait_for(lambda: unit.get("/readings/names").json["names"], "a reading")
    before = unit.get("/readings").json["readings"]
    tasks = [unit.ended(unit.accepted("/jobs/stop", {"job_name": "no_such"}))["task_id"] for _ in range(3)]
    restart(unit)
    restart(unit)
    after = unit.get("/readings").json["readings"]
    assert after[: len(before)] == before
    assert [unit.task(task)["status"] for task in tasks] == ["complete"] * 3
    assert os.path.exists(unit.run_directory)
