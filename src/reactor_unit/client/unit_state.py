"""What is known of a polled unit, and what changed between two looks at it: plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from reactor_unit.client.records import Fault, Json

REACHABLE = "reachable"
UNREACHABLE = "unreachable"
JOB_STARTED = "job_started"
JOB_ENDED = "job_ended"
SETTING_CHANGED = "setting_changed"
FAULT_LATCHED = "fault_latched"
FAULT_CLEARED = "fault_cleared"
MISSED = "missed"
KINDS = (REACHABLE, UNREACHABLE, JOB_STARTED, JOB_ENDED, SETTING_CHANGED, FAULT_LATCHED, FAULT_CLEARED, MISSED)


@dataclass(frozen=True)
class JobState:
    """A running job and what it publishes, in JSON types."""

    job_name: str
    job_id: str
    experiment: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class UnitState:
    """What is known of a unit: its last answer, and whether it still gives any.

    `is_reachable` is None until it was asked once; `problem` says why it is not. Jobs (by job id) and faults (by id)
    are those of the last good answer, which came at `answered_at`, on the monotonic clock, and took `took_s`.
    `failures` is how many times in a row it has failed since.
    """

    url: str
    name: str = ""
    is_reachable: bool | None = None
    problem: str | None = None
    jobs: Mapping[str, JobState] = field(default_factory=dict)
    faults: Mapping[str, Fault] = field(default_factory=dict)
    answered_at: float | None = None
    took_s: float | None = None
    failures: int = 0

    def age_s(self, now: float) -> float | None:
        """Return how old the last good answer is at `now` on the monotonic clock; None when there was none."""
        return None if self.answered_at is None else max(0.0, now - self.answered_at)

    def to_json(self, now: float) -> Json:
        """Return the unit as scripts get it."""
        age_s = self.age_s(now)
        return {
            "url": self.url,
            "name": self.name,
            "is_reachable": self.is_reachable,
            "problem": self.problem,
            "age_s": None if age_s is None else round(age_s, 3),
            "jobs": [
                {
                    "job_name": job.job_name,
                    "job_id": job.job_id,
                    "experiment": job.experiment,
                    "settings": dict(job.settings),
                }
                for job in self.jobs.values()
            ],
            "faults": list(self.faults.values()),
        }


@dataclass(frozen=True)
class Change:
    """Something that is different at a unit: `kind` is one of KINDS.

    `what` is the setting, the fault's kind, or how many changes were missed; `before` and `after` are a setting's
    values, `after` what a job publishes when it is first seen, a fault's message, or why a unit is unreachable.
    """

    at: str
    url: str
    name: str
    kind: str
    job_name: str = ""
    what: str = ""
    before: Any = None
    after: Any = None

    def to_json(self) -> Json:
        """Return the change as scripts get it."""
        return dict(vars(self))


def changes_between(before: UnitState, after: UnitState, at: str) -> Iterator[Change]:
    """Yield what changed; of a unit that is seen for the first time, everything that is there."""
    change = partial(Change, at, after.url, after.name)
    if after.is_reachable and not before.is_reachable:
        yield change(REACHABLE)
    if after.is_reachable is False and before.is_reachable is not False:
        yield change(UNREACHABLE, after=after.problem)
    yield from _changed_jobs(before.jobs, after.jobs, change)
    yield from _changed_faults(before.faults, after.faults, change)


def _changed_jobs(
    before: Mapping[str, JobState], after: Mapping[str, JobState], change: Callable[..., Change]
) -> Iterator[Change]:
    for job_id in before.keys() - after.keys():
        yield change(JOB_ENDED, before[job_id].job_name)
    for job_id, job in after.items():
        known = before.get(job_id)
        if known is None:
            yield change(JOB_STARTED, job.job_name, after=dict(job.settings))
        elif known is not job:
            for name, old, new in _differences(known.settings, job.settings):
                yield change(SETTING_CHANGED, job.job_name, what=name, before=old, after=new)


def _changed_faults(
    before: Mapping[str, Fault], after: Mapping[str, Fault], change: Callable[..., Change]
) -> Iterator[Change]:
    for fault in (before[fault_id] for fault_id in before.keys() - after.keys()):
        yield change(FAULT_CLEARED, fault["job_name"], what=fault["kind"], before=fault["message"])
    for fault in (after[fault_id] for fault_id in after.keys() - before.keys()):
        yield change(FAULT_LATCHED, fault["job_name"], what=fault["kind"], after=fault["message"])


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in {**before, **after}:
        if before.get(name) != after.get(name):
            yield name, before.get(name), after.get(name)


def jobs_of(rows: Any) -> dict[str, JobState]:
    """Return the jobs that an answer of `/jobs/running` lists. Raises ValueError when it is none."""
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and isinstance(row.get("job_name"), str) for row in rows
    ):
        raise ValueError("it does not list jobs")
    jobs = {}
    for row in rows:
        job_id = str(row.get("job_id", row["job_name"]))
        settings = row.get("settings")
        known = settings if isinstance(settings, dict) else {}
        jobs[job_id] = JobState(row["job_name"], job_id, str(row.get("experiment", "")), known)
    return jobs


def faults_of(answer: Any) -> dict[str, Fault]:
    """Return the faults that an answer of `/faults` lists. Raises ValueError when it is none."""
    found = answer.get("faults") if isinstance(answer, dict) else None
    needed = ("id", "kind", "message", "job_name")
    if not isinstance(found, list) or not all(
        isinstance(one, dict) and all(isinstance(one.get(name), str) for name in needed) for one in found
    ):
        raise ValueError("it does not list faults")
    return {one["id"]: one for one in found}
