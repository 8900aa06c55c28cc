"""The jobs of the unit, one module each."""

from __future__ import annotations

from collections.abc import Mapping

from reactor_unit.workers.job import Job
from reactor_unit.workers.jobs.monitor import Monitor
from reactor_unit.workers.jobs.stirring import Stirring
from reactor_unit.workers.jobs.temperature_automation import TemperatureAutomation

JOBS: Mapping[str, type[Job]] = {job.spec.name: job for job in (Monitor, Stirring, TemperatureAutomation)}
