"""A request that is sent again with its key does nothing again."""

import uuid

import pytest

from reactor_unit.errors import JobAlreadyRunning, QueueFull, RateLimited, StorageFault
from reactor_unit.gateway_protocol import LockHeld
from reactor_unit.resources.response_schemas import AcceptedAnswer, LockHeldAnswer

RUN = "/unit_api/jobs/run/job_name/stirring"
OTHER = "/unit_api/jobs/run/job_name/od_reading"
KEYED = {"Idempotency-Key": "key-1"}


def test_the_same_request_gets_its_first_answer_and_runs_once(client, gateway):
    first = client.simulate_post(RUN, json={"options": {"target_rpm": 300}}, headers=KEYED)
    again = client.simulate_post(RUN, json={"options": {"target_rpm": 300}}, headers=KEYED)
    assert len(gateway.submitted) == 1
    assert (again.status, again.content) == (first.status, first.content)
    assert AcceptedAnswer().validate(again.json) == {}
    assert again.headers.pop("idempotency-replayed") == "true"
    assert dict(again.headers) == dict(first.headers)
    assert "idempotency-replayed" not in first.headers


@pytest.mark.parametrize(
    ("method", "path", "query", "body"),
    [
        ("POST", RUN, "", b'{"options": {}}'),
        ("POST", OTHER, "", b"{}"),
        ("PATCH", RUN, "", b"{}"),
        ("POST", RUN, "x=1", b"{}"),
        ("POST", RUN, "", b"{} "),
        ("POST", RUN, "", b""),
        ("POST", "/unit_api/jobs/stop/all", "", b"{}"),
    ],
    ids=["body", "path", "method", "query", "space", "empty", "endpoint"],
)
def test_another_request_with_the_same_key_is_refused(client, gateway, refused, method, path, query, body):
    client.simulate_post(RUN, body=b"{}", headers=KEYED)
    response = client.simulate_request(method, path, query_string=query, body=body, headers=KEYED)
    assert "Idempotency-Key" in refused(response, 422)
    assert len(gateway.submitted) == 1


def test_a_request_that_is_still_being_answered_is_refused_for_a_moment(client, gateway, answers, refused):
    answers.begun["key-1"] = "whatever"
    response = client.simulate_post(RUN, json={}, headers=KEYED)
    refused(response, 409)
    assert response.headers["retry-after"] == "1"
    assert gateway.submitted == []
    assert answers.begun == {"key-1": "whatever"}  # the first request still owns its key


def test_the_task_id_follows_from_key_and_request(client, gateway, answers):
    """After a crash of the web process nothing is kept, and the supervisor knows the task by its id."""
    for body in (b"{}", b"{}", b'{"options": {}}'):
        answers.kept.clear()
        client.simulate_post(RUN, body=body, headers=KEYED)
    client.simulate_post(RUN, body=b"{}", headers={"Idempotency-Key": "key-2"})
    ids = [task_id for _, _, task_id in gateway.submitted]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert str(uuid.UUID(ids[0])) == ids[0]


@pytest.mark.parametrize("path", ["/unit_api/jobs/stop/all", RUN])
def test_without_a_key_each_request_is_a_task_of_its_own(client, gateway, answers, path):
    for _ in range(2):
        client.simulate_post(path, json={})
    assert [task_id for _, _, task_id in gateway.submitted] == [None, None]
    assert answers.kept == {}


@pytest.mark.parametrize("path", ["/unit_api/jobs/stop/all", "/unit_api/jobs/stop"])
def test_stops_have_ids_of_their_keys_too(client, gateway, path):
    client.simulate_post(path, json={"job_name": "stirring"}, headers=KEYED)
    assert gateway.submitted[0][2] is not None


@pytest.mark.parametrize(
    ("path", "body", "outcome", "status"),
    [
        (RUN, b'{"optoins": 1}', None, 400),
        (RUN, b"{", None, 400),
        ("/unit_api/jobs/run/job_name/nothing", b"{}", None, 404),
        ("/unit_api/health", b"{}", None, 405),
        (RUN, b"{}", JobAlreadyRunning("It runs."), 409),
    ],
    ids=["field", "json", "job", "method", "conflict"],
)
def test_a_clients_own_mistake_is_an_answer_and_is_kept(client, gateway, path, body, outcome, status):
    gateway.outcome = outcome
    first = client.simulate_post(path, body=body, headers=KEYED)
    gateway.outcome = None
    again = client.simulate_post(path, body=body, headers=KEYED)
    assert (first.status_code, again.status_code) == (status, status)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["content-type"] == "application/json"
    assert again.content == first.content
    assert again.headers.get("allow") == first.headers.get("allow")


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(QueueFull("Full."), 503), (RateLimited("Too soon."), 429), (ZeroDivisionError(), 500)],
    ids=["full", "rate", "crash"],
)
def test_a_passing_refusal_may_be_tried_again(client, gateway, answers, outcome, status):
    gateway.outcome = outcome
    assert client.simulate_post(RUN, json={}, headers=KEYED).status_code == status
    assert answers.begun == {}
    gateway.outcome = None
    assert client.simulate_post(RUN, json={}, headers=KEYED).status_code == 202


def test_an_answer_that_cannot_be_kept_is_still_given(client, answers, caplog):
    answers.broken = True
    assert client.simulate_post(RUN, json={}, headers=KEYED).status_code == 202
    assert "could not be kept" in caplog.text
    assert answers.begun == {}  # or the key would be in flight for ever


@pytest.mark.parametrize(
    ("path", "body"),
    [(RUN, {}), ("/unit_api/jobs/stop/all", {}), ("/unit_api/jobs/stop", {"job_name": "stirring"})],
    ids=["run", "stop-all", "stop"],
)
def test_a_store_that_cannot_be_used_holds_up_nothing(client, gateway, answers, caplog, path, body):
    """The disk of a unit in a crash loop is full, and its jobs still have to be stopped."""
    answers.failure = StorageFault("The task store cannot be used: database or disk is full.")
    for _ in range(2):
        assert client.simulate_post(path, json=body, headers=KEYED).status_code == 202
    assert "disk is full" in caplog.text
    first, again = (task_id for _, _, task_id in gateway.submitted)
    assert first == again is not None  # so the supervisor runs it once


@pytest.mark.parametrize(("outcome", "status"), [(None, 202), (RateLimited("Too soon."), 429)], ids=["keep", "abandon"])
def test_a_store_that_breaks_meanwhile_changes_no_answer(
    client, gateway, answers, monkeypatch, caplog, outcome, status
):
    submit = gateway.submit

    def submit_and_fill_the_disk(*args, **kwargs):
        answers.failure = StorageFault("The disk is full.")
        return submit(*args, **kwargs)

    monkeypatch.setattr(gateway, "submit", submit_and_fill_the_disk)
    gateway.outcome = outcome
    assert client.simulate_post(RUN, json={}, headers=KEYED).status_code == status
    assert "could not be kept: The disk is full." in caplog.text
    assert "Traceback" not in caplog.text  # one line for each request is enough


def test_a_held_lock_accepted_nothing_and_is_not_kept(client, gateway, answers):
    gateway.outcome = LockHeld("update-lock")
    held = client.simulate_post("/unit_api/jobs/stop/all", headers=KEYED)
    assert LockHeldAnswer().validate(held.json) == {}
    assert (answers.begun, answers.kept) == ({}, {})
    gateway.outcome = None
    again = client.simulate_post("/unit_api/jobs/stop/all", headers=KEYED)
    assert AcceptedAnswer().validate(again.json) == {}
    assert len(gateway.submitted) == 2


@pytest.mark.parametrize(
    "key", ["", "x" * 256, "caf\xe9", "tab\there", "\x7f"], ids=["empty", "long", "latin", "tab", "del"]
)
def test_a_bad_key_is_refused(client, gateway, refused, key):
    text = refused(client.simulate_post(RUN, json={}, headers={"Idempotency-Key": key}), 400)
    assert "Idempotency-Key" in text
    assert gateway.submitted == []


@pytest.mark.parametrize("key", ["x", "x" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "a b, c"])
def test_any_printable_key_is_taken(client, answers, key):
    assert client.simulate_post(RUN, json={}, headers={"Idempotency-Key": key}).status_code == 202
    assert list(answers.kept) == [key]


def test_reading_needs_no_key_and_keeps_nothing(client, answers):
    for _ in range(2):
        assert client.simulate_get("/unit_api/health", headers=KEYED).status_code == 200
    assert (answers.begun, answers.kept) == ({}, {})


def test_a_body_that_is_not_json_is_no_request_to_keep(client, gateway, answers):
    headers = {**KEYED, "Content-Type": "multipart/form-data; boundary=x"}
    client.simulate_post("/unit_api/jobs/stop/all", body=b"--x", headers=headers)
    assert (answers.begun, answers.kept, gateway.submitted[0][2]) == ({}, {}, None)


def test_unknown_paths_keep_nothing(client, answers):
    client.simulate_post("/unit_api/nothing", json={}, headers=KEYED)
    assert (answers.begun, answers.kept) == ({}, {})


def test_a_body_above_the_limit_is_refused_before_it_is_kept(client, answers, refused):
    refused(client.simulate_post(RUN, body=b" " * (1024 * 1024 + 1), headers=KEYED), 413)
    assert (answers.begun, answers.kept) == ({}, {})
