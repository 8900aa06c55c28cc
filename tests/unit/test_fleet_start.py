"""Units of a fleet start a few at a time."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from reactor_unit import fleet


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def waiting(listener: socket.socket) -> Iterator[threading.Thread]:
    """Wait for a unit that listens, and has no process yet that serves."""
    thread = threading.Thread(target=fleet._await_answer, args=[SimpleNamespace(listener=listener)])
    thread.start()
    yield thread
    thread.join()


def test_one_that_listens_has_not_answered(listener: socket.socket, waiting: threading.Thread) -> None:
    connection, _ = listener.accept()
    with connection:
        assert connection.recv(100).startswith(b"GET /unit_api/health HTTP/")
        assert waiting.is_alive()
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        waiting.join(fleet.START_WITHIN_S / 2)
        assert not waiting.is_alive()


def test_one_that_ended_is_not_waited_for(
    listener: socket.socket, waiting: threading.Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, _ = listener.accept()
    with connection:
        monkeypatch.setattr(signal, "sigpending", lambda: {signal.SIGCHLD})
        waiting.join(fleet.START_WITHIN_S / 2)
        assert not waiting.is_alive()
