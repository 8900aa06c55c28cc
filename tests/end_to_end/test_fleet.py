"""The pytest plugin and the fleet: real units that are there quickly, apart from one another, and gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from harness import wait_for

from reactor_unit.testing import Change, SimulatedUnit, Snapshot, running_fleet, running_unit


def test_a_unit_answers_and_is_alone(reactor_unit: SimulatedUnit) -> None:
    assert reactor_unit.client.health()["pioreactor_unit"] == reactor_unit.name == "unit1"
    assert reactor_unit.client.running_jobs() == []
    assert reactor_unit.truth().rpm == 0.0


@pytest.mark.reactor_unit(speed=60, seed=7, name="fast", config="[stirring.config]\ninitial_target_rpm=300\n")
def test_its_reactor_can_be_seen_hurried_and_broken(reactor_unit: SimulatedUnit) -> None:
    assert reactor_unit.run_job("stirring")["job_name"] == "stirring"
    before = reactor_unit.snapshot()
    assert before.settings["stirring"]["target_rpm"] == 300.0
    reactor_unit.advance(60.0)
    assert reactor_unit.truth().rpm == pytest.approx(300.0, rel=0.05)
    assert reactor_unit.client.set_setting("stirring", "target_rpm", 350) == 350.0
    changes = before.changes(reactor_unit.snapshot())
    assert Change("stirring", "target_rpm", 300.0, 350.0) in changes
    assert "ready" in reactor_unit.log()

    reactor_unit.inject("stirrer_stalled")
    reactor_unit.advance(1.0)
    assert reactor_unit.truth().rpm < 300.0
    reactor_unit.clear("stirrer_stalled")
    assert reactor_unit.plant.faults() == frozenset()
    with pytest.raises(ValueError, match="no_such_fault"):
        reactor_unit.inject("no_such_fault")


def test_snapshots_tell_what_came_went_and_changed() -> None:
    first = Snapshot({"a": {"x": 1, "same": 0}, "b": {"y": 2}})
    later = Snapshot({"a": {"x": 3, "same": 0}, "c": {"z": None, "w": 4}})
    assert first.changes(later) == [Change("a", "x", 1, 3), Change("b", "y", 2, None), Change("c", "w", None, 4)]
    assert first.changes(first) == []


def test_the_units_of_a_fleet_are_apart(reactor_fleet: Callable[..., list[SimulatedUnit]]) -> None:
    units = reactor_fleet(3, speed=60, seed=1, name="pio")
    assert [unit.client.health()["pioreactor_unit"] for unit in units] == ["pio1", "pio2", "pio3"]
    units[1].run_job("stirring", target_rpm=400)
    units[1].advance(60.0)
    assert [unit.truth().rpm > 300.0 for unit in units] == [False, True, False]
    assert [len(unit.client.running_jobs()) for unit in units] == [0, 1, 0]
    assert len({unit.truth().seed for unit in units}) == 3


def test_a_unit_that_dies_leaves_the_others_alone(reactor_fleet: Callable[..., list[SimulatedUnit]]) -> None:
    first, second = reactor_fleet(2)
    second.run_job("stirring")
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: not psutil.pid_exists(first.pid), "the end of the first unit")
    assert [row["job_name"] for row in second.client.running_jobs()] == ["stirring"]


def test_a_unit_that_cannot_start_says_why() -> None:
    with pytest.raises(RuntimeError, match="not a port"), running_unit(words=("--port", "99999")):
        pass


@pytest.fixture
def leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test when processes or folders are left that were not there before."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # others have units in the one that all share

    def there() -> tuple[set[int], set[str]]:
        processes = {child.pid for child in psutil.Process().children(recursive=True)}
        return processes, {str(path) for path in tmp_path.iterdir()}

    before = there()
    yield
    after = there()
    assert (after[0] - before[0], after[1] - before[1]) == (set(), set())


def test_nothing_is_left_of_units_with_jobs_even_when_the_test_failed(leftovers: None) -> None:
    def use() -> None:
        with running_unit(monitor=True) as unit, running_fleet(2) as fleet:
            for one in (unit, *fleet):
                one.run_job("stirring")
            raise AssertionError("a test that fails")

    with pytest.raises(AssertionError, match="a test that fails"):
        use()


USER = """
import time
from reactor_unit.testing import running_fleet, running_unit
with running_unit() as unit, running_fleet(1) as fleet:
    print(unit.pid, fleet[0].pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_units_end_when_the_test_that_has_them_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", USER], stdout=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 2
        process.send_signal(number)
    wait_for(lambda: not any(map(psutil.pid_exists, pids)), "the end of the units")


def test_a_fleet_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "reactor_unit", "fleet", "--units", "2", "--folder", str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        units = json.loads(process.stdout.readline())["units"]
        process.kill()
    pids = [unit["pid"] for unit in units]
    wait_for(lambda: not any(map(psutil.pid_exists, pids)), "the end of the units")
    assert (tmp_path / "unit1" / "dot" / "logs").is_dir()  # a folder that was given stays


def test_a_fleet_that_is_ended_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "reactor_unit", "fleet", "--units", "20"]
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ) as process:
        wait_for(lambda: list(tmp_path.glob("*/unit01")), "the first folder")
        process.terminate()
    assert list(tmp_path.iterdir()) == []
