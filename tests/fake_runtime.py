"""A job's runtime for tests in one process: virtual time, what was published, and events at chosen moments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reactor_unit.clock import UnitClock, utc_timestamp
from reactor_unit.workers.job import Job, Schedule

STEP_S = 0.05


class FakeRuntime:
    """What a job sees of the unit; `clock` needs a `sleep`. Publishing what the spec lacks fails."""

    def __init__(self, clock: Any, job_class: type[Job]) -> None:
        self.clock = clock
        self.unit_clock = UnitClock(real_monotonic=clock, real_time=clock)
        self.published: dict[str, Any] = {}
        self.history: list[tuple[float, dict[str, Any]]] = []
        self.faults: list[dict[str, Any]] = []
        self.calibrations: dict[str, Any] = {}
        self.schedule = Schedule(clock())
        self.state = "init"
        self.events: list[tuple[float, Callable[[], object]]] = []
        self.on_step: Callable[[], object] = lambda: None
        self.request = type("Request", (), {"job_name": job_class.spec.name, "experiment": "E1"})
        self._names = {setting.name for setting in job_class.spec.every_setting()}

    def utc_timestamp(self) -> str:
        return utc_timestamp(self.unit_clock.utc_now())

    def publish(self, settings: Mapping[str, Any]) -> None:
        assert settings.keys() <= self._names, settings
        self.published.update(settings)
        self.history.append((self.clock(), dict(settings)))

    def latch_fault(self, kind: str, message: str, remediation: str, *, jobs: Any = ()) -> None:
        self.faults.append({"kind": kind, "message": message, "remediation": remediation, "jobs": list(jobs)})

    def at(self, moment_s: float, event: Callable[[], object]) -> None:
        """Have `event` happen in the wait in which `moment_s` passes."""
        self.events.append((moment_s, event))

    def wait(self, seconds: float, *, or_message: bool = False) -> None:
        end_s = self.clock() + seconds
        while self.clock() < end_s:
            self.clock.sleep(max(1e-6, min(STEP_S, end_s - self.clock())))  # past the end, not just short of it
            self.on_step()
            due = [event for event in self.events if event[0] <= self.clock()]
            self.events = [event for event in self.events if event not in due]
            for _, event in due:
                event()
            if due and or_message:
                return


def start(job: Job, runtime: Any) -> None:
    """Start a job as its process does."""
    runtime.schedule = Schedule(runtime.clock() + job.start())
    runtime.state = "ready"


def run(job: Job, runtime: Any, seconds: float) -> None:
    """Let a started job live for so long, as its process does."""
    end_s = runtime.clock() + seconds
    while (now := runtime.clock()) < end_s:
        left_s = runtime.schedule.seconds_left(now)
        if left_s > 0:
            runtime.wait(min(left_s, end_s - now), or_message=True)
            continue
        job.tick()
        runtime.schedule.advance(runtime.clock(), job.interval_s)
