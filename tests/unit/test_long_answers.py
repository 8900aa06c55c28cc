"""Long answers over a real waitress: bounded memory, no thread for a client that stands still, no false end."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from harness import DEADLINE_S, wait_for

from reactor_unit.web_server import MAX_UNSENT_BYTES, make_server

PIECE = bytes(64 * 1024)


class Streamed:
    """A WSGI application whose answers are pieces; it counts those that were asked for, and the ends."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.taken = 0
        self.ended = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "application/zip")])
        return self._counted()

    def _counted(self) -> Iterator[bytes]:
        try:
            for piece in self._pieces:
                self.taken += 1
                yield piece
        finally:
            self.ended.set()


@contextmanager
def client_of(app: Streamed, version: str = "1.1", **settings: float) -> Iterator[socket.socket]:
    """Yield a connection, with a small buffer, on which the answer has been asked for."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = make_server(app, listener, **settings)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            client.settimeout(DEADLINE_S)
            client.connect(listener.getsockname())
            client.sendall(f"GET / HTTP/{version}\r\nHost: x\r\n\r\n".encode())
            yield client
    finally:
        server.stop()
        thread.join(DEADLINE_S)


def test_a_client_that_stands_still_is_let_go(caplog: pytest.LogCaptureFixture) -> None:
    """Eight such clients would otherwise be the end of the unit. What waits for one is bounded meanwhile."""
    app = Streamed(itertools.repeat(PIECE))
    with client_of(app, idle_timeout_s=0.5):
        assert app.ended.wait(DEADLINE_S)
    in_the_sockets = 8 * 1024 * 1024
    assert app.taken * len(PIECE) < MAX_UNSENT_BYTES + in_the_sockets


def test_a_client_that_is_slow_but_moves_is_not() -> None:
    app = Streamed([PIECE] * 60)
    with client_of(app, idle_timeout_s=2.0, stop_grace_s=5.0) as client:
        received = b""
        for _ in range(20):
            threading.Event().wait(0.2)  # twice the time-out in all
            received += client.recv(200 * 1024)
        while not received.endswith(b"0\r\n\r\n"):
            more = client.recv(1024 * 1024)
            assert more, "it was let go"
            received += more
    assert len(received) > 60 * len(PIECE)


def test_an_answer_that_takes_long_to_make_is_not_given_up() -> None:
    go = threading.Event()

    def late() -> Iterator[bytes]:
        go.wait(DEADLINE_S)
        yield PIECE

    with client_of(Streamed(late()), idle_timeout_s=1.5, stop_grace_s=5.0) as client:
        threading.Timer(3.5, go.set).start()
        received = b""
        while not received.endswith(b"0\r\n\r\n"):
            more = client.recv(1024 * 1024)
            assert more, "it was given up"
            received += more


def test_a_client_that_goes_away_ends_the_answer() -> None:
    app = Streamed(itertools.repeat(PIECE))
    with client_of(app) as client:
        client.recv(1000)
        client.close()
        assert app.ended.wait(DEADLINE_S)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_answer_that_fails_midway_has_no_end(version: str) -> None:
    def broken() -> Iterator[bytes]:
        yield PIECE
        raise OSError("the disk is gone")

    app = Streamed(broken())
    received = b""
    with client_of(app, version) as client:
        while more := client.recv(1024 * 1024):
            received += more
    assert received.startswith(f"HTTP/{version} 200".encode())
    assert PIECE in received
    assert not received.endswith(b"0\r\n\r\n")
    wait_for(app.ended.is_set, "the end of the answer")
