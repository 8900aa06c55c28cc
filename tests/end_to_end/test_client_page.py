"""Every example of docs/client.md is run against a real unit, and completion by a real bash."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reactor_unit.client import UnitClient
from reactor_unit.testing import SimulatedUnit

PAGE = Path(__file__).parents[2] / "docs" / "client.md"
HERE = "http://127.0.0.1:4999"
VARYING = [(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME"), (r"[ ]{2,}", "  "), (r"http://127\.0\.0\.1:\d+", "URL")]


def environ() -> dict[str, str]:
    return {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": "/nonexistent"}


@pytest.mark.reactor_unit(name="pio01")
def test_the_examples_are_true(reactor_unit: SimulatedUnit) -> None:
    text = PAGE.read_text().replace(HERE, reactor_unit.url)
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 5
    script = "\n".join(blocks)
    examples = doctest.DocTestParser().get_doctest(script, {}, "client.md", str(PAGE), 0)
    assert len(examples.examples) >= 12
    told: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(
        examples, out=told.append, clear_globs=False
    )
    examples.globs["unit"].close()
    assert result.failed == 0, "".join(told)
    assert_transcripts_are_true(text)


def assert_transcripts_are_true(text: str) -> None:
    """The unit runs what the examples before had it run."""
    steps = [
        part.partition("\n")
        for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL)
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    ]
    assert len(steps) == 3
    for command, _, expected in steps:
        ended = subprocess.run(command, shell=True, env=environ(), capture_output=True, text=True, timeout=30)
        assert same_each_time(ended.stdout) == same_each_time(expected), (command, ended.stderr)


def same_each_time(output: str) -> str:
    for pattern, name in VARYING:
        output = re.sub(pattern, name, output)
    return output.strip()


def test_every_method_is_on_the_page_and_every_one_there_exists() -> None:
    table = PAGE.read_text().partition("### Methods")[2].partition("## ")[0]
    named = set(re.findall(r"`([a-z_]+)`", table))
    public = {name for name in dir(UnitClient) if not name.startswith("_")} - {"close"}
    estimators = {name for name in public if "estimator" in name}
    assert named - {"estimators"} == public - estimators
    assert {name.replace("estimator", "calibration") for name in estimators} <= public


COMPLETION = """
eval "$(_REACTOR_UNIT_COMPLETE=bash_source reactor-unit)"
COMP_WORDS=({words} {last})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_reactor_unit_completion reactor-unit
echo "${{COMPREPLY[*]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "last", "expected"),
    [
        ("", "se", {"self-test", "serve", "settings"}),
        ("jobs", "''", {"list", "run", "stop"}),
        ("serve", "--h", {"--help", "--host", "--hardware"}),
        ("serve --hardware", "''", {"auto", "pi", "simulated"}),
        ("serve --port 0 --system", "d", {"dry"}),
        ("safe", "--d", {"--dot"}),
        ("fleet", "--u", {"--units"}),
        ("fleet --log-level", "D", {"DEBUG"}),
        ("poll --kind", "job", {"job_started", "job_ended"}),
        ("simulate inject", "hea", {"heater_stuck_on", "heater_unpowered"}),
    ],
)
def test_bash_completes(words: str, last: str, expected: set[str]) -> None:
    script = COMPLETION.format(words=f"reactor-unit {words}", last=last)
    done = subprocess.run(["bash", "-c", script], env=environ(), capture_output=True, text=True, timeout=30)
    assert set(done.stdout.split()) == expected, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_lines_for_each_shell_give_a_script(shell: str) -> None:
    assert f"_REACTOR_UNIT_COMPLETE={shell}_source reactor-unit" in PAGE.read_text()
    script = subprocess.run(
        ["reactor-unit"],
        env={**environ(), "_REACTOR_UNIT_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert f"_REACTOR_UNIT_COMPLETE={shell}_complete" in script.stdout
