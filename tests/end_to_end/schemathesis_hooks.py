"""What schemathesis cannot know of the unit: texts of its formats, and rules that OpenAPI has no words for.

Nothing here excuses an answer: a rule only keeps a request from counting as one that the description promises to take.
"""

from __future__ import annotations

import json
import os
import re
import string
import sys
import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis.transport.serialization import Binary

sys.path.insert(0, str(Path(__file__).parents[1]))
from calibration_examples import OD600, PUMP, STIRRING

from reactor_unit.clock import unix_seconds
from reactor_unit.multipart import MAX_PARTS
from reactor_unit.openapi.jobs_table import EXAMPLES
from reactor_unit.workers.jobs import JOBS

IMPORT = "/import_zipped_dot_pioreactor"
SETTING_OF = re.compile(r"/jobs/settings/job_name/(\w+)/setting/")
_tried: set[str] = set()
PLUGINS_JOB = ("/run/job_name/{job_name}", "/settings/job_name/{job_name}/setting/{setting}")
PRINTABLE = st.characters(exclude_categories=("C", "Z"), include_characters=" ").filter(str.isprintable)
WORDS = st.text(string.ascii_lowercase, min_size=1, max_size=12)
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2099, 12, 31))
VALUES = st.recursive(st.booleans() | st.integers(-1000, 1000) | WORDS, lambda one: st.lists(one, max_size=3))


def _named(text: str, name: str) -> str:
    """Return a calibration's file with another name in it."""
    lines = text.splitlines(keepends=True)
    return "".join(f"calibration_name: {name}\n" if one.startswith("calibration_name:") else one for one in lines)


def _is_file_name(text: str) -> bool:
    return text[0] not in ".-" and "/" not in text


schemathesis.openapi.format("printable", st.text(PRINTABLE, max_size=40))
schemathesis.openapi.format("file-name", st.text(PRINTABLE, min_size=1, max_size=40).filter(_is_file_name))
schemathesis.openapi.format("calibration", st.builds(_named, st.sampled_from((OD600, PUMP, STIRRING)), WORDS))
schemathesis.openapi.format("file-on-unit", st.just(os.environ.get("WHEEL_ON_UNIT", "/nonexistent.whl")))
schemathesis.openapi.format("binary", st.just(Binary(Path(os.environ["ARCHIVE"]).read_bytes())))
schemathesis.openapi.format("utc-time", TIMES.map(lambda at: f"{at.isoformat()}Z"))
schemathesis.openapi.format("json", VALUES.map(json.dumps))


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Give each request a key of its own where it has a valid one, and send those of built-in jobs to their own paths.

    A key belongs to one request; and the path of a built-in job goes before that with its name as a parameter, which is
    described for plugins' jobs. Of these there are none here.
    """
    job = SETTING_OF.search(case.operation.path)
    if job is not None:
        _have_running(os.environ["UNIT_API"], job[1], case.operation.label)
    is_for_plugins = case.operation.path.endswith(PLUGINS_JOB) and case.method != "GET"
    if is_for_plugins and case.path_parameters.get("job_name") in JOBS:
        case.path_parameters["job_name"] = "my_job"
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and 1 <= len(key) <= 255 and key.isascii() and key.isprintable():
        case.headers["Idempotency-Key"] = str(uuid.uuid4())


def _have_running(unit: str, job_name: str, operation: str) -> None:
    """Start a job as in its example, once for each operation on its settings: else nothing has any."""
    if operation in _tried:
        return
    _tried.add(operation)
    running = requests.get(f"{unit}/jobs/running/{job_name}", timeout=30).json()
    if running:
        return
    (body, *_) = EXAMPLES.get(job_name, {"": {}}).values()
    answer = requests.post(f"{unit}/jobs/run/job_name/{job_name}", json=body, timeout=30)
    if answer.status_code == 202:
        task = urljoin(unit, answer.json()["result_url_path"])
        requests.get(task, headers={"Prefer": "wait=15"}, timeout=30)


@schemathesis.hook
def after_call(_context: Any, case: Any, response: Any) -> None:
    """Wait for the end of an import, a reboot or a shutdown (of the machine, which only says that it would)."""
    if not case.operation.path.endswith(("/system/reboot", "/system/shutdown", IMPORT)):
        return
    if response.status_code == 202 and "result_url_path" in response.json():
        url = urljoin(response.request.url, response.json()["result_url_path"])
        while requests.get(url, headers={"Prefer": "wait=25"}, timeout=30).status_code == 202:
            pass


@schemathesis.hook
def filter_case(_context: Any, case: Any) -> bool:
    """Leave out what the description has no words for."""
    if case.operation.path.endswith("/inputs"):  # what a step asks for is told by the step
        return not (isinstance(case.body, dict) and isinstance(case.body.get("inputs"), dict) and case.body["inputs"])
    if case.operation.path.endswith(IMPORT) and isinstance(case.body, dict):  # a list is a part for each of its values
        return sum(len(one) if isinstance(one, list) else 1 for one in case.body.values()) <= MAX_PARTS
    return not _ends_before_it_begins(case.query or {})


def _ends_before_it_begins(query: Mapping[str, Any]) -> bool:
    try:
        return _seconds(query["since"]) > _seconds(query["until"])
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError):
        return False


def _seconds(time: Any) -> float:
    try:
        return float(time)
    except ValueError:
        return unix_seconds(time)
