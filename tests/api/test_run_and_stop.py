"""Starting and stopping jobs: what is handed on, and what is refused before anything happens."""

import pytest
from calibration_examples import OD600, PUMP

from reactor_unit.errors import JobAlreadyRunning, QueueFull, RateLimited, Unavailable
from reactor_unit.gateway_protocol import LockHeld
from reactor_unit.resources.response_schemas import AcceptedAnswer, LockHeldAnswer

RUN = "/unit_api/jobs/run/job_name/stirring"
STOP = "/unit_api/jobs/stop"
STOP_ALL = "/unit_api/jobs/stop/all"


def nothing_more(**given):
    return {"job_name": "stirring", "options": {}, "env": {}, "config_overrides": [], **given}


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(("path", "body"), [(RUN, {}), (STOP, {"job_name": "stirring"}), (STOP_ALL, {})])
def test_an_accepted_request_tells_where_its_result_will_be(client, method, path, body):
    response = client.simulate_request(method, path, json=body)
    assert response.status_code == 202
    assert AcceptedAnswer().validate(response.json) == {}
    assert response.json == {"unit": "pio01", "task_id": "task-1", "result_url_path": "/unit_api/task_results/task-1"}
    assert response.headers["location"] == "/unit_api/task_results/task-1"
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("body", "handed_on"),
    [
        ({}, {}),
        ({"options": {"target_rpm": "200"}}, {"options": {"target_rpm": 200.0}}),
        ({"options": {"target-rpm": 200}}, {"options": {"target_rpm": 200.0}}),
        ({"options": {"use_rpm": False, "dry_run": None}}, {"options": {"use_rpm": False, "dry_run": True}}),
        ({"args": ["--target-rpm", "300", "--dry-run"]}, {"options": {"target_rpm": 300.0, "dry_run": True}}),
        (
            {"args": ["--target-rpm=300"], "options": {"target_rpm": 400}},
            {"options": {"target_rpm": 400.0}},  # options come after args, as on the reference's command line
        ),
        (
            {"config_overrides": [["stirring.config", "pwm_hz", "100"]]},
            {"config_overrides": [["stirring.config", "pwm_hz", "100"]]},
        ),
        ({"env": {"EXPERIMENT": "Exp001", "PATH": "/x" * 200}}, {"env": {"EXPERIMENT": "Exp001"}}),
        ({"env": {"OTHER": 1, "NONE": None, "A\nB": {"c": []}, "": True, "L": "a\nb", "L" * 300: "x"}}, {}),
        ({"env": {"EXPERIMENT": "", "JOB_SOURCE": "None", "ACTIVE": "1"}}, {"env": {"ACTIVE": "1"}}),
        (
            {"env": {"MODEL_NAME": "m", "MODEL_VERSION": "1.5", "JOB_SOURCE": "user", "experiment": "low"}},
            {"env": {"MODEL_NAME": "m", "MODEL_VERSION": "1.5", "JOB_SOURCE": "user"}},
        ),
    ],
    ids=[
        "nothing",
        "text",
        "dashes",
        "flags",
        "args",
        "options-win",
        "overrides",
        "env-open",
        "env-odd",
        "env-empty",
        "env-case",
    ],
)
def test_a_run_is_handed_on_in_its_types(client, gateway, body, handed_on):
    assert client.simulate_post(RUN, json=body).status_code == 202
    assert gateway.submitted == [("run_job", nothing_more(**handed_on), None)]


def test_a_run_needs_no_body(client, gateway):
    assert client.simulate_post(RUN).status_code == 202
    assert gateway.submitted == [("run_job", nothing_more(), None)]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"options": {"target_rpm": 9000}}, ["target_rpm", "1500 rpm"]),
        ({"options": {"taget_rpm": 200}}, ["taget_rpm", "Did you mean 'target_rpm'?"]),
        ({"options": {"target_rpm": "fast", "use_rpm": "perhaps"}}, ["target_rpm", "use_rpm"]),
        ({"options": {"target_rpm": [200]}}, ["options.target_rpm", "must be text, a number, a boolean or null"]),
        ({"options": {"target_rpm": {"a": 1}}}, ["options.target_rpm"]),
        ({"options": [1]}, ["options must be an object"]),
        ({"options": None}, ["options must be an object"]),
        ({"options": {str(i): 1 for i in range(101)}}, ["options has more than 100 entries"]),
        ({"args": ["loose"]}, ["'loose'"]),
        ({"args": "--target-rpm 3"}, ["args must be a list"]),
        ({"args": ["--target-rpm", 3]}, ["args[1] must be text"]),
        ({"env": {"EXPERIMENT": 7}}, ["env.EXPERIMENT must be text"]),
        ({"env": {"ACTIVE": None}}, ["env.ACTIVE must be text"]),
        ({"env": {"MODEL_NAME": True, "OTHER": 1}}, ["env.MODEL_NAME must be text"]),
        ({"env": ["EXPERIMENT"]}, ["env must be an object"]),
        ({"env": None}, ["env must be an object"]),
        ({"env": {"EXPERIMENT": "a\nb"}}, ["env.EXPERIMENT", "control character"]),
        ({"env": {"EXPERIMENT": "x" * 256}}, ["env.EXPERIMENT", "255"]),
        ({"env": {"JOB_SOURCE": "system"}}, ["JOB_SOURCE", "system"]),
        ({"env": {"JOB_SOURCE": " System "}}, ["JOB_SOURCE", "system"]),
        ({"config_overrides": [["a", "b"]]}, ["config_overrides[0]", "section, option, value"]),
        ({"config_overrides": [["a", "b", "c"], ["a", "b", 3]]}, ["config_overrides[1]"]),
        ({"config_overrides": [["a", "", "c"]]}, ["config_overrides[0]", "option"]),
        ({"config_overrides": [["a", "b", "c\n[PWM]"]]}, ["config_overrides[0]", "control character"]),
        ({"optoins": {"target_rpm": 200}}, ["'optoins'", "Did you mean 'options'?"]),
    ],
    ids=lambda value: None if isinstance(value, list) else str(value)[:40],
)
def test_a_run_that_is_wrong_starts_nothing(client, gateway, refused, body, words):
    text = refused(client.simulate_post(RUN, json=body), 400)
    assert [word for word in words if word not in text] == []
    assert gateway.submitted == []


def test_every_invalid_field_is_listed(client, refused):
    body = {"options": {"a": []}, "args": [1], "env": {"JOB_SOURCE": "system"}, "config_overrides": 1, "more": 1}
    text = refused(client.simulate_post(RUN, json=body), 400)
    for word in ("options.a", "args[0]", "env.JOB_SOURCE", "config_overrides", "'more'"):
        assert word in text


def test_a_thousand_unknown_fields_are_not_all_repeated(client, refused):
    text = refused(client.simulate_post(RUN, json={f"optoins{i}": 1 for i in range(1000)}), 400)
    assert "And 980 more." in text
    assert len(text) < 5000


def test_an_error_about_a_long_value_is_short(client, refused):
    response = client.simulate_post(RUN, json={"options": {"target_rpm": "9" * 500_000}})
    refused(response, 400)
    assert len(response.content) < 20_000


def test_an_unknown_job_is_not_found_and_the_known_ones_are_named(client, gateway, refused):
    text = refused(client.simulate_post("/unit_api/jobs/run/job_name/stiring", json={}), 404)
    assert "Did you mean 'stirring'?" in text
    assert "od_reading, stirring" in text
    assert gateway.submitted == []


@pytest.mark.parametrize(
    ("outcome", "status", "retry_after"),
    [
        (JobAlreadyRunning("stirring is already running."), 409, None),
        (RateLimited("Too soon.", retry_after_s=0.4), 429, "1"),
        (RateLimited("Too soon."), 429, "1"),
        (QueueFull("Full.", retry_after_s=2.1), 503, "3"),
        (QueueFull("Full."), 503, "1"),
        (Unavailable("The unit is ending."), 503, None),
    ],
    ids=["running", "rate", "rate-default", "full", "full-default", "ending"],
)
@pytest.mark.parametrize("path", [RUN, STOP_ALL])
def test_a_refusal_says_when_to_come_back(client, gateway, refused, path, outcome, status, retry_after):
    gateway.outcome = outcome
    response = client.simulate_post(path, json={})
    refused(response, status)
    assert response.headers.get("retry-after") == retry_after


def test_a_held_lock_is_named_instead_of_a_task(client, gateway):
    gateway.outcome = LockHeld("update-lock")
    response = client.simulate_post(STOP_ALL)
    assert response.status_code == 202
    assert LockHeldAnswer().validate(response.json) == {}
    assert response.json["lock"] == "update-lock"
    assert "location" not in response.headers


@pytest.mark.parametrize(
    ("body", "handed_on"),
    [
        ({"job_name": "stirring"}, {"job_name": "stirring"}),
        ({"job_id": 4}, {"job_id": "4"}),
        ({"job_id": "job_abc"}, {"job_id": "job_abc"}),
        ({"job_id": 0, "experiment": "E"}, {"experiment": "E"}),
        ({"job_name": None, "job_source": "user", "experiment": ""}, {"job_source": "user"}),
        (
            {"job_name": "stirring", "experiment": "Exp001", "job_source": "user", "job_id": "job_abc"},
            {"job_name": "stirring", "experiment": "Exp001", "job_source": "user", "job_id": "job_abc"},
        ),
    ],
    ids=["name", "number", "text", "zero", "empty", "all-four"],
)
def test_a_stop_hands_on_the_filters_that_were_given(client, gateway, body, handed_on):
    assert client.simulate_post(STOP, json=body).status_code == 202
    assert gateway.submitted == [("stop_jobs", handed_on, None)]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "job_name"),
        ({"job_id": 0}, "job_name"),
        ({"job_name": "", "experiment": None}, "job_name"),
        ({"job_name": 3}, "job_name must be text"),
        ({"job_id": True}, "job_id must be text or a whole number"),
        ({"job_id": 4.5}, "job_id must be text or a whole number"),
        ({"job_id": ["4"]}, "job_id must be text or a whole number"),
        ({"job_nmae": "stirring"}, "Did you mean 'job_name'?"),
        ({"job_name": "stirring", "all": True}, "'all'"),
    ],
    ids=str,
)
def test_a_stop_without_a_clear_filter_stops_nothing(client, gateway, refused, body, word):
    assert word in refused(client.simulate_post(STOP, json=body), 400)
    assert gateway.submitted == []


def test_a_stop_without_a_body_stops_nothing(client, gateway, refused):
    refused(client.simulate_post(STOP), 400)
    assert gateway.submitted == []


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", None),
        (b"{}", None),
        (b"{broken", None),
        (b'"x"', None),
        (b"a=b", "application/x-www-form-urlencoded"),
        (b"\xff\x00", "image/png"),
    ],
    ids=["empty", "object", "broken", "text", "form", "bytes"],
)
def test_stop_all_stops_all_whatever_the_body_is(client, gateway, body, content_type):
    headers = {"Content-Type": content_type} if content_type else None
    assert client.simulate_post(STOP_ALL, body=body, headers=headers).status_code == 202
    assert gateway.submitted == [("stop_jobs", {"all": True}, None)]


def test_a_run_carries_what_its_job_recalls_for_the_experiment(client, gateway):
    gateway.remembered = {("od_blank", "E1"): "mine", ("od_blank", "E2"): "another's", ("other", "E1"): "not asked for"}
    path = "/unit_api/jobs/run/job_name/od_reading"
    assert client.simulate_post(path, json={"env": {"EXPERIMENT": "E1"}}).status_code == 202
    assert client.simulate_post(path, json={}).status_code == 202
    assert [args["recalled"] for _, args, _ in gateway.submitted] == [{"od_blank": "mine"}, {}]


def test_a_run_carries_the_active_calibrations_that_its_job_takes(client, gateway, library):
    path = "/unit_api/jobs/run/job_name/od_reading"
    library.calibrations.create("od90", OD600.encode(), set_as_active=True)
    library.calibrations.create("media_pump", PUMP.encode(), set_as_active=True)
    assert client.simulate_post(path, json={}).status_code == 202
    ((_, args, _),) = gateway.submitted
    assert {device: one["calibration_name"] for device, one in args["calibrations"].items()} == {"od90": "od-demo"}


def test_a_broken_active_calibration_refuses_the_start_and_says_what_to_do(client, gateway, library, refused):
    path = "/unit_api/jobs/run/job_name/od_reading"
    file = library.calibrations.create("od90", OD600.encode(), set_as_active=True)
    file.write_text("calibration_type: od600")
    said = refused(client.simulate_post(path, json={}), 500)
    assert str(file) in said
    assert "make another calibration of od90 active, or none" in said
    assert gateway.submitted == []
    library.calibrations.deactivate("od90")
    assert client.simulate_post(path, json={}).status_code == 202


def test_a_command_is_handed_on_by_its_name(client, gateway):
    path = "/unit_api/jobs/run/job_name/od_reading"
    assert client.simulate_post(path, json={"args": ["forget-all"]}).status_code == 202
    assert client.simulate_post(path, json={}).status_code == 202
    assert [args.get("command") for _, args, _ in gateway.submitted] == ["forget_all", None]


@pytest.mark.parametrize(("job_id", "taken"), [(2, "2"), (2.0, "2"), ("2", "2")])
def test_a_job_id_is_a_text_or_a_whole_number_however_that_is_written(client, gateway, job_id, taken):
    assert client.simulate_post("/unit_api/jobs/stop", json={"job_id": job_id}).status_code == 202
    assert gateway.submitted[-1][1] == {"job_id": taken}


@pytest.mark.parametrize("job_id", [2.5, True, [2]])
def test_a_job_id_that_is_no_text_or_whole_number_is_refused(client, refused, job_id):
    refused(client.simulate_post("/unit_api/jobs/stop", json={"job_id": job_id}), 400)
