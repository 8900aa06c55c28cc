"""What a job wants done to the machine is written down, and nothing else happens."""

import json

import pytest

from reactor_unit import system_adapter
from reactor_unit.system_adapter import SystemAdapter


@pytest.fixture(autouse=True)
def no_command(monkeypatch):
    def refuse(*_words, **_more):
        raise AssertionError("a command was run")

    for name in ("system", "execv", "execve", "fork", "posix_spawn"):
        monkeypatch.setattr(f"os.{name}", refuse)


def test_each_wish_is_a_line(tmp_path, caplog):
    path = tmp_path / "actions.jsonl"
    SystemAdapter(path).shut_down("The heater is at 90 degC.")
    SystemAdapter(path).reboot("A new clock.")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["action"], line["reason"], line["done"]) for line in lines] == [
        ("shut_down", "The heater is at 90 degC.", False),
        ("reboot", "A new clock.", False),
    ]
    assert "90 degC" in caplog.text


def test_the_record_is_bounded_and_a_disk_that_fails_is_only_logged(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(system_adapter, "MAX_BYTES", 300)
    path = tmp_path / "actions.jsonl"
    for _ in range(50):
        SystemAdapter(path).shut_down("hot")
    assert path.stat().st_size < 500
    SystemAdapter(tmp_path / "nowhere" / "x").shut_down("hot")
    assert "cannot be written down" in caplog.text
    SystemAdapter().shut_down("hot")
