"""Every example of a request in the description is sent to a real unit, which takes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import RunningUnit, running_unit, wait_for

from reactor_unit.openapi.__main__ import FOLDER

DESCRIBED = json.loads((FOLDER / "openapi.json").read_text())
FORBIDDEN = ("/plugins/install", "/plugins/uninstall", "/system/update")  # by the unit's owner, in this test
NOT_THERE = ("my_job", "0f4a")  # a plugin's job, a session: their examples name what this unit does not have


def examples() -> Iterator[Any]:
    for path, methods in DESCRIBED["paths"].items():
        for method, operation in methods.items():
            if "requestBody" not in operation or (method == "patch" and "post" in methods):
                continue
            name = operation["requestBody"]["$ref"].rpartition("/")[2]
            named = {one["name"]: one.get("example", "x") for one in operation.get("parameters", ()) if "name" in one}
            filled = re.sub(r"{(\w+)}", lambda match, named=named: str(named[match[1]]), path)
            contents = DESCRIBED["components"]["requestBodies"][name]["content"]
            for words, example in contents.get("application/json", {}).get("examples", {}).items():
                yield pytest.param(method.upper(), filled, example["value"], id=f"{method} {filled} {words}")


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUnit]:
    folder = tmp_path_factory.mktemp("unit")
    (folder / "dot").mkdir()
    (folder / "dot" / "DISALLOW_UI_INSTALLS").touch()
    with running_unit(folder) as unit:
        yield unit


@pytest.mark.parametrize(("method", "path", "body"), list(examples()))
def test_an_example_is_a_request_that_a_unit_takes(
    unit: RunningUnit, method: str, path: str, body: Any, tmp_path: Path
) -> None:
    def answered() -> Any:  # the same job twice within a second is refused, whatever the request is
        answer = unit.ask(method, path.removeprefix("/unit_api"), body)
        return None if answer.status == 429 else answer

    answer = wait_for(answered, "an answer but 429")
    if path.endswith(FORBIDDEN) or "/system/update/" in path:
        expected: tuple[int, ...] = (403, 202)  # to uninstall is not forbidden
    elif any(name in path for name in NOT_THERE):
        expected = (404,)
    else:
        expected = (200, 201, 202, 409)  # 409: the job whose setting it is does not run
    assert answer.status in expected, answer
