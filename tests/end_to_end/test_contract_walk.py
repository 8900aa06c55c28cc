"""The whole contract over real HTTP: each endpoint's method, path, status of success, and the shape of its answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from api.contract_endpoints import ENDPOINTS
from calibration_examples import FUSED, OD600
from harness import Answer, RunningUnit, running_unit
from marshmallow import Schema

from reactor_unit.resources import response_schemas as schemas

TASK, TIME = schemas.AcceptedAnswer(), {"utc_clock_time": "2026-01-31T12:45:00Z"}
JOB_ROWS = schemas.RunningJobRow(many=True)
CALIBRATION, ESTIMATOR = schemas.CalibrationAnswer(), schemas.EstimatorAnswer()
ELSEWHERE = (  # archives, plugins and update have tests of their own
    ("POST", "/unit_api/import_zipped_dot_pioreactor"),
    ("POST", "/unit_api/plugins/install"),
    ("POST", "/unit_api/plugins/uninstall"),
    ("POST", "/unit_api/system/update"),
    ("POST", "/unit_api/system/update/{target}"),
)
PLUGIN = "def entry():\n    return 'ok'\n"


def zipped(answer: Answer) -> None:
    assert answer.headers["content-type"] == "application/zip"
    assert answer.body.startswith(b"PK")


def keys(*names: str) -> Any:
    return lambda answer: _has(answer.json, names)


def _has(body: Any, names: tuple[str, ...]) -> None:
    assert set(names) <= set(body), body


def listing(answer: Answer) -> None:
    assert {"current", "dirs", "files"} <= set(answer.json)


def source(answer: Answer) -> None:
    assert answer.body.decode() == PLUGIN


@dataclass(frozen=True)
class Step:
    """One request of the walk, and what its answer has to be."""

    method: str
    path: str
    answer: Any  # a schema, several of them in a list or object, or a check
    body: Any = None
    status: int = 200


def each(schema: Schema) -> Any:
    """Return a check of an object or list of answers; there has to be one at least."""

    def check(answer: Answer) -> None:
        found = list(answer.json.values()) if isinstance(answer.json, dict) else answer.json
        assert found
        for one in found:
            for record in one if isinstance(one, list) else [one]:
                assert schema.validate(record) == {}, record

    return check


# In an order in which each finds what it needs. Parameters are filled in by `PARAMETERS` and by what came before.
WALK = [
    Step("GET", "/health", schemas.HealthAnswer()),
    Step("GET", "/versions/app", schemas.VersionAnswer()),
    Step("GET", "/capabilities", keys("jobs", "settings")),
    Step("GET", "/plugins/installed", lambda answer: [_has(one, ("name", "version")) for one in answer.json]),
    Step("GET", "/plugins/installed/{filename}", source),
    Step("GET", "/system/path/{req_path}", listing),
    Step("GET", "/system/utc_clock", schemas.ClockAnswer()),
    Step("POST", "/system/utc_clock", TASK, TIME, 202),
    Step("GET", "/system/web_server/status", schemas.WebServerAnswer()),
    Step("POST", "/system/web_server/restart", TASK, None, 202),
    Step("POST", "/system/remove_file", TASK, {"filepath": "storage/removable.txt"}, 202),
    Step("POST", "/jobs/run/job_name/{job_name}", TASK, {"options": {}, "env": {"EXPERIMENT": "Exp001"}}, 202),
    Step("GET", "/task_results/{task_id}", schemas.TaskAnswerBody()),
    Step("GET", "/jobs/running", JOB_ROWS),
    Step("GET", "/jobs/running/{job_name}", JOB_ROWS),
    Step("GET", "/jobs/running/experiments/{experiment}", JOB_ROWS),
    Step("GET", "/long_running_jobs/running", JOB_ROWS),
    Step("GET", "/jobs/settings/job_name/{job_name}", schemas.SettingsAnswer()),
    Step("GET", "/jobs/settings/job_name/{job_name}/setting/{setting}", keys("target_rpm")),
    Step("PATCH", "/jobs/settings/job_name/{job_name}", schemas.ErrorAnswer(), {}, 503),
    Step("POST", "/jobs/stop", TASK, {"job_name": "stirring"}, 202),
    Step("POST", "/jobs/stop/all", TASK, {}, 202),
    Step("POST", "/hardware/check", TASK, {"model_name": "pioreactor_20ml", "model_version": "1.5"}, 202),
    Step("GET", "/calibration_protocols", schemas.ProtocolAnswer(many=True)),
    Step("POST", "/calibrations/{device}", keys("msg", "path"), {"calibration_data": OD600}, 201),
    Step("GET", "/calibrations", each(CALIBRATION)),
    Step("GET", "/calibrations/{device}", each(CALIBRATION)),
    Step("GET", "/calibrations/{device}/{cal_name}", CALIBRATION),
    Step("PATCH", "/active_calibrations/{device}/{cal_name}", keys("status")),
    Step("GET", "/active_calibrations", each(CALIBRATION)),
    Step("DELETE", "/active_calibrations/{device}", keys("status")),
    Step("GET", "/zipped_calibrations", zipped),
    Step("DELETE", "/calibrations/{device}/{calibration_name}", keys("msg")),
    Step("GET", "/estimators", each(ESTIMATOR)),
    Step("GET", "/estimators/{device}", each(ESTIMATOR)),
    Step("GET", "/estimators/{device}/{estimator_name}", ESTIMATOR),
    Step("PATCH", "/active_estimators/{device}/{estimator_name}", keys("status")),
    Step("GET", "/active_estimators", keys("od_fused")),
    Step("DELETE", "/active_estimators/{device}", keys("status")),
    Step("DELETE", "/estimators/{device}/{estimator_name}", keys("msg")),
    Step(
        "POST",
        "/calibrations/sessions",
        schemas.SessionAnswer(),
        {"target_device": "media_pump", "protocol_name": "duration_based"},
        201,
    ),
    Step("GET", "/calibrations/sessions/{session_id}", schemas.SessionAnswer()),
    Step("POST", "/calibrations/sessions/{session_id}/inputs", schemas.SessionAnswer(), {"inputs": {}}),
    Step("POST", "/calibrations/sessions/{session_id}/abort", schemas.SessionAnswer(), {}),
    Step("GET", "/zipped_dot_pioreactor", zipped),
    Step("POST", "/system/reboot", TASK, None, 202),
    Step("POST", "/system/shutdown", TASK, None, 202),
]
PATCH_TOO = {
    "/hardware/check",
    "/jobs/run/job_name/{job_name}",
    "/jobs/stop",
    "/jobs/stop/all",
    "/system/reboot",
    "/system/remove_file",
    "/system/shutdown",
    "/system/utc_clock",
    "/system/web_server/restart",
}


class Walker:
    """Goes through the contract with one unit; later steps use what earlier ones answered."""

    def __init__(self, unit: RunningUnit) -> None:
        self.unit = unit
        self.known = {
            "job_name": "stirring",
            "setting": "target_rpm",
            "experiment": "Exp001",
            "filename": "mine.py",
            "req_path": "storage",
            "cal_name": "od-demo",
            "calibration_name": "od-demo",
            "estimator_name": "fused-demo",
        }

    def take(self, step: Step) -> None:
        device = "od_fused" if "estimator" in step.path else "od90"
        path = re.sub(r"{(\w+)}", lambda match: {**self.known, "device": device}[match[1]], step.path)
        answer = self.unit.ask(step.method, path, step.body, timeout_s=30)
        assert answer.status == step.status, (step, answer)
        if isinstance(step.answer, Schema):
            problems = step.answer.validate(answer.json, many=isinstance(answer.json, list))
            assert not problems, (step, problems)
        else:
            step.answer(answer)
        if answer.status == 202:
            self.finish(step, answer.json)
        if step.path == "/calibrations/sessions":
            self.known["session_id"] = answer.json["session"]["session_id"]

    def take_by_patch(self, step: Step) -> None:
        """Take a step of POST by PATCH."""
        path = step.path.replace("{job_name}", "od_blank")
        body = {"args": ["delete"]} if "jobs/run" in path else step.body
        answer = self.unit.ask("PATCH", path, body)
        assert (answer.status, TASK.validate(answer.json)) == (202, {}), (step, answer)
        self.unit.ended(answer.json["task_id"], within_s=60)

    def finish(self, step: Step, accepted: dict[str, Any]) -> None:
        assert accepted["unit"] == "pio01"
        assert accepted["result_url_path"] == f"/unit_api/task_results/{accepted['task_id']}"
        self.known["task_id"] = accepted["task_id"]
        record = self.unit.ended(accepted["task_id"], within_s=60)
        assert record["status"] == "complete", (step, record)


@pytest.fixture
def walker(tmp_path: Path) -> Iterator[Walker]:
    folder = tmp_path / "unit"
    (folder / "dot" / "plugins").mkdir(parents=True)
    (folder / "dot" / "plugins" / "mine.py").write_text(PLUGIN)
    estimators = folder / "dot" / "storage" / "estimators" / "od_fused"
    estimators.mkdir(parents=True)
    (estimators / "fused-demo.yaml").write_text(FUSED)
    (folder / "dot" / "storage" / "removable.txt").write_text("nothing\n")
    with running_unit(folder) as unit:
        yield Walker(unit)


def test_the_walk_comes_by_every_endpoint() -> None:
    walked = {(step.method, f"/unit_api{step.path}") for step in WALK}
    assert walked | set(ELSEWHERE) == set(ENDPOINTS)
    assert not walked & set(ELSEWHERE)


@pytest.mark.timeout(180)
def test_every_endpoint_answers_as_the_contract_says(walker: Walker) -> None:
    """In one test, since each step needs those before it."""
    for step in WALK:
        walker.take(step)
    for step in WALK:
        if step.method == "POST" and step.path in PATCH_TOO:
            walker.take_by_patch(step)
