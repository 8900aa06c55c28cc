"""`GET /metrics`: the unit for Prometheus and its like, in the OpenMetrics text format."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import falcon

from reactor_unit.gateway_protocol import UnitGateway
from reactor_unit.job_spec import JobSpec
from reactor_unit.metrics import CONTENT_TYPE, Labels, Page, UnitCounts

UNKNOWN_ROUTE = "(no such path)"
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "DELETE"})
Jobs = Sequence[tuple[dict[str, Any], dict[str, Any]]]  # rows, and what each job publishes
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class RequestCounter:
    """Middleware that counts requests and how long their answers took to make."""

    def __init__(self, counts: UnitCounts) -> None:
        self._counts = counts

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take the time."""
        req.context.began_s = time.perf_counter()

    def process_response(self, req: falcon.Request, resp: falcon.Response, resource: Any, req_succeeded: bool) -> None:
        """Count it under its route, of which there are only so many, whatever clients ask for."""
        route = _path(req.uri_template) if req.uri_template else UNKNOWN_ROUTE
        method = req.method if req.method in METHODS else "-"
        self._counts.requests.add((("method", method), ("route", route), ("status", str(resp.status)[:3])))
        began_s = getattr(req.context, "began_s", None)
        if began_s is not None:  # Falcon tells nobody of the beginning of a request whose method it does not know
            self._counts.request_s.add((("route", route),), time.perf_counter() - began_s)


@lru_cache(maxsize=256)
def _path(template: str) -> str:
    """Return a route as the contract writes it: `{job_name}`, without how the name is checked."""
    return re.sub(r":\w+}", "}", template)


class Metrics:
    """Tell what runs, the numbers that jobs publish, and what the unit counted about itself."""

    changes_each_time = True

    def __init__(
        self,
        gateway: UnitGateway,
        counts: UnitCounts,
        catalogue: Mapping[str, JobSpec],
        unit_name: str,
        version: str,
    ) -> None:
        self._gateway = gateway
        self._counts = counts
        self._catalogue = catalogue
        self._info: Labels = (("unit", unit_name), ("version", version.removeprefix("v")))

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the page."""
        jobs = self._gateway.running_jobs_with_settings()
        page = Page()
        page.add("build", "info", "The unit's name and the program's version.", [("_info", self._info, 1.0)])
        self._add_jobs(page, jobs)
        page.gauge("latched_faults", "Faults that a person has to clear.", {(): float(len(self._gateway.faults()))})
        self._add_counts(page)
        memory = dict(_memory([row for row, _ in jobs]))
        page.gauge("resident_memory_bytes", "Of each process; what several share is in each of them.", memory, "bytes")
        resp.content_type = CONTENT_TYPE
        resp.data = page.render()

    def _add_jobs(self, page: Page, jobs: Jobs) -> None:
        up: dict[Labels, float] = {
            (("job_name", row["job_name"]), ("experiment", row["experiment"])): float(settings.get("$state") == "ready")
            for row, settings in jobs
        }
        page.gauge("job_up", "1 for each job that is ready, 0 for one that starts, sleeps or ends.", up)
        page.gauge("setting", "Settings of running jobs that are numbers; yes is 1.", dict(_settings(jobs)))
        page.gauge("reading", "The newest readings of running jobs, as the history has them.", self._readings(jobs))

    def _add_counts(self, page: Page) -> None:
        counts = self._counts
        page.add("tasks", "counter", "Tasks that ended, by how.", counts.tasks.samples())
        page.add("task_duration_seconds", "histogram", "From acceptance to end.", counts.task_s.samples(), "seconds")
        page.add("requests", "counter", "Requests that were answered.", counts.requests.samples())
        held = "Time the application took for an answer; what is held for Prefer: wait counts."
        page.add("request_duration_seconds", "histogram", held, counts.request_s.samples(), "seconds")

    def _readings(self, jobs: Jobs) -> dict[Labels, float]:
        found: dict[Labels, float] = {}
        for row, settings in jobs:
            spec = self._catalogue.get(row["job_name"])
            for setting in spec.settings if spec is not None else ():
                value = settings.get(setting.name)
                if setting.series is not None and value is not None:
                    readings = setting.series.readings(value, 0.0)
                    found |= {(("name", reading.name),): reading.value for reading in readings}
        return found


def _settings(jobs: Jobs) -> Iterable[tuple[Labels, float]]:
    for row, settings in jobs:
        for name, value in settings.items():
            if isinstance(value, bool | int | float):
                yield (("job_name", row["job_name"]), ("setting", name)), float(value)


def _memory(rows: Iterable[Mapping[str, Any]]) -> Iterable[tuple[Labels, float]]:
    """Yield the resident memory of supervisor, web process and jobs, in bytes; one that has just ended is left out."""
    processes = [("supervisor", os.getppid()), ("web", os.getpid()), *((row["job_name"], row["pid"]) for row in rows)]
    for name, pid in processes:
        try:
            with open(f"/proc/{pid}/statm", "rb") as file:
                resident = int(file.read().split()[1]) * PAGE_BYTES
        except (OSError, IndexError):
            continue
        yield (("process", name),), float(resident)
