"""Updates over HTTP: the unit becomes another version of itself, or stays what it is, and says which."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness import DEADLINE_S, RunningUnit, end_all_from, running_unit, wait_for
from wheels import make_environment, own_wheel

UPDATED_WITHIN_S = 300.0
pytestmark = pytest.mark.timeout(900)
OLD, NEW = "0.1.0", "0.2.0"
DIES_IN_SERVICE = """
import os as _os
if _os.environ.get("REACTOR_UNIT_LISTENER"):
    raise SystemExit(7)
"""
HANGS_IN_SERVICE = """
import os as _os, time as _time
if _os.environ.get("REACTOR_UNIT_LISTENER"):
    _time.sleep(600)
"""


@pytest.fixture(scope="module")
def old_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_wheel(tmp_path_factory.mktemp("old"), OLD)


@pytest.fixture
def python(tmp_path: Path, old_wheel: Path) -> Path:
    return make_environment(tmp_path / "environment", old_wheel)


@pytest.fixture
def unit(tmp_path: Path, python: Path) -> Iterator[RunningUnit]:
    with running_unit(tmp_path, python=str(python), environ={"PIP_NO_INDEX": "1"}) as unit:
        try:
            yield unit
        finally:
            end_all_from(python)


def update(unit: RunningUnit, **options: Any) -> str:
    return unit.accepted("/system/update", {"options": options, "args": []})


def final(unit: RunningUnit, task_id: str) -> Any:
    """Return the final record of a task, across restarts in which nobody may answer for a moment."""

    def ended() -> Any:
        try:
            record = unit.task(task_id)
        except (OSError, http.client.HTTPException):
            return None
        return record if record.get("status") in ("complete", "failed") else None

    return wait_for(ended, "the end of the update", within_s=UPDATED_WITHIN_S)


def steps_done(unit: RunningUnit, task_id: str) -> float:
    return float(unit.task(task_id).get("progress", {"done": 0})["done"])


def version(unit: RunningUnit) -> str:
    return str(unit.get("/versions/app").json["version"])


def packages(python: Path) -> Path:
    return next(python.parent.parent.glob("lib/python*/site-packages"))


def installed_version(python: Path) -> str:
    return (packages(python) / "reactor_unit" / "__init__.py").read_text().split('"')[-2]


class Poller:
    """Asks for the version again and again, and notes each connection that was refused or broken off."""

    def __init__(self, unit: RunningUnit) -> None:
        self._unit = unit
        self._over = threading.Event()
        self.problems: list[str] = []
        self.versions: list[str] = []
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> Poller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _poll(self) -> None:
        while not self._over.wait(0.02):
            try:
                answer = self._unit.ask("GET", "/versions/app", timeout_s=30)
                self.versions.append(answer.json["version"])
            except (OSError, ValueError) as ex:
                self.problems.append(repr(ex))


def test_the_unit_becomes_the_new_version_in_the_same_process_and_refuses_no_connection(
    unit: RunningUnit, python: Path, tmp_path: Path
) -> None:
    unit.run_stirring(target_rpm=300)
    supervisor, jobs = unit.supervisor, unit.jobs_pids()
    with Poller(unit) as poller:
        task_id = update(unit, source=str(own_wheel(tmp_path, NEW)))
        assert unit.post("/system/update", {"options": {}}).json == {"status": "in_progress", "lock": "update-lock"}
        record = final(unit, task_id)
    assert record["status"] == "complete", record
    assert record["result"] == {"name": "reactor-unit", "from": OLD, "to": NEW, "broken_plugins": {}}
    assert version(unit) == f"v{NEW}"
    assert installed_version(python) == NEW
    assert unit.process.poll() is None, "the process goes on"
    assert unit.supervisor == supervisor
    assert poller.problems == []
    assert set(poller.versions) == {f"v{OLD}", f"v{NEW}"}
    assert not any(psutil.pid_exists(pid) for pid in jobs)
    assert not unit.stirrer_is_driven()
    rows = unit.get("/jobs").json
    assert [row["job_name"] for row in rows] == ["stirring"]
    unit.run_stirring(target_rpm=300)
    assert unit.task(task_id) == record


def test_an_update_to_the_version_that_runs_ends_no_job(unit: RunningUnit) -> None:
    row = unit.run_stirring(target_rpm=300)
    record = final(unit, update(unit, version=OLD))
    assert record["result"] == {"name": "reactor-unit", "from": OLD, "to": OLD, "broken_plugins": {}}
    assert unit.get("/jobs/running/stirring").json[0]["pid"] == row["pid"]


def test_a_version_that_cannot_be_imported_or_does_not_start_never_comes_into_service(
    unit: RunningUnit, python: Path, tmp_path: Path
) -> None:
    unit.run_stirring(target_rpm=300)
    jobs = unit.jobs_pids()
    broken = {
        "0.3.0": ("reactor_unit/serve.py", "import no_such_module", "no_such_module"),
        "0.3.1": ("reactor_unit/serve_command.py", "def main(*a, **k): return 9", "exit code 9"),
    }
    for number, (module, text, said) in broken.items():
        wheel = own_wheel(tmp_path, number, {module: text})
        record = final(unit, update(unit, source=str(wheel)))
        assert record["status"] == "failed", record
        assert said in str(record)
        assert "restart" not in record["error"]
        assert installed_version(python) == OLD
    assert unit.jobs_pids() == jobs, "no job was stopped for it"
    assert version(unit) == f"v{OLD}"


def test_a_version_that_dies_in_service_is_replaced_by_the_old_one(
    unit: RunningUnit, python: Path, tmp_path: Path
) -> None:
    wheel = own_wheel(tmp_path, NEW, {"reactor_unit/serve_command.py": DIES_IN_SERVICE})
    task_id = update(unit, source=str(wheel))
    unit.process.wait(UPDATED_WITHIN_S)  # the new version died, and another process is the old one
    record = final(unit, task_id)
    assert record["status"] == "failed", record
    assert f"did not serve. Version {OLD} is in place" in record["error"]
    assert version(unit) == f"v{OLD}"
    assert installed_version(python) == OLD
    unit.run_stirring(target_rpm=300)


def test_under_a_service_manager_the_next_start_puts_the_old_version_back(tmp_path: Path, python: Path) -> None:
    """As systemd does it: with the main process all others of the service are killed, and it is started again."""
    environ = {"PIP_NO_INDEX": "1", "NOTIFY_SOCKET": str(tmp_path / "notify")}
    wheel = own_wheel(tmp_path, NEW, {"reactor_unit/serve_command.py": HANGS_IN_SERVICE})
    with running_unit(tmp_path, python=str(python), environ=environ) as unit:
        task_id = update(unit, source=str(wheel))
        wait_for(lambda: installed_version(python) == NEW, "the new version", within_s=UPDATED_WITHIN_S)
        record = json.loads((python.parent.parent / ".reactor-unit-change" / "update.json").read_text())
        assert record["state"] == "trial"

        def all_ended() -> bool:  # one look may meet the service in its exec, when it has no command line
            end_all_from(python)
            return unit.process.poll() is not None

        wait_for(all_ended, "the end of the service")
    with running_unit(tmp_path, python=str(python), environ={"PIP_NO_INDEX": "1"}) as unit:
        assert version(unit) == f"v{OLD}"
        record = final(unit, task_id)
        assert record["status"] == "failed", record
        assert "did not start" in record["error"]
        assert installed_version(python) == OLD


def test_killed_while_an_update_is_prepared_the_unit_is_the_old_one_and_says_so(tmp_path: Path, python: Path) -> None:
    with running_unit(tmp_path, python=str(python), environ={"PIP_NO_INDEX": "1"}) as unit:
        task_id = update(unit, source=str(own_wheel(tmp_path, NEW)))
        wait_for(lambda: steps_done(unit, task_id) >= 1, "the installation")
        for member in [unit.supervisor, *unit.children()]:
            member.send_signal(signal.SIGKILL)
        unit.process.wait(DEADLINE_S)
    with running_unit(tmp_path, python=str(python), environ={"PIP_NO_INDEX": "1"}) as unit:
        assert version(unit) == f"v{OLD}"
        assert final(unit, task_id)["status"] == "failed"
        assert (
            final(unit, update(unit, source=str(tmp_path / f"reactor_unit-{NEW}-py3-none-any.whl")))["result"]["to"]
            == NEW
        )


def test_asked_to_end_while_it_makes_way_the_unit_ends(unit: RunningUnit, python: Path, tmp_path: Path) -> None:
    task_id = update(unit, source=str(own_wheel(tmp_path, NEW)))
    wait_for(lambda: steps_done(unit, task_id) >= 1, "the installation")
    assert unit.end() == 0
    assert installed_version(python) == OLD
    assert not os.path.exists(packages(python) / "reactor_unit_change.txt")
