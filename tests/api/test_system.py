"""The machine over HTTP: power, clock, web server; locks, and what only the leader does."""

import pytest

from reactor_unit.app import create_app
from reactor_unit.gateway_protocol import LockHeld
from reactor_unit.resources.response_schemas import AcceptedAnswer, ClockAnswer, LockHeldAnswer, WebServerAnswer

from .fakes import CATALOGUE, LocalClient

SYSTEM = "/unit_api/system"
TASKS = {
    "/reboot": ("reboot", "power-lock"),
    "/shutdown": ("shut_down", "power-lock"),
    "/web_server/restart": ("restart_web", "web-restart-lock"),
    "/utc_clock": ("set_clock", "clock-lock"),
}
TIME = {"utc_clock_time": "2026-01-31T12:45:00Z"}


@pytest.fixture
def follower(gateway, answers, library):
    """A unit whose cluster is led by another one."""
    app = create_app(
        gateway, answers, unit_name="pio01", version="0.1.0", catalogue=CATALOGUE, library=library, is_leader=False
    )
    return LocalClient(app)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("path", TASKS)
def test_each_is_a_task_under_its_lock(client, gateway, method, path):
    response = client.simulate_request(method, SYSTEM + path, json=TIME)
    assert response.status_code == 202
    assert AcceptedAnswer().validate(response.json) == {}
    ((name, args, _),) = gateway.submitted
    assert (name, gateway.locks[0]) == TASKS[path]
    assert args.get("reason", "asked for over HTTP") == "asked for over HTTP"


@pytest.mark.parametrize("path", TASKS)
def test_a_second_request_is_told_the_lock(client, gateway, path):
    gateway.outcome = LockHeld(TASKS[path][1])
    response = client.simulate_post(SYSTEM + path, json=TIME)
    assert response.status_code == 202
    assert LockHeldAnswer().validate(response.json) == {}
    assert response.json == {"status": "in_progress", "lock": TASKS[path][1]}


@pytest.mark.parametrize("body", [b"", b"{}", b"not json", b"[1]"])
@pytest.mark.parametrize("path", ["/reboot", "/shutdown", "/web_server/restart"])
def test_a_body_without_meaning_is_not_looked_at(client, path, body):
    assert client.simulate_post(SYSTEM + path, body=body).status_code == 202


def test_an_idempotency_key_names_the_task(client, gateway):
    first = client.simulate_post(f"{SYSTEM}/reboot", headers={"Idempotency-Key": "k"})
    again = client.simulate_post(f"{SYSTEM}/reboot", headers={"Idempotency-Key": "k"})
    assert first.json == again.json
    assert len(gateway.submitted) == 1


def test_the_clock_is_told_in_the_contracts_shape(client):
    response = client.simulate_get(f"{SYSTEM}/utc_clock")
    assert response.status_code == 200
    assert ClockAnswer().validate(response.json) == {}


@pytest.mark.parametrize(
    "time",
    ["2026-01-31T12:45:00Z", "2026-01-31T12:45:00.123456Z", "2024-02-29T23:59:59.9Z"],
)
def test_a_leaders_clock_is_set(client, gateway, time):
    assert client.simulate_post(f"{SYSTEM}/utc_clock", json={"utc_clock_time": time}).status_code == 202
    assert gateway.submitted[0][1]["utc_clock_time"] == time


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-31",
        "2026-01-31T12:45Z",
        "2026-01-31 12:45:00Z",
        "2026-01-31T12:45:00",
        "2026-01-31T12:45:00+00:00",
        "2026-01-31T12:45:00z",
        "2026-02-30T12:45:00Z",
        "2026-01-31T24:45:00Z",
        "2026-01-31T12:45:60Z",
        "2026-01-31T12:45:00.Z",
        "2026-01-31T12:45:00.1234567Z",
        "2019-12-31T23:59:59Z",
        "2100-01-01T00:00:00Z",
        "٢٠٢٦-01-31T12:45:00Z",
        "2026-01-31T12:45:00Z\n",
        "-s 2026-01-31T12:45:00Z",
        "",
        20260131,
        None,
    ],
)
def test_what_is_no_time_sets_no_clock(client, gateway, refused, time):
    refused(client.simulate_post(f"{SYSTEM}/utc_clock", json={"utc_clock_time": time}), 400)
    assert gateway.submitted == []


@pytest.mark.parametrize("body", [b"", b"{}", b"not json", b"[]", b'{"utc_clock_time":"2026-01-31T12:45:00Z","x":1}'])
def test_a_leader_needs_a_time(client, gateway, refused, body):
    refused(client.simulate_post(f"{SYSTEM}/utc_clock", body=body), 400)
    assert gateway.submitted == []


@pytest.mark.parametrize("body", [b"", b"{}", b"not json", b'{"utc_clock_time":"2026-01-31T12:45:00Z"}'])
def test_another_units_clock_is_fetched_whatever_the_body_is(follower, gateway, body):
    assert follower.simulate_post(f"{SYSTEM}/utc_clock", body=body).status_code == 202
    assert gateway.submitted[0][:2] == ("sync_clock", {"reason": "asked for over HTTP"})


@pytest.mark.parametrize(("is_supervised", "state"), [(True, "ready"), (False, "disconnected")])
def test_the_web_servers_state_is_that_of_the_units_processes(client, gateway, is_supervised, state):
    gateway.supervised = is_supervised
    response = client.simulate_get(f"{SYSTEM}/web_server/status")
    assert response.status_code == 200
    assert WebServerAnswer().validate(response.json) == {}
    assert response.json["state"] == state
    assert response.json["raw_status"] == f"web=active, supervisor={'active' if is_supervised else 'inactive'}"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/web_server/status"), ("POST", "/web_server/restart"), ("PATCH", "/web_server/restart")],
)
def test_the_web_server_is_the_leaders(follower, gateway, refused, method, path):
    gateway.outcome = LockHeld("web-restart-lock")  # who leads comes before the lock
    assert "leader" in refused(follower.simulate_request(method, SYSTEM + path), 403)
    assert gateway.submitted == []


@pytest.mark.parametrize("path", ["/reboot", "/shutdown"])
def test_any_unit_of_a_cluster_can_be_rebooted_and_turned_off(follower, path):
    assert follower.simulate_post(SYSTEM + path).status_code == 202
