"""The yardstick for throughput: a WSGI function that does nothing, on the unit's own waitress settings."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any

from reactor_unit import lean
from reactor_unit.web_server import make_server

PADDING = int(sys.argv[1]) if len(sys.argv) > 1 else 110  # bytes, so that it is as long as what it is compared with
BODY = b'{"message":"hello","padding":"' + b"x" * PADDING + b'"}'
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
