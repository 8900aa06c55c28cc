"""The latched faults of a unit: the supervisor's side. The web process writes them down."""

from __future__ import annotations

import logging
from collections.abc import Callable

from reactor_unit.channel import Message
from reactor_unit.clock import utc_timestamp
from reactor_unit.errors import FaultLatched, NoSuchFault
from reactor_unit.faults import Fault, FaultRecord, concerning

log = logging.getLogger(__name__)


class FaultDesk:
    """Latches faults, refuses jobs that they concern, clears them. `on_change(record)` is called after each change."""

    def __init__(self, record: FaultRecord, on_change: Callable[[FaultRecord], None]) -> None:
        self.record = record
        self._on_change = on_change
        for fault in record.faults:
            log.warning("Fault %s (%s) is latched since %s: %s", fault.id, fault.kind, fault.at, fault.message)

    def check(self, job_name: str) -> None:
        """Raise FaultLatched when a fault keeps this job from starting."""
        fault = concerning(self.record.faults, job_name)
        if fault is not None:
            raise FaultLatched(
                f"{job_name} does not start: fault {fault.id} ({fault.kind}) is latched. {fault.message}",
                cause=f"It was latched at {fault.at}{f' by {fault.job_name}' if fault.job_name else ''}.",
                remediation=f"{fault.remediation} Then clear it: `reactor-unit faults clear {fault.id}`, "
                f"or DELETE /unit_api/faults/{fault.id}.",
            )

    def latch(self, said: Message, job_name: str, experiment: str) -> Fault:
        """Latch what a job said of a fault; one of the same kind from the same job is the one there is already."""
        for known in self.record.faults:
            if (known.kind, known.job_name) == (said["kind"], job_name):
                return known
        number = self.record.last_id + 1
        fault = Fault(
            id=str(number),
            kind=said["kind"],
            message=said["message"],
            cause=said["cause"],
            remediation=said["remediation"],
            jobs=tuple(said["jobs"]),
            job_name=job_name,
            experiment=experiment,
            at=utc_timestamp(),
        )
        log.error("Fault %s (%s) is latched by %s: %s", fault.id, fault.kind, job_name, fault.message)
        self._keep((*self.record.faults, fault), number)
        return fault

    def clear(self, fault_id: str) -> Fault:
        """Clear a fault, and return it. Raises NoSuchFault."""
        for fault in self.record.faults:
            if fault.id == fault_id:
                log.warning("Fault %s (%s) is cleared.", fault.id, fault.kind)
                self._keep(tuple(known for known in self.record.faults if known is not fault), self.record.last_id)
                return fault
        raise NoSuchFault(f"There is no latched fault {fault_id!r}.")

    def _keep(self, faults: tuple[Fault, ...], last_id: int) -> None:
        self.record = FaultRecord(faults, last_id)
        self._on_change(self.record)
