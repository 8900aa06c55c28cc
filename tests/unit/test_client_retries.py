"""What a client does about broken connections, held answers, and answers that have no end."""

import io
import json
import socket
import threading
from contextlib import closing

import httpx
import pytest
from client_answers import ACCEPTED, FakeTime, ok, record

from reactor_unit.client import Progress, UnitAnswerError, UnitClient, UnitUnreachable, connection

BROKEN = [httpx.ReadError("reset"), httpx.RemoteProtocolError("disconnected"), httpx.WriteError("reset")]


class FakeUnit:
    """Answers in turn, the last answer for ever; an exception is raised, a function is called."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def __call__(self, request):
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = answer()
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def fake_time():
    return FakeTime()


@pytest.fixture
def connect(fake_time):
    clients = []

    def make(*answers, **options):
        unit = FakeUnit(*answers)
        client = UnitClient(
            "http://pio01", transport=httpx.MockTransport(unit), clock=fake_time.clock, sleep=fake_time.sleep, **options
        )
        clients.append(client)
        return client, unit

    yield make
    for client in clients:
        client.close()


@pytest.mark.parametrize("broken", BROKEN, ids=repr)
def test_a_read_whose_connection_broke_is_made_again_after_a_short_pause(connect, fake_time, broken):
    client, unit = connect(broken, broken, ok([]))
    assert client.running_jobs() == []
    assert len(unit.requests) == 3
    assert 0.05 <= fake_time.pauses[0] <= 0.1 <= fake_time.pauses[1] <= 0.2


def test_it_is_given_up_after_the_third_try(connect):
    client, unit = connect(httpx.ReadError("reset"))
    with pytest.raises(UnitUnreachable, match="gave no answer"):
        client.running_jobs()
    assert len(unit.requests) == 3


def test_a_unit_that_never_answered_is_tried_once_and_one_that_did_again(connect):
    client, unit = connect(httpx.ConnectError("refused"))
    with pytest.raises(UnitUnreachable):
        client.running_jobs()
    assert len(unit.requests) == 1
    client, unit = connect(ok([]), httpx.ConnectError("refused"), ok([]))
    client.running_jobs()
    assert client.running_jobs() == []


@pytest.mark.parametrize("late", [httpx.ReadTimeout("late"), httpx.ConnectTimeout("late")], ids=repr)
def test_who_waited_in_vain_once_is_not_made_to_wait_again(connect, late):
    client, unit = connect(ok([]), late)
    client.running_jobs()
    with pytest.raises(UnitUnreachable):
        client.running_jobs()
    assert len(unit.requests) == 2


def test_a_repeated_start_carries_the_key_of_the_first_and_the_next_start_another(connect):
    client, unit = connect(httpx.ReadError("reset"), ok(ACCEPTED, 202))
    client.run_job("add_media", options={"ml": 1})
    client.run_job("add_media", options={"ml": 1})
    first, second, third = [request.headers["Idempotency-Key"] for request in unit.requests]
    assert first == second != third
    assert unit.requests[0].content == unit.requests[1].content


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.start_session("od90", "standards"),
        lambda c: c.answer_session("s", {}, revision=1),
        lambda c: c.clear_fault("f1"),
        lambda c: c.delete_calibration("od90", "a"),
        lambda c: c.import_archive(io.BytesIO(b"PK")),
    ],
    ids=["session", "inputs", "clear", "delete", "import"],
)
def test_what_would_be_something_else_the_second_time_is_sent_once(connect, call):
    client, unit = connect(httpx.ReadError("reset"))
    with pytest.raises(UnitUnreachable) as caught:
        call(client)
    assert len(unit.requests) == 1
    assert "may have carried it out" in caught.value.remediation
    assert "Idempotency-Key" not in unit.requests[0].headers


# Held answers


def test_the_unit_is_asked_to_hold_its_answer_and_one_request_is_enough(connect, fake_time):
    client, unit = connect(record("complete", result=5, headers={"Preference-Applied": "wait=25"}))
    assert client.wait_for("t1") == 5
    assert [request.headers["Prefer"] for request in unit.requests] == ["wait=25"]
    assert unit.requests[0].extensions["timeout"]["read"] == 35.0
    assert fake_time.pauses == []


def test_after_a_held_answer_the_next_is_asked_for_at_once_and_never_beyond_the_time_limit(connect, fake_time):
    def held():
        fake_time.now += 25.0
        return record("in_progress", headers={"Preference-Applied": "wait=25", "Retry-After": "30"})

    client, unit = connect(held, held, record("complete", result=1, headers={"Preference-Applied": "wait=10"}))
    client.wait_for("t1", 60.0)
    assert [request.headers["Prefer"] for request in unit.requests] == ["wait=25", "wait=25", "wait=10"]
    assert fake_time.pauses == []


def test_a_unit_that_only_says_that_it_held_its_answer_is_not_asked_without_pause(connect, fake_time):
    lies = [record("pending", headers={"Preference-Applied": "wait=25"}) for _ in range(4)]
    client, _unit = connect(*lies, record("complete", result=1))
    client.wait_for("t1")
    assert len(fake_time.pauses) == 4


def test_who_watches_the_progress_has_answers_held_for_a_second(connect, fake_time):
    def held():
        fake_time.now += 1.0
        progress = {"done": fake_time.now - 100.0, "total": 2}
        return record("in_progress", progress=progress, headers={"Preference-Applied": "wait=1"})

    client, unit = connect(held, held, record("complete", result=1))
    seen = []
    client.wait_for("t1", progress=seen.append)
    assert seen == [Progress(1.0, 2, ""), Progress(2.0, 2, "")]
    assert {request.headers["Prefer"] for request in unit.requests} == {"wait=1"}


def test_a_held_answer_that_breaks_late_does_not_end_the_wait(connect, fake_time):
    def broken():
        fake_time.now += 20.0
        return httpx.ReadError("reset")

    client, _unit = connect(ok(ACCEPTED, 202), broken, record("complete", result=3))
    assert client.wait_for(client.stop_all_jobs()["task_id"]) == 3


# Answers without end


def test_an_endless_answer_is_cut_off(connect, monkeypatch):
    monkeypatch.setattr(connection, "LARGEST_ANSWER", 1000)
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield b"x" * 100

    client, _unit = connect(lambda: httpx.Response(200, content=endless()))
    with pytest.raises(UnitAnswerError, match="does not answer like a unit"):
        client.health()
    assert len(taken) < 15


def test_an_answer_that_trickles_is_cut_off(connect, fake_time):
    def trickle():
        while True:
            fake_time.now += 9.0
            yield b"["

    client, _unit = connect(lambda: httpx.Response(200, content=trickle()))
    with pytest.raises(UnitAnswerError, match="does not answer like a unit"):
        client.health()
    assert fake_time.now < 100.0 + 2 * connection.LONGEST_ANSWER_S


def test_deeply_nested_json_is_not_a_units(connect):
    client, _unit = connect(httpx.Response(200, content=b"[" * 100_000))
    with pytest.raises(UnitAnswerError, match="does not answer like a unit"):
        client.health()


# The endpoints that no other test asks for

CALIBRATION = {"calibration_name": "a"}
ESTIMATOR = {"estimator_name": "e"}
PLUGINS = [{"name": "p", "version": "1"}]
SOURCE = {"args": ["p"], "options": {"source": "s"}}
VERSION = {"options": {"version": "0.2.0"}, "args": []}


@pytest.mark.parametrize(
    ("call", "answer", "asked", "body", "value"),
    [
        (lambda c: c.capabilities(), {"jobs": []}, "GET /capabilities", None, {"jobs": []}),
        (lambda c: c.plugins(), PLUGINS, "GET /plugins/installed", None, PLUGINS),
        (lambda c: c.plugin_file("a b.py"), "text", "GET /plugins/installed/a%20b%2Epy", None, '"text"'),
        (lambda c: c.install_plugin("p", source="s"), ACCEPTED, "POST /plugins/install", SOURCE, ACCEPTED),
        (lambda c: c.uninstall_plugin("p"), ACCEPTED, "POST /plugins/uninstall", {"args": ["p"]}, ACCEPTED),
        (lambda c: c.update(version="0.2.0"), ACCEPTED, "POST /system/update", VERSION, ACCEPTED),
        (lambda c: c.running_jobs(settings=True), [], "GET /jobs/running?settings=true&typed=true", None, []),
        (lambda c: c.job_history(5), [], "GET /jobs?limit=5", None, []),
        (lambda c: c.vial(), {"current_volume_ml": 14.0}, "GET /vial", None, {"current_volume_ml": 14.0}),
        (lambda c: c.set_vial({"current_volume_ml": 9.0}), {}, "PUT /vial", {"current_volume_ml": 9.0}, {}),
        (
            lambda c: c.create_calibration("od90", "text: 1", overwrite=True),
            {"path": "/p"},
            "POST /calibrations/od90",
            {"calibration_data": "text: 1", "set_as_active": False, "overwrite": True},
            "/p",
        ),
        (lambda c: c.estimators(), {"od": [ESTIMATOR]}, "GET /estimators", None, {"od": [ESTIMATOR]}),
        (lambda c: c.estimators("od"), [ESTIMATOR], "GET /estimators/od", None, {"od": [ESTIMATOR]}),
        (lambda c: c.active_estimators(), {"od": ESTIMATOR}, "GET /active_estimators", None, {"od": ESTIMATOR}),
        (lambda c: c.estimator("od", "e"), ESTIMATOR, "GET /estimators/od/e", None, ESTIMATOR),
        (lambda c: c.activate_estimator("od", "e"), {}, "PATCH /active_estimators/od/e", None, None),
        (lambda c: c.deactivate_estimator("od"), {}, "DELETE /active_estimators/od", None, None),
        (lambda c: c.delete_estimator("od", "e"), {}, "DELETE /estimators/od/e", None, None),
        (lambda c: c.calibrations("od90"), [CALIBRATION], "GET /calibrations/od90", None, {"od90": [CALIBRATION]}),
    ],
)  # fmt: skip
def test_each_method_asks_its_endpoint(connect, call, answer, asked, body, value):
    client, unit = connect(ok(answer))
    assert call(client) == value
    (request,) = unit.requests
    assert f"{request.method} {request.url.raw_path.decode().removeprefix('/unit_api')}" == asked
    if body is not None:
        assert json.loads(request.content).items() >= body.items()


def test_an_archive_is_uploaded_as_a_forms_file_with_the_token(connect):
    client, unit = connect(ok(ACCEPTED, 202), token="secret")
    told = []
    assert client.import_archive(io.BytesIO(b"PK12"), lambda done, total: told.append((done, total))) == ACCEPTED
    (request,) = unit.requests
    assert request.headers["Content-Type"].startswith("multipart/form-data")
    assert b'name="archive"; filename="archive.zip"' in request.content
    assert b"PK12" in request.content
    assert request.headers["Authorization"] == "Bearer secret"
    assert told[-1] == (4, 4)


def test_a_connection_that_a_real_server_closed_is_replaced():
    """The first request is answered and its connection closed behind it; the second one is answered all the same."""
    body = b'{"status":"ok","pioreactor_unit":"pio01","utc_time":""}'
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def serve(listener):
        for _ in range(2):
            served, _address = listener.accept()
            with served:
                served.recv(65536)
                served.sendall(reply)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        with UnitClient(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            assert client.health() == client.health()
        thread.join()
