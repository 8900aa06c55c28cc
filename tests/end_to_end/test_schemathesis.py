"""Schemathesis tries a unit from its own description: whatever is promised there is taken, all else is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import archive
from harness import RunningUnit, running_unit

HERE = Path(__file__).parent
MODEL = {"MODEL_NAME": "pioreactor_40ml_XR", "MODEL_VERSION": "1.5"}  # as the description's limits of the vial
CONFIG = "[od_config.photodiode_channel]\n1=REF\n2=45\n3=90\n4=135\n"  # what every protocol of calibration needs
IMPORT = "import_zipped_dot_pioreactor$"  # it takes away what the other operations need, so it is tried by itself


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[RunningUnit]:
    """A unit on which nothing is installed: its owner forbids."""
    dot = tmp_path / "dot"
    dot.mkdir()
    (dot / "config.ini").write_text(CONFIG)
    (dot / "DISALLOW_UI_INSTALLS").touch()
    with running_unit(tmp_path, environ=MODEL, dot=dot) as unit:
        yield unit


def try_all(unit: RunningUnit, folder: Path, *chosen: str) -> None:
    """Make all of schemathesis's checks, in all of its phases, on the chosen operations."""
    wheel, own = folder / "plugin-0.1.0-py3-none-any.whl", folder / "archive.zip"
    wheel.touch()
    own.write_bytes(archive("pio01"))
    api = f"http://127.0.0.1:{unit.port}/unit_api"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")),
        *("run", f"{api}/openapi.json", *chosen, "--no-color"),
    ]
    of_the_hooks = {"PYTHONPATH": str(HERE), "WHEEL_ON_UNIT": str(wheel), "ARCHIVE": str(own), "UNIT_API": api}
    environ = {**os.environ, **of_the_hooks}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-5000:]
    assert "No Tests" not in done.stdout


@pytest.mark.timeout(900)
def test_a_unit_does_what_its_description_says(unit: RunningUnit, tmp_path: Path) -> None:
    """It may run every job, and reboot the machine (which only says so)."""
    try_all(unit, tmp_path, "--exclude-path-regex", IMPORT)


@pytest.mark.timeout(300)
def test_a_unit_imports_what_its_description_says(unit: RunningUnit, tmp_path: Path) -> None:
    try_all(unit, tmp_path, "--include-path-regex", IMPORT)
    assert list((unit.dot / ".reactor-unit-backups").iterdir()), "archives were taken, too"
