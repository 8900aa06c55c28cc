"""What polling costs: a wait for a task's end, and an answer that did not change."""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import time

from benchmarks.figures import Figure, percentile
from benchmarks.unit import WITH_TASK, Unit, running_unit

POLLED = ("/jobs/running", "/jobs/running?settings=true", "/jobs/settings/job_name/stirring", "/jobs")


def polling_figures(quick: bool) -> list[Figure]:
    """Measure how late a held answer comes, and what a 304 takes of the bytes of a 200, with four jobs."""
    with running_unit(WITH_TASK) as unit:
        delays_ms = [_delay_ms(unit) for _ in range(30 if quick else 200)]
        unit.run_stirring()
        unit.run_thermostat()
        unit.run_job("od_reading", {"interval": 5})
        unit.run_job("growth_rate_calculating", {})
        shares = {path: _share_of_304(unit.port, path) for path in POLLED}
    note = f"p99 {percentile(delays_ms, 99):.2f} ms in {len(delays_ms)} tasks of 20 ms, one GET each"
    return [
        Figure("Prefer: wait, from a task's end to the answer", statistics.median(delays_ms), "ms", "<=", 5, note),
        *(Figure(f"bytes of a 304 against a 200, {path}", share, "", "<=", 1 / 3) for path, share in shares.items()),
    ]


def _delay_ms(unit: Unit) -> float:
    """Run a task that tells when it ended; return how long after that its result was here."""
    task_id = unit.submit("/bench/brief")
    unit.connection.request("GET", f"/unit_api/task_results/{task_id}", headers={"Prefer": "wait=10"})
    response = unit.connection.getresponse()
    record = json.loads(response.read())
    arrived = time.monotonic()
    if response.status != 200:
        raise RuntimeError(f"the task did not end: {record}")
    return (arrived - float(record["result"])) * 1000


def _share_of_304(port: int, path: str) -> float:
    for _ in range(20):  # it may change between two requests
        whole = _raw_answer(port, path)
        head = whole.partition(b"\r\n\r\n")[0].decode("ascii").splitlines()
        etag = next(line.partition(": ")[2] for line in head if line.lower().startswith("etag:"))
        unchanged = _raw_answer(port, path, f"If-None-Match: {etag}\r\n")
        if unchanged.startswith(b"HTTP/1.1 304"):
            return len(unchanged) / len(whole)
    raise RuntimeError(f"{path} changes all the time")


def _raw_answer(port: int, path: str, headers: str = "") -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        request = f"GET /unit_api{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n"
        connection.sendall(request.encode("ascii"))
        connection.settimeout(0.2)  # the connection is kept alive, as those that poll keep it
        parts = []
        with contextlib.suppress(TimeoutError):
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts)
