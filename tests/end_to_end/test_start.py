"""Starting a unit: what is made, what is refused, and how it says so."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from harness import DEADLINE_S, running_unit

from reactor_unit import __version__


def start(tmp_path: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `serve` to its end, which must come by itself."""
    return subprocess.run(
        [sys.executable, "-m", "reactor_unit", "serve", "--port", "0", "--hardware", "simulated", *words],
        env={"PATH": os.environ["PATH"], "RUNTIME_DIRECTORY": str(tmp_path / "run"), **environ},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )


def test_an_empty_folder_becomes_a_unit(tmp_path: Path) -> None:
    with running_unit(tmp_path) as unit:
        assert re.fullmatch(
            rf"pio01 listens on http://127\.0\.0\.1:{unit.port}: .*simulated.*, data in {unit.dot}\n", unit.first_line
        )
        assert (unit.dot / "config.ini").exists()
        assert (unit.dot / "storage").is_dir()
        assert unit.get("/health").json["pioreactor_unit"] == "pio01"
        assert unit.get("/versions/app").json == {"version": f"v{__version__}"}
        assert stat.S_IMODE(unit.run_directory.stat().st_mode) == 0o700
        assert unit.dot not in unit.run_directory.parents


def test_the_name_comes_from_the_command_line_first(tmp_path: Path) -> None:
    with running_unit(tmp_path, "--name", "pio99") as unit:
        assert unit.get("/health").json["pioreactor_unit"] == "pio99"


@pytest.mark.parametrize(
    "text",
    ["port = 4999\n[http]\n", "[http]\nport = 4999\n[broken\n", "[http]\nport = 4999\n= 5\n"],
    ids=["an option before any section", "a section that does not end", "a value without an option"],
)
def test_a_broken_file_stops_the_start_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "run").mkdir()
    dot = tmp_path / "dot"
    dot.mkdir()
    (dot / "config.ini").write_text(text)
    ended = start(tmp_path, "--dot", str(dot))
    assert ended.returncode == 1
    assert re.search(r"config\.ini.*line \d", ended.stderr)
    assert "Traceback" not in ended.stderr
    assert "what to do:" in ended.stderr


@pytest.mark.parametrize(
    ("section", "line"),
    [("http", "port = many"), ("PWM", "1 = stirring\n2 = stirring")],
    ids=["a port that is no number", "two channels for one function"],
)
def test_a_wrong_value_stops_the_start(tmp_path: Path, section: str, line: str) -> None:
    (tmp_path / "run").mkdir()
    dot = tmp_path / "dot"
    dot.mkdir()
    (dot / "config.ini").write_text(f"[{section}]\n{line}\n")
    ended = subprocess.run(
        [sys.executable, "-m", "reactor_unit", "serve", "--hardware", "simulated", "--dot", str(dot)],
        env={"PATH": os.environ["PATH"], "RUNTIME_DIRECTORY": str(tmp_path / "run")},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert ended.returncode == 1, ended.stderr
    assert "error:" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_in_use_stops_the_start(tmp_path: Path) -> None:
    with running_unit(tmp_path) as unit:
        other = tmp_path / "other"
        ended = start(tmp_path, "--dot", str(other), "--port", str(unit.port))
        assert ended.returncode == 1
        assert f"port {unit.port}" in ended.stderr


def test_a_pi_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    ended = start(tmp_path, "--dot", str(tmp_path / "dot"), "--hardware", "pi")
    assert ended.returncode == 1
    assert "not a Raspberry Pi" in ended.stderr


def test_safe_leaves_all_outputs_off(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    ended = subprocess.run(
        [sys.executable, "-m", "reactor_unit", "safe", "--hardware", "simulated", "--dot", str(tmp_path / "dot")],
        env={"PATH": os.environ["PATH"], "RUNTIME_DIRECTORY": str(tmp_path / "run")},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "off" in ended.stdout


def test_safe_says_that_a_unit_serves(tmp_path: Path) -> None:
    with running_unit(tmp_path) as unit:
        unit.run_stirring()
        ended = subprocess.run(
            [sys.executable, "-m", "reactor_unit", "safe", "--hardware", "simulated", "--dot", str(unit.dot)],
            env=unit.environ,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert ended.returncode == 1
        assert f"process {unit.process.pid}" in ended.stderr
        assert "jobs stop --all" in ended.stderr


def test_the_log_has_one_line_a_record(tmp_path: Path) -> None:
    with running_unit(tmp_path) as unit:
        unit.run_stirring()
        unit.end()
        for line in unit.log().splitlines():
            assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \[[\w ]+\] [A-Z]+ ", line), line
