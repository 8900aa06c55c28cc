"""Dosing on the simulated reactor, in this process on a virtual clock: law, plant and job, and readings."""

from __future__ import annotations

from types import SimpleNamespace

from job_world import FakeRuntime, JobWorld

from reactor_unit.drivers.models import load_models
from reactor_unit.drivers.simulation.constants import FLOW_ML_PER_S, PUMPS
from reactor_unit.drivers.simulation.noise import bell
from reactor_unit.workers.job import Schedule
from reactor_unit.workers.jobs.dosing_automation import DosingAutomationJob
from reactor_unit.workers.live import Asleep

MODEL = ("pioreactor_20ml", "1.5")
OD_INTERVAL_S = 5.0
OD_NOISE = 0.003  # of a reading, as the optics have


def pump_calibrations(factor=1.0):
    """Return calibrations of all pumps; with a factor they say that more is moved than is."""
    return {
        f"{pump}_pump": {
            "curve_data_": {"type": "poly", "coefficients": [factor * FLOW_ML_PER_S[pump], 0.0]},
            "recorded_data": {"x": [1.0, 60.0], "y": []},
            "hz": 250.0,
            "dc": 100.0,
        }
        for pump in PUMPS
    }


class DosingRuntime(FakeRuntime):
    """A job's runtime that delivers what is due while the job waits."""

    def __init__(self, clock, data_folder, experiment, recalled, calibrations):
        super().__init__(clock, recalled, calibrations)
        self.data_folder = data_folder
        self.model = None  # as the unit's own
        self.request = SimpleNamespace(job_name="dosing_automation", experiment=experiment)
        self.faults = []
        self.every = []  # [seconds, next at, doing]

    def repeat(self, seconds, doing):
        self.every.append([seconds, self.clock() + seconds, doing])

    def wait(self, seconds):
        end_s = self.clock() + max(0.0, seconds)
        while self.every and (due := min(self.every, key=lambda entry: entry[1]))[1] <= end_s:
            self.clock.sleep(max(0.0, due[1] - self.clock()))
            due[1] += due[0]
            due[2]()
        self.clock.sleep(max(0.0, end_s - self.clock()))

    def latch_fault(self, kind, message, remediation, *, jobs=(), outputs=()):
        self.faults.append((kind, list(jobs)))
        self.publish({"fault": message})


class DosingWorld(JobWorld):
    """A reactor with a culture, and dosing automations in it."""

    def __init__(self, tmp_path):
        super().__init__(tmp_path)
        self.data_folder = tmp_path
        (tmp_path / "storage").mkdir()
        self.reactor.hardware.model = load_models()[MODEL]
        self.ods, self.volumes_ml = [], []  # the plant's truth, at each reading

    def dose(self, name, *, recalled=None, calibrations=None, config=None, job_class=DosingAutomationJob, **options):
        """Return a dosing automation that has been started."""
        options = job_class.spec.parse_options({"automation_name": name, **options})
        calibrations = pump_calibrations() if calibrations is None else calibrations
        runtime = DosingRuntime(self.clock, self.data_folder, "E1", recalled, calibrations)
        job = job_class(runtime, self.reactor.hardware, config or self.overrides(), options)
        self.jobs.append(job)
        runtime.schedule = Schedule(self.clock() + job.start())
        return job

    def read_with(self, job, *hearing):
        """Have the plant's optical density read every 5 s, while the job runs, and heard by it and by others."""
        job.runtime.repeat(OD_INTERVAL_S, lambda: self._read((job, *hearing)))

    def _read(self, jobs):
        state = self.plant.look()
        self.ods.append(state.culture.biomass_od)
        self.volumes_ml.append(state.vessels.vial_ml)
        noise = 1.0 + OD_NOISE * bell(1, 2, self.clock())
        od = {"od": noise * state.culture.biomass_od, "angle": "90", "channel": "2"}
        for job in jobs:
            ods = {"timestamp": job.runtime.utc_timestamp(), "ods": {"2": od}}
            job.hear("od_reading", "ods", ods)

    def run(self, job, seconds):
        """Let a job live for so long, as its process does; return whether it sleeps."""
        end_s = self.clock() + seconds
        while (left_s := job.runtime.schedule.seconds_left(self.clock())) <= end_s - self.clock():
            job.runtime.wait(left_s)
            try:
                job.tick()
            except Asleep:
                job.runtime.state = "sleeping"
                return True
            job.runtime.schedule.advance(self.clock(), job.interval_s)
        job.runtime.wait(end_s - self.clock())
        return False

    def vessels(self):
        return self.plant.look().vessels
