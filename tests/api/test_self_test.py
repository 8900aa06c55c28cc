"""What the self-tests found, over HTTP; and how the job is started."""

import json

from reactor_unit.app import create_app
from reactor_unit.job_spec import UNIT_EXPERIMENT, JobSpec
from reactor_unit.resources.response_schemas import SelfTestResultsAnswer
from reactor_unit.self_test_report import TABLE, Report, Result

from .fakes import LocalClient

PATH = "/unit_api/self_test/results"
RESULT = Result("test_detect_heating_pcb", "fail", "It is not there.", "Plug it in.", "2026-01-31T12:45:00.000Z", "7")


def remember(gateway, text):
    gateway.remembered[TABLE, "$experiment"] = text


def test_before_the_first_self_test_there_is_no_result(client):
    response = client.simulate_get(PATH)
    assert response.status_code == 200
    assert response.json == {"job_id": None, "planned": [], "results": []}
    assert SelfTestResultsAnswer().validate(response.json) == {}


def test_results_are_those_that_the_job_remembers(client, gateway):
    report = Report().begun("7", ["test_detect_heating_pcb", "test_aux_power_is_not_too_high"]).with_result(RESULT)
    remember(gateway, json.dumps(report.as_dict()))
    response = client.simulate_get(PATH)
    assert response.json == report.as_dict()
    assert SelfTestResultsAnswer().validate(response.json) == {}


def test_results_that_cannot_be_read_are_none(client, gateway):
    for text in ("", "{", "[]", '{"results": [{"nonsense": 1}]}', '{"results": 3}'):
        remember(gateway, text)
        assert client.simulate_get(PATH).json["results"] == []


def test_it_is_always_the_units_own_experiment_and_recalls_that_ones_results(gateway, answers, library):
    catalogue = {"self_test": JobSpec("self_test", "", recalls=(TABLE,), experiment=UNIT_EXPERIMENT)}
    app = create_app(gateway, answers, unit_name="pio01", version="0.1.0", catalogue=catalogue, library=library)
    client = LocalClient(app)
    remember(gateway, "{}")
    body = {"env": {"EXPERIMENT": "E1", "JOB_SOURCE": "ui"}}
    assert client.simulate_post("/unit_api/jobs/run/job_name/self_test", json=body).status_code == 202
    args = gateway.submitted[-1][1]
    assert args["env"] == {"EXPERIMENT": "$experiment", "JOB_SOURCE": "ui"}
    assert args["recalled"] == {TABLE: "{}"}
