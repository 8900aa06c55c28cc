import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import types
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner
from harness import DEADLINE_S

from reactor_unit import __main__, __version__
from reactor_unit.cli import cli, run
from reactor_unit.client import Progress
from reactor_unit.console import ProgressLine

STIRRING = {
    "job_name": "stirring",
    "job_id": "3",
    "experiment": "E1",
    "job_source": "user",
    "started_at": "2026-01-31T12:45:00.000Z",
    "ended_at": None,
    "state": "ready",
}
ENDED = {**STIRRING, "job_id": "2", "ended_at": "2026-01-31T12:40:00.000Z", "state": "lost"}
ACCEPTED = {"unit": "pio01", "task_id": "t1", "result_url_path": "/unit_api/task_results/t1"}
HEALTH = {"status": "ok", "pioreactor_unit": "pio01", "utc_time": "2026-01-31T12:45:01.000Z"}
RUN_RESULT = {"job_id": "3", "job_name": "stirring", "state": "ready"}


def record(status, **more):
    return {"task_id": "t1", "result_url_path": "/unit_api/task_results/t1", "status": status, **more}


def refusal(status, error, cause=None, remediation="Do this."):
    return {"error": error, "error_info": {"cause": cause or error, "remediation": remediation, "status": status}}


class FakeUnit:
    """An HTTP server with scripted answers: `answers[path]` is a list used up in turn, its last one for ever."""

    def __init__(self):
        self.answers = {}
        self.requests = []
        self.was_asked = threading.Event()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                fake._answer(self, None)

            def do_POST(self):
                fake._answer(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            do_PUT = do_POST  # noqa: N815
            do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def _answer(self, handler, body):
        path = handler.path.removeprefix("/unit_api")
        self.requests.append((handler.command, path, body))
        scripted = self.answers.get(path)
        status, answer = (404, refusal(404, f"No {path}.")) if not scripted else scripted[0]
        if scripted and len(scripted) > 1:
            scripted.pop(0)
        data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)
        self.was_asked.set()

    def on(self, path, *answers):
        """Answer `path` with each of `answers`: a body, or a status and a body."""
        self.answers[path] = [answer if isinstance(answer, tuple) else (200, answer) for answer in answers]

    def bodies(self, path):
        return [body for _method, asked, body in self.requests if asked == path]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def unit():
    with closing(FakeUnit()) as fake:
        yield fake


@pytest.fixture
def call(unit):
    """Run the command line against the fake unit."""

    def invoke(*words):
        return CliRunner().invoke(cli, list(words), env={"REACTOR_UNIT_URL": unit.url}, prog_name="reactor-unit")

    return invoke


@pytest.fixture
def runs_stirring(unit):
    unit.on("/jobs/run/job_name/stirring", (202, ACCEPTED))
    unit.on("/task_results/t1", (202, record("pending")), record("complete", result=RUN_RESULT))
    return unit


@pytest.fixture
def stops_stirring(unit):
    result = {"stopped": [{"job_id": "3", "job_name": "stirring"}, {"job_id": "4", "job_name": "od_reading"}]}
    unit.on("/jobs/stop", (202, ACCEPTED))
    unit.on("/jobs/stop/all", (202, ACCEPTED))
    unit.on("/task_results/t1", record("complete", result=result))
    return unit


# jobs run


def test_run_waits_until_the_job_is_ready_and_says_its_number(call, runs_stirring):
    result = call("jobs", "run", "stirring")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "stirring runs as job 3.\n", "")
    assert len(runs_stirring.bodies("/task_results/t1")) == 2


def test_run_says_of_a_job_that_has_ended_that_it_is_done(call, unit):
    unit.on("/jobs/run/job_name/od_blank", (202, ACCEPTED))
    ended = {"job_id": "3", "job_name": "od_blank", "state": "disconnected"}
    unit.on("/task_results/t1", record("complete", result=ended))
    result = call("jobs", "run", "od_blank", "delete")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "od_blank is done.\n", "")
    assert unit.bodies("/jobs/run/job_name/od_blank")[0]["args"] == ["delete"]


@pytest.mark.parametrize(
    "words",
    [
        ["--target-rpm", "400"],
        ["--target-rpm=400"],
        ["--use-rpm", "--target-rpm", "-5"],
        ["--", "--experiment", "the job's own"],
    ],
    ids=["value", "equals sign", "flag and negative number", "after dashes"],
)
def test_run_passes_options_it_does_not_know_to_the_job(call, runs_stirring, words):
    assert call("jobs", "run", "stirring", *words).exit_code == 0
    (body,) = runs_stirring.bodies("/jobs/run/job_name/stirring")
    assert body["args"] == [word for word in words if word != "--"]
    assert body["env"] == {}


def test_run_takes_its_own_options_from_among_those_of_the_job(call, runs_stirring):
    words = "--target-rpm 400 --experiment E1 --use-rpm --job-source profile --config-override stirring.config hz 100"
    assert call("jobs", "run", "stirring", *words.split(), "--config-override", "a", "b", "c").exit_code == 0
    assert runs_stirring.bodies("/jobs/run/job_name/stirring") == [
        {
            "options": {},
            "args": ["--target-rpm", "400", "--use-rpm"],
            "env": {"EXPERIMENT": "E1", "JOB_SOURCE": "profile"},
            "config_overrides": [["stirring.config", "hz", "100"], ["a", "b", "c"]],
        }
    ]


def test_run_without_waiting_names_the_task_and_asks_for_no_result(call, runs_stirring):
    result = call("jobs", "run", "stirring", "--no-wait")
    assert result.stdout == "Accepted as task t1.\n"
    assert runs_stirring.bodies("/task_results/t1") == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], record("complete", result=RUN_RESULT)), (["--no-wait"], ACCEPTED)],
    ids=["record", "accepted"],
)
def test_run_prints_the_api_s_json(call, runs_stirring, words, expected):
    result = call("jobs", "run", "stirring", "--json", *words)
    assert json.loads(result.stdout) == expected


def test_run_with_an_option_before_the_name_is_a_usage_error(call, unit):
    result = call("jobs", "run", "--target-rpm", "400", "stirring")
    assert result.exit_code == 2
    assert "name comes before its options" in result.stderr
    assert unit.requests == []


def test_a_task_that_fails_is_told_with_cause_and_remedy(call, runs_stirring):
    info = refusal(500, "stirring ended.", "No pulses.", "Check the sensor.")
    runs_stirring.on("/task_results/t1", (500, record("failed", **info)))
    result = call("jobs", "run", "stirring")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "error: stirring ended.\ncause: No pulses.\nwhat to do: Check the sensor.\n"


# jobs stop


@pytest.mark.parametrize(
    ("words", "path", "body"),
    [
        (["stirring"], "/jobs/stop", {"job_name": "stirring"}),
        (["--experiment", "E1", "--job-source", "user"], "/jobs/stop", {"experiment": "E1", "job_source": "user"}),
        (["--job-id", "3"], "/jobs/stop", {"job_id": "3"}),
        (["--all"], "/jobs/stop/all", {}),
    ],
    ids=["name", "experiment and source", "id", "all"],
)
def test_stop_sends_its_filters_and_says_what_was_stopped(call, stops_stirring, words, path, body):
    result = call("jobs", "stop", *words)
    assert (result.exit_code, result.stdout) == (0, "Stopped stirring (job 3).\nStopped od_reading (job 4).\n")
    assert [request for request in stops_stirring.requests if request[0] == "POST"] == [("POST", path, body)]


def test_stop_says_when_nothing_matched(call, stops_stirring):
    stops_stirring.on("/task_results/t1", record("complete", result={"stopped": []}))
    result = call("jobs", "stop", "stirring")
    assert (result.exit_code, result.stdout) == (0, "No running job matches; nothing was stopped.\n")


def test_stop_prints_the_api_s_json(call, stops_stirring):
    assert json.loads(call("--json", "jobs", "stop", "--all").stdout)["result"]["stopped"][0]["job_id"] == "3"


@pytest.mark.parametrize(
    "words",
    [[], ["stirring", "--all"], [""], ["stirring", "--experiment", ""]],
    ids=["nothing", "all and a name", "empty name", "empty experiment"],
)
def test_stop_does_nothing_unless_it_is_clear_which_jobs_are_meant(call, stops_stirring, words):
    result = call("jobs", "stop", *words)
    assert result.exit_code == 2
    assert result.stderr
    assert stops_stirring.requests == []


# jobs list, settings, status


def test_list_shows_running_jobs_in_aligned_columns(call, unit):
    unit.on("/jobs/running", [STIRRING, {**STIRRING, "job_name": "od_reading", "job_id": "14"}])
    assert call("jobs", "list").stdout == (
        "name        job id  experiment  source  started\n"
        "stirring    3       E1          user    2026-01-31T12:45:00.000Z\n"
        "od_reading  14      E1          user    2026-01-31T12:45:00.000Z\n"
    )


def test_list_all_shows_the_history_with_end_and_state(call, unit):
    unit.on("/jobs", [STIRRING, ENDED])
    header, first, second = call("jobs", "list", "--all").stdout.splitlines()
    assert header.split()[-3:] == ["started", "ended", "state"]
    assert first.split()[-2:] == ["-", "ready"]
    assert second.split()[-2:] == ["2026-01-31T12:40:00.000Z", "lost"]


def test_list_all_says_why_a_job_ended_that_was_refused(call, unit):
    unit.on("/jobs", [{**STIRRING, "cause": None}, {**ENDED, "cause": "The vial is full."}])
    header, first, second = call("jobs", "list", "--all").stdout.splitlines()
    assert header.endswith("state  cause")
    assert first.split()[-1] == "-"
    assert second.endswith("lost   The vial is full.")


@pytest.mark.parametrize(
    ("words", "path", "text"),
    [([], "/jobs/running", "No job is running.\n"), (["--all"], "/jobs", "No job has run yet.\n")],
    ids=["running", "history"],
)
def test_an_empty_list_is_said_in_words_or_as_json(call, unit, words, path, text):
    unit.on(path, [])
    assert call("jobs", "list", *words).stdout == text
    assert json.loads(call("jobs", "list", *words, "--json").stdout) == []


def test_a_name_with_escape_sequences_cannot_command_the_terminal(call, unit):
    unit.on("/jobs/running", [{**STIRRING, "experiment": "\x1b[2Jé\n"}])
    stdout = call("jobs", "list").stdout
    assert r"\x1b[2Jé\n" in stdout
    assert "\x1b" not in stdout
    unit.on("/jobs/settings/job_name/stirring/setting/note", {"note": "\x1b[2J"})
    assert call("settings", "stirring", "note").stdout == "\\x1b[2J\n"


def test_settings_are_an_aligned_table_of_texts(call, unit):
    unit.on("/jobs/settings/job_name/stirring", {"settings": {"$state": "ready", "target_rpm": "400"}})
    assert call("settings", "stirring").stdout == "setting     value\n$state      ready\ntarget_rpm  400\n"


def test_settings_get_says_what_settings_says(call, unit):
    unit.on("/jobs/settings/job_name/stirring", {"settings": {"$state": "ready", "target_rpm": "400"}})
    assert call("settings", "get", "stirring").stdout == call("settings", "stirring").stdout
    assert "Usage: reactor-unit settings" in call("settings").output


@pytest.mark.parametrize("value", ["300", "-5", "--5"])
def test_a_setting_is_set_and_the_value_in_force_is_shown(call, unit, value):
    path = "/jobs/settings/job_name/stirring/setting/target_rpm"
    unit.on(path, {"setting": "target_rpm", "value": 290.5})
    assert call("settings", "set", "stirring", "target_rpm", value).stdout == "target_rpm is 290.5.\n"
    assert unit.requests == [("PUT", path, {"value": value})]
    shown = call("settings", "set", "stirring", "target_rpm", value, "--json").stdout
    assert json.loads(shown) == {"setting": "target_rpm", "value": 290.5}


def test_a_setting_that_is_refused_ends_with_an_error(call, unit):
    unit.on("/jobs/settings/job_name/stirring/setting/%24state", (409, refusal(409, "stirring does not run.")))
    result = call("settings", "set", "stirring", "$state", "sleeping")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "does not run" in result.stderr


# readings

READINGS = [
    {"timestamp": "2026-01-31T12:00:00.250Z", "name": "od.90.2", "value": 0.125},
    {"timestamp": "2026-01-31T12:00:05.250Z", "name": "stirring.measured_rpm", "value": 500.0},
]


def test_readings_are_a_table(call, unit):
    unit.on("/readings", {"readings": READINGS})
    assert call("readings").stdout.splitlines() == [
        "time                      name                   value",
        "2026-01-31T12:00:00.250Z  od.90.2                0.125",
        "2026-01-31T12:00:05.250Z  stirring.measured_rpm  500",
    ]
    assert json.loads(call("readings", "--json").stdout) == {"readings": READINGS}


def test_readings_are_asked_for_by_name_and_time(call, unit):
    query = "?names=od.%2A%2Crpm&since=2026-01-31T12%3A00%3A00Z&until=1769860900&limit=5"
    unit.on(f"/readings{query}", {"readings": []})
    words = ("--since", "2026-01-31T12:00:00Z", "--until", "1769860900", "--limit", "5")
    assert call("readings", "od.*", "rpm", *words).stdout == "There are no such readings.\n"
    unit.on(f"/readings{query}&format=csv", "timestamp,name,value\r\n")
    assert call("readings", "od.*", "rpm", *words, "--csv").stdout.split() == ["timestamp,name,value"]


def test_the_names_of_readings(call, unit):
    unit.on("/readings/names", {"names": ["od.90.2", "rpm"]})
    assert call("readings", "--names").stdout == "od.90.2\nrpm\n"
    assert json.loads(call("readings", "--names", "--json").stdout) == {"names": ["od.90.2", "rpm"]}


@pytest.mark.parametrize("words", [("--until", "5"), ("--names",)])
def test_following_has_no_end(call, words):
    assert call("readings", "--follow", *words).exit_code == 2


def test_readings_are_followed_until_the_unit_is_gone(call, unit):
    unit.on("/readings", {"readings": READINGS[:1]})
    since = "/readings?since=1769860800.25&limit=10000"
    unit.on(since, {"readings": READINGS}, (500, refusal(500, "It broke.")))
    result = call("readings", "--follow", "--csv")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "timestamp,name,value",
        "2026-01-31T12:00:00.250Z,od.90.2,0.125",
        "2026-01-31T12:00:05.250Z,stirring.measured_rpm,500.0",
    ]


def test_typed_settings_are_shown_as_json_values(call, unit):
    unit.on("/jobs/settings/job_name/stirring?typed=true", {"settings": {"a": True, "b": "x"}})
    assert call("settings", "stirring", "--typed").stdout == 'setting  value\na        true\nb        "x"\n'
    assert json.loads(call("settings", "stirring", "--typed", "--json").stdout) == {"settings": {"a": True, "b": "x"}}


def test_one_setting_is_printed_alone(call, unit):
    unit.on("/jobs/settings/job_name/stirring/setting/target_rpm", {"target_rpm": "400"})
    assert call("settings", "stirring", "target_rpm").stdout == "400\n"
    assert json.loads(call("--json", "settings", "stirring", "target_rpm").stdout) == {"target_rpm": "400"}


def test_status_shows_unit_version_and_running_jobs(call, unit):
    unit.on("/health", HEALTH)
    unit.on("/versions/app", {"version": "v0.1.0"})
    unit.on("/jobs/running", [STIRRING])
    lines = dict(re.split(r"  +", line) for line in call("status").stdout.splitlines())
    assert lines["unit"] == "pio01"
    assert lines["version"] == "v0.1.0"
    assert lines["running jobs"] == "stirring (job 3)"
    assert json.loads(call("status", "--json").stdout) == {
        "health": HEALTH,
        "version": "v0.1.0",
        "jobs_running": [STIRRING],
    }


# tasks


def test_show_prints_a_task_as_it_stands(call, unit):
    unit.on("/task_results/t1", (202, record("in_progress", progress={"done": 1, "total": 2, "message": "half"})))
    result = call("tasks", "show", "t1")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:2] == ["task      t1", "status    in_progress"]
    assert '"message": "half"' in result.stdout
    assert len(unit.requests) == 1


@pytest.mark.parametrize("action", ["show", "wait"])
def test_a_failed_task_ends_with_exit_code_1_and_with_its_record_as_json(call, unit, action):
    failed = record("failed", **refusal(500, "Broken."))
    unit.on("/task_results/t1", (500, failed))
    result = call("tasks", action, "t1", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == failed
    assert result.stderr == "error: Broken.\nwhat to do: Do this.\n"


def test_show_of_a_failed_task_prints_its_status_too(call, unit):
    unit.on("/task_results/t1", (500, record("failed", **refusal(500, "Broken."))))
    result = call("tasks", "show", "t1")
    assert (result.exit_code, result.stdout) == (1, "task    t1\nstatus  failed\n")


def test_wait_prints_progress_on_stderr_and_the_result_on_stdout(call, unit):
    progress = {"done": 1, "total": 2, "message": "half"}
    unit.on(
        "/task_results/t1",
        (202, record("in_progress", progress=progress)),
        record("complete", result={"volume_ml": 3.5}),
    )
    result = call("tasks", "wait", "t1")
    first, rest = result.stdout.split("\n", 1)
    assert first == "Task t1 is complete."
    assert json.loads(rest) == {"volume_ml": 3.5}
    assert result.stderr == "1 of 2  half\n"


def test_wait_of_a_null_result_prints_no_result(call, unit):
    unit.on("/task_results/t1", record("complete", result=None))
    assert call("tasks", "wait", "t1").stdout == "Task t1 is complete.\n"


def test_wait_gives_up_after_its_timeout_with_exit_code_1(call, unit):
    unit.on("/task_results/t1", (202, record("pending")))
    result = call("tasks", "wait", "t1", "--timeout", "0.02")
    assert result.exit_code == 1
    assert "still pending after 0.02 s" in result.stderr


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_progress_is_one_bar_that_redraws_itself(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    terminal = Terminal()
    line = ProgressLine(terminal)
    line(Progress(1, 4, "first\n"))
    line(Progress(4, 4, "last"))
    line.close()
    line.close()
    empty, first, last = terminal.getvalue().split("\r")
    assert empty == ""
    assert first == "[########......................]  25%  1 of 4  first\\n\x1b[K"
    assert last == "[" + 30 * "#" + "] 100%  4 of 4  last\x1b[K\n"


def test_a_bar_is_never_wider_than_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal()
    ProgressLine(terminal)(Progress(1, 4, "a long message " * 5))
    assert len(terminal.getvalue()) == len("\r") + 39 + len("\x1b[K")


def test_elsewhere_progress_is_a_line_every_five_seconds():
    now = [0.0]
    stream = io.StringIO()
    line = ProgressLine(stream, clock=lambda: now[0])
    for now[0] in (0.0, 1.0, 4.9, 5.0, 6.0):
        line(Progress(now[0], None, "stirring"))
    line.close()
    assert stream.getvalue() == "0  stirring\n5  stirring\n"


# errors and exit codes


def test_a_refusal_is_told_readably_with_exit_code_1(call, unit):
    unit.on("/jobs/run/job_name/stirring", (409, refusal(409, "stirring is already running.", "Job 3 started.")))
    result = call("jobs", "run", "stirring")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: stirring is already running.\ncause: Job 3 started.\nwhat to do: Do this.\n"


def test_a_cause_that_repeats_the_error_is_left_out(call, unit):
    unit.on("/task_results/t9", (404, refusal(404, "No task t9.")))
    assert call("tasks", "wait", "t9").stderr == "error: No task t9.\nwhat to do: Do this.\n"


def test_with_json_a_refusal_is_the_api_s_error_object(call, unit):
    body = refusal(404, "pumping is not running.")
    unit.on("/jobs/settings/job_name/pumping", (404, body))
    result = call("settings", "pumping", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == body
    assert result.stderr.startswith("error: pumping is not running.\n")


@pytest.mark.parametrize("words", [[], ["--json"]], ids=["text", "json"])
def test_a_unit_that_is_not_there_is_exit_code_3_and_nothing_on_stdout(words):
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        result = CliRunner().invoke(cli, ["--url", url, "jobs", "list", *words])
    assert (result.exit_code, result.stdout) == (3, "")
    assert f"No unit answers at {url}." in result.stderr
    assert "what to do: Is the unit running? Start it with `reactor-unit serve`" in result.stderr


@pytest.mark.parametrize(
    "words",
    [["--url", "URL", "jobs", "list"], ["jobs", "--url", "URL", "list"], ["jobs", "list", "--url", "URL"]],
    ids=["first", "middle", "last"],
)
def test_url_may_stand_anywhere_and_wins_over_the_environment(unit, words):
    unit.on("/jobs/running", [])
    words = [unit.url if word == "URL" else word for word in words]
    result = CliRunner().invoke(cli, words, env={"REACTOR_UNIT_URL": "http://127.0.0.1:1"})
    assert (result.exit_code, result.stdout) == (0, "No job is running.\n")


def test_a_proxy_of_the_environment_is_not_used(call, unit, monkeypatch):
    unit.on("/jobs/running", [])
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert call("jobs", "list").exit_code == 0


def test_a_url_that_cannot_be_one_is_a_usage_error():
    result = CliRunner().invoke(cli, ["jobs", "list", "--url", "ftp://pio01"])
    assert result.exit_code == 2
    assert "ftp://pio01" in result.stderr


def test_help_lists_every_command_and_the_exit_codes():
    stdout = CliRunner().invoke(cli, ["--help"]).stdout
    for name in ("serve", "safe", "jobs", "settings", "status", "tasks", "readings"):
        assert re.search(rf"^  {name}  +\S", stdout, re.MULTILINE), name
    for code in (0, 1, 2, 3, 130):
        assert re.search(rf"^ +{code}  +\S", stdout, re.MULTILINE), code


def groups(words=()):
    """Yield the words of every group of commands, with the listing that its help has."""
    listing = CliRunner().invoke(cli, [*words, "--help"]).stdout.partition("\nCommands:\n")[2]
    if listing:
        yield words, listing.partition("\n\n")[0]
    for name in re.findall(r"^  ([a-z-]+)  ", listing, re.MULTILINE):
        if name not in ("serve", "safe", "fleet"):
            yield from groups((*words, name))


def test_no_listing_cuts_off_what_a_command_does():
    found = dict(groups())
    assert ("simulate", "person") in found
    for words, listing in found.items():
        assert "..." not in listing, words


def test_run_returns_the_exit_code(unit, capsys):
    unit.on("/jobs/running", [])
    assert run(["--url", unit.url, "jobs", "list"]) == 0
    assert run(["--url", unit.url, "settings", "pumping"]) == 1
    assert run(["jobs", "fly"]) == 2
    assert "fly" in capsys.readouterr().err


# the entry point


def python(*words, **more):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=30, check=False, **more)


def test_the_entry_point_imports_neither_click_nor_httpx():
    code = (
        "import sys, reactor_unit.__main__ as entry; code = entry.main(['--version']);"
        "print(code, sorted({'click', 'httpx', 'argparse', 'reactor_unit.cli'} & set(sys.modules)))"
    )
    assert python("-c", code).stdout == f"reactor-unit {__version__}\n0 []\n"


SERVE_CODE = """
import sys, types
fake = types.ModuleType("reactor_unit.serve_command")
fake.main = lambda argv: print(argv) or 7
sys.modules["reactor_unit.serve_command"] = fake
from reactor_unit.__main__ import main
print(main(sys.argv[1:]), sorted({"click", "httpx"} & set(sys.modules)))
"""


@pytest.mark.parametrize("word", ["serve", "safe"])
def test_a_serving_word_goes_to_serve_without_click_and_httpx(word):
    done = python("-c", SERVE_CODE, word, "--port", "0", "--help")
    assert done.stdout == f"['{word}', '--port', '0', '--help']\n7 []\n"


def test_ctrl_c_in_a_serving_word_ends_with_130(monkeypatch):
    def interrupted(_argv):
        raise KeyboardInterrupt

    serve = types.ModuleType("reactor_unit.serve_command")
    serve.main = interrupted
    monkeypatch.setitem(sys.modules, "reactor_unit.serve_command", serve)
    assert __main__.main(["serve"]) == 130


@pytest.mark.parametrize("word", ["serve", "safe"])
def test_a_serving_word_behind_options_starts_over_as_a_process_without_click(monkeypatch, word):
    started = []

    def execv(path, words):
        started.append((path, words))
        raise SystemExit(0)  # as a process that is replaced, it does not come back

    monkeypatch.setattr(os, "execv", execv)
    CliRunner().invoke(cli, ["--json", word, "--port", "0", "--help"])
    assert started == [(sys.executable, [sys.executable, "-m", "reactor_unit", word, "--port", "0", "--help"])]


def test_version_is_the_same_from_click():
    assert CliRunner().invoke(cli, ["--version"]).stdout == f"reactor-unit {__version__}\n"


def test_main_hands_other_words_to_the_command_line(unit, capsys):
    unit.on("/jobs/running", [])
    assert __main__.main(["jobs", "list", "--url", unit.url]) == 0
    assert capsys.readouterr().out == "No job is running.\n"


def test_ctrl_c_while_waiting_ends_with_130_and_says_that_the_task_goes_on(unit):
    unit.on("/task_results/t1", (202, record("pending")))
    words = [sys.executable, "-m", "reactor_unit", "tasks", "wait", "t1", "--url", unit.url]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert unit.was_asked.wait(DEADLINE_S)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert stdout == ""
    assert "Task t1 goes on" in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize("words", [["jobs", "list"], ["--help"], ["--version"]], ids=["list", "help", "version"])
def test_a_reader_that_went_away_ends_the_command_quietly(unit, words):
    unit.on("/jobs/running", [STIRRING])
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "reactor_unit", *words],
        env={**os.environ, "REACTOR_UNIT_URL": unit.url},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 1


CHECKED = {
    "ok": True,
    "findings": [
        {"name": "i2c", "status": "ok", "what": "All answer.", "remedy": ""},
        {"name": "pump_media", "status": "skipped", "what": "It ran.", "remedy": "Look into its beaker."},
    ],
}


def unused_url():
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def checks_itself(unit):
    unit.on("/hardware/check", (202, ACCEPTED))
    unit.on("/task_results/t1", (202, record("pending")), record("complete", result=CHECKED))
    return unit


def test_doctor_has_the_unit_check_itself(checks_itself, call):
    result = call("doctor", "--model", "pioreactor_20ml", "1.5")
    assert result.exit_code == 0, result.output
    assert checks_itself.bodies("/hardware/check") == [{"model_name": "pioreactor_20ml", "model_version": "1.5"}]
    assert result.stdout.splitlines() == [
        "check       result   what was found, and what to do",
        "i2c         ok       All answer.",
        "pump_media  skipped  It ran.",
        "                     -> Look into its beaker.",
    ]


def test_doctor_prints_json_and_its_exit_code_tells_of_failures(checks_itself, call):
    failed = {**CHECKED, "ok": False, "findings": [{**CHECKED["findings"][0], "status": "fail"}]}
    checks_itself.on("/task_results/t1", record("complete", result=failed))
    result = call("doctor", "--json")
    assert json.loads(result.stdout) == failed
    assert result.exit_code == 1
    assert "FAIL" in call("doctor").stdout


def test_doctor_asks_a_person_what_the_pumps_moved(checks_itself, call, monkeypatch):
    monkeypatch.setattr("reactor_unit.doctor_command._is_asked_by_a_person", lambda: True)
    answers = iter(["0.0"])
    monkeypatch.setattr("click.prompt", lambda *_args, **_kwargs: next(answers))
    result = call("doctor", "--pumps")
    assert checks_itself.bodies("/hardware/check") == [{"pumps": True}]
    assert "The media pump moved 0.00 ml in 1 s: it is blocked" in " ".join(result.stdout.split())
    assert result.exit_code == 1


def test_doctor_that_names_a_unit_does_not_check_another_reactor(monkeypatch):
    monkeypatch.setattr(
        "reactor_unit.doctor_command._checked_here", lambda *_: pytest.fail("this machine's was checked")
    )
    result = CliRunner().invoke(cli, ["--url", unused_url(), "doctor"])
    assert result.exit_code == 3


def test_doctor_checks_this_machine_when_no_unit_serves_at_the_usual_url(monkeypatch):
    url = unused_url()
    monkeypatch.setattr("reactor_unit.doctor_command.DEFAULT_URL", url)
    monkeypatch.setattr(
        "reactor_unit.doctor_command._checked_here", lambda *words: {**CHECKED, "findings": CHECKED["findings"][:1]}
    )
    result = CliRunner().invoke(cli, ["--url", url, "doctor"])
    assert result.exit_code == 0, result.output
    assert "All answer." in result.stdout


LATCHED = {
    "id": "3",
    "kind": "heater_stuck_on",
    "message": "The heater is stuck on.",
    "cause": "It rose.",
    "remediation": "Switch the power off.",
    "jobs": ["temperature_automation"],
    "job_name": "monitor",
    "experiment": "$experiment",
    "at": "2026-01-31T12:45:00.000Z",
}


@pytest.mark.parametrize("words", [("faults",), ("faults", "list")], ids=" ".join)
def test_latched_faults_are_shown_with_what_to_do(call, unit, words):
    unit.on("/faults", {"faults": [LATCHED]})
    said = call(*words)
    assert said.exit_code == 0
    for text in ("3 (heater_stuck_on)", "The heater is stuck on.", "monitor", "Switch the power off."):
        assert text in said.stdout
    assert json.loads(call(*words, "--json").stdout) == {"faults": [LATCHED]}


def test_no_latched_fault_is_said(call, unit):
    unit.on("/faults", {"faults": []})
    assert call("faults").stdout == "No fault is latched.\n"


def test_a_fault_is_cleared_by_its_number(call, unit):
    unit.on("/faults/3", {"cleared": LATCHED})
    assert call("faults", "clear", "3").stdout == "Fault 3 (heater_stuck_on) is cleared.\n"
    assert unit.requests[-1][:2] == ("DELETE", "/faults/3")
    refused = call("faults", "clear", "4")
    assert refused.exit_code == 1
    assert "error" in refused.stderr


# system


DRY = {"action": "reboot", "reason": "r", "command": ["systemctl", "reboot"], "dry": True, "not_stopped": []}
REAL = {**DRY, "dry": False, "exit_code": 0, "output": "as you wish"}


@pytest.fixture
def machine(unit):
    unit.on("/health", HEALTH)
    unit.on("/jobs/running", [STIRRING])
    for path in ("/system/reboot", "/system/shutdown", "/system/utc_clock", "/system/web_server/restart"):
        unit.on(path, (202, ACCEPTED))
    unit.on("/task_results/t1", record("complete", result=REAL))
    return unit


@pytest.mark.parametrize(("word", "path"), [("reboot", "/system/reboot"), ("shutdown", "/system/shutdown")])
def test_power_is_confirmed_with_the_units_name_and_jobs(call, machine, word, path):
    refused = call("system", word)
    assert refused.exit_code == 1
    assert machine.bodies(path) == []
    assert "pio01" in refused.stderr
    assert "running jobs: stirring?" in refused.stderr
    done = call("system", word, "--yes")
    assert done.exit_code == 0, done.output
    assert machine.bodies(path) == [{}]
    assert "systemctl reboot: exit code 0\nas you wish" in done.stdout


def test_a_dry_unit_says_what_it_did_not_run(call, machine):
    machine.on("/task_results/t1", record("complete", result=DRY))
    result = call("system", "reboot", "--yes")
    assert result.stdout == "Not run, since this unit's system commands are dry: systemctl reboot\n"


def test_a_command_that_failed_is_told_with_its_cause(call, machine):
    machine.on("/task_results/t1", (500, record("failed", **refusal(500, "It failed.", "Access denied"))))
    result = call("system", "shutdown", "--yes")
    assert result.exit_code == 1
    assert "Access denied" in result.stderr


def test_a_machine_that_went_down_at_once_has_done_what_it_should(machine):
    from reactor_unit import system_command
    from reactor_unit.client import UnitUnreachable
    from reactor_unit.unit_target import Target

    class Gone:
        url = "http://pio01"

        def finished_task(self, *_args):
            raise UnitUnreachable("No unit answers.", remediation="Start it.")

    system_command._depart(Target(), Gone(), ACCEPTED, "It goes.")  # raises nothing


def test_the_clock_is_shown_with_its_distance_and_set_to_this_computers(call, machine):
    machine.on("/system/utc_clock", {"status": "success", "clock_time": "2020-01-31T12:45:00.000Z"})
    shown = call("system", "clock", "show")
    assert "2020-01-31T12:45:00.000Z" in shown.stdout
    assert re.search(r"ahead +-\d+\.\d{3} s", shown.stdout)
    machine.on("/system/utc_clock", (202, ACCEPTED))
    assert call("system", "clock", "set", "2026-01-31T12:45:00Z", "--yes").exit_code == 0
    assert call("system", "clock", "set", "--yes").exit_code == 0
    given, own = (body["utc_clock_time"] for body in machine.bodies("/system/utc_clock") if body)
    assert given == "2026-01-31T12:45:00Z"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", own)


def test_the_web_server_is_looked_at_and_restarted(call, machine):
    machine.on("/system/web_server/status", {"service": "web", "state": "ready", "raw_status": "web=active"})
    assert "ready" in call("system", "web-server", "status").stdout
    machine.on("/task_results/t1", record("complete", result={"pid": 8, "previous_pid": 7}))
    assert call("system", "web-server", "restart").stdout == "Process 8 serves in the place of 7.\n"
    machine.on("/system/web_server/restart", (202, {"status": "in_progress", "lock": "web-restart-lock"}))
    busy = call("system", "web-server", "restart")
    assert (busy.exit_code, "web-restart-lock" in busy.stderr) == (1, True)


# token


@pytest.fixture
def token_call(tmp_path):
    def invoke(*words):
        environ = {"REACTOR_UNIT_TOKEN_FILE": str(tmp_path / "token"), "DOT_PIOREACTOR": str(tmp_path / "dot")}
        return CliRunner().invoke(cli, ["token", *words], env=environ, prog_name="reactor-unit")

    return invoke


def test_a_token_is_made_once_shown_once_and_revoked(token_call, tmp_path):
    path = tmp_path / "token"
    assert token_call("path").stdout == f"{path}\n"
    made = token_call("create")
    assert made.exit_code == 0
    assert made.stdout.strip() == path.read_text().strip()
    again = token_call("create")
    assert (again.exit_code, "--replace" in again.stderr) == (1, True)
    replaced = json.loads(token_call("create", "--replace", "--json").stdout)
    assert replaced == {"token": path.read_text().strip(), "path": str(path)}
    assert token_call("revoke").exit_code == 0
    assert not path.exists()
    assert token_call("revoke").exit_code == 1


def test_a_token_in_the_data_folder_is_refused(token_call, tmp_path):
    (tmp_path / "dot").mkdir()
    result = token_call("create", "--dot", str(tmp_path))
    assert (result.exit_code, "data folder" in result.stderr) == (1, True)
    assert not (tmp_path / "token").exists()


VIAL = {
    "current_volume_ml": 14.25,
    "max_working_volume_ml": 14.0,
    "maximum_volume_ml": 18.0,
    "alt_media_fraction": 0.125,
    "in_flight": [{"pump": "media", "at_most_ml": 0.5}],
    "experiment": "E1",
    "media_throughput": 1.0,
    "alt_media_throughput": 0.0,
}


def test_the_vial_is_shown(call, unit):
    unit.on("/vial", VIAL)
    said = call("vial").stdout
    for text in ("14.25 ml at most", "18 ml", "12.5 %", "media (up to 0.5 ml)"):
        assert text in said
    assert json.loads(call("vial", "--json").stdout) == VIAL
    unit.on("/vial", {**VIAL, "maximum_volume_ml": None})
    assert "unknown" in call("vial").stdout


def test_what_is_in_the_vial_is_said_in_one_request(call, unit):
    unit.on("/vial", VIAL)
    assert "14.25 ml" in call("vial", "set", "--current-volume-ml", "14.25").stdout
    method, path, body = unit.requests[-1][:3]
    assert (method, path) == ("PUT", "/vial")
    assert body == {"current_volume_ml": 14.25}
    assert call("vial", "set").exit_code == 2
