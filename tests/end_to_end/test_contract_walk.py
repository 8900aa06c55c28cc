"""The whole API over real HTTP: each endpoint's method, path, status of success, the shape of its answer, and its task.

The contract's endpoints are all among them. The unit runs from an environment of the test's own; pip has no network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from api.contract_endpoints import ENDPOINTS, general_operations, shape
from archives import CONTENT_TYPE, form
from calibration_examples import FUSED, OD600
from harness import Answer, RunningUnit, end_all_from, running_unit
from marshmallow import Schema
from wheels import make_environment, own_wheel, plugin_wheel

from reactor_unit.faults import Fault, FaultRecord, write_faults
from reactor_unit.openapi.document import document
from reactor_unit.resources import response_schemas as schemas

SPEED = "20"  # a hardware check takes 19 s of the reactor's time
TASK_WITHIN_S = 90.0  # an update starts the new version twice
OLD, NEW, NEWEST = "0.1.0", "0.2.0", "0.3.0"
TASK, TIME = schemas.AcceptedAnswer(), {"utc_clock_time": "2026-01-31T12:45:00Z"}
JOB_ROWS = schemas.RunningJobRow(many=True)
CALIBRATION, ESTIMATOR = schemas.CalibrationAnswer(), schemas.EstimatorAnswer()
MODEL = {"model_name": "pioreactor_20ml", "model_version": "1.5"}
RUN = {"options": {}, "env": {"EXPERIMENT": "Exp001"}}
REMOVABLE = ("storage/removed-by-post.txt", "storage/removed-by-patch.txt")
WINK = {"args": ["wink-demo"]}
NOT_THERE = {"options": {"version": "9.9.9"}, "args": []}
PLUGIN = "def entry():\n    return 'ok'\n"
FAULT = Fault("1", "demo", "It broke.", "A test.", "Clear it.", (), "monitor", "Exp001", "2026-01-31T12:45:00.000Z")

Known = dict[str, Any]


def zipped(answer: Answer) -> None:
    assert answer.headers["content-type"] == "application/zip"
    assert answer.body.startswith(b"PK")


def page(answer: Answer) -> None:
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.body.startswith(b"<!doctype html>")


def keys(*names: str) -> Any:
    return lambda answer: _has(answer.json, names)


def _has(body: Any, names: tuple[str, ...]) -> None:
    assert set(names) <= set(body), body


def listing(answer: Answer) -> None:
    assert {"current", "dirs", "files"} <= set(answer.json)


def source(answer: Answer) -> None:
    assert answer.body.decode() == PLUGIN


def newest(answer: Answer) -> None:
    assert answer.json == {"version": f"v{NEWEST}"}


@dataclass(frozen=True)
class Step:
    """One request of the walk, and what its answer has to be."""

    method: str
    path: str
    answer: Any  # a schema, several of them in a list or object, or a check
    body: Any = None  # JSON, bytes, or a function that makes one of these of what the walk knows by then
    status: int = 200
    failure: str = ""  # what its task says where it is to fail


def task(method: str, path: str, body: Any = None, failure: str = "") -> Step:
    """Return the step of an endpoint that hands on a task."""
    return Step(method, path, TASK, body, 202, failure)


def from_file(name: str, args: list[str]) -> Callable[[Known], Any]:
    """Return what makes the body of an installation from the wheel that is known by this name."""
    return lambda known: {"options": {"source": known[name]}, "args": args}


def each(schema: Schema) -> Any:
    """Return a check of an object or list of answers; there has to be one at least."""

    def check(answer: Answer) -> None:
        found = list(answer.json.values()) if isinstance(answer.json, dict) else answer.json
        assert found
        for one in found:
            for record in one if isinstance(one, list) else [one]:
                assert schema.validate(record) == {}, record

    return check


# In an order in which each finds what it needs. Paths are filled in with what the walker knows.
WALK = [
    Step("GET", "/health", schemas.HealthAnswer()),
    Step("GET", "/openapi.json", keys("openapi", "paths")),
    Step("GET", "/docs", page),
    Step("GET", "/capabilities", keys("jobs", "settings")),
    Step("GET", "/plugins/installed", lambda answer: [_has(one, ("name", "version")) for one in answer.json]),
    Step("GET", "/plugins/installed/{filename}", source),
    Step("GET", "/system/path", listing),
    Step("GET", "/system/path/{req_path}", listing),
    Step("GET", "/system/utc_clock", schemas.ClockAnswer()),
    task("POST", "/system/utc_clock", TIME),
    Step("GET", "/system/web_server/status", schemas.WebServerAnswer()),
    task("POST", "/system/web_server/restart"),
    task("POST", "/system/remove_file", {"filepath": REMOVABLE[0]}),
    task("POST", "/jobs/run/job_name/{job_name}", RUN),
    Step("GET", "/task_results/{task_id}", schemas.TaskAnswerBody()),
    Step("GET", "/jobs/running", JOB_ROWS),
    Step("GET", "/jobs/running/{job_name}", JOB_ROWS),
    Step("GET", "/jobs/running/experiments/{experiment}", JOB_ROWS),
    Step("GET", "/long_running_jobs/running", JOB_ROWS),
    Step("GET", "/jobs/settings/job_name/{job_name}", schemas.SettingsAnswer()),
    Step("GET", "/jobs/settings/job_name/{job_name}/setting/{setting}", keys("target_rpm")),
    Step("PUT", "/jobs/settings/job_name/{job_name}/setting/{setting}", schemas.SettingInForce(), {"value": 300}),
    Step("PATCH", "/jobs/settings/job_name/{job_name}", schemas.ErrorAnswer(), {}, 503),
    task("POST", "/jobs/stop", {"job_name": "stirring"}),
    task("POST", "/jobs/stop/all", {}),
    Step("GET", "/jobs", schemas.HistoryRow(many=True)),
    Step("GET", "/readings", schemas.ReadingsAnswer()),
    Step("GET", "/readings/names", schemas.ReadingNamesAnswer()),
    Step("GET", "/vial", schemas.VialAnswer()),
    Step("PUT", "/vial", schemas.VialAnswer(), {"current_volume_ml": 12}),
    Step("GET", "/faults", schemas.FaultsAnswer()),
    Step("DELETE", "/faults/{fault_id}", schemas.ClearedFault()),
    Step("GET", "/self_test/results", schemas.SelfTestResultsAnswer()),
    task("POST", "/hardware/check", MODEL),
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
    task("POST", "/plugins/install", from_file("plugin", ["wink-demo"])),
    task("POST", "/plugins/uninstall", WINK),
    task("POST", "/system/update", from_file(NEW, [])),
    task("POST", "/system/update/{target}", from_file(NEWEST, [])),
    Step("GET", "/versions/app", newest),
    Step("GET", "/zipped_dot_pioreactor", zipped),
    task("POST", "/import_zipped_dot_pioreactor", lambda known: form(known["archive"])),
    task("POST", "/system/reboot"),
    task("POST", "/system/shutdown"),
    # PATCH does the same as POST.
    task("PATCH", "/hardware/check", MODEL),
    task("PATCH", "/jobs/run/job_name/{job_name}", RUN),
    task("PATCH", "/jobs/stop", {"job_name": "stirring"}),
    task("PATCH", "/jobs/stop/all", {}),
    task("PATCH", "/plugins/install", WINK, failure="wink-demo"),
    task("PATCH", "/plugins/uninstall", WINK),
    task("PATCH", "/system/update", NOT_THERE, failure="9.9.9"),
    task("PATCH", "/system/update/{target}", NOT_THERE, failure="9.9.9"),
    task("PATCH", "/system/remove_file", {"filepath": REMOVABLE[1]}),
    task("PATCH", "/system/utc_clock", TIME),
    task("PATCH", "/system/web_server/restart"),
    task("PATCH", "/system/reboot"),
    task("PATCH", "/system/shutdown"),
]


class Walker:
    """Goes through the API with one unit; later steps use what earlier ones answered."""

    def __init__(self, unit: RunningUnit, wheels: Known) -> None:
        self.unit = unit
        self.known: Known = {
            "job_name": "stirring",
            "setting": "target_rpm",
            "experiment": "Exp001",
            "filename": "mine.py",
            "req_path": "storage",
            "cal_name": "od-demo",
            "calibration_name": "od-demo",
            "estimator_name": "fused-demo",
            "fault_id": FAULT.id,
            "target": "app",
            **wheels,
        }

    def take(self, step: Step) -> None:
        device = "od_fused" if "estimator" in step.path else "od90"
        path = re.sub(r"{(\w+)}", lambda match: {**self.known, "device": device}[match[1]], step.path)
        body = step.body(self.known) if callable(step.body) else step.body
        headers = {"Content-Type": CONTENT_TYPE} if isinstance(body, bytes) else {}
        answer = self.unit.ask(step.method, path, body, headers, timeout_s=30)
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
        if step.path == "/zipped_dot_pioreactor":
            self.known["archive"] = answer.body

    def finish(self, step: Step, accepted: dict[str, Any]) -> None:
        assert accepted["unit"] == "pio01"
        assert accepted["result_url_path"] == f"/unit_api/task_results/{accepted['task_id']}"
        self.known["task_id"] = accepted["task_id"]
        record = self.unit.ended(accepted["task_id"], TASK_WITHIN_S)
        if step.failure:
            assert schemas.FailedTaskBody().validate(record) == {}, f"{step}: {record}"
            assert step.failure in record["error_info"]["cause"], f"{step}: {record}"
        else:
            assert record["status"] == "complete", f"{step}: {record}"


@pytest.fixture
def walker(tmp_path: Path) -> Iterator[Walker]:
    folder = tmp_path / "unit"
    files = {"plugins/mine.py": PLUGIN, "storage/estimators/od_fused/fused-demo.yaml": FUSED}
    for path, text in {**files, **dict.fromkeys(REMOVABLE, "nothing\n")}.items():
        (folder / "dot" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "dot" / path).write_text(text)
    write_faults(folder / "dot" / "storage" / "faults.json", FaultRecord((FAULT,)))
    wheels = {"plugin": str(plugin_wheel(tmp_path)), **{one: str(own_wheel(tmp_path, one)) for one in (NEW, NEWEST)}}
    python = make_environment(tmp_path / "environment", own_wheel(tmp_path, OLD))
    with running_unit(folder, "--speed", SPEED, python=str(python), environ={"PIP_NO_INDEX": "1"}) as unit:
        try:
            yield Walker(unit, wheels)
        finally:
            end_all_from(python)


def test_the_walk_comes_by_every_endpoint() -> None:
    """Neither the contract nor the description of the unit's routes has one that is not walked."""
    walked = {(step.method, shape(f"/unit_api{step.path}")) for step in WALK}
    assert walked >= {(method, shape(path)) for method, path in ENDPOINTS}
    assert walked == {(method, path) for method, path in general_operations(document()) if path != "/metrics"}


@pytest.mark.timeout(300)
def test_every_endpoint_answers_as_the_contract_says(walker: Walker) -> None:
    """In one test, since each step needs those before it."""
    for step in WALK:
        walker.take(step)
    assert walker.unit.process.poll() is None, "updates and the import happened in the process that was started"
