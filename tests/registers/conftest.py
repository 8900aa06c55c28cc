"""The real RPi.GPIO, built once a session, on Raspberry Pis made of files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "contract"))

from fake_pi import HERE, FakePi

RPI_GPIO = "RPi.GPIO==0.7.1"


def _made(*command: str, within_s: float = 100.0, **environ: str) -> str | None:
    """Run a command; return None, or how it failed."""
    try:
        subprocess.run(
            command, capture_output=True, text=True, timeout=within_s, check=True, env={**os.environ, **environ}
        )
    except subprocess.CalledProcessError as ex:
        return f"{command[0]} failed: {(ex.stderr or ex.stdout).strip()[-300:]}"
    except (OSError, subprocess.TimeoutExpired) as ex:
        return str(ex)
    return None


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with RPi.GPIO as pip builds it here, and with pads.so; skips where it cannot be had."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for mounts in a namespace of its own")
    if failure := _made("unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"):
        pytest.skip(f"this machine allows no mounts in a private namespace: {failure}")
    folder = tmp_path_factory.mktemp("rpi_gpio")
    # Some systems link Python's extensions with -Bsymbolic-functions, which would leave pads.so without effect.
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-binary", ":all:", "--target", str(folder), RPI_GPIO)
    if failure := _made(sys.executable, *pip, LDSHARED="gcc -shared", PIP_DISABLE_PIP_VERSION_CHECK="1"):
        pytest.skip(f"{RPI_GPIO} cannot be built here: {failure}")
    pads = ("-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o", str(folder / "pads.so"), str(HERE / "pads.c"))
    failure = _made("gcc", *pads, "-ldl", "-lpthread")
    assert failure is None, failure
    return folder


@pytest.fixture
def pi(library: Path, tmp_path: Path) -> Iterator[FakePi]:
    """A Pi whose pins are all inputs, as after power-up."""
    pi = FakePi(tmp_path / "pi", library)
    yield pi
    pi.registers.close()
