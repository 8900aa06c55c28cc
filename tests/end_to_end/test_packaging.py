"""The wheel: it holds every module and data file, and runs from an empty environment in any directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from harness import DEADLINE_S, running_unit

from reactor_unit import __version__

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "src/reactor_unit": "reactor_unit",
    "resources": "reactor_unit/resources",
    "workers": "reactor_unit/workers",
    "drivers": "reactor_unit/drivers",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the source, so that nothing an earlier build left behind gets into it."""
    copy = tmp_path_factory.mktemp("source")
    for name in (*FOLDERS, "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(copy / "dist"), str(copy)],
        check=True,
        timeout=300,
    )
    (wheel,) = (copy / "dist").glob("*.whl")
    return wheel


def test_the_wheel_has_every_module_and_data_file(wheel: Path) -> None:
    expected = {
        f"{inside}/{path.relative_to(ROOT / folder)}"
        for folder, inside in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".so") and "egg-info" not in str(path)
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == expected


@pytest.mark.timeout(300)
def test_the_wheel_runs_from_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True, timeout=240)
    ended = subprocess.run(
        [tmp_path / "venv/bin/reactor-unit", "--version"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    )
    assert ended.stdout == f"reactor-unit {__version__}\n"
    with running_unit(tmp_path, python=str(python)) as unit:
        assert unit.get("/health").status == 200
        unit.run_stirring()
