"""What many operations say alike: names in paths, preferences, the answers to accepted tasks."""

from __future__ import annotations

from typing import Any

from reactor_unit.openapi.json_schemas import NAME
from reactor_unit.openapi.operation import Answer, Content, Parameter
from reactor_unit.resources import response_schemas as answers

API = "/unit_api"
TIME = "2026-01-31T12:45:00.000Z"
TASK_ID = "dec16a11-4b00-4f14-8c5a-137b3967b156"
TASK_PATH = f"{API}/task_results/{TASK_ID}"
ACCEPTED = {"unit": "pio01", "task_id": TASK_ID, "result_url_path": TASK_PATH}

_SEGMENT = {**NAME, "minLength": 1}
FILE_NAME: dict[str, Any] = {
    "type": "string",
    "format": "file-name",
    "minLength": 1,
    "maxLength": 250,
}
NEW_FILE_NAME: dict[str, Any] = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9_][A-Za-z0-9._-]*( [A-Za-z0-9._-]+)*$",
    "maxLength": 250,
}


def name(parameter: str, description: str, example: str | None = None) -> Parameter:
    """Return a parameter of the path that is a name."""
    return Parameter(parameter, "path", description, _SEGMENT, example)


def file_name(parameter: str, description: str, example: str, *, is_new: bool = False) -> Parameter:
    """Return a parameter of the path that is the name of a calibration, an estimator or a device."""
    return Parameter(parameter, "path", description, NEW_FILE_NAME if is_new else FILE_NAME, example)


def number(parameter: str, description: str, most: int, default: int) -> Parameter:
    """Return a number of the query."""
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return Parameter(parameter, "query", description, schema)


def flag(parameter: str, description: str) -> Parameter:
    """Return a yes or no of the query."""
    return Parameter(parameter, "query", description, {"type": "boolean", "default": False})


def accepted(lock: str | None = None) -> tuple[Answer, ...]:
    """Return the answer to what becomes a task; one that needs a `lock` may find it taken."""
    if lock is None:
        description = "It is a task now; ask for its result at `result_url_path`."
        return (Answer(202, description, (Content(answers.AcceptedAnswer, ACCEPTED),), ("Location", "RetryAfter")),)
    schema = {"anyOf": [answers.AcceptedAnswer, answers.LockHeldAnswer]}
    description = (
        f"It is a task now; or, with `lock`, another task of the kind `{lock}` is under way, and this is none."
    )
    return (Answer(202, description, (Content(schema, ACCEPTED),), ("LocationOfTask", "RetryAfterSometimes")),)
