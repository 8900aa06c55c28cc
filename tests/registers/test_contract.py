"""The GPIO contract, asked of the real RPi.GPIO: `TestRaspberryPiGPIO` in a pytest that runs on a Pi made of files.

Each test of the contract has one here, of the same name, so that this session's report shows them one by one.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fake_pi import FakePi
from test_gpio import GPIOContract

CONTRACT = Path(__file__).parent.parent / "contract" / "test_gpio.py"
NAMES = [name for name in vars(GPIOContract) if name.startswith("test_")]


@pytest.fixture(scope="module")
def outcomes(library: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What became of each test on the Pi: its name -> an outcome for each of its cases."""
    folder = tmp_path_factory.mktemp("contract")
    pi = FakePi(folder / "pi", library)
    report = folder / "report.xml"
    options = ("-m", "pi", "-p", "no:cacheprovider", "--timeout", "15", "--junitxml", str(report))
    done = pi.run("-m", "pytest", str(CONTRACT), *options, within_s=100.0)
    pi.registers.close()
    assert report.exists(), f"pytest ended with {done.returncode}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
    found = defaultdict(list)
    for case in ElementTree.parse(report).iter("testcase"):
        troubles = [
            f"{trouble.tag}: {trouble.text}" for trouble in case if trouble.tag in ("failure", "error", "skipped")
        ]
        found[str(case.get("name")).partition("[")[0]].extend(troubles or ["passed"])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_real_library_keeps_the_contract(outcomes: dict[str, list[str]], name: str) -> None:
    assert outcomes[name], "it did not run"
    assert set(outcomes[name]) == {"passed"}, "\n".join(outcomes[name])


def test_nothing_else_ran(outcomes: dict[str, list[str]]) -> None:
    assert set(outcomes) == set(NAMES)
