"""The yardstick for throughput: a WSGI function that does nothing, on the unit's own waitress settings."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any

from reactor_unit import lean
from reactor_unit.web_server import make_server

BODY = b'{"message":"hello","padding":"' + b"x" * 110 + b'"}'  # as long as the answers it is compared with
HEADERS = [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))]


def hello(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer every request with the same JSON."""
    start_response("200 OK", HEADERS)
    return [BODY]


if __name__ == "__main__":
    lean.use_one_arena()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    make_server(hello, listener).run()
