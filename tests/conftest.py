"""What all tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

import harness
from harness import RunningUnit, running_unit

REGISTERS = "tests/registers/"

# How long an example takes says how busy the machine is.
settings.register_profile("busy", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[RunningUnit]:
    """A real unit on simulated hardware, with a data folder of its own."""
    with running_unit(tmp_path) as running:
        yield running


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KiB."""
    with harness.small_disk(tmp_path / "disk", 400) as path:
        yield path


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name each test on the real RPi.GPIO: a log has to show that they ran, since they skip where they cannot."""
    lines = [
        f"{outcome.upper():8} {report.nodeid.removeprefix(REGISTERS)}"
        for outcome in ("passed", "failed", "error", "skipped")
        for report in terminalreporter.getreports(outcome)
        if report.nodeid.startswith(REGISTERS)
    ]
    if lines:
        terminalreporter.section("on the real RPi.GPIO 0.7.1, at its registers")
        for line in lines:
            terminalreporter.line(line)
