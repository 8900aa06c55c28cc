"""Latched faults: what went wrong at the reactor, and keeps jobs from starting until a person clears it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from reactor_unit import strict_json
from reactor_unit.clock import utc_timestamp
from reactor_unit.home import write_atomically

log = logging.getLogger(__name__)

UNREADABLE = "faults_unreadable"


@dataclass(frozen=True)
class Fault:
    """One latched fault; `jobs` may not start while it lasts, `job_name` is who found it, `at` its time."""

    id: str
    kind: str
    message: str
    cause: str
    remediation: str
    jobs: tuple[str, ...]
    job_name: str
    experiment: str
    at: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fault as JSON."""
        return {**asdict(self), "jobs": list(self.jobs)}


def fault_from_dict(data: Mapping[str, Any]) -> Fault:
    """Return the fault that `to_dict` described. Raises KeyError, TypeError or ValueError for anything else."""
    texts = {field.name: data[field.name] for field in fields(Fault) if field.name != "jobs"}
    jobs = data["jobs"]
    if not all(isinstance(text, str) for text in (*texts.values(), *jobs)):
        raise ValueError("a fault has texts only")
    return Fault(jobs=tuple(jobs), **texts)


@dataclass(frozen=True)
class FaultRecord:
    """All latched faults, oldest first, and the last number that one was given: no number comes back."""

    faults: tuple[Fault, ...] = ()
    last_id: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON."""
        return {"last_id": self.last_id, "faults": [fault.to_dict() for fault in self.faults]}


def record_from_dict(data: Mapping[str, Any]) -> FaultRecord:
    """Return the record that `to_dict` described. Raises KeyError, TypeError or ValueError for anything else."""
    faults = tuple(map(fault_from_dict, data["faults"]))
    return FaultRecord(faults, max([int(data["last_id"]), *(int(fault.id) for fault in faults)]))


def read_faults(path: Path, all_jobs: Iterable[str]) -> FaultRecord:
    """Return what is latched according to the file at `path`; nothing when there is none.

    A file that cannot be read is a fault of its own, which concerns all jobs: nobody knows what it said.
    """
    try:
        return record_from_dict(strict_json.loads(path.read_bytes()))
    except FileNotFoundError:
        return FaultRecord()
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as ex:
        log.error("The latched faults in %s cannot be read: %s", path, ex)
        fault = Fault(
            id="1",
            kind=UNREADABLE,
            message="The file with the latched faults cannot be read, so there may be some.",
            cause=f"{path}: {type(ex).__name__}: {ex}",
            remediation="Check the heater, the pumps and the liquid, and the unit's log for what happened; "
            "then clear this fault.",
            jobs=tuple(all_jobs),
            job_name="",
            experiment="",
            at=utc_timestamp(),
        )
        return FaultRecord((fault,), 1)


def write_faults(path: Path, record: FaultRecord) -> None:
    """Write all that is latched, unless the file says so already.

    Raises StorageFault, and then the old file is untouched.
    """
    data = strict_json.dumps(record.to_dict())
    try:
        if path.read_bytes() == data:
            return
    except OSError:
        if record == FaultRecord() and not path.exists():
            return
    write_atomically(path, data)


def concerning(faults: Collection[Fault], job_name: str) -> Fault | None:
    """Return the oldest fault that keeps this job from starting."""
    return next((fault for fault in faults if job_name in fault.jobs), None)
