"""A change of the environment: prepared beside it, made at once or not at all, and put back."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from reactor_unit import environment as module
from reactor_unit.environment import MARK, OVER, TRIAL, BeingChanged, CannotChange, Environment, put_back_what_never_ran


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    prefix = tmp_path / "environment"
    packages = prefix / "lib" / "python3.11" / "site-packages"
    (packages / "falcon").mkdir(parents=True)
    (packages / "falcon" / "app.py").write_text("old")
    (prefix / "lib64").symlink_to("lib")
    (prefix / "bin").mkdir()
    (prefix / "bin" / "python").symlink_to(sys.executable)
    (prefix / "bin" / "tool").write_text(f"#!{prefix}/bin/python\n")
    (prefix / "pyvenv.cfg").write_text("home = /usr/bin\n")
    return Environment(prefix, packages)


RECORD = {"id": "one", "from": "1", "to": "2", "state": TRIAL}


def prepared(environment: Environment) -> Environment:
    """Return the environment with a new version in its copy."""
    copy = environment.make_copy()
    (copy.packages / "falcon" / "app.py").unlink()
    (copy.packages / "falcon" / "app.py").write_text("new")
    (copy.packages / MARK).write_text("one")
    return environment


def text(environment: Environment) -> str:
    return (environment.packages / "falcon" / "app.py").read_text()


def test_a_copy_takes_no_space_and_is_apart(environment: Environment) -> None:
    copy = environment.make_copy()
    one, other = environment.packages / "falcon" / "app.py", copy.packages / "falcon" / "app.py"
    assert os.path.samefile(one, other)
    assert (copy.prefix / "lib64" / "python3.11").is_dir()
    assert os.path.samefile(copy.python, sys.executable)
    other.unlink()
    assert one.read_text() == "old"
    assert environment.make_copy().packages.joinpath("falcon", "app.py").exists(), "made anew"


def test_an_exchange_makes_the_change_and_another_one_puts_it_back(environment: Environment) -> None:
    prepared(environment).exchange()
    assert (text(environment), text(environment.copy)) == ("new", "old")
    assert environment.is_in_place("one")
    assert not environment.is_in_place("other")
    environment.exchange()
    assert text(environment) == "old"


def test_an_exchange_that_cannot_be_changes_nothing(environment: Environment) -> None:
    with pytest.raises(OSError, match="No such file"):
        environment.exchange()
    assert text(environment) == "old"


def test_commands_come_and_go_and_name_the_environment(environment: Environment) -> None:
    copy, before = environment.make_copy(), environment.scripts()
    (copy.prefix / "bin" / "tool").unlink()
    (copy.prefix / "bin" / "new").write_text(f"#!{copy.prefix}/bin/python\nprint()\n")
    environment.take_scripts(before)
    assert environment.scripts() == {"new", "python"}
    assert (environment.prefix / "bin" / "new").read_text() == f"#!{environment.prefix}/bin/python\nprint()\n"
    assert os.access(environment.prefix / "bin" / "new", os.X_OK)


def test_one_at_a_time(environment: Environment) -> None:
    with environment.locked(), pytest.raises(BeingChanged), environment.locked():
        pass
    with environment.locked():
        pass


def test_where_the_unit_may_not_write_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(CannotChange, match="may not change"):
        Environment(tmp_path / "none", tmp_path / "none" / "lib").lock()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff"])
def test_a_record_that_cannot_be_read_is_none(environment: Environment, data: bytes) -> None:
    environment.folder.mkdir()
    assert environment.read_record() is None
    environment.record_path.write_bytes(data)
    assert environment.read_record() is None


class Executed(Exception):
    pass


@pytest.fixture
def started(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment that is that of this process, which executes nothing."""
    monkeypatch.setattr(Environment, "current", classmethod(lambda _cls: environment))

    def execute(*_words: object) -> None:
        raise Executed

    monkeypatch.setattr(module.os, "execv", execute)
    environment.folder.mkdir()
    return environment


def test_a_start_puts_back_an_update_that_nobody_watches(started: Environment) -> None:
    prepared(started).exchange()
    started.write_record(RECORD)
    with pytest.raises(Executed):
        put_back_what_never_ran()
    assert text(started) == "old"
    record = started.read_record()
    assert record is not None
    assert record["state"] == OVER
    assert record["failed"]["version"] == "1"
    put_back_what_never_ran()  # once
    assert text(started) == "old"


def test_a_start_that_is_watched_goes_on(started: Environment) -> None:
    prepared(started).exchange()
    started.write_record(RECORD)
    with started.locked():
        put_back_what_never_ran()
    assert text(started) == "new"
    assert started.read_record() == RECORD


def test_a_trial_that_was_cut_off_before_the_exchange_leaves_the_old_version(started: Environment) -> None:
    prepared(started)
    started.write_record(RECORD)
    put_back_what_never_ran()
    assert text(started) == "old"
    record = started.read_record()
    assert record is not None
    assert record["state"] == OVER


@pytest.mark.parametrize("record", [None, {**RECORD, "state": OVER}])
def test_any_other_start_changes_nothing(started: Environment, record: dict[str, str] | None) -> None:
    prepared(started).exchange()
    if record is not None:
        started.write_record(record)
    put_back_what_never_ran()
    assert text(started) == "new"
    assert started.read_record() == record
