import json
import socket
from contextlib import closing

import httpx
import pytest
from client_answers import ACCEPTED, FakeTime, ok, record

from reactor_unit.client import (
    OUTAGE_S,
    Progress,
    TaskNotDone,
    UnitAnswerError,
    UnitClient,
    UnitTaskFailed,
    UnitUnreachable,
)

ROWS = [
    {"job_name": "stirring", "job_id": "1", "experiment": "E1", "pid": 12},
    {"job_name": "od_reading", "job_id": "2", "experiment": "E1", "pid": 13},
]


class FakeUnit:
    """Answers with what it is given, in turn (the last one for ever), and records what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def __call__(self, request):
        body = json.loads(request.content) if request.content else None
        self.requests.append((request.method, request.url.raw_path.decode(), body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def fake_time():
    return FakeTime()


@pytest.fixture
def connect(fake_time):
    clients = []

    def make(*answers, url="http://pio01:4999"):
        unit = FakeUnit(*answers)
        client = UnitClient(url, transport=httpx.MockTransport(unit), clock=fake_time.clock, sleep=fake_time.sleep)
        clients.append(client)
        return client, unit

    yield make
    for client in clients:
        client.close()


def refusal(status, error="No.", cause="Because.", remediation="Do this."):
    return ok({"error": error, "error_info": {"cause": cause, "remediation": remediation, "status": status}}, status)


@pytest.mark.parametrize(
    ("call", "answer", "path", "value"),
    [
        (lambda c: c.version(), {"version": "v0.1.0"}, "/versions/app", "v0.1.0"),
        (lambda c: c.running_jobs(), ROWS, "/jobs/running", ROWS),
        (lambda c: c.running_jobs("stirring"), ROWS[:1], "/jobs/running/stirring", ROWS[:1]),
        (lambda c: c.running_jobs(experiment="E 1"), ROWS, "/jobs/running/experiments/E%201", ROWS),
        (lambda c: c.running_jobs("stirring", "E1"), ROWS, "/jobs/running/experiments/E1", ROWS[:1]),
        (lambda c: c.long_running_jobs(), ROWS[1:], "/long_running_jobs/running", ROWS[1:]),
        (lambda c: c.job_history(), ROWS, "/jobs", ROWS),
        (lambda c: c.settings("stirring"), {"settings": {"a": "1"}}, "/jobs/settings/job_name/stirring", {"a": "1"}),
        (
            lambda c: c.settings("stirring", typed=True),
            {"settings": {"a": 1}},
            "/jobs/settings/job_name/stirring?typed=true",
            {"a": 1},
        ),
        (
            lambda c: c.setting("stirring", "$state"),
            {"$state": "ready"},
            "/jobs/settings/job_name/stirring/setting/%24state",
            "ready",
        ),
        (
            lambda c: c.setting("stirring", "target_rpm", typed=True),
            {"target_rpm": 400.0},
            "/jobs/settings/job_name/stirring/setting/target_rpm?typed=true",
            400.0,
        ),
        (lambda c: c.reading_names(), {"names": ["od"]}, "/readings/names", ["od"]),
        (lambda c: c.readings(), {"readings": []}, "/readings", []),
        (
            lambda c: c.readings(["od.*", "rpm"], since=5.5, limit=3),
            {"readings": []},
            "/readings?names=od.%2A%2Crpm&since=5.5&limit=3",
            [],
        ),
    ],
)
def test_each_reading_method_asks_its_endpoint_and_returns_the_answer(connect, call, answer, path, value):
    client, unit = connect(ok(answer))
    assert call(client) == value
    assert unit.requests == [("GET", f"/unit_api{path}", None)]


def test_a_setting_is_set_to_a_json_value(connect):
    client, unit = connect(ok({"setting": "a b", "value": True}))
    assert client.set_setting("stirring", "a b", 1) is True
    assert unit.requests == [("PUT", "/unit_api/jobs/settings/job_name/stirring/setting/a%20b", {"value": 1})]


def test_an_answer_without_a_value_is_not_a_units(connect):
    client, _ = connect(ok({"setting": "a"}))
    with pytest.raises(UnitAnswerError, match="does not answer like a unit"):
        client.set_setting("stirring", "a", 1)


def test_health_returns_the_answer(connect):
    health = {"status": "ok", "pioreactor_unit": "pio01", "utc_time": "2026-01-31T12:45:00Z"}
    client, unit = connect(ok(health))
    assert client.health() == health
    assert unit.requests == [("GET", "/unit_api/health", None)]


def test_run_job_sends_everything_it_is_given(connect):
    client, unit = connect(ok(ACCEPTED, 202))
    accepted = client.run_job(
        "stirring",
        options={"target_rpm": 400},
        args=["--use-rpm"],
        experiment="E1",
        job_source="user",
        config_overrides=[("stirring.config", "pwm_hz", "100")],
    )
    assert accepted == ACCEPTED
    assert unit.requests == [
        (
            "POST",
            "/unit_api/jobs/run/job_name/stirring",
            {
                "options": {"target_rpm": 400},
                "args": ["--use-rpm"],
                "env": {"EXPERIMENT": "E1", "JOB_SOURCE": "user"},
                "config_overrides": [["stirring.config", "pwm_hz", "100"]],
            },
        )
    ]


def test_run_job_leaves_out_an_environment_it_was_not_given(connect):
    client, unit = connect(ok(ACCEPTED, 202))
    client.run_job("stirring")
    assert unit.requests[0][2] == {"options": {}, "args": [], "env": {}, "config_overrides": []}


def test_stop_jobs_sends_only_the_filters_given(connect):
    client, unit = connect(ok(ACCEPTED, 202))
    assert client.stop_jobs(job_name="stirring", job_id="3") == ACCEPTED
    assert unit.requests == [("POST", "/unit_api/jobs/stop", {"job_name": "stirring", "job_id": "3"})]


@pytest.mark.parametrize("filters", [{}, {"job_name": ""}, {"job_name": "stirring", "experiment": ""}], ids=str)
def test_stop_jobs_refuses_filters_that_would_stop_more_than_was_meant(connect, filters):
    client, unit = connect(ok(ACCEPTED, 202))
    with pytest.raises(ValueError, match="none of them empty"):
        client.stop_jobs(**filters)
    assert unit.requests == []


def test_stop_all_jobs_posts_to_its_own_endpoint(connect):
    client, unit = connect(ok(ACCEPTED, 202))
    assert client.stop_all_jobs() == ACCEPTED
    assert unit.requests == [("POST", "/unit_api/jobs/stop/all", {})]


@pytest.mark.parametrize(
    ("name", "segment"), [("a/b?c", "a%2Fb%3Fc"), ("..", "%2E%2E"), ("é", "%C3%A9")], ids=["slash", "dots", "accent"]
)
def test_a_name_stays_one_segment_of_the_path(connect, name, segment):
    client, unit = connect(ok([]))
    client.running_jobs(name)
    assert unit.requests[0][1] == f"/unit_api/jobs/running/{segment}"


def test_a_refusal_carries_error_cause_remediation_status_and_body(connect):
    client, _unit = connect(refusal(409, "stirring is already running."))
    with pytest.raises(UnitAnswerError) as caught:
        client.run_job("stirring")
    ex = caught.value
    assert (ex.error, ex.cause, ex.remediation, ex.status) == (
        "stirring is already running.",
        "Because.",
        "Do this.",
        409,
    )
    assert ex.body["error_info"]["status"] == 409


def test_a_refusal_without_cause_takes_the_error_as_cause(connect):
    client, _unit = connect(ok({"error": "No."}, 400))
    with pytest.raises(UnitAnswerError) as caught:
        client.health()
    assert caught.value.cause == "No."
    assert caught.value.remediation


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (lambda c: c.health(), httpx.Response(200, text="<html>router</html>")),
        (lambda c: c.health(), httpx.Response(502, text="<html>bad gateway</html>")),
        (lambda c: c.health(), httpx.Response(301, headers={"Location": "https://elsewhere/"})),
        (lambda c: c.health(), ok([])),
        (lambda c: c.version(), ok({})),
        (lambda c: c.running_jobs(), ok({})),
        (lambda c: c.running_jobs(), ok(["stirring"])),
        (lambda c: c.settings("stirring"), ok({"settings": []})),
        (lambda c: c.setting("stirring", "target_rpm"), ok({})),
        (lambda c: c.stop_all_jobs(), ok({}, 202)),
        (lambda c: c.task("t1"), ok({})),
    ],
    ids=[
        "html",
        "bad gateway",
        "redirect",
        "no object",
        "no version",
        "no list",
        "no rows",
        "no settings",
        "no setting",
        "no id",
        "no status",
    ],
)
def test_an_answer_that_is_not_a_units_is_an_error_that_says_so(connect, call, answer):
    client, _unit = connect(answer)
    with pytest.raises(UnitAnswerError, match="does not answer like a unit") as caught:
        call(client)
    assert caught.value.status == answer.status_code


def test_work_under_a_lock_is_an_error_that_names_the_lock(connect):
    client, _unit = connect(ok({"status": "in_progress", "lock": "update-lock"}, 202))
    with pytest.raises(UnitAnswerError, match="update-lock"):
        client.stop_all_jobs()


def test_a_port_where_nothing_listens_is_unreachable_and_says_how_to_start_a_unit():
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))  # bound, so that no other process gets it, but not listening
        with (
            UnitClient(f"http://127.0.0.1:{unused.getsockname()[1]}") as client,
            pytest.raises(UnitUnreachable) as caught,
        ):
            client.health()
    assert "reactor-unit serve" in caught.value.remediation
    assert "refused" in caught.value.cause


def test_a_unit_that_accepts_and_says_nothing_is_unreachable_after_the_timeout():
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with UnitClient(address, timeout=0.05) as client, pytest.raises(UnitUnreachable) as caught:
            client.stop_all_jobs()
    assert caught.value.cause == "No answer within 0.05 s."
    assert "may have carried it out" in caught.value.remediation


def test_a_password_in_the_url_is_sent_but_not_shown(connect):
    client, _unit = connect(httpx.ConnectError("refused"), url="http://me:secret@pio01:4999/")
    with pytest.raises(UnitUnreachable) as caught:
        client.health()
    assert "http://pio01:4999" in caught.value.error
    assert "secret" not in str(vars(caught.value))


@pytest.mark.parametrize(
    ("url", "path"),
    [("pio01:4999", "/unit_api/jobs"), ("http://leader/pio01/", "/pio01/unit_api/jobs")],
    ids=["no scheme", "prefix"],
)
def test_a_url_may_leave_out_the_scheme_and_have_a_prefix(connect, url, path):
    client, unit = connect(ok([]), url=url)
    client.job_history()
    assert unit.requests[0][1] == path


@pytest.mark.parametrize(
    "url", ["", "ftp://pio01", "http://", "http://pio01:99999", "http://pio01:x", "http://h/?a=1", "a..b"]
)
def test_what_cannot_be_the_url_of_a_unit_is_refused_at_once(url):
    with pytest.raises(ValueError, match=r"URL|address|port"):
        UnitClient(url)


def test_task_returns_a_failed_record_without_raising(connect):
    client, unit = connect(record("failed", error="Broken.", error_info={}))
    assert client.task("t1")["error"] == "Broken."
    assert unit.requests == [("GET", "/unit_api/task_results/t1", None)]


def test_a_task_id_the_unit_lost_is_a_404(connect):
    client, _unit = connect(refusal(404, "No task t1."))
    with pytest.raises(UnitAnswerError) as caught:
        client.wait_for("t1")
    assert caught.value.status == 404
    assert not isinstance(caught.value, UnitTaskFailed)


def test_a_task_that_is_lost_during_the_wait_ends_it_at_once(connect, fake_time):
    client, unit = connect(record("pending"), refusal(404, "No task t1."))
    with pytest.raises(UnitAnswerError, match=r"No task t1"):
        client.wait_for("t1")
    assert len(unit.requests) == 2


@pytest.mark.parametrize("result", [{"job_id": "3"}, None, False], ids=str)
def test_wait_for_returns_the_result_a_null_one_too(connect, fake_time, result):
    client, unit = connect(record("pending"), record("in_progress"), record("complete", result=result))
    assert client.wait_for("t1") == result
    assert len(unit.requests) == 3


def test_a_task_that_is_done_at_once_costs_no_pause(connect, fake_time):
    client, _unit = connect(record("complete", result=1))
    client.wait_for("t1")
    assert fake_time.pauses == []


def test_the_pause_grows_from_5_ms_to_a_quarter_of_a_second_whatever_retry_after_says(connect, fake_time):
    answers = [record("pending", headers={"Retry-After": "1"}) for _ in range(15)]
    client, _unit = connect(*answers, record("complete", result=1))
    client.wait_for("t1")
    assert fake_time.pauses[0] == 0.005
    assert fake_time.pauses == sorted(fake_time.pauses)
    assert fake_time.pauses[-1] == 0.25
    assert sum(fake_time.pauses[:4]) < 0.05


def test_retry_after_0_keeps_the_pause_short_but_not_zero(connect, fake_time):
    answers = [record("pending", headers={"Retry-After": "0"}) for _ in range(5)]
    client, _unit = connect(*answers, record("complete", result=1))
    client.wait_for("t1")
    assert fake_time.pauses == [0.005] * 5


def test_wait_for_gives_up_at_its_timeout_and_says_that_the_task_goes_on(connect, fake_time):
    client, _unit = connect(record("in_progress"))
    with pytest.raises(TaskNotDone, match=r"still in_progress after 2 s") as caught:
        client.wait_for("t1", 2.0)
    assert fake_time.now == pytest.approx(102.0)
    assert "tasks wait t1" in caught.value.remediation


def test_a_failed_task_raises_the_tasks_own_error(connect):
    info = {"cause": "No pulses.", "remediation": "Check the sensor.", "status": 500}
    client, _unit = connect(record("pending"), record("failed", error="stirring ended.", error_info=info))
    with pytest.raises(UnitTaskFailed) as caught:
        client.wait_for("t1")
    ex = caught.value
    assert (ex.error, ex.cause, ex.remediation, ex.status) == (
        "stirring ended.",
        "No pulses.",
        "Check the sensor.",
        500,
    )
    assert ex.body["task_id"] == "t1"


def test_progress_is_reported_once_for_each_change(connect):
    half = {"done": 5, "total": 10, "message": "half"}
    client, _unit = connect(
        record("pending"),
        record("in_progress", progress={"done": 1, "total": None}),
        record("in_progress", progress=half),
        record("in_progress", progress=half),
        record("in_progress", progress=None),
        record("complete", result=1),
    )
    seen = []
    client.wait_for("t1", progress=seen.append)
    assert seen == [Progress(1, None, ""), Progress(5, 10, "half")]


@pytest.mark.parametrize(
    "gap", [httpx.ReadError("reset"), httpx.ConnectError("refused"), refusal(503), refusal(429)], ids=repr
)
def test_a_short_outage_of_a_unit_that_answered_does_not_end_the_wait(connect, gap):
    client, _unit = connect(ok(ACCEPTED, 202), gap, gap, record("complete", result=7))
    assert client.wait_for(client.stop_all_jobs()["task_id"]) == 7


def test_a_lasting_outage_ends_the_wait(connect, fake_time):
    client, _unit = connect(record("pending"), httpx.ConnectError("refused"))
    with pytest.raises(UnitUnreachable):
        client.wait_for("t1")
    assert OUTAGE_S < fake_time.now - 100.0 < OUTAGE_S + 1.0


def test_a_unit_that_never_answered_is_not_waited_for(connect, fake_time):
    client, _unit = connect(httpx.ConnectError("refused"))
    with pytest.raises(UnitUnreachable):
        client.wait_for("t1")
    assert fake_time.pauses == []


# the administrator's token


@pytest.mark.parametrize(
    ("path", "is_sent"),
    [
        ("/system/update", True),
        ("/system/update/app", True),
        ("/plugins/install", True),
        ("/plugins/uninstall", True),
        ("/import_zipped_dot_pioreactor", True),
        ("/system/reboot", False),
        ("/jobs/stop/all", False),
    ],
)
def test_the_token_goes_with_what_needs_it_and_nothing_else(path, is_sent):
    sent = []

    def answer(request):
        sent.append(request.headers.get("Authorization"))
        return httpx.Response(202, json=ACCEPTED)

    with closing(UnitClient("http://pio01", token="secret", transport=httpx.MockTransport(answer))) as unit:
        unit._submit(path, {})
    assert sent == ["Bearer secret" if is_sent else None]
