"""Installing with pip: into a copy of the environment, where it is tried before it is put in place.

For forked children: it takes memory and minutes.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reactor_unit.environment import Environment
from reactor_unit.errors import InstallFailed, TaskTimedOut
from reactor_unit.install_requests import OWN_NAME, Wanted, canonical
from reactor_unit.workers.children import die_with_parent

PIP_WITHIN_S = 20 * 60.0  # a wheel over a slow network, or one that is built on a Pi Zero
CHECK_WITHIN_S = 3 * 60.0
TAIL_BYTES = 3000  # of what a program said last
NICENESS = 10
_NOT_FOR_PROGRAMS = (
    *("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_REQUIREMENT", "PIP_EDITABLE", "PIP_CONSTRAINT"),
    "SKIP_PLUGINS",
)
_PIP_OPTIONS = ("--no-input", "--disable-pip-version-check", "--no-color", "--no-cache-dir")


@dataclass(frozen=True)
class Found:
    """What a check has found: the unit's version, all distributions by name, and the plugins with their errors."""

    version: str
    distributions: Mapping[str, str]
    plugins: Mapping[str, str | None]


class Installer:
    """Changes a copy of `environment`; whoever has one holds the environment's lock.

    `data_folder` is where plugins lie that are files: the check looks at them, too.
    """

    def __init__(self, environment: Environment, data_folder: Path) -> None:
        self._environment = environment
        self._data_folder = data_folder
        self.copy = environment.make_copy()
        self._scripts = self.copy.scripts()

    def install(self, wanted: Wanted, constraints: Mapping[str, str]) -> None:
        """Have pip install it, over any other version there is; what is in `constraints` keeps its version.

        Raises InstallFailed or TaskTimedOut.
        """
        pins = self._environment.folder / "constraints.txt"
        pins.write_text("".join(f"{name}=={version}\n" for name, version in sorted(constraints.items())))
        if wanted.source:
            self.uninstall(wanted.name)  # pip takes a file with the version that is there for the same
        words = ["--upgrade", "--no-compile", "--progress-bar", "off", "--constraint", str(pins)]
        self._pip(f"{wanted.name} could not be installed.", "install", *words, "--", wanted.requirement)

    def uninstall(self, name: str) -> None:
        """Have pip remove a distribution; one that is not there is no error. Raises InstallFailed or TaskTimedOut."""
        self._pip(f"{name} could not be uninstalled.", "uninstall", "--yes", "--", name)

    def check(self) -> Found:
        """Return what the copy is like: import what serves, look at each plugin. Raises InstallFailed."""
        result = self._environment.folder / "check.json"
        result.unlink(missing_ok=True)
        problem = "With it the unit could not be imported any more."
        words = ["-m", "reactor_unit.install_check", str(self._data_folder / "plugins"), str(result)]
        self._run(problem, words, CHECK_WITHIN_S)
        try:
            found = json.loads(result.read_bytes())
            checked = Found(found["version"], found["distributions"], found["plugins"])
        except (OSError, ValueError, KeyError) as ex:
            raise InstallFailed(problem, cause=f"The check said nothing that can be read: {ex}.") from ex
        said = self._run(problem, ["-m", "reactor_unit", "--version"], CHECK_WITHIN_S)
        if checked.version not in said:
            raise InstallFailed(problem, cause=f"Asked for its version {checked.version}, it said: {said[:200]}")
        return checked

    def put_in_place(self) -> None:
        """Have the copy be the environment, at once. Raises InstallFailed; then nothing was changed."""
        try:
            self._environment.exchange()
        except OSError as ex:
            raise InstallFailed(f"What was installed could not be put in place: {ex}.") from ex
        with suppress(OSError):  # commands are a convenience
            self._environment.take_scripts(self._scripts)

    def _pip(self, problem: str, *words: str) -> None:
        self._run(problem, ["-m", "pip", words[0], *_PIP_OPTIONS, *words[1:]], PIP_WITHIN_S)

    def _run(self, problem: str, words: Sequence[str], within_s: float) -> str:
        """Run the copy's Python, apart from its user's settings; return what it said last. Raises InstallFailed."""
        command = [str(self.copy.python), "-I", *words]
        code, said = run(command, within_s, self._environment.folder / "output.txt")
        if code != 0:
            raise InstallFailed(problem, cause=said or f"It ended with exit code {code}.")
        return said


def run(command: Sequence[str], within_s: float, output: Path) -> tuple[int, str]:
    """Run a program to its end; return its exit code and the end of what it said. Raises TaskTimedOut.

    It has a low priority and no input, and ends with this process.
    """
    with open(output, "w+b") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environ_for_programs(os.environ),
            cwd=output.parent,
            process_group=0,
            preexec_fn=be_humble,
        )
        try:
            code = process.wait(within_s)
        except subprocess.TimeoutExpired as ex:
            raise TaskTimedOut(f"{' '.join(command[2:5])} took longer than {within_s:g} s.") from ex
        finally:
            end_group(process)
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        return code, _readable(file.read())


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a program and of what it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def environ_for_programs(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what would have pip or Python look or write elsewhere."""
    return {
        name: value
        for name, value in environ.items()
        if name not in _NOT_FOR_PROGRAMS and not name.startswith("PYTHON")
    }


def be_humble() -> None:
    """Have this process step back behind others, and end with its parent."""
    os.nice(NICENESS)
    die_with_parent(signal.SIGKILL)


def _readable(text: bytes) -> str:
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text.decode("utf-8", "replace")).splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.startswith("WARNING: ")).strip()


def check_pip() -> None:
    """Raise InstallFailed where there is no pip."""
    if importlib.util.find_spec("pip") is None:
        raise InstallFailed(
            "There is no pip in the unit's environment.",
            remediation="Install it there (`python -m ensurepip`), or install by hand.",
        )


def protected() -> dict[str, str]:
    """Return what the unit itself needs, by name, with the versions that are installed; itself first."""
    versions: dict[str, str] = {}
    names = [OWN_NAME]
    while names:
        name = canonical(names.pop())
        if name in versions:
            continue
        with suppress(importlib.metadata.PackageNotFoundError):
            distribution = importlib.metadata.distribution(name)
            versions[name] = distribution.version
            names += required_names(distribution.requires or ())
    return versions


def required_names(requirements: Iterable[str]) -> list[str]:
    """Return the names of requirements such as `falcon>=4; extra == "x"`."""
    return [found[0] for text in requirements if (found := re.match(r"[A-Za-z0-9._-]+", text.strip()))]


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Any]:
    """Return by name what is different: `{"from", "to"}`, null for what was or is not there."""
    names = sorted({*before, *after})
    return {
        name: {"from": before.get(name), "to": after.get(name)} for name in names if before.get(name) != after.get(name)
    }
