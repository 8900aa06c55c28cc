"""The poller against units that behave and servers that do not; all on loopback sockets."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import create_server

import pytest
from harness import DEADLINE_S, wait_for

from reactor_unit.client import poll, unit_watch
from reactor_unit.client.poll import Change, Poller, UnitState, poll_once
from reactor_unit.client.unit_state import JobState, changes_between, faults_of, jobs_of

FAULT = {"id": "f1", "kind": "heater_hot", "message": "It is hot.", "job_name": "temperature_automation"}


def row(name="stirring", job_id="1", **settings):
    return {"job_name": name, "job_id": job_id, "experiment": "E", "settings": settings}


class FakeUnit:
    """A unit whose jobs and faults a test sets; answers with ETags, and counts."""

    def __init__(self):
        self.jobs, self.faults, self.knows_faults, self.status = [], [], True, 200
        self.answered = []  # path and status
        self.connections = 0
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                fake.connections += 1
                super().setup()

            def do_GET(self):
                fake._answer(self)

            def log_message(self, *_args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_args: None  # a client that went away in the middle
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def _answer(self, handler):
        path = handler.path.removeprefix("/unit_api").partition("?")[0]
        bodies = {"/health": {"pioreactor_unit": "pio01"}, "/jobs/running": self.jobs}
        if self.knows_faults:
            bodies["/faults"] = {"faults": self.faults}
        status = self.status if path in bodies else 404
        body = json.dumps(bodies.get(path, {"error": "Not here."})).encode()
        etag = f'"{hash(body)}"'
        if status == 200 and handler.headers["If-None-Match"] == etag:
            status, body = 304, b""
        self.answered.append((path, status))
        handler.send_response(status)
        if path != "/health":
            handler.send_header("ETag", etag)
        if status != 304:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def unit():
    with contextlib.closing(FakeUnit()) as fake:
        yield fake


@pytest.fixture
def watch(unit):
    """A function that polls the fake unit, and others, quickly."""
    with contextlib.ExitStack() as stack:

        def begin(*urls, **options):
            given = {"every_s": 0.02, "timeout_s": 2 * DEADLINE_S, **options}
            return stack.enter_context(Poller([unit.url, *urls], **given))

        yield begin


class Bad:
    """A server that gives every connection to `serve`, in a thread, until the test ends."""

    def __init__(self, serve):
        self.connections = 0
        self._serve = serve
        self._listener = create_server(("127.0.0.1", 0))
        self._open = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._one, args=(connection,))
                self._open.append((connection, thread))
                thread.start()

    def _one(self, connection):
        with contextlib.suppress(OSError):
            self._serve(connection)

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(2)
        self._listener.close()
        self._thread.join()
        for connection, thread in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(2)
            thread.join()
            connection.close()


def says_nothing(connection):
    while connection.recv(65536):
        pass


def dribbles_headers(connection):
    for char in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000:
        connection.sendall(bytes([char]))
        time.sleep(0.01)


def dribbles_the_body(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.01)


def talks_without_end(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")


def has_headers_without_end(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X: " + b"x" * 1000 + b"\r\n")


def always_continues(connection):
    while True:
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
        time.sleep(0.001)


def speaks_no_http(connection):
    connection.sendall(b"\x00\xff\x16SSH-2.0-OpenSSH\r\n")
    says_nothing(connection)


def hangs_up(connection):
    connection.recv(65536)
    connection.shutdown(2)


def answering(body, status="200 OK", headers=b""):
    def serve(connection):
        while connection.recv(65536):
            head = b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n" % (status.encode(), headers, len(body))
            connection.sendall(head + body)

    return serve


BAD = {
    "silent": says_nothing,
    "dribbling headers": dribbles_headers,
    "dribbling body": dribbles_the_body,
    "endless body": talks_without_end,
    "endless headers": has_headers_without_end,
    "always continuing": always_continues,
    "no HTTP": speaks_no_http,
    "hanging up": hangs_up,
    "HTML": answering(b"<html>"),
    "an unexpected list": answering(b"[1]"),
    "deep JSON": answering(b"[" * 100_000),
    "compressed": answering(b"\x1f\x8b\x08\x00junk", headers=b"Content-Encoding: gzip\r\n"),
    "cookies": answering(b"[]", headers=b"Set-Cookie: a=b\r\n"),
    "a router's 502": answering(b"<html>", status="502 Bad Gateway"),
    "a redirect": answering(b"", status="301 Moved", headers=b"Location: http://127.0.0.1:1/\r\n"),
}


@pytest.fixture
def bad():
    """A function that starts a server that misbehaves."""
    with contextlib.ExitStack() as stack:
        yield lambda serve: stack.enter_context(contextlib.closing(Bad(serve)))


def collected(poller, kind, within_s=DEADLINE_S):
    """Return the next change of this kind, and what came before it."""
    seen = []
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        seen += poller.next_changes(0.1) or []
        for change in seen:
            if change.kind == kind:
                return change
    raise AssertionError(f"no {kind} in {seen}")


# One unit


def test_everything_that_is_there_at_first_is_a_change(unit, watch):
    unit.jobs, unit.faults = [row(target_rpm=400.0)], [FAULT]
    poller = watch()
    assert collected(poller, "fault_latched").after == "It is hot."
    (state,) = poller.table()
    assert (state.name, state.is_reachable, state.problem, state.failures) == ("pio01", True, None, 0)
    assert state.jobs["1"] == JobState("stirring", "1", "E", {"target_rpm": 400.0})
    assert state.faults == {"f1": FAULT}
    assert state.age_s(time.monotonic()) < 2 * DEADLINE_S


def test_changes_come_as_they_happen(unit, watch):
    unit.jobs = [row(target_rpm=400.0, same=1)]
    poller = watch()
    assert collected(poller, "job_started").after == {"target_rpm": 400.0, "same": 1}
    unit.jobs = [row(target_rpm=500.0, same=1)]
    changed = collected(poller, "setting_changed")
    assert (changed.name, changed.job_name, changed.what, changed.before, changed.after) == (
        "pio01",
        "stirring",
        "target_rpm",
        400.0,
        500.0,
    )
    unit.jobs = []
    assert collected(poller, "job_ended").job_name == "stirring"


def test_a_unit_that_does_not_change_sends_no_bodies_and_keeps_its_connection(unit, watch):
    unit.jobs = [row(target_rpm=400.0)]
    watch()
    wait_for(lambda: len(unit.answered) > 20, "some polls")
    assert unit.answered[:3] == [("/health", 200), ("/jobs/running", 200), ("/faults", 200)]
    assert {status for _path, status in unit.answered[3:]} == {304}
    assert unit.connections == 1


def test_a_unit_that_knows_no_faults_has_none(unit, watch):
    unit.knows_faults = False
    poller = watch()
    assert collected(poller, "reachable").name == "pio01"
    assert poller.table()[0].faults == {}


def test_a_unit_that_goes_keeps_what_it_last_said_and_is_stale_until_it_comes_back(unit, watch):
    unit.jobs = [row(target_rpm=400.0)]
    poller = watch(longest_pause_s=0.05)
    collected(poller, "job_started")
    unit.status = 503
    gone = collected(poller, "unreachable")
    assert "503" in gone.after
    (first,) = poller.table()
    (second,) = wait_for(lambda: [one for one in poller.table() if one.failures > 3], "more failures")
    assert second.jobs == first.jobs
    assert second.answered_at == first.answered_at
    unit.status, unit.jobs = 200, [row(target_rpm=500.0)]
    back = wait_for(lambda: poller.next_changes(0.1), "its return")
    assert [change.kind for change in back][:2] == ["reachable", "setting_changed"]
    assert poller.table()[0].failures == 0


def test_the_pause_before_a_dead_unit_doubles_up_to_its_limit_with_jitter(monkeypatch):
    monkeypatch.setattr(poll.random, "uniform", lambda low, high: low)
    with Poller([], every_s=1.0, longest_pause_s=30.0) as poller:
        pauses = [poller._next_due(90.0, 100.0, failures) - 100.0 for failures in (1, 2, 3, 4, 5, 6, 5000)]
        assert pauses == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
        assert poller._next_due(99.7, 100.0, 0) == pytest.approx(100.7)  # no drift
        assert poller._next_due(50.0, 100.0, 0) == 100.0  # nothing made up for


# Others that misbehave


@pytest.mark.parametrize("serve", BAD.values(), ids=BAD.keys())
def test_who_misbehaves_is_unreachable_in_time_and_others_go_on(unit, watch, bad, serve):
    other = bad(serve)
    unit.jobs = [row(n=0)]
    poller = watch(other.url, timeout_s=0.3, longest_pause_s=0.05)

    def seen():
        good, wrong = poller.table()
        return wrong if wrong.failures > 1 and good.is_reachable else None

    wrong = wait_for(seen, "two failures of the other one, and an answer of the good one")
    assert wrong.is_reachable is False
    assert wrong.problem
    assert wrong.jobs == {}
    before = len(unit.answered)
    wait_for(lambda: len(unit.answered) > before + 4, "further polls of the good one")


@pytest.mark.parametrize("serve", [says_nothing, dribbles_headers, dribbles_the_body], ids=lambda serve: serve.__name__)
def test_while_some_hang_another_is_asked_again_and_again(unit, watch, bad, serve):
    poller = watch(*(bad(serve).url for _ in range(30)), timeout_s=2 * DEADLINE_S)
    wait_for(lambda: len(unit.answered) > 20, "polls of the good one")
    good, *hanging = poller.table()
    assert good.is_reachable
    assert {state.is_reachable for state in hanging} == {None}


WITH_A_SILENT_NAME_SERVICE = """
import socket, sys, threading
from reactor_unit.client.poll import poll_once

def ask(host, *rest, real=socket.getaddrinfo, **more):
    if host.startswith(b"silent"):
        threading.Event().wait()
    return real("127.0.0.1", *rest, **more)

socket.getaddrinfo = ask
states = poll_once([*(f"http://silent{number}" for number in range(40)), sys.argv[1]], timeout_s=1.0)
print(states[-1].is_reachable, states[0].is_reachable, flush=True)
"""


def test_names_that_are_never_resolved_delay_neither_other_names_nor_the_end_of_the_program(unit):
    url = unit.url.replace("127.0.0.1", "pio01")
    words = [sys.executable, "-c", WITH_A_SILENT_NAME_SERVICE, url]
    said = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert said.stdout.split() == ["True", "False"], said.stderr


def test_no_connection_is_left_open_to_who_hangs(bad):
    server = bad(says_nothing)
    with Poller([server.url], every_s=0.02, timeout_s=0.05, longest_pause_s=0.02):
        wait_for(lambda: server.connections > 5, "some tries")
        wait_for(lambda: sum(thread.is_alive() for _connection, thread in server._open) <= 1, "one connection")


def test_of_an_endless_answer_a_megabyte_is_read_at_most(bad, monkeypatch):
    sent = []

    def endless(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)
            sent.append(65536)

    (state,) = poll_once([bad(endless).url], timeout_s=DEADLINE_S)
    assert "longer than" in state.problem
    assert sum(sent) < 16 * unit_watch.LARGEST_ANSWER  # what the kernel keeps comes on top


def test_cookies_are_not_collected(bad):
    def serve(connection):
        for number in range(1000):
            asked.append(connection.recv(65536))
            head = b"HTTP/1.1 200 OK\r\nSet-Cookie: c%d=1\r\nContent-Length: 2\r\n\r\n[]"
            connection.sendall(head % number if b"/jobs/" in asked[-1] else head.replace(b"[]", b"{}") % number)

    asked = []
    with Poller([bad(serve).url], every_s=0.02, longest_pause_s=0.02):
        wait_for(lambda: len(asked) > 10, "some requests")
    assert not any(b"Cookie" in request for request in asked)


# Many


def test_poll_once_asks_each_once_and_ends_with_the_slowest(unit, bad):
    unit.jobs = [row()]
    silent = bad(says_nothing)
    first, second, third = poll_once([unit.url, silent.url, "http://127.0.0.1:1"], timeout_s=2.0)
    assert (first.is_reachable, second.is_reachable, third.is_reachable) == (True, False, False)
    assert second.problem == "No answer within 2 s."
    assert first.answered_at is not None
    assert second.age_s(time.monotonic()) is None


def test_a_unit_that_is_named_twice_is_polled_once(unit, watch):
    assert len(watch(unit.url, unit.url + "/").table()) == 1


@pytest.mark.parametrize(
    ("urls", "options"),
    [(["ftp://x"], {}), ([""], {}), ([f"http://h{n}" for n in range(1001)], {}), ([], {"every_s": 0})],
    ids=["scheme", "empty", "too many", "no time"],
)
def test_what_cannot_be_polled_is_refused(urls, options):
    with pytest.raises(ValueError, match=r"URL|address|units|time"):
        Poller(urls, **options)


def test_who_reads_slowly_misses_the_oldest_changes_and_is_told(unit, watch, monkeypatch):
    monkeypatch.setattr(poll, "MOST_CHANGES", 3)
    unit.jobs = [row(str(number), str(number)) for number in range(10)]
    poller = watch()
    poller.wait_for_first_answers(DEADLINE_S)
    missed, *kept = poller.next_changes(DEADLINE_S)
    assert (missed.kind, missed.what) == ("missed", "8")
    assert [change.job_name for change in kept] == ["7", "8", "9"]


def test_closing_ends_the_iterator_the_thread_and_the_connections(unit):
    poller = Poller([unit.url], every_s=0.02)
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(poller.changes()))
    reader.start()
    wait_for(lambda: seen, "the first change")
    poller.close()
    reader.join(DEADLINE_S)
    assert not reader.is_alive()
    assert not [thread for thread in threading.enumerate() if thread.name == "poller"]
    poller.close()
    assert poller.next_changes() is None


def test_a_poller_that_breaks_says_so_to_who_reads(unit, monkeypatch):
    async def broken(_self):
        raise RuntimeError("a mistake in the program")

    monkeypatch.setattr(unit_watch.UnitWatch, "poll", broken)
    with Poller([unit.url]) as poller, pytest.raises(RuntimeError, match="The poller ended"):
        list(poller.changes())


# Values


def test_a_job_that_was_restarted_between_two_looks_ended_and_started():
    before = UnitState("u", is_reachable=True, jobs=jobs_of([row(job_id="1")]))
    after = UnitState("u", is_reachable=True, jobs=jobs_of([row(job_id="2")]))
    assert [change.kind for change in changes_between(before, after, "now")] == ["job_ended", "job_started"]


def test_a_cleared_fault_and_a_vanished_setting_are_told():
    before = UnitState("u", "n", True, jobs=jobs_of([row(a=1, b=None)]), faults={"f1": FAULT})
    after = UnitState("u", "n", True, jobs=jobs_of([row(b=None)]))
    assert list(changes_between(before, after, "now")) == [
        Change("now", "u", "n", "setting_changed", "stirring", "a", 1, None),
        Change("now", "u", "n", "fault_cleared", "temperature_automation", "heater_hot", "It is hot.", None),
    ]


@pytest.mark.parametrize("rows", [{}, [1], [{"job_id": "1"}], [{"job_name": 1}]], ids=str)
def test_what_lists_no_jobs_is_refused(rows):
    with pytest.raises(ValueError, match="jobs"):
        jobs_of(rows)


@pytest.mark.parametrize("answer", [[], {}, {"faults": [1]}, {"faults": [{"id": "f"}]}], ids=str)
def test_what_lists_no_faults_is_refused(answer):
    with pytest.raises(ValueError, match="faults"):
        faults_of(answer)


def test_a_unit_as_json_has_its_age_and_everything_it_said():
    state = UnitState("u", "n", True, jobs=jobs_of([row(a=1)]), faults={"f1": FAULT}, answered_at=10.0)
    assert state.to_json(12.5) == {
        "url": "u",
        "name": "n",
        "is_reachable": True,
        "problem": None,
        "age_s": 2.5,
        "jobs": [{"job_name": "stirring", "job_id": "1", "experiment": "E", "settings": {"a": 1}}],
        "faults": [FAULT],
    }
