"""The jobs of the unit, one module each."""

from __future__ import annotations

from collections.abc import Mapping

from reactor_unit.workers.job import Job
from reactor_unit.workers.jobs.circulate import CirculateAltMedia, CirculateMedia
from reactor_unit.workers.jobs.dosing_automation import DosingAutomationJob
from reactor_unit.workers.jobs.growth_rate_calculating import GrowthRateCalculating
from reactor_unit.workers.jobs.led_automation import LEDAutomation
from reactor_unit.workers.jobs.led_intensity import LEDIntensity
from reactor_unit.workers.jobs.monitor import Monitor
from reactor_unit.workers.jobs.od_blank import ODBlank
from reactor_unit.workers.jobs.od_reading import ODReadingJob
from reactor_unit.workers.jobs.pump_actions import AddAltMedia, AddMedia, RemoveWaste
from reactor_unit.workers.jobs.pumps import Pumps
from reactor_unit.workers.jobs.self_test import SelfTestJob
from reactor_unit.workers.jobs.stirring import Stirring
from reactor_unit.workers.jobs.temperature_automation import TemperatureAutomation

JOBS: Mapping[str, type[Job]] = {
    job.spec.name: job
    for job in (
        AddAltMedia,
        AddMedia,
        CirculateAltMedia,
        CirculateMedia,
        DosingAutomationJob,
        GrowthRateCalculating,
        LEDAutomation,
        LEDIntensity,
        Monitor,
        ODBlank,
        ODReadingJob,
        SelfTestJob,
        Pumps,
        RemoveWaste,
        Stirring,
        TemperatureAutomation,
    )
}
