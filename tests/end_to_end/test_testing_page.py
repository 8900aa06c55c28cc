"""The examples of docs/testing.md are tests that pass, run by pytest as a user runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from operator import attrgetter
from pathlib import Path

import pytest

from reactor_unit.drivers.simulation.plant import PlantState

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
EXAMPLES = Path(__file__).parents[2] / "examples"


def run_pytest(folder: Path) -> str:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=150, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(180)
def test_the_examples_of_the_page_pass(tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for number, example in enumerate(examples):
        (tmp_path / f"test_example_{number}.py").write_text(example)
    assert f"{len(examples)} passed" in run_pytest(tmp_path)


def test_the_truth_has_what_the_page_says() -> None:
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith("| `truth()` |"))
    for name in re.findall(r"`([\w.]+)`", row):
        attrgetter(name)(PlantState())


@pytest.mark.timeout(180)
def test_the_small_leader_passes_its_integration_test() -> None:
    assert "1 passed" in run_pytest(EXAMPLES / "small_leader")
