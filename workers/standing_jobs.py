"""The jobs that a unit starts for itself, and starts again when they end without having been asked to."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

from reactor_unit.errors import UnitError
from reactor_unit.job_spec import UNIT_EXPERIMENT
from reactor_unit.workers.job_desk import SYSTEM, RunningJob
from reactor_unit.workers.loop import Loop
from reactor_unit.workers.task_desk import TaskDesk

log = logging.getLogger(__name__)

PAUSES_S = (2.0, 10.0, 60.0, 300.0)  # before the next start, after so many ends in a row
PROVEN_S = 300.0  # a job that lived this long starts the row anew


class StandingJobs:
    """Keeps jobs running, by name. One that a person stops stays stopped until the unit's next start."""

    def __init__(self, loop: Loop, desk: TaskDesk, names: Collection[str]) -> None:
        self._loop = loop
        self._desk = desk
        self.names = names
        self._ends_in_a_row = dict.fromkeys(names, 0)
        self._started_at = dict.fromkeys(names, 0.0)

    def start_all(self) -> None:
        """Start them."""
        self.start(self.names)

    def start(self, names: Collection[str]) -> None:
        """Start these of them, which were stopped."""
        for name in names:
            self._start(name)

    def gone(self, job: RunningJob) -> None:
        """Take note that a job is gone, and start it again after a while, if that is this one's to do."""
        if job.request.job_name in self.names and not job.stopping:
            self._start_later(job.request.job_name)

    def _start_later(self, name: str) -> None:
        if time.monotonic() - self._started_at[name] > PROVEN_S:
            self._ends_in_a_row[name] = 0
        pause_s = PAUSES_S[min(self._ends_in_a_row[name], len(PAUSES_S) - 1)]
        self._ends_in_a_row[name] += 1
        self._loop.call_later(pause_s, lambda: self._start(name))

    def _start(self, name: str) -> None:
        self._started_at[name] = time.monotonic()
        env = {"EXPERIMENT": UNIT_EXPERIMENT, "JOB_SOURCE": SYSTEM}
        try:
            self._desk.submit({"name": "run_job", "args": {"job_name": name, "options": {}, "env": env}})
        except UnitError as error:
            log.warning("%s was not started: %s", name, error.message)
            self._start_later(name)
