"""The web server itself: a real waitress on a loopback port, spoken to with raw bytes."""

import http.client
import io
import json
import logging
import math
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress

import pytest
from harness import DEADLINE_S, wait_for

from reactor_unit import web_server
from reactor_unit.resources.response_schemas import ErrorAnswer
from reactor_unit.strict_json import MAX_BODY_BYTES
from reactor_unit.web_server import MAX_HEADER_BYTES, make_server


class App:
    """A WSGI application that echoes the request; `/slow` answers once `go` is set."""

    def __init__(self):
        self.go = threading.Event()
        self.entered = threading.Event()
        self.seen = []

    def __call__(self, environ, start_response):
        path, body = environ["PATH_INFO"], environ["wsgi.input"].read()
        self.seen.append((environ["REQUEST_METHOD"], path, body))
        if path == "/slow":
            self.entered.set()
            assert self.go.wait(2 * DEADLINE_S)  # longer than anybody waits here for an answer
        if path == "/crash":
            raise ZeroDivisionError("secret")
        if path == "/endless":
            start_response("200 OK", [("Content-Type", "application/zip")])
            return []
        answer = json.dumps({"path": path, "size": len(body)}).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer]


class Running:
    def __init__(self, server, app, port, thread):
        self.server, self.app, self.port, self.thread = server, app, port, thread

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)

    def channels(self):
        return list(self.server.active_channels.values())

    def channel_of(self, client):
        return next(channel for channel in self.channels() if channel.addr == client.getsockname())

    def wait_until_noted(self, client):
        """Wait for the thread that answered: it notes when that was, after the client may have read the answer."""
        wait_for(lambda: 0.0 < self.channel_of(client)._answered_at < math.inf)

    def raw(self, *parts, end=False):
        """Send `parts`, read until the server closes, and return the answers' bytes."""
        with self.connect() as client:
            for part in parts:
                client.sendall(part)
            if end:
                client.shutdown(socket.SHUT_WR)
            return read_all(client)

    def get(self, path="/x", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, body


def read_all(client):
    chunks = []
    while chunk := client.recv(65536):
        chunks.append(chunk)
    return b"".join(chunks)


def read_answer(client):
    """Read one answer from a connection that stays open; head and body may come apart."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    size = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
    while len(body) < size:
        body += client.recv(65536)
    return head + b"\r\n\r\n" + body


@contextmanager
def serving(**settings):
    listener = socket.create_server(("127.0.0.1", 0))
    app = App()
    server = make_server(app, listener, **settings)
    thread = threading.Thread(target=server.run)
    port = listener.getsockname()[1]
    thread.start()
    try:
        yield Running(server, app, port, thread)
    finally:
        app.go.set()
        server.stop()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


@pytest.fixture
def unit():
    with serving() as running:
        yield running


def refused(raw, status):
    """Check that `raw` is one refusal in the contract's schema after which the connection ended; return its texts."""
    rest = raw.partition(b"\r\n\r\n")[2]
    response = http.client.HTTPResponse(type("Raw", (), {"makefile": lambda self, mode: io.BytesIO(raw)})())
    response.begin()
    body = response.read()
    assert response.status == status, raw
    assert response.headers["content-type"] == "application/json"
    assert response.headers["connection"] == "close"
    assert response.headers["server"] == "reactor-unit"
    assert len(rest) == int(response.headers["content-length"])
    answer = json.loads(body)
    assert ErrorAnswer().validate(answer) == {}
    assert answer["error_info"]["status"] == status
    return answer["error"] + answer["error_info"]["cause"]


HOST = b"Host: unit\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"rubbish\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"get /x HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nBad Header: x\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nA: b\nC: d\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\n folded: first\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nContent-Length: abc\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nContent-Length: 2, 2\r\n\r\n{}", 400),
        (b"POST /x HTTP/1.1\r\nContent-Length: " + b"1" * 5000 + b"\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}xx", 400),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST /x HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), 413),
        (b"GET /x HTTP/1.1\r\nA: " + b"a" * MAX_HEADER_BYTES + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * MAX_HEADER_BYTES + b" HTTP/1.1\r\n\r\n", 431),
    ],
    ids=lambda value: None if isinstance(value, int) else repr(value[:44]),
)
def test_what_never_reaches_the_application_is_refused_in_the_contracts_schema(unit, request_bytes, status):
    refused(unit.raw(request_bytes), status)
    assert unit.app.seen == []


def test_a_crash_of_the_application_is_told_without_its_traceback(unit, caplog):
    text = refused(unit.raw(b"GET /crash HTTP/1.1\r\n\r\n"), 500)
    assert "secret" not in text
    assert "ZeroDivisionError" in caplog.text  # the log has it


def test_the_refusal_of_a_head_request_has_no_body(unit):
    raw = unit.raw(b"HEAD /x HTTP/1.1\r\nContent-Length: abc\r\n\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert body == b""


def test_a_head_request_has_the_length_and_not_the_body(unit):
    raw = unit.raw(b"HEAD /x HTTP/1.1\r\nConnection: close\r\n\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"Content-Length: 25" in head
    assert body == b""


def test_a_head_request_for_what_has_no_length_beforehand_has_no_body_either(unit):
    raw = unit.raw(b"HEAD /endless HTTP/1.1\r\n\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"Content-Length" not in head
    assert body == b""


def chunks(total, size=65536):
    for start in range(0, total, size):
        data = b" " * min(size, total - start)
        yield b"%x\r\n%s\r\n" % (len(data), data)


def test_a_chunked_body_is_read(unit):
    head = b"POST /x HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw = unit.raw(head, *chunks(200_000), b"0\r\n\r\n")
    assert b'"size": 200000' in raw


def test_a_body_of_exactly_the_limit_is_read(unit):
    head = b"POST /x HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % MAX_BODY_BYTES
    assert b'"size": %d' % MAX_BODY_BYTES in unit.raw(head, b" " * MAX_BODY_BYTES)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n", list(chunks(8 * MAX_BODY_BYTES))),
        (b"Content-Length: %d\r\n\r\n" % (8 * MAX_BODY_BYTES), [b" " * 65536] * 128),
    ],
    ids=["chunked", "plain"],
)
def test_a_client_that_sends_all_before_it_reads_still_gets_the_refusal(unit, head, body):
    """Closing a socket that has unread data resets the connection, and the answer is lost."""
    refused(unit.raw(b"POST /x HTTP/1.1\r\n" + head, *body, end=True), 413)
    assert unit.app.seen == []


@pytest.mark.parametrize("length", [b"100", b"1000000"])
def test_a_body_that_ends_too_early_is_refused(unit, length):
    text = refused(unit.raw(b"POST /x HTTP/1.1\r\nContent-Length: " + length + b"\r\n\r\n{}", end=True), 400)
    assert "ended" in text
    assert unit.app.seen == []


def test_headers_that_end_too_early_are_refused(unit):
    refused(unit.raw(b"GET /x HTTP/1.1\r\nHost:", end=True), 400)


def test_more_body_than_declared_is_the_next_request(unit):
    raw = unit.raw(b'POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}{"more": 1}\r\n\r\n')
    first, second = raw.split(b"HTTP/1.")[1:]
    assert first.startswith(b"1 200")
    assert b"400 Bad Request" in second
    assert unit.app.seen == [("POST", "/x", b"{}")]


class TestContinue:
    def test_a_body_that_will_be_read_is_called_for(self, unit):
        with unit.connect() as client:
            client.sendall(
                b"POST /x HTTP/1.1\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
            )
            assert client.recv(100).startswith(b"HTTP/1.1 100 ")
            client.sendall(b"{}")
            assert b'"size": 2' in read_all(client)

    def test_a_body_that_is_too_large_is_not_called_for(self, unit):
        head = b"POST /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9000000\r\n\r\n"
        refused(unit.raw(head, end=True), 413)

    def test_no_body_is_not_waited_for(self, unit):
        raw = unit.raw(b"GET /x HTTP/1.1\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n")
        assert raw.startswith(b"HTTP/1.1 200 ")


def test_a_connection_serves_many_requests(unit):
    connection = http.client.HTTPConnection("127.0.0.1", unit.port, timeout=DEADLINE_S)
    connection.connect()
    first = connection.sock
    for _ in range(20):
        connection.request("POST", "/x", body=b"{}")
        assert connection.getresponse().read() == b'{"path": "/x", "size": 2}'
    assert connection.sock is first
    connection.close()


FOR_EVER = {"idle_timeout_s": 2 * DEADLINE_S, "request_timeout_s": 2 * DEADLINE_S}
HALF_OPEN = [b"", b"GET /x HTTP/1.1\r\nHost:", b"POST /x HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"]


@pytest.mark.parametrize("begun", HALF_OPEN, ids=["silent", "headers", "body"])
def test_two_hundred_half_open_connections_stop_nobody(unit, begun):
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(unit.connect()).sendall(begun)
        wait_for(lambda: len(unit.channels()) >= 200)
        for _ in range(10):
            assert unit.get()[0] == 200


@pytest.mark.parametrize("begun", HALF_OPEN, ids=["silent", "headers", "body"])
def test_silent_connections_make_room_when_the_server_is_full(begun, monkeypatch, caplog):
    monkeypatch.setattr(web_server, "PATIENCE_WHEN_FULL_S", 0.2)
    with serving(connection_limit=12) as unit, ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(unit.connect()).sendall(begun)
        assert unit.get()[0] == 200
    assert caplog.text.count("to make room") == 1  # and the log is not flooded


def test_a_request_under_way_is_not_ended_for_being_slow():
    with serving(idle_timeout_s=0.2) as unit, unit.connect() as client, unit.connect() as silent:
        client.sendall(b"GET /slow HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert unit.app.entered.wait(DEADLINE_S)
        assert silent.recv(1) == b""  # by now the time-out has passed
        unit.app.go.set()
        assert read_all(client).startswith(b"HTTP/1.1 200 ")


def test_a_request_that_stops_midway_is_told_so():
    with serving(idle_timeout_s=0.2) as unit:
        assert "in time" in refused(unit.raw(b"POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"), 408)


BODY_BEGUN = b"POST /x HTTP/1.1\r\nContent-Length: 1000\r\n\r\n{"


@contextmanager
def trickling(*clients, interval_s=0.05):
    """Send a byte on each of `clients` again and again."""
    ended = threading.Event()

    def trickle():
        while not ended.wait(interval_s):
            for client in clients:
                with suppress(OSError):
                    client.send(b"a")

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("begun", [b"GET /x HTTP/1.1\r\nX: ", BODY_BEGUN], ids=["headers", "body"])
def test_a_request_that_trickles_has_a_deadline(begun):
    with serving(request_timeout_s=0.5) as unit, unit.connect() as client:
        client.sendall(begun)
        with trickling(client):
            assert "after 0.5 s" in refused(read_all(client), 408)


def test_line_ends_before_a_request_have_a_deadline_too():
    with serving(request_timeout_s=0.5) as unit, unit.connect() as client, suppress(OSError):
        for _ in range(300):
            client.sendall(b"\n")
            time.sleep(0.1)
        pytest.fail("the connection is still open")


def test_a_request_that_waits_for_the_answer_before_it_is_not_late():
    with serving(request_timeout_s=2.0) as unit, unit.connect() as client:
        client.sendall(b"GET /slow HTTP/1.1\r\n\r\nGET /x HTTP/1.1\r\n")
        assert unit.app.entered.wait(DEADLINE_S)
        time.sleep(3.2)  # longer than the deadline
        unit.app.go.set()
        assert b"/slow" in read_answer(client)
        client.sendall(b"\r\n")
        assert b"/x" in read_answer(client)


@pytest.mark.parametrize("begun", [b"GET /x HTTP/1.1\r\nX: ", BODY_BEGUN], ids=["headers", "body"])
def test_trickling_clients_make_room_when_the_server_is_full(begun, monkeypatch):
    monkeypatch.setattr(web_server, "PATIENCE_WHEN_FULL_S", 0.5)
    with serving(connection_limit=34, **FOR_EVER) as unit, ExitStack() as stack:
        clients = [stack.enter_context(unit.connect()) for _ in range(40)]
        for client in clients:
            client.sendall(begun)
        stack.enter_context(trickling(*clients))
        for _ in range(3):
            assert unit.get()[0] == 200


def test_the_oldest_request_goes_first_and_is_told_why(monkeypatch):
    monkeypatch.setattr(web_server, "PATIENCE_WHEN_FULL_S", 3.0)
    with serving(connection_limit=6, **FOR_EVER) as unit, ExitStack() as stack:

        def begin(number):
            client = stack.enter_context(unit.connect())
            client.sendall(BODY_BEGUN)
            wait_for(lambda: sum(channel.is_midway() for channel in unit.channels()) == number)
            return client

        oldest = begin(1)
        time.sleep(2.5)  # nearly all of the patience, so that the others have theirs left when it goes
        others = [begin(number) for number in (2, 3, 4)]
        stack.enter_context(trickling(*others))
        assert unit.get()[0] == 200
        assert "4 connections" in refused(read_all(oldest), 408)
        assert select.select(others, [], [], 0)[0] == []


def test_clients_that_poll_on_kept_connections_make_room_at_once(monkeypatch):
    monkeypatch.setattr(web_server, "PATIENCE_WHEN_FULL_S", 2 * DEADLINE_S)
    ended = threading.Event()

    def poll(client):
        while not ended.wait(0.5):
            with suppress(OSError):
                client.sendall(b"GET /x HTTP/1.1\r\n\r\n")
                client.recv(65536)

    with serving(**FOR_EVER) as unit, ExitStack() as stack:
        clients = [stack.enter_context(unit.connect()) for _ in range(260)]
        threads = [threading.Thread(target=poll, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        try:
            time.sleep(0.6)  # all of them poll
            for _ in range(5):
                assert unit.get()[0] == 200
        finally:
            ended.set()
            for thread in threads:
                thread.join()


def test_of_idle_connections_the_least_active_goes_first_and_a_request_under_way_stays():
    with serving(connection_limit=6) as unit, ExitStack() as stack:
        busy, idle, active = (stack.enter_context(unit.connect()) for _ in range(3))
        busy.sendall(b"GET /slow HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert unit.app.entered.wait(DEADLINE_S)
        for client in (active, idle, active):
            client.sendall(b"GET /x HTTP/1.1\r\n\r\n")
            read_answer(client)
            unit.wait_until_noted(client)
        assert unit.channel_of(idle).last_activity < unit.channel_of(active).last_activity

        last = stack.enter_context(unit.connect())  # the one that makes it full, and stays
        last.sendall(b"GET /x HTTP/1.1\r\n\r\n")
        assert b"/x" in read_answer(last)
        wait_for(lambda: select.select([idle], [], [], 0.1)[0], "a closed idle connection")
        assert idle.recv(1) == b""
        active.sendall(b"GET /x HTTP/1.1\r\n\r\n")
        assert b"/x" in read_answer(active)
        unit.app.go.set()
        assert b"/slow" in read_all(busy)


def limited_to(descriptors, then):
    """Run `then` in a process with a server that may have so many files open; return its words and its log."""
    program = f"""
import logging, os, resource, socket, threading, time
from reactor_unit.web_server import make_server
logging.basicConfig()
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, ({descriptors}, hard))
def app(environ, start):
    start("200 OK", [("Content-Length", "2")])
    return [b"ok"]
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
connect = lambda: socket.create_connection(("127.0.0.1", port))
server = make_server(app, listener)
{then}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


@pytest.mark.parametrize(("descriptors", "limit"), [(1024, 256), (128, 88), (32, 8)])
def test_the_connection_limit_fits_what_the_process_may_open(descriptors, limit):
    assert limited_to(descriptors, "print(server.adj.connection_limit)")[0] == [str(limit)]


def test_a_lack_of_descriptors_does_not_make_the_loop_spin():
    """The listener stays readable while accept() fails."""
    words, log = limited_to(
        256,
        """
client = connect()
resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))  # nothing more
threading.Thread(target=server.run, daemon=True).start()
began = time.process_time()
time.sleep(1.2)
print(time.process_time() - began < 0.3)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
client.settimeout(30)
client.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
print(client.recv(100)[9:12].decode())
server.stop()
""",
    )
    assert words == ["True", "200"]
    assert log.count("No connection can be accepted: Too many open files.") == 1


@pytest.mark.parametrize("step_s", [-1e6, 1e6], ids=["back", "forward"])
def test_idle_time_is_not_counted_by_the_wall_clock(monkeypatch, step_s):
    """Set back, waitress's own clock would keep silent connections for days; set forward, end them at once."""
    real = time.time
    with serving(idle_timeout_s=3.0) as unit, unit.connect() as silent, unit.connect() as other:
        other.sendall(b"GET /x HTTP/1.1\r\n\r\n")
        assert read_answer(other)
        monkeypatch.setattr(time, "time", lambda: real() + step_s)
        stepped_at = time.monotonic()
        assert silent.recv(1) == b""
        assert time.monotonic() - stepped_at > 1.0


def test_an_unused_server_sleeps_long_and_a_used_one_looks_after_its_connections(monkeypatch):
    waited = []
    real_poll = web_server.wasyncore.poll2

    def recording_poll(timeout, channels):
        waited.append((timeout, len(channels) - 2))  # without the listener and the trigger
        real_poll(timeout, channels)

    monkeypatch.setattr(web_server.wasyncore, "poll2", recording_poll)
    with serving() as unit:
        with unit.connect() as client:
            client.sendall(b"GET /x HTTP/1.1\r\n\r\n")
            assert read_answer(client)
        wait_for(lambda: waited[-1] == (web_server.IDLE_LOOP_S, 0))
        looped = len(waited)
        time.sleep(0.3)  # nothing to wait for: the point is that nothing happens
        assert len(waited) == looped
        assert {timeout for timeout, connections in waited if connections > 0} == {web_server.BUSY_LOOP_S}


class TestStop:
    def test_an_idle_server_ends_at_once(self):
        with serving(stop_grace_s=2 * DEADLINE_S) as unit:
            unit.server.stop()
            unit.thread.join(DEADLINE_S)
            assert not unit.thread.is_alive()
            unit.server.stop()  # twice is once

    def test_idle_connections_are_closed_and_answers_finished(self, unit):
        with unit.connect() as idle, unit.connect() as busy:
            idle.sendall(b"GET /x HTTP/1.1\r\n\r\n")
            assert read_answer(idle)
            busy.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
            assert unit.app.entered.wait(DEADLINE_S)
            unit.server.stop()
            assert idle.recv(1) == b""
            unit.app.go.set()
            answer = read_all(busy)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"Connection: close" in answer
            unit.thread.join(DEADLINE_S)

    def test_an_answer_that_takes_too_long_is_not_waited_for(self, caplog):
        with serving(stop_grace_s=0.2) as unit, unit.connect() as busy:
            busy.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
            assert unit.app.entered.wait(DEADLINE_S)
            unit.server.stop()
            unit.thread.join(DEADLINE_S)
            assert not unit.thread.is_alive()
            assert busy.recv(1) == b""

    def test_half_a_request_does_not_hold_up_the_end(self):
        with serving(**FOR_EVER) as unit, unit.connect() as client:
            client.sendall(b"POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\n{")
            wait_for(lambda: any(channel.is_midway() for channel in unit.channels()))
            unit.server.stop()
            unit.thread.join(DEADLINE_S)
            assert not unit.thread.is_alive()

    def test_the_socket_goes_on_for_whoever_else_holds_it(self):
        """The supervisor keeps the socket open: clients that come meanwhile wait for the next web process."""
        with socket.create_server(("127.0.0.1", 0)) as kept:
            port = kept.getsockname()[1]
            for _ in range(2):
                app = App()
                server = make_server(app, kept.dup())
                client = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
                client.sendall(b"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n")  # before anybody accepts
                thread = threading.Thread(target=server.run)
                thread.start()
                assert read_all(client).startswith(b"HTTP/1.1 200 ")
                client.close()
                server.stop()
                thread.join(DEADLINE_S)
                socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S).close()

    def test_a_signal_handler_may_stop_it(self):
        program = """
import signal, socket, sys
from reactor_unit.web_server import make_server
listener = socket.create_server(("127.0.0.1", 0))
server = make_server(lambda environ, start: [], listener)
signal.signal(signal.SIGTERM, lambda *_: server.stop())
print("ready", flush=True)
server.run()
print("ended", flush=True)
"""
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "ended\n"
            assert process.wait(DEADLINE_S) == 0


def test_urgent_data_ends_the_connection(unit):
    """It stays readable until somebody takes it, and would keep the loop spinning."""
    with unit.connect() as client:
        client.send(b"!", socket.MSG_OOB)
        readable, _, _ = select.select([client], [], [], DEADLINE_S)
        assert readable
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""


def test_logging_is_left_to_whoever_sets_it_up(monkeypatch):
    queue = logging.getLogger("waitress.queue")
    monkeypatch.setattr(queue, "level", logging.INFO)
    with serving():
        assert queue.level == logging.INFO


def test_what_it_imports_is_little():
    program = "import sys, reactor_unit.web_server; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"falcon", "marshmallow", "diskcache", "asyncio", "http.client", "email"}.isdisjoint(modules)


class TestRetire:
    """Another process takes over the listening socket: nobody loses a request to that."""

    def test_an_idle_server_ends_at_once(self, unit):
        unit.server.retire()
        unit.thread.join(DEADLINE_S)
        assert not unit.thread.is_alive()

    def test_a_connection_that_is_kept_gets_one_more_answer_which_ends_it(self, unit):
        with unit.connect() as kept:
            kept.sendall(b"GET /x HTTP/1.1\r\n\r\n")
            assert b"Connection: close" not in read_answer(kept)
            unit.server.retire()
            wait_for(lambda: unit.server.socket.fileno() == -1)
            assert unit.thread.is_alive()
            kept.sendall(b"GET /x HTTP/1.1\r\n\r\n")
            answer = read_all(kept)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"Connection: close" in answer
        unit.thread.join(DEADLINE_S)
        assert not unit.thread.is_alive()

    def test_an_answer_takes_as_long_as_it_takes(self):
        with serving(stop_grace_s=0.1) as unit, unit.connect() as busy:
            busy.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
            assert unit.app.entered.wait(DEADLINE_S)
            unit.server.retire()
            unit.thread.join(0.5)  # longer than a server that is stopped would wait
            unit.app.go.set()
            assert read_all(busy).startswith(b"HTTP/1.1 200 ")
            unit.thread.join(DEADLINE_S)
            assert not unit.thread.is_alive()

    def test_a_silent_connection_lives_as_long_as_ever_and_no_longer(self):
        with serving(idle_timeout_s=0.3) as unit, unit.connect() as silent:
            silent.sendall(b"GET /x HTTP/1.1\r\n\r\n")
            assert read_answer(silent)
            unit.server.retire()
            assert silent.recv(1) == b""
            unit.thread.join(DEADLINE_S)
            assert not unit.thread.is_alive()

    def test_a_stop_ends_one_that_retires(self, unit):
        with unit.connect() as kept:
            kept.sendall(b"GET /x HTTP/1.1\r\n\r\n")
            assert read_answer(kept)
            unit.server.retire()
            wait_for(lambda: unit.server.socket.fileno() == -1)
            unit.server.stop()
            assert kept.recv(1) == b""
            unit.thread.join(DEADLINE_S)
            assert not unit.thread.is_alive()
