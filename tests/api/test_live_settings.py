"""Changing a setting of a running job."""

import pytest

from reactor_unit.errors import Conflict, Unavailable
from reactor_unit.resources.response_schemas import SettingInForce

BASE = "/unit_api/jobs/settings/job_name/stirring/setting/"


@pytest.fixture
def running(client, gateway):
    gateway.published["stirring"] = {"target_rpm": 200.0}
    return client


@pytest.mark.parametrize(
    ("setting", "sent", "value"),
    [
        ("target_rpm", 300, 300.0),
        ("target_rpm", "300.5", 300.5),
        ("target_rpm", 0, 0.0),
        ("target_rpm", 1500, 1500.0),
        *[("enable_dodging_od", word, True) for word in (True, 1, "1", "true", "y", "ON", "yes", "t")],
        *[("enable_dodging_od", word, False) for word in (False, 0, "off", "No")],
        ("cycles", "3", 3),
        ("cycles", 3.0, 3),
        ("label", "left shelf", "left shelf"),
        ("versions", {"app": [1, None]}, {"app": [1, None]}),
        ("versions", '{"app": 1}', {"app": 1}),
        *[("$state", state, state) for state in ("ready", "sleeping", "disconnected")],
    ],
    ids=str,
)
def test_a_value_is_set_in_the_settings_own_type(running, gateway, setting, sent, value):
    response = running.simulate_put(BASE + setting, json={"value": sent})
    assert response.status_code == 200, response.text
    assert SettingInForce().validate(response.json) == {}
    assert response.json == {"setting": setting, "value": value}
    ((_, _, was_set),) = gateway.changes
    assert (was_set, type(was_set)) == (value, type(value))


@pytest.mark.parametrize(
    ("setting", "sent", "said"),
    [
        ("target_rpm", 1501, "above the limit of 1500 RPM"),
        ("target_rpm", -1, "below the limit of 0 RPM"),
        ("target_rpm", True, "not a number"),
        ("target_rpm", "fast", "not a number"),
        ("target_rpm", [300], "not a number"),
        ("target_rpm", None, "no value"),
        ("enable_dodging_od", "perhaps", "not a yes or no"),
        ("cycles", 2.5, "not a whole number"),
        ("label", 5, "not a text"),
        ("label", "a\nb", "control characters"),
        ("label", "x" * 300, "255 characters"),
        ("versions", "{app", "{app' Expecting property name"),
        ("$state", "lost", "one of ready, sleeping, disconnected"),
        ("$state", 1, "not a text"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_and_nothing_is_set(running, gateway, refused, setting, sent, said):
    assert said in refused(running.simulate_put(BASE + setting, json={"value": sent}), 400)
    assert gateway.changes == []


@pytest.mark.parametrize("body", [{}, {"values": 1}, {"value": 1, "more": 2}, [], None], ids=str)
def test_a_wrong_body_is_refused(running, gateway, refused, body):
    refused(running.simulate_put(BASE + "target_rpm", json=body), 400)
    refused(running.simulate_put(BASE + "target_rpm"), 400)
    assert gateway.changes == []


def test_what_cannot_be_set_is_told_apart_from_what_is_not_there(running, refused):
    text = refused(running.simulate_put(BASE + "measured_rpm", json={"value": 1}), 403)
    assert "can be read but not set" in text
    assert "target_rpm" in text
    assert "Did you mean 'target_rpm'?" in refused(running.simulate_put(BASE + "taget_rpm", json={"value": 1}), 404)
    path = "/unit_api/jobs/settings/job_name/stiring/setting/target_rpm"
    assert "Did you mean 'stirring'?" in refused(running.simulate_put(path, json={"value": 1}), 404)


def test_a_job_that_does_not_run_is_a_conflict(client, refused):
    assert "does not run" in refused(client.simulate_put(BASE + "target_rpm", json={"value": 300}), 409)


def test_the_jobs_own_refusal_and_its_silence_come_through(running, gateway, refused):
    gateway.failure = Conflict("The speed is not measured.")
    assert "not measured" in refused(running.simulate_put(BASE + "target_rpm", json={"value": 300}), 409)
    gateway.failure = Unavailable("stirring did not answer.", retry_after_s=4.5)
    response = running.simulate_put(BASE + "target_rpm", json={"value": 300})
    refused(response, 503)
    assert response.headers["retry-after"] == "5"


def test_all_settings_at_once_stay_without_function_and_name_the_other_way(running, refused):
    text = refused(running.simulate_patch("/unit_api/jobs/settings/job_name/stirring", json={"settings": {}}), 503)
    assert "PUT /unit_api/jobs/settings/job_name/stirring/setting/" in text
