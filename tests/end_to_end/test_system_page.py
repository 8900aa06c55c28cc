"""The transcripts of docs/system.md are run, and have to say what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from harness import RunningUnit

PAGE = Path(__file__).parents[2] / "docs" / "system.md"
VARYING = [
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.\d{3}Z?", "TIME"),
    (r"-?\d+\.\d{3} s", "SECONDS"),
    (r"Process \d+ serves in the place of \d+", "Process PID serves in the place of PID"),
    (r"\b[0-9a-f]{64}\b", "TOKEN"),
]


def steps() -> list[tuple[str, str]]:
    """Return each command of the page with the output shown for it."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def same_each_time(output: str) -> str:
    for pattern, name in VARYING:
        output = re.sub(pattern, name, output)
    return output.strip()


def test_the_transcripts_are_true(unit: RunningUnit, tmp_path: Path) -> None:
    here = f"http://127.0.0.1:{unit.port}"
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path / "home"),
        "DOT_PIOREACTOR": str(unit.dot),
        "REACTOR_UNIT_URL": here,
    }
    assert len(steps()) >= 8
    for command, expected in steps():
        command = command.replace("http://127.0.0.1:4999", here)
        ended = subprocess.run(command, shell=True, env=environ, capture_output=True, text=True, timeout=60)
        said = ended.stdout.replace(str(tmp_path / "home"), "/home/pi").replace(str(unit.port), "4999")
        assert same_each_time(said) == same_each_time(expected), (command, ended.stderr)
