"""A load client that costs little: raw sockets, kept alive, one request under way on each; run as its own process.

`python load_client.py PORT PATH CONNECTIONS SECONDS` asks 127.0.0.1 and prints JSON: requests per second, median and
99th percentile of the latencies, and how much of a core this client itself took (near 1 it would be the bottleneck).
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

MAX_REQUESTS = 200_000
WARM_UP_S = 0.1


def measure(port: int, path: str, connections: int, seconds: float) -> dict[str, float]:
    """Ask until the time or the number of requests is up. Raises RuntimeError when an answer is not a 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n".encode()
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    by_number = {one.fileno(): one for one in sockets}
    poller = select.epoll()
    for number, one in by_number.items():
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poller.register(number, select.EPOLLIN)
    warmed_up = len(_run(poller, by_number, request, WARM_UP_S))
    cpu_before, before = time.process_time(), time.perf_counter()
    latencies = sorted(_run(poller, by_number, request, seconds))
    took, cpu = time.perf_counter() - before, time.process_time() - cpu_before
    for one in sockets:
        one.close()
    return {
        "requests_per_s": len(latencies) / took,
        "p50_ms": latencies[len(latencies) // 2] / 1e6,
        "p99_ms": latencies[len(latencies) * 99 // 100] / 1e6,
        "answered": len(latencies) + warmed_up,
        "client_cpu": cpu / took,
    }


def _run(poller: select.epoll, sockets: dict[int, socket.socket], request: bytes, seconds: float) -> list[int]:
    """Return the latency in ns of each request that was answered; all of them are when this returns."""
    now = time.perf_counter_ns
    latencies: list[int] = []
    sent_at: dict[int, int] = {}
    deadline = now() + int(seconds * 1e9)
    for number, one in sockets.items():
        sent_at[number] = now()
        one.send(request)
    while sent_at:
        for number, _events in poller.poll(5.0):
            one = sockets[number]
            _receive(one)
            arrived = now()
            latencies.append(arrived - sent_at.pop(number))
            if arrived < deadline and len(latencies) < MAX_REQUESTS:
                sent_at[number] = now()
                one.send(request)
    return latencies


def _receive(one: socket.socket) -> None:
    """Take one whole answer off the socket."""
    data = one.recv(65536)
    while not _is_whole(data):
        more = one.recv(65536)
        if not more:
            raise RuntimeError(f"the connection ended after {data!r}")
        data += more
    if not data.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"not a 200: {data[:300]!r}")


def _is_whole(data: bytes) -> bool:
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        return False
    start = data.lower().find(b"content-length:", 0, head_end)
    if start < 0:
        raise RuntimeError(f"no Content-Length: {data[:300]!r}")
    length = int(data[start + 15 : data.index(b"\r\n", start)])
    return len(data) >= head_end + 4 + length


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
