"""The transcripts about installing and updating are run, and have to say what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from harness import RunningUnit, running_unit
from wheels import make_environment, own_wheel, plugin_wheel

DOCS = Path(__file__).parents[2] / "docs"
pytestmark = pytest.mark.timeout(240)


def steps(page: str) -> list[tuple[str, str]]:
    """Return each command of a page with the output shown for it."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", (DOCS / page).read_text(), re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def said(unit: RunningUnit, folder: Path, command: str) -> str:
    """Return what a command writes, as the page shows it: without progress, and on port 4999."""
    words = [sys.executable, "-m", "reactor_unit", *command.split()[1:]]
    environ = {"HOME": str(folder), "REACTOR_UNIT_URL": f"http://127.0.0.1:{unit.port}"}
    ended = subprocess.run(words, env=environ, cwd=folder, capture_output=True, text=True, timeout=120)
    errors = "".join(line for line in ended.stderr.splitlines(True) if re.match("error|cause|what to do", line))
    text = (ended.stdout + errors).replace(str(unit.port), "4999")
    return "\n".join(line.rstrip() for line in re.sub(r"\d{4}-\S+Z", "TIME", text).splitlines())


@pytest.mark.parametrize("page", ["plugins.md", "update.md"])
def test_the_transcripts_are_true(page: str, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "environment", own_wheel(tmp_path, "0.1.0"))
    plugin_wheel(tmp_path, "1.0")
    own_wheel(tmp_path, "0.2.0")
    own_wheel(tmp_path, "0.3.0", {"reactor_unit/serve.py": "import no_such_module"})
    with running_unit(tmp_path, python=str(python), environ={"PIP_NO_INDEX": "1"}) as unit:
        assert steps(page)
        for command, expected in steps(page):
            found = said(unit, tmp_path, command)
            assert found == re.sub(r"\d{4}-\S+Z", "TIME", expected).strip(), (command, found)
