"""Commands of the machine: run, on stand-ins alone, or written down."""

import json
import os
import signal

import pytest
from harness import DEADLINE_S, wait_for
from stand_ins import stand_in

from reactor_unit import system_adapter
from reactor_unit.errors import CommandFailed
from reactor_unit.system_adapter import DrySystem, RealSystem, command_of

COMMANDS = {
    "reboot": ("systemctl", "--no-ask-password reboot"),
    "shut_down": ("systemctl", "--no-ask-password poweroff"),
    "set_clock": ("timedatectl", "--no-ask-password set-time 2026-01-31 12:45:00 UTC"),
    "sync_clock": ("chronyc", "makestep"),
}


def run(system, action):
    time_to_set = "2026-01-31T12:45:00Z" if action == "set_clock" else ""
    return system.run(action, reason="a test", utc_clock_time=time_to_set)


@pytest.fixture
def no_command(monkeypatch):
    def refuse(*_words, **_more):
        raise AssertionError("a command was run")

    for name in ("system", "execv", "execve", "fork", "posix_spawn"):
        monkeypatch.setattr(f"os.{name}", refuse)
    monkeypatch.setattr("subprocess.Popen", refuse)


@pytest.mark.parametrize("action", COMMANDS)
def test_the_real_one_runs_the_command_with_these_words(tmp_path, action):
    name, words = COMMANDS[action]
    calls = stand_in(tmp_path, name, says="as you wish")
    result = run(RealSystem(str(tmp_path)), action)
    assert calls.read_text() == words + "\n"
    assert result == {
        "action": action,
        "reason": "a test",
        "command": command_of(action, "2026-01-31T12:45:00Z"),
        "dry": False,
        "exit_code": 0,
        "output": "as you wish",
    }


def test_the_time_is_one_word_so_that_no_shell_can_be_meant(tmp_path):
    assert command_of("set_clock", "2026-01-31T12:45:00.5Z")[-1] == "2026-01-31 12:45:00.5 UTC"


def test_a_command_that_fails_says_why(tmp_path):
    stand_in(tmp_path, "systemctl", code=4, says="Access denied")
    with pytest.raises(CommandFailed, match="failed with exit code 4") as caught:
        run(RealSystem(str(tmp_path)), "reboot")
    assert caught.value.cause == "It said: Access denied"
    assert "polkit" in caught.value.remediation


def test_a_missing_command_is_named_and_none_of_the_machine_is_taken_for_it(tmp_path):
    with pytest.raises(CommandFailed, match="chronyc is not installed"):
        run(RealSystem(str(tmp_path)), "sync_clock")
    with pytest.raises(CommandFailed, match="systemctl is not installed"):
        run(RealSystem(""), "reboot")


def test_a_file_that_cannot_be_run_is_a_clear_error(tmp_path):
    (tmp_path / "systemctl").write_text("#!/nowhere/at/all\n")
    (tmp_path / "systemctl").chmod(0o755)
    with pytest.raises(CommandFailed, match="could not be started: No such file"):
        run(RealSystem(str(tmp_path)), "reboot")


def test_a_command_that_hangs_is_ended_and_with_it_what_it_started(tmp_path):
    calls = stand_in(tmp_path, "timedatectl", says="waiting", hangs=True)
    with pytest.raises(CommandFailed, match=r"took longer than 3 s") as caught:
        run(RealSystem(str(tmp_path), timeout_s=3.0), "set_clock")
    assert "It said: waiting" in caught.value.cause
    assert calls.exists()
    assert not _runs(str(tmp_path / "timedatectl"))


def test_a_command_killed_by_a_signal_says_so(tmp_path):
    program = tmp_path / "chronyc"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    program.chmod(0o755)
    with pytest.raises(CommandFailed, match="was killed by signal 9"):
        run(RealSystem(str(tmp_path)), "sync_clock")


def test_what_a_command_leaves_behind_is_not_waited_for(tmp_path):
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    program = tmp_path / "chronyc"
    program.write_text(f"#!/bin/sh\n(exec 9<>'{fifo}'; read line <&9) &\necho done\nexit 0\n")
    program.chmod(0o755)
    reader = os.open(fifo, os.O_RDWR)
    try:
        result = run(RealSystem(str(tmp_path), timeout_s=DEADLINE_S), "sync_clock")
        assert result["output"] == "done"
    finally:
        os.write(reader, b"end\n")
        wait_for(lambda: not _runs(str(program)), "the end of what was left behind")
        os.close(reader)


def test_only_the_end_of_much_output_is_kept(tmp_path):
    program = tmp_path / "chronyc"
    program.write_text("#!/bin/sh\ni=0\nwhile [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done\n")
    program.chmod(0o755)
    output = run(RealSystem(str(tmp_path)), "sync_clock")["output"]
    assert output.endswith("line 4999")
    assert len(output) <= system_adapter.MAX_OUTPUT_BYTES


def test_the_command_sees_nothing_of_the_units_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "of the unit")
    program = tmp_path / "chronyc"
    program.write_text('#!/bin/sh\necho "$PATH" "${SECRET:-none}"\n')
    program.chmod(0o755)
    assert run(RealSystem(str(tmp_path)), "sync_clock")["output"] == f"{tmp_path} none"


def test_the_dry_one_writes_a_line_and_runs_nothing(tmp_path, caplog, no_command):
    path = tmp_path / "actions.jsonl"
    result = run(DrySystem(path), "shut_down")
    run(DrySystem(path), "set_clock")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["action"], line["reason"], line["done"]) for line in lines] == [
        ("shut_down", "a test", False),
        ("set_clock", "a test", False),
    ]
    assert result["dry"]
    assert result["command"] == ["systemctl", "--no-ask-password", "poweroff"]
    assert "Not run" in caplog.text


def test_the_record_is_bounded_and_a_disk_that_fails_is_only_logged(tmp_path, monkeypatch, caplog, no_command):
    monkeypatch.setattr(system_adapter, "MAX_BYTES", 300)
    path = tmp_path / "actions.jsonl"
    for _ in range(50):
        run(DrySystem(path), "shut_down")
    assert path.stat().st_size < 700
    run(DrySystem(tmp_path / "nowhere" / "x"), "shut_down")
    assert "cannot be written down" in caplog.text


def _runs(program):
    """Return whether a process runs that was started as `program`."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            with open(f"/proc/{pid}/stat") as file:
                state = file.read().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if program.encode() in words and state != "Z":
            return True
    return False


def test_a_signal_ends_the_command_with_the_process_that_runs_it():
    with pytest.raises(SystemExit):
        system_adapter.end_with_command(signal.SIGTERM, None)
