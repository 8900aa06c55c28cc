"""The README's transcript is run, and has to say what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import DEADLINE_S, RunningUnit, running_unit, wait_for

ROOT = Path(__file__).parents[2]
VARYING = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
    (r'"pid":\d+', '"pid":PID'),
    (r"\d+\.\d+", "NUMBER"),
    (r'"measured_rpm":\d+', '"measured_rpm":NUMBER'),
    (r"[ -]+\n", "\n"),
    (r" +", " "),
]


def transcript() -> list[tuple[str, str]]:
    """Return each command of the console blocks with the output shown for it."""
    steps: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            steps.append((command, output))
    return steps


def same_each_time(output: str) -> str:
    for pattern, name in VARYING:
        output = re.sub(pattern, name, output)
    return output.strip()


@pytest.fixture
def unit_as_started(tmp_path: Path) -> Iterator[RunningUnit]:
    with running_unit(tmp_path, monitor=True) as unit:
        wait_for(lambda: unit.get("/jobs/running/monitor").json, "its first job")
        yield unit


@pytest.mark.parametrize("command", ["reactor-unit serve", "tox"])
def test_the_two_commands_are_there(command: str) -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert any(line.startswith("    python3 -m venv") and command in line for line in lines)


def test_the_transcript_is_true(unit_as_started: RunningUnit) -> None:
    unit = unit_as_started
    bin_folder = str(Path(sys.executable).parent)
    environ = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    url = f"http://127.0.0.1:{unit.port}"
    environ["REACTOR_UNIT_URL"] = url
    steps = transcript()
    assert len(steps) >= 6
    for command, expected in steps:
        command = command.replace("http://127.0.0.1:4999", url)

        def says_so(command: str = command, expected: str = expected) -> bool:
            ended = subprocess.run(command, shell=True, env=environ, capture_output=True, text=True, timeout=DEADLINE_S)
            said = same_each_time(ended.stdout)
            if command.startswith(("curl", "reactor-unit jobs")):  # what changes something is run once
                assert said == same_each_time(expected), ended.stderr
            return said == same_each_time(expected)

        wait_for(says_so, f"the README's output of `{command}`")
