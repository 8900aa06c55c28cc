"""Plugins installed and uninstalled over HTTP by pip, in an environment of the test's own, without a network."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness import DEADLINE_S, RunningUnit, running_unit
from wheels import make_environment, own_wheel, plugin_wheel, write_wheel

PIP_WITHIN_S = 200.0  # it copies an environment and imports what it made of it: 10 s of a machine that is not busy
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def project_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_wheel(tmp_path_factory.mktemp("wheel"), "0.1.0")


@pytest.fixture
def python(tmp_path: Path, project_wheel: Path) -> Path:
    return make_environment(tmp_path / "environment", project_wheel)


@pytest.fixture
def unit(tmp_path: Path, python: Path) -> Iterator[RunningUnit]:
    with running_unit(tmp_path, python=str(python), environ={"PIP_NO_INDEX": "1"}) as unit:
        yield unit


def install(unit: RunningUnit, name: str, source: Path | None = None) -> Any:
    options = {} if source is None else {"source": str(source)}
    answer = unit.post("/plugins/install", {"args": [name], "options": options})
    assert answer.status == 202, answer
    return unit.ended(answer.json["task_id"], within_s=PIP_WITHIN_S)


def uninstall(unit: RunningUnit, name: str) -> Any:
    answer = unit.post("/plugins/uninstall", {"args": [name]})
    assert answer.status == 202, answer
    return unit.ended(answer.json["task_id"], within_s=PIP_WITHIN_S)


def plugins(unit: RunningUnit) -> dict[str, Any]:
    return {one["name"]: one for one in unit.get("/plugins/installed").json}


def packages(python: Path) -> Path:
    return next(python.parent.parent.glob("lib/python*/site-packages"))


def content(python: Path) -> dict[str, bytes]:
    """Return every file of the environment's packages but what Python compiles for itself."""
    root = packages(python)
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_a_plugin_is_installed_runs_is_replaced_and_uninstalled(
    unit: RunningUnit, python: Path, tmp_path: Path
) -> None:
    before = content(python)
    record = install(unit, "wink-demo", plugin_wheel(tmp_path, "1.0"))
    assert record["status"] == "complete", record
    assert record["result"] == {
        "name": "wink-demo",
        "version": "1.0",
        "installed": True,
        "changes": {"wink-demo": {"from": None, "to": "1.0"}},
    }
    assert plugins(unit)["wink-demo"]["error"] is None
    unit.run_job("wink")
    second = install(unit, "Wink_Demo", plugin_wheel(tmp_path, "2.0"))
    assert second["result"]["changes"] == {"wink-demo": {"from": "1.0", "to": "2.0"}}
    assert plugins(unit)["wink-demo"]["version"] == "2.0"
    assert unit.get("/jobs/running/wink").json, "the job of the old version goes on"
    assert uninstall(unit, "wink-demo")["result"]["uninstalled"] is True
    assert "wink-demo" not in plugins(unit)
    assert content(python) == before
    assert uninstall(unit, "wink-demo")["result"]["uninstalled"] is False


BROKEN = {
    "no wheel at all": (lambda folder: _bytes(folder, b"no zip"), "could not be installed"),
    "another name": (lambda folder: _as(plugin_wheel(folder, name="wonk-demo"), "wink_demo"), "could not be installed"),
    "cannot be imported": (lambda folder: plugin_wheel(folder, text="raise ValueError('oh no')"), "oh no"),
    "kills the importing process": (
        lambda folder: plugin_wheel(folder, text="import os; os._exit(3)"),
        "does not work",
    ),
    "adds nothing": (lambda folder: plugin_wheel(folder, text="x = 1"), "adds nothing"),
    "takes a job's name": (
        lambda folder: plugin_wheel(folder, text=_stirring()),
        "taken",
    ),
    "needs what is not there": (lambda folder: plugin_wheel(folder, requires=("no-such-thing>=3",)), "no-such-thing"),
    "needs another falcon": (lambda folder: plugin_wheel(folder, requires=("falcon<3",)), "falcon"),
    "is no plugin": (
        lambda folder: write_wheel(folder, "wink-demo", "1.0", {"wink_demo.py": ""}),
        "no plugin",
    ),
    "brings files of the unit": (
        lambda folder: write_wheel(
            folder,
            "wink-demo",
            "1.0",
            {"wink_demo.py": "", "reactor_unit/serve.py": "raise SystemExit('taken over')"},
            entry_points="[reactor_unit.plugins]\nwink_demo = wink_demo\n",
        ),
        "could not be imported any more",
    ),
}


def _bytes(folder: Path, data: bytes) -> Path:
    path = folder / "wink_demo-1.0-py3-none-any.whl"
    path.write_bytes(data)
    return path


def _as(wheel: Path, name: str) -> Path:
    return wheel.rename(wheel.with_name(f"{name}-1.0-py3-none-any.whl"))


def _stirring() -> str:
    from wheels import WORKING_PLUGIN

    return WORKING_PLUGIN.replace('"wink"', '"stirring"')


def test_whatever_is_wrong_with_a_plugin_nothing_is_changed_by_it(
    unit: RunningUnit, python: Path, tmp_path: Path
) -> None:
    before, commands = content(python), sorted(os.listdir(python.parent))
    for what, (make, said) in BROKEN.items():
        folder = tmp_path / what.replace(" ", "-")
        folder.mkdir()
        record = install(unit, "wink-demo", make(folder))
        assert record["status"] == "failed", (what, record)
        assert said in str(record), what
        assert content(python) == before, what
    assert sorted(os.listdir(python.parent)) == commands
    unit.run_stirring(target_rpm=300)


def test_a_plugin_cannot_take_the_place_of_what_the_unit_needs(unit: RunningUnit, python: Path, tmp_path: Path) -> None:
    write_wheel(tmp_path, "waitress", "3.9.9", {"waitress/__init__.py": "raise ImportError"})
    before = content(python)
    record = install(unit, "waitress", tmp_path / "waitress-3.9.9-py3-none-any.whl")
    assert record["status"] == "failed", record
    assert uninstall(unit, "falcon")["error_info"]["status"] in (403, 500)
    assert content(python) == before


def test_a_file_plugin_is_uninstalled_by_its_name(unit: RunningUnit) -> None:
    file = unit.dot / "plugins" / "wink_here.py"
    file.write_text("x = 1")
    assert uninstall(unit, "wink_here")["result"] == {
        "name": "wink_here",
        "uninstalled": True,
        "file": "plugins/wink_here.py",
    }
    assert not file.exists()


def test_commands_of_a_plugin_come_and_go_with_it(unit: RunningUnit, python: Path, tmp_path: Path) -> None:
    points = "[reactor_unit.plugins]\nwink_demo = wink_demo\n[console_scripts]\nwink = wink_demo:main\n"
    from wheels import WORKING_PLUGIN

    text = WORKING_PLUGIN + "\n\ndef main():\n    print('winked')\n"
    wheel = write_wheel(tmp_path, "wink-demo", "1.0", {"wink_demo.py": text}, entry_points=points)
    assert install(unit, "wink-demo", wheel)["status"] == "complete"
    command = python.parent / "wink"
    assert subprocess.run([command], capture_output=True, text=True, check=True).stdout == "winked\n"
    uninstall(unit, "wink-demo")
    assert not command.exists()


@pytest.mark.parametrize("trial", range(4))
def test_killed_in_the_middle_the_environment_is_the_old_or_the_new_one(
    tmp_path: Path, python: Path, trial: int
) -> None:
    before = content(python)
    environ = {"PIP_NO_INDEX": "1"}
    with running_unit(tmp_path, python=str(python), environ=environ) as unit:
        source = str(plugin_wheel(tmp_path, "1.0"))
        unit.accepted("/plugins/install", {"args": ["wink-demo"], "options": {"source": source}})
        threading.Event().wait(0.6 * trial)  # another moment of the installation each time
        family = [unit.supervisor, *unit.children()]
        for member in family:
            member.send_signal(signal.SIGKILL)
        psutil.wait_procs(family, timeout=DEADLINE_S)
    after = content(python)
    assert after == before or {name for name in after if name not in before} == {
        name for name in after if name.startswith("wink_demo")
    }
    with running_unit(tmp_path, python=str(python), environ=environ) as unit:
        assert install(unit, "wink-demo", Path(source))["status"] == "complete"
        unit.run_job("wink")


def test_only_one_change_at_a_time(unit: RunningUnit, tmp_path: Path) -> None:
    first = unit.post("/plugins/install", {"args": ["wink-demo"], "options": {"source": str(plugin_wheel(tmp_path))}})
    second = unit.post("/plugins/uninstall", {"args": ["wink-demo"]})
    assert second.json == {"status": "in_progress", "lock": "plugins-lock"}
    assert unit.ended(first.json["task_id"], within_s=PIP_WITHIN_S)["status"] == "complete"
