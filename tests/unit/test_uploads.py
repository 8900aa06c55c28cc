"""Uploads at a real web server: decided when the headers are there, written to the disk, and gone with their client."""

import json
import select
import socket
import tempfile
import threading
from contextlib import contextmanager

import pytest
from archives import CONTENT_TYPE, form
from harness import DEADLINE_S, fill_disk, small_disk, wait_for

from reactor_unit import uploads
from reactor_unit.errors import Forbidden, InvalidRequest, NoRoom, UnitError, error_body
from reactor_unit.uploads import UPLOAD, EarlyAnswer, Upload, Uploads
from reactor_unit.web_server import make_server

MIB = 1 << 20


class Gate:
    """Lets everybody in but who says so."""

    def __init__(self):
        self.answer = None
        self.asked = []

    def look(self, environ):
        self.asked.append(environ)
        return self.answer

    def refusal(self, error):
        status = {"Forbidden": 403, "BodyTooLarge": 413, "UnsupportedContentType": 415, "RateLimited": 429}
        code = status.get(type(error).__name__, 507)
        body = json.dumps(error_body(error, code)).encode()
        return EarlyAnswer(f"{code} Refused", body, error.retry_after_s)


class App:
    """Answers with what came: the content of the part `archive`, or how large the body was."""

    def __init__(self):
        self.parts = []
        self.bodies = []

    def __call__(self, environ, start_response):
        upload = environ.get(UPLOAD)
        if upload is None:
            self.bodies.append(environ["wsgi.input"].read())
        else:
            try:
                part = upload.part("archive")
                environ["wsgi.input"].seek(part.start)
                self.parts.append(environ["wsgi.input"].read(part.length))
            except UnitError as ex:
                self.parts.append(ex)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]


class Running:
    def __init__(self, server, app, gate, folder, port):
        self.server, self.app, self.gate, self.folder, self.port = server, app, gate, folder, port

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)

    def left(self):
        return list(self.folder.iterdir()) if self.folder.exists() else []


@contextmanager
def serving(folder, max_bytes=4 * MIB, **settings):
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    app, gate = App(), Gate()
    server = make_server(app, listener, uploads=Uploads("/import", folder, max_bytes, gate), **settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield Running(server, app, gate, folder, port)
    finally:
        server.stop()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


@pytest.fixture
def unit(tmp_path):
    with serving(tmp_path / "imports") as running:
        yield running


def head(length, path="/import", content_type=CONTENT_TYPE, more=""):
    size = f"Content-Length: {length}\r\n" if length is not None else "Transfer-Encoding: chunked\r\n"
    kind = f"Content-Type: {content_type}\r\n" if content_type else ""
    return f"POST {path} HTTP/1.1\r\nHost: unit\r\n{kind}{size}{more}\r\n".encode()


def status_of(client):
    received = b""
    while b"\r\n\r\n" not in received:
        piece = client.recv(65536)
        assert piece, received
        received += piece
    return int(received.split(b" ", 2)[1])


def gone(unit):
    wait_for(lambda: not unit.left(), "an empty folder")


def test_an_upload_larger_than_other_bodies_comes_whole_and_leaves_nothing(unit):
    content = bytes(range(256)) * (3 * MIB // 256)
    body = form(content)
    with unit.connect() as client:
        client.sendall(head(len(body)) + body)
        assert status_of(client) == 200
    assert unit.app.parts == [content]
    gone(unit)


def test_a_chunked_upload_comes_whole(unit):
    body = form(b"content" * 1000)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 999]), body[i : i + 999]) for i in range(0, len(body), 999))
    with unit.connect() as client:
        client.sendall(head(None) + chunks + b"0\r\n\r\n")
        assert status_of(client) == 200
    assert unit.app.parts == [b"content" * 1000]


def test_a_chunked_upload_without_an_end_is_bounded_too(unit):
    with unit.connect() as client:
        client.sendall(head(None))
        piece = b"%x\r\n%s\r\n" % (65536, b"x" * 65536)
        for _ in range(64):
            client.sendall(piece)
        client.sendall(piece)
        assert status_of(client) == 413
    gone(unit)
    assert unit.app.parts == []


@pytest.mark.parametrize("length", [4 * MIB + 1, 10**15])
def test_what_is_too_large_is_refused_before_a_byte_of_it_came(unit, length):
    with unit.connect() as client:
        client.sendall(head(length, more="Expect: 100-continue\r\n"))
        assert status_of(client) == 413
    assert unit.left() == []


def test_everything_else_keeps_its_limit(unit):
    for path in ("/other", "/import/", "/import2"):
        with unit.connect() as client:
            client.sendall(head(2 * MIB, path))
            assert status_of(client) == 413
    with unit.connect() as client:
        client.sendall(head(2 * MIB).replace(b"POST", b"PUT"))
        assert status_of(client) == 413
    assert unit.gate.asked == []


def test_who_may_not_is_told_so_before_the_body(unit):
    unit.gate.answer = unit.gate.refusal(Forbidden("no"))
    with unit.connect() as client:
        client.sendall(head(3 * MIB, more="Expect: 100-continue\r\nAuthorization: Bearer x\r\n"))
        assert status_of(client) == 403
    (asked,) = unit.gate.asked
    assert asked["REMOTE_ADDR"] == "127.0.0.1"
    assert asked["HTTP_AUTHORIZATION"] == "Bearer x"
    assert asked["HTTP_HOST"] == "unit"
    assert asked["REQUEST_METHOD"] == "POST"
    assert unit.left() == []


def test_who_may_is_told_to_go_on(unit):
    with unit.connect() as client:
        client.sendall(head(30, more="Expect: 100-continue\r\n"))
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")


@pytest.mark.parametrize("kind", ["application/zip", "multipart/form-data", "application/json", None])
def test_what_is_no_form_is_refused_before_the_body(unit, kind):
    with unit.connect() as client:
        client.sendall(head(3 * MIB, content_type=kind))
        assert status_of(client) == 415


def test_a_second_upload_is_refused_until_the_first_has_gone(unit):
    with unit.connect() as first:
        first.sendall(head(3 * MIB) + b"--xyz")
        wait_for(unit.left, "the first upload")
        with unit.connect() as second:
            second.sendall(head(3 * MIB))
            assert status_of(second) == 429
    gone(unit)  # its client went away

    def accepted():
        with unit.connect() as third:
            body = form(b"x")
            third.sendall(head(len(body)) + body)
            return status_of(third) == 200

    wait_for(accepted, "room for the next one")


def test_a_client_that_goes_away_leaves_nothing(unit):
    with unit.connect() as client:
        client.sendall(head(3 * MIB) + b"--xyz\r\n" + b"x" * MIB)
        wait_for(unit.left, "the upload")
    gone(unit)
    assert unit.app.parts == []


def test_an_upload_that_moves_may_take_longer_than_a_request(tmp_path, monkeypatch):
    monkeypatch.setattr("reactor_unit.web_server.UPLOAD_STEP_BYTES", 10)
    with serving(tmp_path / "imports", request_timeout_s=2.0, idle_timeout_s=2.0) as unit, unit.connect() as client:
        body = form(b"x" * 100)
        client.sendall(head(len(body)))
        for at in range(0, len(body), 20):
            client.sendall(body[at : at + 20])
            threading.Event().wait(0.3)
        assert status_of(client) == 200
    assert unit.app.parts == [b"x" * 100]


def test_an_upload_that_stands_is_ended(tmp_path):
    with serving(tmp_path / "imports", request_timeout_s=0.3, idle_timeout_s=0.3) as unit, unit.connect() as client:
        client.sendall(head(3 * MIB) + b"--xyz\r\n")
        assert status_of(client) == 408
        gone(unit)


def test_what_a_killed_process_left_goes_with_the_next_upload_and_what_is_held_stays(tmp_path):
    folder = tmp_path / "imports"
    folder.mkdir()
    (folder / "upload-left").write_bytes(b"x")
    (folder / "new").mkdir()
    with serving(folder) as unit, unit.connect() as client:
        client.sendall(head(3 * MIB) + b"--xyz")
        wait_for(lambda: len(unit.left()) == 2 and not (folder / "upload-left").exists(), "the upload")


def test_a_disk_without_room_refuses_what_says_its_size(tmp_path, monkeypatch):
    with small_disk(tmp_path / "disk", 40 * 1024) as disk, serving(disk / "imports", 64 * MIB) as unit:
        with unit.connect() as client:
            client.sendall(head(20 * MIB))
            assert status_of(client) == 507
        assert unit.left() == []


def test_a_disk_that_fills_up_ends_an_upload_that_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "SPARE_BYTES", MIB)
    monkeypatch.setattr(uploads, "WRITE_THROUGH_BYTES", MIB // 2)
    with small_disk(tmp_path / "disk", 4 * 1024) as disk, serving(disk / "imports", 64 * MIB) as unit:
        with unit.connect() as client:
            client.sendall(head(None))
            piece = b"%x\r\n%s\r\n" % (65536, b"x" * 65536)
            while not select.select([client], [], [], 0)[0]:
                client.sendall(piece)
            assert status_of(client) == 507
        gone(unit)
        assert unit.app.parts == []


def test_an_upload_whose_last_bytes_the_disk_refuses_gives_its_place_back(tmp_path):
    released = threading.Event()
    with small_disk(tmp_path / "disk", 1024) as disk, open(disk / "upload", "xb+") as file:
        upload = Upload(file, b"xyz", lambda: None, released.set)
        fill_disk(disk)
        upload.append(b"x" * 100)
        wait_for(lambda: upload.failure is not None, "the refusal")
        upload.close()
        assert released.wait(DEADLINE_S)


def test_a_slow_disk_holds_the_client_up_and_nothing_else(tmp_path, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr(uploads, "check_room", lambda folder, length: length or go.wait(2 * DEADLINE_S))
    monkeypatch.setattr(uploads, "WRITE_THROUGH_BYTES", 1000)
    with serving(tmp_path / "imports", request_timeout_s=1.5, idle_timeout_s=1.5) as unit, unit.connect() as client:
        body = form(b"x" * (3 * MIB))
        sender = threading.Thread(target=client.sendall, args=(head(len(body)) + body,))
        sender.start()
        wait_for(lambda: any(c.is_held_up() for c in list(unit.server.active_channels.values())))
        threading.Event().wait(2.5)  # longer than the server waits for a client
        with unit.connect() as other:
            other.sendall(head(4, "/other") + b"body")
            assert status_of(other) == 200
        go.set()
        sender.join()
        assert status_of(client) == 200
    assert unit.app.parts == [b"x" * (3 * MIB)]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"no form at all", "cut"),
        (form(b"x")[:-12], "cut"),
        (form(b"x") + b"--xyz", "cut"),
        (b"preamble" + form(b"x"), "cut"),
        (b"--xyz--", "0 files"),
        (b"--xyz\r\n\r\n--xyz--", "headers"),
        (b"--xyzz\r\nA: b\r\n\r\n\r\n--xyz--", "headers"),
        (form(b"x", "other"), "0 files"),
        (form(b"x", file_name=""), "the name of a file"),
        (form(b"x")[:-10] + b"\r\n" + form(b"y"), "2 files"),
        (b"".join(form(b"x")[:-10] + b"\r\n" for _ in range(9)) + form(b"x"), "more than 8"),
    ],
)
def test_a_form_that_is_not_one_file_is_refused(unit, body, words):
    with unit.connect() as client:
        client.sendall(head(len(body)) + body)
        assert status_of(client) == 200
    (refusal,) = unit.app.parts
    assert isinstance(refusal, InvalidRequest)
    assert words in refusal.message


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 64])
def test_the_boundary_is_found_wherever_the_pieces_are_cut(step):
    content = b"a\r\n--xy\r\n\r\n-xyz\r\n--xyYz" * 3
    finder = uploads.PartFinder(b"xyz")
    body = form(content)
    for at in range(0, len(body), step):
        finder.feed(body[at : at + step])
    with tempfile.TemporaryFile() as file:
        file.write(body)
        file.flush()
        (part,) = finder.parts(file.fileno())
        file.seek(part.start)
        assert file.read(part.length) == content


def test_no_room_is_an_error_of_its_own():
    assert NoRoom("full").default_remediation
