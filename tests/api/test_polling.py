"""What makes polling cheap: answers that are held, answers that did not change, and jobs with their settings."""

import pytest

from reactor_unit.gateway_protocol import TaskAnswer

from .fakes import row

TASK = "/unit_api/task_results/t"
PENDING, DONE = TaskAnswer(202, b'{"status":"pending"}'), TaskAnswer(200, b'{"status":"complete","result":1}')
RUNNING = "/unit_api/jobs/running"


def prefer(client, value):
    return client.simulate_get(TASK, headers={"Prefer": value})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("wait=3", 3),
        ("respond-async, wait=3", 3),
        ('Wait="3"; x=1, handling=strict', 3),
        ("wait=3, wait=9", 3),
        ("wait=90", 25),
        ("wait=0", 0),
    ],
)
def test_an_answer_is_held_as_long_as_the_client_prefers(client, gateway, value, seconds):
    gateway.tasks["t"], gateway.ends_while_waited = PENDING, DONE
    answer = prefer(client, value)
    assert gateway.waits == [("t", seconds)]
    assert (answer.status_code, answer.content) == (200, DONE.body)
    assert answer.headers["preference-applied"] == f"wait={seconds}"
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize(
    "value", ["", "wait", "wait=", "wait=-1", "wait=1.5", "wait=x", "wait=²", "waiting=3", "wait=" + "9" * 5000]
)
def test_a_preference_that_says_nothing_is_as_none(client, gateway, value):
    gateway.tasks["t"] = PENDING
    answer = prefer(client, value.encode("utf-8").decode("latin-1"))
    assert gateway.waits == []
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


def test_who_finds_no_room_to_wait_is_answered_at_once_and_told(client, gateway):
    gateway.tasks["t"], gateway.has_room_to_wait = PENDING, False
    answer = prefer(client, "wait=3")
    assert (answer.status_code, answer.headers["retry-after"]) == (202, "1")
    assert "preference-applied" not in answer.headers


def test_a_task_that_ended_needs_no_waiting(client, gateway):
    gateway.tasks["t"] = DONE
    answer = prefer(client, "wait=3")
    assert (answer.status_code, gateway.waits) == (200, [])
    assert answer.headers["preference-applied"] == "wait=3"


def test_nobody_waits_for_a_task_that_is_not_there(client, gateway, refused):
    refused(prefer(client, "wait=3"), 404)
    assert gateway.waits == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_did_not_change_is_304_without_a_body(client, gateway, method):
    gateway.rows = [row("stirring")]
    first = client.simulate_get(RUNNING)
    etag = first.headers["etag"]
    assert (etag[0], etag[-1]) == ('"', '"')
    assert first.headers["cache-control"] == "no-cache"
    again = client.simulate_request(method, RUNNING, headers={"If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert not {"content-type", "x-content-type-options"} & set(again.headers)

    gateway.rows = []
    changed = client.simulate_request(method, RUNNING, headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag


@pytest.mark.parametrize(("given", "status"), [('"x", W/{}', 304), ("*", 304), ('"x"', 200), ("", 200), ("{}x", 200)])
def test_any_of_the_tags_a_client_has_will_do(client, gateway, given, status):
    etag = client.simulate_get(RUNNING).headers["etag"]
    assert client.simulate_get(RUNNING, headers={"If-None-Match": given.format(etag)}).status_code == status


@pytest.mark.parametrize("path", ["/unit_api/health", "/unit_api/nowhere", TASK])
def test_what_is_new_each_time_or_no_200_has_no_tag(client, gateway, path):
    gateway.tasks["t"] = PENDING
    answer = client.simulate_get(path, headers={"If-None-Match": "*"})
    assert answer.status_code != 304
    assert "etag" not in answer.headers


def test_a_result_can_be_asked_for_again_for_few_bytes(client, gateway):
    gateway.tasks["t"] = DONE
    etag = client.simulate_get(TASK).headers["etag"]
    assert client.simulate_get(TASK, headers={"If-None-Match": etag}).status_code == 304


def test_running_jobs_come_with_their_settings_on_request(client, gateway):
    gateway.rows = [row("stirring"), row("od_reading", experiment="Exp002")]
    gateway.published = {"stirring": {"target_rpm": 200.0, "use_rpm": True, "ods": None}}
    found = client.simulate_get(RUNNING, query_string="settings=true").json
    assert [one["job_name"] for one in found] == ["stirring", "od_reading"]
    assert [one["settings"] for one in found] == [{"target_rpm": "200", "use_rpm": "1", "ods": None}, {}]
    typed = client.simulate_get(f"{RUNNING}/stirring", query_string="settings=1&typed=true").json
    assert [one["settings"] for one in typed] == [{"target_rpm": 200.0, "use_rpm": True, "ods": None}]
    assert "settings" not in client.simulate_get(RUNNING).json[0]


def test_a_bad_value_for_settings_is_refused(client, refused):
    assert "settings" in refused(client.simulate_get(RUNNING, query_string="settings=perhaps"), 400)


@pytest.mark.parametrize("query", ["typed=null", "typed=", "settings=maybe", "settings="])
def test_a_word_that_is_no_yes_or_no_is_refused_whatever_runs(client, gateway, refused, query):
    gateway.rows = []
    refused(client.simulate_get(f"/unit_api/jobs/running?{query}"), 400)
