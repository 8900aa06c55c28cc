"""What can be read: health, version, tasks, running jobs, history, settings."""

import math

import pytest

from reactor_unit.gateway_protocol import TaskAnswer
from reactor_unit.resources.response_schemas import (
    FailedTaskBody,
    HealthAnswer,
    HistoryRow,
    RunningJobRow,
    SettingsAnswer,
    TaskAnswerBody,
    VersionAnswer,
)

from .fakes import LocalClient, history_row, row

SETTINGS = "/unit_api/jobs/settings/job_name/stirring"


def names(response):
    assert response.status_code == 200
    assert RunningJobRow(many=True).validate(response.json) == {}
    return [row["job_name"] for row in response.json]


def test_health_names_the_unit_and_the_time(client):
    response = client.simulate_get("/unit_api/health")
    assert response.status_code == 200
    assert HealthAnswer().validate(response.json) == {}
    assert response.json["pioreactor_unit"] == "pio01"


def test_health_of_a_unit_with_an_odd_name_is_still_json(gateway, answers, library):

    from reactor_unit.app import create_app

    app = create_app(gateway, answers, unit_name='pio "é"', version="v2.0.0", catalogue={}, library=library)
    client = LocalClient(app)
    assert client.simulate_get("/unit_api/health").json["pioreactor_unit"] == 'pio "é"'
    assert client.simulate_get("/unit_api/versions/app").json == {"version": "v2.0.0"}


def test_version_has_a_v(client):
    response = client.simulate_get("/unit_api/versions/app")
    assert VersionAnswer().validate(response.json) == {}
    assert response.json == {"version": "v0.1.0"}


@pytest.mark.parametrize("path", ["/unit_api/health", "/unit_api/nowhere"])
def test_nothing_is_cached_or_sniffed(client, path):
    headers = client.simulate_get(path).headers
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


TASK = b'{"task_id":"t","result_url_path":"/unit_api/task_results/t","status":'
ERROR = b'"error":"No.","error_info":{"cause":"It broke.","remediation":"Mend it.","status":500}'


@pytest.mark.parametrize(
    ("answer", "retry_after", "schema"),
    [
        (TaskAnswer(202, TASK + b'"pending"}'), "1", TaskAnswerBody),
        (TaskAnswer(202, TASK + b'"in_progress"}', math.inf), "30", TaskAnswerBody),
        (TaskAnswer(202, TASK + b'"in_progress"}', 0.0), "1", TaskAnswerBody),
        (TaskAnswer(200, TASK + b'"complete","result":null}'), None, TaskAnswerBody),
        (TaskAnswer(500, TASK + b'"failed",' + ERROR + b"}"), None, FailedTaskBody),
    ],
    ids=["pending", "in progress for long", "in progress for longer than expected", "complete", "failed"],
)
def test_a_task_is_answered_as_the_gateway_has_it(client, gateway, answer, retry_after, schema):
    gateway.tasks["t"] = answer
    for _ in range(2):  # reading does not use it up
        response = client.simulate_get("/unit_api/task_results/t")
        assert (response.status_code, response.content) == (answer.status, answer.body)
        assert schema().validate(response.json) == {}
        assert response.headers["content-type"] == "application/json"
        assert response.headers.get("retry-after") == retry_after


def test_an_unknown_task_is_not_found(client, refused):
    assert "task" in refused(client.simulate_get("/unit_api/task_results/nope"), 404)


def test_running_jobs_are_listed_by_each_filter(client, gateway):
    gateway.rows = [
        row("stirring"),
        row("od_reading", experiment="Exp002"),
        row("monitor", is_long_running_job=1, experiment="$experiment"),
    ]
    assert names(client.simulate_get("/unit_api/jobs/running")) == ["stirring", "od_reading", "monitor"]
    assert names(client.simulate_get("/unit_api/jobs/running/stirring")) == ["stirring"]
    assert names(client.simulate_get("/unit_api/jobs/running/nothing")) == []
    assert names(client.simulate_get("/unit_api/jobs/running/experiments/Exp002")) == ["od_reading"]
    assert names(client.simulate_get("/unit_api/jobs/running/experiments/$experiment")) == ["monitor"]
    assert names(client.simulate_get("/unit_api/long_running_jobs/running")) == ["monitor"]


def test_an_experiment_may_have_spaces_and_letters_of_any_script(client, gateway):
    gateway.rows = [row("stirring", experiment="Héfe 2 β")]
    assert names(client.simulate_get("/unit_api/jobs/running/experiments/H%C3%A9fe%202%20%CE%B2")) == ["stirring"]


@pytest.mark.parametrize(("query", "expected"), [("", 100), ("limit=1", 1), ("limit=1000", 150), ("other=1", 100)])
def test_history_is_limited(client, gateway, query, expected):
    ends = (None, "disconnected", "lost")
    gateway.history = [history_row("stirring", job_id=str(i), ended=ends[i % 3]) for i in range(150, 0, -1)]
    response = client.simulate_get("/unit_api/jobs", query_string=query)
    assert HistoryRow(many=True).validate(response.json) == {}
    assert len(response.json) == expected
    assert response.json[0]["job_id"] == "150"


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "ten", "1.5", "", "9" * 5000])
def test_a_bad_limit_is_refused(client, refused, limit):
    assert "limit" in refused(client.simulate_get("/unit_api/jobs", query_string=f"limit={limit}"), 400)


PUBLISHED = {"target_rpm": 200.0, "use_rpm": True, "$state": "ready", "measured_rpm": None, "ods": {"1": 0.5}}


def test_settings_are_text(client, gateway):
    gateway.published["stirring"] = PUBLISHED
    response = client.simulate_get(SETTINGS)
    assert SettingsAnswer().validate(response.json) == {}
    assert response.json == {
        "settings": {"target_rpm": "200", "use_rpm": "1", "$state": "ready", "measured_rpm": None, "ods": '{"1":0.5}'}
    }


@pytest.mark.parametrize(("query", "value"), [("typed=true", True), ("typed=1", True), ("typed=false", "1"), ("", "1")])
def test_settings_keep_their_types_on_request(client, gateway, query, value):
    gateway.published["stirring"] = PUBLISHED
    assert client.simulate_get(SETTINGS, query_string=query).json["settings"]["use_rpm"] == value
    one = client.simulate_get(f"{SETTINGS}/setting/use_rpm", query_string=query)
    assert one.json == {"use_rpm": value}
    assert type(one.json["use_rpm"]) is type(value)


def test_a_bad_value_for_typed_is_refused(client, gateway, refused):
    gateway.published["stirring"] = PUBLISHED
    assert "typed" in refused(client.simulate_get(SETTINGS, query_string="typed=perhaps"), 400)


def test_the_state_is_a_setting_like_any_other(client, gateway):
    gateway.published["stirring"] = PUBLISHED
    assert client.simulate_get(f"{SETTINGS}/setting/$state").json == {"$state": "ready"}
    assert client.simulate_get(f"{SETTINGS}/setting/%24state").json == {"$state": "ready"}


def test_an_unknown_setting_is_not_found_and_the_known_ones_are_named(client, gateway, refused):
    gateway.published["stirring"] = PUBLISHED
    text = refused(client.simulate_get(f"{SETTINGS}/setting/taget_rpm"), 404)
    assert "Did you mean 'target_rpm'?" in text
    assert "measured_rpm" in text


@pytest.mark.parametrize("path", [SETTINGS, f"{SETTINGS}/setting/target_rpm"])
def test_settings_of_a_job_that_does_not_run_are_not_found(client, refused, path):
    refused(client.simulate_get(path), 404)


def test_settings_cannot_be_changed_on_a_unit(client, gateway, refused):
    gateway.published["stirring"] = PUBLISHED
    refused(client.simulate_patch(SETTINGS, json={"settings": {"target_rpm": 1}}), 503)
    assert gateway.submitted == []
