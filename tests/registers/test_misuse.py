"""The same misuse of RPi.GPIO and of the simulation: the same exceptions, messages, warnings and consequences."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_pi import HERE, FakePi
from misuse import CASES

MISUSE = str(HERE / "misuse.py")
Outcomes = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def real(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    pi = FakePi(tmp_path_factory.mktemp("misuse") / "pi", library)
    done = pi.run(MISUSE, "real", within_s=100.0)
    pi.registers.close()
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    command = [sys.executable, MISUSE, "simulated", str(tmp_path_factory.mktemp("simulated"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("case", CASES)
def test_the_simulation_answers_misuse_as_the_library_does(real: Outcomes, simulated: Outcomes, case: str) -> None:
    assert simulated[case] == real[case]


def test_the_cases_are_misuse_indeed(real: Outcomes) -> None:
    refused = [case for case in CASES if real[case]["raised"] or real[case]["warned"]]
    assert len(refused) > 0.75 * len(CASES)
