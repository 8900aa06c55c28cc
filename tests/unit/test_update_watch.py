"""The watch over a new version's first start: what proves it, and what is done when it does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import DEADLINE_S

from reactor_unit.environment import MARK, OVER, TRIAL, Environment
from reactor_unit.update_watch import Watch

STARTED = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('started')"


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """An environment in which a new version is in place, and the old one in the copy."""
    packages = tmp_path / "environment" / "lib"
    environment = Environment(packages.parent, packages)
    for folder, text in ((packages, "new"), (environment.copy.packages, "old")):
        folder.mkdir(parents=True)
        (folder / "version").write_text(text)
    (packages / MARK).write_text("one")
    return environment


@pytest.fixture
def unit() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


@pytest.fixture
def record(environment: Environment, unit: subprocess.Popen[bytes], tmp_path: Path) -> dict[str, Any]:
    trial = {
        "pid": unit.pid,
        "host": "127.0.0.1",
        "port": 1,
        "argv": [sys.executable, "-c", STARTED, str(tmp_path / "started")],
        "cwd": str(tmp_path),
        "is_managed": True,
        "fd": 0,
    }
    record = {"id": "one", "from": "1", "to": "2", "state": TRIAL, "trial": trial}
    environment.write_record(record)
    return record


def last(environment: Environment) -> dict[str, Any]:
    record = environment.read_record()
    assert record is not None
    return record


def version(environment: Environment) -> str:
    return (environment.packages / "version").read_text()


def test_a_version_that_answers_twice_has_proved_itself(environment: Environment, record: dict[str, Any]) -> None:
    answers = iter(["", "v1", "v2", "v2", "v2"])
    Watch(environment, record, lambda _host, _port: next(answers), proven_s=0.3).run()
    assert last(environment)["state"] == OVER
    assert last(environment)["failed"] is None
    assert version(environment) == "new"
    assert not environment.copy.prefix.exists()


def test_one_that_does_not_answer_is_put_back_and_ended(
    environment: Environment, record: dict[str, Any], unit: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    Watch(environment, record, lambda _host, _port: "", within_s=0.5).run()
    assert unit.wait(DEADLINE_S) < 0
    assert version(environment) == "old"
    assert "0.5 s" in last(environment)["failed"]["cause"]
    assert last(environment)["failed"]["version"] == "1"
    assert not (tmp_path / "started").exists(), "systemd starts it"


def test_one_that_says_another_version_has_proved_nothing(environment: Environment, record: dict[str, Any]) -> None:
    Watch(environment, record, lambda _host, _port: "v3", within_s=0.5, proven_s=0.0).run()
    assert version(environment) == "old"


def test_one_that_ends_is_put_back_and_started_again_where_nobody_else_does(
    environment: Environment, record: dict[str, Any], unit: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    record["trial"]["is_managed"] = False
    watch = Watch(environment, record, lambda _host, _port: "")
    unit.kill()
    program = watch.run()
    assert program is not None
    assert program.wait(DEADLINE_S) == 0
    assert version(environment) == "old"
    assert (tmp_path / "started").exists()
    assert "ended" in last(environment)["failed"]["cause"]


def test_a_trial_that_never_began_is_left_alone(environment: Environment, record: dict[str, Any]) -> None:
    environment.write_record({**record, "state": OVER, "failed": {"error": "No exchange."}})
    Watch(environment, record, lambda _host, _port: "v2").run()
    assert version(environment) == "new"
    assert last(environment)["failed"] == {"error": "No exchange."}
