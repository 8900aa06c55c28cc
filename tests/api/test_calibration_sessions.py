"""Calibration sessions over the API, with a gateway that plays the hardware."""

import threading

import pytest
from harness import DEADLINE_S

from reactor_unit import errors
from reactor_unit.calibrations.session_store import KEPT_FOR, MOST, HardwareStep, Session
from reactor_unit.gateway_protocol import LockHeld
from reactor_unit.resources.response_schemas import SessionAnswer

from .fakes import row

SESSIONS = "/unit_api/calibrations/sessions"
STIRRING = {"target_device": "stirring", "protocol_name": "dc_based"}
PUMP = {"target_device": "media_pump", "protocol_name": "duration_based"}
OD90 = {"target_device": "od90", "protocol_name": "standards"}
SPEEDS = {"dcs": [40.0, 30.0, 20.0, 25.0, 35.0], "rpms": [727.0, 500.0, 273.0, 386.0, 614.0], "voltage_v": 5.1}
FLOW_ML_PER_S = 0.1


@pytest.fixture(autouse=True)
def _storage(folder):
    """Make the folder that a unit makes at its start."""
    folder.storage.mkdir()


@pytest.fixture
def begin(client):
    def start(request=STIRRING):
        response = client.simulate_post(SESSIONS, json=request)
        assert response.status_code == 201, response.text
        assert SessionAnswer().validate(response.json) == {}
        return response.json["session"]["session_id"]

    return start


@pytest.fixture
def answer(client):
    def send(session_id, inputs=None, **more):
        response = client.simulate_post(f"{SESSIONS}/{session_id}/inputs", json={"inputs": inputs or {}, **more})
        if response.status_code == 200:
            assert SessionAnswer().validate(response.json) == {}
        return response

    return send


def walk(answer, session_id, *all_inputs):
    for inputs in all_inputs:
        response = answer(session_id, inputs)
        assert response.status_code == 200, response.text
    return response.json


def to_the_runs(answer, session_id, gateway):
    """Walk a pump's session to its first run."""
    gateway.outcomes["calibration_pump"] = lambda duration_s, **_: {"ran_s": duration_s, "voltage_v": 12.0}
    named = ({}, {}, {}, {"calibration_name": "media-1"}, {"mls_to_calibrate_for": [1.0, 2.0]})
    return walk(
        answer,
        session_id,
        *named,
        {"hz": 250, "dc": "100"},
        {},
        {"prime_duration_s": 10},
        {"confirm": True},
        {"volume_ml": FLOW_ML_PER_S},
    )


# Start


def test_a_session_starts_at_its_protocols_first_step(client):
    response = client.simulate_post(SESSIONS, json=PUMP)
    session, step = response.json["session"], response.json["step"]
    assert (session["status"], session["step_id"], session["revision"]) == ("in_progress", "intro_confirm_1", 0)
    assert (session["protocol_name"], session["target_device"]) == ("duration_based", "media_pump")
    assert step["step_id"] == "intro_confirm_1"
    assert set(step) == {"step_id", "step_type", "title", "body", "fields", "metadata"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "target_device"),
        ({"target_device": "stirring"}, "protocol_name"),
        ({"target_device": 5, "protocol_name": "dc_based"}, "target_device"),
        ({"target_device": "stirring", "protocol_name": "standards"}, "no protocol"),
        ({"target_device": "../x", "protocol_name": "dc_based"}, "no protocol"),
        ({"target_device": "od135", "protocol_name": "standards"}, "no protocol"),
        ({**STIRRING, "more": 1}, "more"),
        ({"target_device": "od_fused", "protocol_name": "od_fusion_standards"}, "XR"),
    ],
)
def test_a_session_that_cannot_be_is_refused(client, refused, body, said):
    assert said in refused(client.simulate_post(SESSIONS, json=body), 400)


def test_a_wrong_content_type_is_415(client, refused):
    refused(client.simulate_post(SESSIONS, body=b"{}", content_type="text/plain"), 415)


@pytest.mark.parametrize("request_body", [STIRRING, OD90], ids=["stirring", "standards"])
def test_a_session_does_not_start_while_a_job_has_its_hardware(client, gateway, refused, request_body):
    gateway.rows = [row("stirring")]
    assert "stirring is running" in refused(client.simulate_post(SESSIONS, json=request_body), 409)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("[od_reading.config]\nir_led_intensity=auto\n", "fixed number"),
        ("[od_config.photodiode_channel]\n1=90\n2=\n", "REF"),
        ("[od_config.photodiode_channel]\n1=REF\n2=90\n3=90\n", "same angle"),
    ],
)
def test_standards_need_a_configuration_that_fits(client, folder, refused, config, said):
    (folder.path / "config.ini").write_text(config)
    assert said in refused(client.simulate_post(SESSIONS, json=OD90), 400)


def test_a_pump_without_a_channel_is_refused(client, folder, refused):
    (folder.path / "config.ini").write_text("[PWM]\n2=\n")
    assert "PWM channel" in refused(client.simulate_post(SESSIONS, json=PUMP), 400)


# Steps


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/inputs"), ("POST", "/abort")])
def test_an_unknown_session_is_404_whatever_the_body(client, refused, method, path):
    body = b"no json" if method == "POST" else b""
    refused(client.simulate_request(method, f"{SESSIONS}/nobody{path}", body=body), 404)


def test_stirring_is_calibrated_and_the_result_is_active(client, gateway, begin, answer):
    gateway.outcomes["calibration_stirring"] = SPEEDS
    session_id = begin()
    done = walk(answer, session_id, {}, {"confirm": True})
    assert (done["session"]["status"], done["step"]["step_type"]) == ("complete", "result")
    (link,) = done["session"]["result"]["calibrations"]
    assert done["step"]["metadata"]["result"] == done["session"]["result"]
    found = client.simulate_get("/unit_api/active_calibrations").json["stirring"]
    assert found["calibration_name"] == link["calibration_name"]
    assert found["voltage"] == 5.1
    name, args, _ = gateway.submitted[-1]
    assert name == "calibration_stirring"
    assert args["min_dc"] == pytest.approx(19.8)
    assert args["max_dc"] == pytest.approx(39.9)


def test_an_answer_after_the_end_changes_nothing(gateway, begin, answer):
    gateway.outcomes["calibration_stirring"] = SPEEDS
    session_id = begin()
    done = walk(answer, session_id, {}, {})
    assert answer(session_id, {"anything": 1}).json == done
    assert len(gateway.submitted) == 1


def test_a_pump_is_calibrated(client, gateway, begin, answer):
    session_id = begin(PUMP)
    to_the_runs(answer, session_id, gateway)
    for duration_s in [8.0] * 4 + [15.0] * 2 + [22.0] * 4:
        assert gateway.submitted
        walk(answer, session_id, {}, {"volume_ml": duration_s * FLOW_ML_PER_S})
    session = client.simulate_get(f"{SESSIONS}/{session_id}").json["session"]
    assert session["result"]["stats"]["slope"] == pytest.approx(FLOW_ML_PER_S)
    assert session["result"]["recommended_volume_range_ml"] == pytest.approx([0.8, 2.2])
    saved = client.simulate_get("/unit_api/calibrations/media_pump/media-1").json
    assert saved["recorded_data"]["x"] == [8.0] * 4 + [15.0] * 2 + [22.0] * 4
    assert (saved["hz"], saved["dc"], saved["voltage"], saved["is_active"]) == (250.0, 100.0, 12.0, True)


def test_the_last_run_is_done_again(gateway, begin, answer):
    session_id = begin(PUMP)
    to_the_runs(answer, session_id, gateway)
    assert answer(session_id, {"action": "redo_last"}).status_code == 400  # nothing was run yet
    step = walk(answer, session_id, {}, {"volume_ml": 0.9})["step"]
    assert step["metadata"]["actions"][0]["inputs"] == {"action": "redo_last"}
    again = walk(answer, session_id, {"action": "redo_last"}, {"volume_ml": 0.8})
    assert [run["volume_ml"] for run in again["session"]["data"]["runs"] if run] == [0.8]
    assert [args["duration_s"] for _, args, _ in gateway.submitted][-2:] == [8.0, 8.0]


def test_a_bad_pump_fit_is_told_and_the_point_is_repeated(client, gateway, begin, answer):
    session_id = begin(PUMP)
    to_the_runs(answer, session_id, gateway)
    volumes = [0.8] * 4 + [1.5] * 2 + [2.2, 2.2, 0.3, 2.2]
    for volume_ml in volumes:
        step = walk(answer, session_id, {}, {"volume_ml": volume_ml})["step"]
    assert step["step_id"] == "bad_fit"
    assert "R2" in step["body"]
    assert "Run 9" in step["body"]
    assert client.simulate_get("/unit_api/calibrations").json == {}
    choice, point = step["fields"]
    assert choice["options"] == ["repeat a point", "save it all the same"]
    assert point["default"] == 9
    assert answer(session_id, {"next_action": "repeat a point", "point": 11}).status_code == 400
    done = walk(answer, session_id, {"point": 9}, {}, {"volume_ml": 2.2})
    assert done["session"]["status"] == "complete"


def test_a_bad_fit_can_be_kept(client, gateway, begin, answer):
    session_id = begin(PUMP)
    to_the_runs(answer, session_id, gateway)
    for volume_ml in [0.8] * 9 + [2.2]:
        walk(answer, session_id, {}, {"volume_ml": volume_ml})
    done = walk(answer, session_id, {"next_action": "save it all the same", "point": 1})
    assert done["session"]["status"] == "complete"


def test_a_volume_that_takes_too_long_is_refused_at_its_step(gateway, begin, answer, refused):
    gateway.outcomes["calibration_pump"] = {"ran_s": 1.0, "voltage_v": None}
    session_id = begin(PUMP)
    walk(answer, session_id, {}, {}, {}, {}, {"mls_to_calibrate_for": "50"}, {"hz": 250, "dc": 100}, {})
    walk(answer, session_id, {"prime_duration_s": 5}, {})
    assert "300 s" in refused(answer(session_id, {"volume_ml": 0.1}), 400)
    assert walk(answer, session_id, {"volume_ml": 1.0})["step"]["step_id"] == "test_run"


def test_standards_are_measured_at_every_angle(client, folder, gateway, begin, answer):
    (folder.path / "config.ini").write_text("[od_config.photodiode_channel]\n3=135\n")
    ods = [2.0, 1.0, 0.5, 0.1, 0.0]
    voltages = iter([{"2": od + 0.01, "3": 2 * od + 0.01} for od in ods])
    gateway.outcomes["calibration_od"] = lambda **_: {"voltages": next(voltages), "first_ref_v": 0.2}
    session_id = begin({"target_device": "od", "protocol_name": "standards"})
    walk(answer, session_id, {}, {"calibration_name": "both"}, {}, {"rpm": 500})
    for od in ods[:4]:
        walk(
            answer,
            session_id,
            {},
            {"od600_value": od},
            {} if od > 0.1 else {"next_action": "continue to blank (media only)"},
        )
    done = walk(answer, session_id, {}, {"od600_blank": 0})
    assert done["session"]["status"] == "complete"
    assert [one["device"] for one in done["session"]["result"]["calibrations"]] == ["od90", "od135"]
    saved = client.simulate_get("/unit_api/calibrations/od135/both").json
    assert (saved["angle"], saved["pd_channel"], saved["ir_led_intensity"]) == ("135", "3", 80.0)
    assert saved["recorded_data"]["x"] == ods
    assert gateway.submitted[0][1]["first_ref_v"] is None
    assert gateway.submitted[1][1]["first_ref_v"] == 0.2


def test_od_that_does_not_rise_is_told_and_a_standard_is_repeated(client, gateway, begin, answer):
    signals = iter([1.0, 0.5, 0.9, 0.01, 0.25])
    gateway.outcomes["calibration_od"] = lambda **_: {"voltages": {"2": next(signals)}, "first_ref_v": 0.2}
    session_id = begin(OD90)
    walk(answer, session_id, {}, {}, {"rpm": 500})
    for od in (1.0, 0.5, 0.25):
        walk(
            answer,
            session_id,
            {},
            {"od600_value": od},
            {"next_action": ["record another standard", "continue to blank (media only)"][od == 0.25]},
        )
    step = walk(answer, session_id, {}, {"od600_blank": 0})["step"]
    assert step["step_id"] == "bad_fit"
    assert step["metadata"]["chart"]["series"][0]["curve"]["type"] == "spline"
    done = walk(answer, session_id, {"point": 3}, {}, {"od600_value": 0.25})
    assert done["session"]["status"] == "complete"
    (points,) = [client.simulate_get("/unit_api/calibrations/od90").json[0]["recorded_data"]]
    assert points == {"x": [1.0, 0.5, 0.25, 0.0], "y": [1.0, 0.5, 0.25, 0.01]}


def test_standards_of_one_od_cannot_be_kept(gateway, begin, answer):
    gateway.outcomes["calibration_od"] = {"voltages": {"2": 0.3}, "first_ref_v": 0.2}
    session_id = begin(OD90)
    walk(answer, session_id, {}, {}, {"rpm": 500}, {}, {"od600_value": 0.5})
    step = walk(answer, session_id, {"next_action": "continue to blank (media only)"}, {}, {"od600_blank": 0.5})["step"]
    assert step["step_id"] == "bad_fit"
    assert "same x" in step["body"]
    assert step["fields"][0]["options"] == ["repeat a point"]


def test_a_stirrer_that_stands_still_is_told_and_may_be_run_again(gateway, begin, answer, refused):
    gateway.outcomes["calibration_stirring"] = {**SPEEDS, "rpms": [0.0, 0.0, 0.0, 0.0, 500.0]}
    session_id = begin()
    walk(answer, session_id, {})
    assert "turned at 1 of 5" in refused(answer(session_id), 400)
    gateway.outcomes["calibration_stirring"] = {**SPEEDS, "rpms": [400.0, 900.0, 300.0, 800.0, 200.0]}
    step = walk(answer, session_id, {})["step"]
    assert step["step_id"] == "run_calibration"
    assert "scatter" in step["body"]
    gateway.outcomes["calibration_stirring"] = SPEEDS
    assert walk(answer, session_id, {})["session"]["status"] == "complete"


# Names


@pytest.mark.parametrize("name", ["../../x", ".x", "-x", "a/b", "a  b", "x" * 251, "naïve", "a\nb"])
def test_a_name_from_a_session_obeys_the_rules_of_uploaded_ones(client, folder, begin, answer, refused, name):
    session_id = begin(PUMP)
    walk(answer, session_id, {}, {}, {})
    assert "calibration_name" in refused(answer(session_id, {"calibration_name": name}), 400)
    assert client.simulate_get(f"{SESSIONS}/{session_id}").json["step"]["step_id"] == "name_input"
    assert list(folder.path.rglob("*.yaml")) == []


def test_a_name_that_exists_is_asked_about(library, gateway, begin, answer):
    session_id = begin(PUMP)
    to_the_runs(answer, session_id, gateway)
    for _ in range(10):
        walk(answer, session_id, {}, {"volume_ml": 1.0 + 0.001})
    walk(answer, session_id, {"next_action": "save it all the same", "point": 1})
    second = begin(PUMP)
    named = walk(answer, second, {}, {}, {}, {"calibration_name": "media-1"})
    assert named["step"]["step_id"] == "name_overwrite_confirm"
    assert walk(answer, second, {"overwrite": "no"})["step"]["step_id"] == "name_input"
    walk(answer, second, {"calibration_name": "media-1"})
    assert walk(answer, second, {"overwrite": True})["step"]["step_id"] == "volume_targets"


# Wrong input


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"hz": 0.01, "dc": 100}, "hz 0.01 must be at least 0.1"),
        ({"hz": 250, "dc": 101}, "dc 101 must be at least 0 and at most 100"),
        ({"hz": 250}, "dc is required"),
        ({"hz": 250, "dc": None}, "dc is required"),
        ({"hz": 250, "dc": "much"}, "dc must be a number"),
        ({"hz": 250, "dc": True}, "dc must be a number"),
        ({"hz": "nan", "dc": 100}, "hz must be a number"),
        ({"hz": [250], "dc": 100}, "hz must be a number"),
        ({"hz": 250, "dc": 100, "volume_ml": 1}, "does not ask for 'volume_ml'"),
        ({"action": "redo_last"}, "does not ask for 'action'"),
    ],
)
def test_wrong_input_names_field_and_bound_and_leaves_the_session_as_it_was(
    client, begin, answer, refused, inputs, said
):
    session_id = begin(PUMP)
    walk(answer, session_id, {}, {}, {}, {}, {})
    before = client.simulate_get(f"{SESSIONS}/{session_id}").json
    assert before["step"]["step_id"] == "pwm_settings"
    assert said in refused(answer(session_id, inputs), 400)
    assert client.simulate_get(f"{SESSIONS}/{session_id}").json == before


@pytest.mark.parametrize("value", [[], "", "x", [None], [1, "a"], [0], [-1], 5, {"a": 1}, [1.0] * 101])
def test_a_list_of_numbers_is_read_or_refused(begin, answer, value):
    session_id = begin(PUMP)
    walk(answer, session_id, {}, {}, {}, {})
    expected = 200 if value == "" else 400  # empty text is none, and the default counts
    assert answer(session_id, {"mls_to_calibrate_for": value}).status_code == expected


@pytest.mark.parametrize("body", [b"null", b"[]", b'{"inputs":null}', b'{"inputs":[1]}', b'{"inputs":{},"x":1}', b"{"])
def test_a_body_that_is_no_answer_is_400(client, begin, refused, body):
    refused(client.simulate_post(f"{SESSIONS}/{begin()}/inputs", body=body), 400)


def test_no_body_is_no_inputs(client, begin):
    assert client.simulate_post(f"{SESSIONS}/{begin()}/inputs").json["step"]["step_id"] == "run_calibration"


# Two who answer


def test_an_answer_to_an_older_step_is_refused(client, begin, answer, refused):
    session_id = begin(PUMP)
    assert answer(session_id, revision=0).json["session"]["revision"] == 1
    assert "answered already" in refused(answer(session_id, revision=0), 409)
    assert client.simulate_get(f"{SESSIONS}/{session_id}").json["session"]["revision"] == 1
    refused(answer(session_id, revision="1"), 400)


def test_two_answers_at_once_take_one_step(client, gateway, begin, answer):
    """While one request waits for the hardware, another one for the same session is refused."""
    session_id = begin()
    walk(answer, session_id, {})
    running, go_on = threading.Event(), threading.Event()

    def measure(**_args):
        running.set()
        assert go_on.wait(DEADLINE_S)
        return SPEEDS

    gateway.outcomes["calibration_stirring"] = measure
    answers = []
    first = threading.Thread(target=lambda: answers.append(answer(session_id)))
    first.start()
    assert running.wait(DEADLINE_S)
    second = answer(session_id)
    shown = client.simulate_get(f"{SESSIONS}/{session_id}").json
    go_on.set()
    first.join()
    assert second.status_code == 409
    assert shown["step"]["step_id"] == "run_calibration"
    assert shown["session"]["task_id"] == gateway.submitted[0][2]
    assert answers[0].json["session"]["status"] == "complete"
    assert len(gateway.submitted) == 1


def test_a_third_request_that_would_wait_is_told_to_come_back(gateway, begin, answer, refused):
    running, go_on = threading.Semaphore(0), threading.Event()

    def run(**_args):
        running.release()
        assert go_on.wait(DEADLINE_S)
        return {"ran_s": 5.0, "voltage_v": 5.0}

    gateway.outcomes["calibration_pump"] = run
    ids = [begin({**PUMP, "target_device": device}) for device in ("media_pump", "alt_media_pump", "waste_pump")]
    for session_id in ids:
        walk(answer, session_id, {}, {}, {}, {}, {}, {"hz": 250, "dc": 100}, {})
    waiting = [threading.Thread(target=answer, args=(one, {"prime_duration_s": 5})) for one in ids[:2]]
    for thread in waiting:
        thread.start()
    assert all(running.acquire(timeout=DEADLINE_S) for _ in waiting)
    third = answer(ids[2], {"prime_duration_s": 5})
    go_on.set()
    for thread in waiting:
        thread.join()
    refused(third, 503)
    assert third.headers["retry-after"] == "5"
    assert walk(answer, ids[2], {"prime_duration_s": 5})["step"]["step_id"] == "tracer_run"


def test_a_second_hardware_step_names_the_session_that_has_the_device(library, gateway, begin, answer, refused):
    first, second = begin(), begin()
    walk(answer, second, {})
    session = library.sessions.get(first)
    session.hardware_step = HardwareStep("t1", "calibration_stirring", {})
    library.sessions.put(session)
    gateway.outcome = LockHeld("calibration of stirrer")
    assert first in refused(answer(second), 409)
    gateway.outcome, gateway.outcomes["calibration_stirring"] = None, SPEEDS
    assert walk(answer, second, {})["session"]["status"] == "complete"


def test_a_job_that_was_started_meanwhile_keeps_its_hardware(gateway, begin, answer, refused):
    session_id = begin()
    walk(answer, session_id, {})
    gateway.rows = [row("stirring")]
    assert "stirring is running" in refused(answer(session_id), 409)
    assert gateway.submitted == []


# Failures and restarts


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (errors.HardwareFault("No hall sensor."), 503),
        (errors.TaskTimedOut("Too long."), 500),
        (errors.QueueFull("Full."), 503),
    ],
)
def test_a_failed_hardware_step_may_be_answered_again(client, gateway, begin, answer, refused, failure, status):
    session_id = begin()
    walk(answer, session_id, {})
    gateway.outcomes["calibration_stirring"] = failure
    assert failure.message in refused(answer(session_id), status)
    assert client.simulate_get(f"{SESSIONS}/{session_id}").json["session"]["task_id"] is None
    gateway.outcomes["calibration_stirring"] = SPEEDS
    assert walk(answer, session_id, {})["session"]["status"] == "complete"


def test_a_measurement_that_a_dead_web_process_asked_for_is_used(library, gateway, begin, answer):
    session_id = begin()
    walk(answer, session_id, {})
    session = library.sessions.get(session_id)
    args = {"min_dc": 0.66 * 30.0, "max_dc": 1.33 * 30.0}
    session.hardware_step = HardwareStep("known", "calibration_stirring", args)
    library.sessions.put(session)
    gateway.submitted.append(("calibration_stirring", args, "known"))
    gateway.outcomes["calibration_stirring"] = SPEEDS
    assert walk(answer, session_id, {})["session"]["status"] == "complete"
    assert len(gateway.submitted) == 1


def test_a_session_of_a_protocol_that_is_gone_says_so(client, library, refused):
    library.sessions.put(Session("old", "of_a_plugin", "x", "start"))
    assert "of_a_plugin" in refused(client.simulate_get(f"{SESSIONS}/old"), 400)
    assert client.simulate_post(f"{SESSIONS}/old/abort").json["session"]["status"] == "aborted"


# Abort and end


def test_abort_ends_the_session_and_its_step_is_null(client, begin, answer):
    session_id = begin()
    response = client.simulate_post(f"{SESSIONS}/{session_id}/abort")
    assert response.json["step"] is None
    assert response.json["session"]["status"] == "aborted"
    assert "Aborted by the user" in response.json["session"]["error"]
    assert client.simulate_get(f"{SESSIONS}/{session_id}").json == response.json
    assert answer(session_id).json["session"]["status"] == "aborted"


def test_abort_cancels_the_hardware_step_that_runs(client, gateway, begin, answer, refused):
    session_id = begin()
    walk(answer, session_id, {})
    running, cancelled = threading.Event(), threading.Event()
    gateway.cancel = lambda task_id: (gateway.cancelled.append(task_id), cancelled.set())

    def measure(**_args):
        running.set()
        assert cancelled.wait(DEADLINE_S)
        raise errors.Stopped("The task was ended.")

    gateway.outcomes["calibration_stirring"] = measure
    answers = []
    thread = threading.Thread(target=lambda: answers.append(answer(session_id)))
    thread.start()
    assert running.wait(DEADLINE_S)
    response = client.simulate_post(f"{SESSIONS}/{session_id}/abort")
    thread.join()
    assert response.json["session"]["status"] == "aborted"
    assert gateway.cancelled == [gateway.submitted[0][2]]
    assert "aborted" in refused(answers[0], 409)


def test_a_complete_session_stays_complete(client, gateway, begin, answer):
    gateway.outcomes["calibration_stirring"] = SPEEDS
    session_id = begin()
    done = walk(answer, session_id, {}, {})
    aborted = client.simulate_post(f"{SESSIONS}/{session_id}/abort").json
    assert (aborted["session"]["status"], aborted["step"]) == ("complete", done["step"])


def test_sessions_expire_by_age_and_number(library, begin, refused, client):
    old = Session("old", "dc_based", "stirring", "intro")
    old.boot_stamp -= KEPT_FOR.total_seconds() + 1
    library.sessions.put(old)
    first = begin()
    refused(client.simulate_get(f"{SESSIONS}/old"), 404)
    newest = [begin() for _ in range(MOST)]
    refused(client.simulate_get(f"{SESSIONS}/{first}"), 404)
    assert [one.session_id for one in library.sessions.all()] == newest[::-1]


def test_a_foreign_entry_is_left_alone(client, library, begin, refused):
    library.sessions._cache.put("calibration_sessions", "theirs", b'{"session_id":"theirs","status":"in_progress"}')
    begin()
    refused(client.simulate_get(f"{SESSIONS}/theirs"), 404)
    assert library.sessions._cache.get("calibration_sessions", "theirs") is not None
