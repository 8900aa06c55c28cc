"""Schemathesis tries a unit from its own description: whatever is promised there is taken, all else is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness import running_unit

HERE = Path(__file__).parent
MODEL = {"MODEL_NAME": "pioreactor_40ml_XR", "MODEL_VERSION": "1.5"}  # as the description's limits of the vial
CONFIG = "[od_config.photodiode_channel]\n1=REF\n2=45\n3=90\n4=135\n"  # what every protocol of calibration needs
EXCLUDED = "import_zipped_dot_pioreactor$"  # it replaces the data folder and starts the unit again; see test_import


@pytest.mark.timeout(900)
def test_a_unit_does_what_its_description_says(tmp_path: Path) -> None:
    """All of schemathesis's checks, in all of its phases, on every operation.

    It may run every job, and reboot the machine (which only says so). Nothing is installed: the unit's owner forbids.
    """
    dot = tmp_path / "dot"
    dot.mkdir()
    (dot / "config.ini").write_text(CONFIG)
    (dot / "DISALLOW_UI_INSTALLS").touch()
    wheel = tmp_path / "plugin-0.1.0-py3-none-any.whl"
    wheel.touch()
    with running_unit(tmp_path, environ=MODEL, dot=dot) as unit:
        api = f"http://127.0.0.1:{unit.port}/unit_api"
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")),
            *("run", f"{api}/openapi.json"),
            *("--exclude-path-regex", EXCLUDED, "--no-color"),
        ]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(HERE), "WHEEL_ON_UNIT": str(wheel), "UNIT_API": api},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-5000:]
        assert "No Tests" not in done.stdout
