"""What all tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import RunningUnit, running_unit


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[RunningUnit]:
    """A real unit on simulated hardware, with a data folder of its own."""
    with running_unit(tmp_path) as running:
        yield running
