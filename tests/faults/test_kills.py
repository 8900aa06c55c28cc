"""kill -9 and SIGSTOP to each process of a unit: outputs go low, tasks fail with their cause, the rest goes on."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from harness import DEADLINE_S, RunningUnit, kill, running_unit, stop_all, wait_for

from reactor_unit.job_history import JobHistory

UNIT_WITH_TASKS = (str(Path(__file__).parent.parent / "unit_with_tasks.py"),)


@pytest.fixture
def working_unit(tmp_path: Path) -> Iterator[RunningUnit]:
    """A unit whose pool has tasks for tests, and two workers."""
    with running_unit(tmp_path, "--workers", "2", program=UNIT_WITH_TASKS) as running:
        yield running


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def worker_pid(unit: RunningUnit, task_id: str) -> int:
    """Return the process that works on a `wait` task."""
    message = wait_for(lambda: unit.task(task_id).get("progress", {}).get("message"), "progress")
    return int(message.rsplit(" ", 1)[1])


def test_a_killed_job_is_lost_and_its_output_low(unit: RunningUnit) -> None:
    row = unit.run_stirring()
    assert unit.stirrer_is_driven()
    unit.plant().wait_until_off(unit.stirrer_is_driven, kill(row["pid"]), 1.0)
    wait_for(lambda: unit.get("/jobs/running").json == [], "no running job")
    (past,) = unit.get("/jobs").json
    assert past["state"] == "lost"
    assert "SIGKILL" in past["cause"]
    unit.run_stirring()  # and its name is free again


@pytest.mark.parametrize(
    "description",
    ["pwm_to_pin: [not yet\n", 'pwm_to_pin: {"1": 5, "2": 13, "3": 16, "4": 12, "5": 18}\n'],
    ids=["being written", "another pin"],
)
def test_a_changed_hardware_description_keeps_no_output_on(unit: RunningUnit, description: str) -> None:
    row = unit.run_stirring()
    folder = unit.dot / "hardware" / "hats" / "1.2"
    folder.mkdir(parents=True)
    (folder / "pwm.yaml").write_text(description)
    os.kill(row["pid"], signal.SIGKILL)
    wait_for(lambda: not unit.jobs_pids(), "the end of the job")
    assert not unit.stirrer_is_driven()
    assert unit.end() == 0


def test_a_killed_job_that_was_not_ready_fails_its_task(unit: RunningUnit) -> None:
    task_id = unit.accepted("/jobs/run/job_name/stirring", {})  # it is ready after a kick of half a second
    (row,) = unit.get("/jobs/running").json
    killed_at_s = kill(row["pid"])
    record = unit.ended(task_id)
    assert record["status"] == "failed"
    assert "SIGKILL" in record["error_info"]["cause"]
    unit.plant().wait_until_off(unit.stirrer_is_driven, killed_at_s, 1.0)


def test_stops_while_a_dead_jobs_outputs_are_made_safe_harm_nothing(unit: RunningUnit) -> None:
    for _ in range(3):
        row = unit.run_stirring()
        os.kill(row["pid"], signal.SIGKILL)
        tasks = [unit.accepted("/jobs/stop/all") for _ in range(30)]
        assert all(unit.ended(task_id)["status"] == "complete" for task_id in tasks)
        assert not unit.stirrer_is_driven()
    assert unit.process.poll() is None


def test_the_unit_can_be_ended_while_a_dead_jobs_outputs_are_made_safe(unit: RunningUnit) -> None:
    row = unit.run_stirring()
    os.kill(row["pid"], signal.SIGKILL)
    assert unit.end() == 0
    assert not unit.stirrer_is_driven()


STUCK = """
import os, sys
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.serve_command import main

make_safe = Hardware.make_safe

def make_safe_unless_stuck(self, outputs):
    if os.path.exists("stuck"):
        raise HardwareFault("It is stuck.")
    make_safe(self, outputs)

Hardware.make_safe = make_safe_unless_stuck
sys.exit(main(sys.argv[1:]))
"""


def test_a_unit_whose_outputs_cannot_be_made_safe_answers_and_starts_no_job_until_they_are(tmp_path: Path) -> None:
    stuck = tmp_path / "stuck"
    stuck.touch()
    with running_unit(tmp_path, program=("-c", STUCK)) as unit:
        refused = unit.ask("POST", "/jobs/run/job_name/stirring", {})
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert refused.json["error"] == "The outputs have not been made safe yet."
        stuck.unlink()
        wait_for(lambda: unit.ask("POST", "/jobs/run/job_name/stirring", {}).status == 202, "a start")


def test_a_web_process_that_is_killed_with_a_full_line_is_replaced(working_unit: RunningUnit) -> None:
    web = working_unit.web()
    task_id = working_unit.accepted("/test/chatter", {"seconds": 1.0})
    wait_for(lambda: working_unit.task(task_id).get("progress"), "progress")
    web.suspend()
    time.sleep(0.3)  # while the line fills
    web.kill()
    assert working_unit.ended(task_id)["result"] == "talked"


def test_a_stopped_job_is_killed_within_a_second(unit: RunningUnit) -> None:
    row = unit.run_stirring()
    os.kill(row["pid"], signal.SIGSTOP)
    task_id = unit.accepted("/jobs/stop", {"job_name": "stirring"})
    unit.plant().wait_until_off(unit.stirrer_is_driven, time.monotonic(), 1.0)
    record = unit.ended(task_id)
    assert record["result"]["stopped"][0]["job_id"] == row["job_id"]
    assert not alive(row["pid"])


def test_a_killed_web_process_is_replaced_while_jobs_go_on(unit: RunningUnit) -> None:
    row = unit.run_stirring()
    task_id = unit.accepted("/jobs/stop", {"job_name": "no_such_job"})
    unit.ended(task_id)
    unit.web().kill()
    assert unit.get("/health").status == 200  # the socket stayed open
    assert unit.get("/jobs/running").json == [row]
    assert alive(row["pid"])
    assert unit.get("/jobs/settings/job_name/stirring").json["settings"]["$state"] == "ready"
    assert unit.task(task_id)["status"] == "complete"  # read from the store
    assert unit.stirrer_is_driven()


def test_no_connection_is_refused_while_the_web_process_dies_again_and_again(unit: RunningUnit) -> None:
    for _ in range(3):
        unit.web().kill()
        for _ in range(5):
            assert unit.get("/health").status == 200


def test_a_task_that_ends_while_there_is_no_web_process_is_not_lost(working_unit: RunningUnit) -> None:
    task_id = working_unit.accepted("/test/wait", {"seconds": 0.3})
    worker_pid(working_unit, task_id)
    web = working_unit.web()
    web.kill()
    assert working_unit.ended(task_id)["result"] == "waited"
    working_unit.web().kill()  # and what was told to the second one is on disk for the third
    assert working_unit.ended(task_id)["result"] == "waited"


def test_a_killed_worker_fails_its_own_task_only(working_unit: RunningUnit) -> None:
    doomed = working_unit.accepted("/test/wait", {"seconds": 100})
    other = working_unit.accepted("/test/wait", {"seconds": 0.5})
    os.kill(worker_pid(working_unit, doomed), signal.SIGKILL)
    record = working_unit.ended(doomed)
    assert record["status"] == "failed"
    assert "SIGKILL" in record["error_info"]["cause"]
    assert working_unit.ended(other)["result"] == "waited"
    assert working_unit.ended(working_unit.accepted("/test/add", {"a": 1, "b": 2}))["result"] == 3


def test_a_worker_that_ends_after_its_task_takes_no_other_along(working_unit: RunningUnit) -> None:
    busy = [working_unit.accepted("/test/wait", {"seconds": 0.5}) for _ in range(2)]  # so that the others wait
    words = ("leave_claimed", {}), ("leave_claimed", {}), ("add", {"a": 1, "b": 2}), ("add", {"a": 1, "b": 2})
    waiting = [working_unit.accepted(f"/test/{task}", args) for task, args in words]
    records = [working_unit.ended(task_id) for task_id in (*busy, *waiting)]
    assert [record["status"] for record in records[-2:]] == ["complete"] * 2
    assert "was lost" not in str(records)


def test_a_stop_does_not_wait_for_busy_workers(working_unit: RunningUnit) -> None:
    working_unit.run_stirring()
    tasks = [working_unit.accepted("/test/wait", {"seconds": 100}) for _ in range(4)]
    for task_id in tasks[:2]:
        worker_pid(working_unit, task_id)
    record = working_unit.ended(working_unit.accepted("/jobs/stop/all"))
    assert [job["job_name"] for job in record["result"]["stopped"]] == ["stirring"]
    assert not working_unit.stirrer_is_driven()
    assert [working_unit.task(task_id)["status"] for task_id in tasks] == ["in_progress"] * 2 + ["pending"] * 2


@pytest.mark.parametrize("stopped", [False, True], ids=["running job", "stopped job"])
def test_a_killed_supervisor_takes_all_along_and_leaves_outputs_low(
    tmp_path: Path, working_unit: RunningUnit, stopped: bool
) -> None:
    row = working_unit.run_stirring()
    worker_pid(working_unit, working_unit.accepted("/test/wait", {"seconds": 100}))
    family = working_unit.children()
    assert len(family) >= 3
    if stopped:
        stop_all(family)
    killed_at_s = kill(working_unit.process.pid)
    wait_for(lambda: not any(alive(member.pid) for member in family), "the end of all processes")
    working_unit.plant().wait_until_off(working_unit.stirrer_is_driven, killed_at_s, 2.0)

    with running_unit(tmp_path, program=UNIT_WITH_TASKS) as successor:
        past = successor.get("/jobs").json[0]
        assert (past["job_id"], past["state"], past["is_running"]) == (row["job_id"], "lost", 0)
        assert past["ended_at"]
        assert int(successor.run_stirring()["job_id"]) > int(row["job_id"])


def test_a_successor_makes_outputs_safe_and_ends_what_was_pending(tmp_path: Path, working_unit: RunningUnit) -> None:
    working_unit.run_stirring()
    task_id = working_unit.accepted("/test/wait", {"seconds": 100})
    worker_pid(working_unit, task_id)
    family = working_unit.children()
    working_unit.supervisor.suspend()  # so that nobody cleans up after the job
    for member in family:
        member.kill()
    working_unit.supervisor.kill()
    assert working_unit.stirrer_is_driven()  # as on a Pi: an output keeps its level when its process is gone

    with running_unit(tmp_path, program=UNIT_WITH_TASKS) as successor:
        assert not successor.stirrer_is_driven()
        record = successor.task(task_id)
        assert record["status"] == "failed"
        assert "unit was ended" in record["error"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_the_unit_ends_in_order(working_unit: RunningUnit, number: signal.Signals) -> None:
    working_unit.run_stirring()
    worker_pid(working_unit, working_unit.accepted("/test/wait", {"seconds": 100}))
    family = working_unit.children()
    assert working_unit.end(number) == 0
    assert not any(alive(member.pid) for member in family)
    assert not working_unit.stirrer_is_driven()
    assert "Traceback" not in working_unit.log()
    history = JobHistory(working_unit.dot / "storage" / "reactor_unit.sqlite")
    (past,) = history.recent(10)
    history.close()
    assert (past["state"], past["is_running"]) == ("disconnected", 0)


def test_a_second_unit_on_the_same_folder_names_the_first(tmp_path: Path, unit: RunningUnit) -> None:
    unit.run_stirring()
    with (
        pytest.raises(AssertionError, match=f"process {unit.process.pid}"),
        running_unit(tmp_path, dot=unit.dot),
    ):
        pass
    assert unit.stirrer_is_driven()  # it touched no output


def test_half_open_connections_do_not_stop_the_unit(unit: RunningUnit) -> None:
    with contextlib.ExitStack() as open_sockets:
        for _ in range(200):
            half_open = open_sockets.enter_context(socket.create_connection(("127.0.0.1", unit.port)))
            half_open.sendall(b"GET /unit_api/health HTTP/1.1\r\nHost: x\r\n")
        assert unit.ask("GET", "/health", timeout_s=5).status == 200  # they are let go after 10 s
        assert unit.ended(unit.accepted("/jobs/stop/all"), within_s=5)["status"] == "complete"


def test_the_supervisor_is_thin(unit: RunningUnit) -> None:
    unit.run_stirring()
    assert unit.supervisor.num_threads() == 1
    mapped = {Path(m.path).name for m in unit.supervisor.memory_maps()}
    assert not {name for name in mapped if "gpio" in name.lower() or "plant.bin" in name}
    targets = [os.readlink(f"/proc/{unit.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{unit.process.pid}/fd")]
    assert not [target for target in targets if "gpio" in target or "i2c" in target or "plant.bin" in target]


def test_children_hold_no_descriptor_of_their_siblings(working_unit: RunningUnit) -> None:
    working_unit.run_stirring()
    worker_pid(working_unit, working_unit.accepted("/test/wait", {"seconds": 100}))
    listeners = [c.pid for c in working_unit.children() if any(k.status == "LISTEN" for k in c.net_connections("tcp"))]
    assert listeners == [working_unit.web().pid]
    for child in working_unit.children():
        targets = [os.readlink(f"/proc/{child.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{child.pid}/fd")]
        assert not [
            target
            for target in targets
            if target.endswith(".lock") or ("eventpoll" in target and child.pid in working_unit.jobs_pids())
        ]


def test_what_the_supervisor_imports() -> None:
    import subprocess

    program = (
        "import sys, reactor_unit.__main__; from reactor_unit import lean; lean.import_libraries();"
        "import reactor_unit.serve;"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    imported = set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not imported & {
        "click",
        "httpx",
        "rich",
        "RPi",
        "lgpio",
        "smbus2",
        "numpy",
        "asyncio",
        "ssl",
        "_hashlib",
    }, imported


def test_requests_on_a_keep_alive_connection_survive_a_job_storm(unit: RunningUnit) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", unit.port, timeout=DEADLINE_S)
    errors: list[BaseException] = []

    def poll() -> None:
        try:
            for _ in range(200):
                connection.request("GET", "/unit_api/jobs/running")
                response = connection.getresponse()
                assert response.status == 200
                response.read()
        except BaseException as ex:
            errors.append(ex)

    poller = threading.Thread(target=poll)
    poller.start()
    row = unit.run_stirring()
    os.kill(row["pid"], signal.SIGKILL)
    poller.join()
    connection.close()
    assert errors == []
