"""Jobs on the simulated reactor with a virtual clock, in this process: a runtime that writes down what it is told."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

from plant_with_drivers import PlantWithDrivers

from reactor_unit.clock import utc_timestamp
from reactor_unit.config import default_config
from reactor_unit.drivers.i2c import I2CBus
from reactor_unit.drivers.simulation.smbus import SimulatedSMBus
from reactor_unit.workers.job import Schedule
from reactor_unit.workers.live import Finished


class FakeRuntime:
    """What a job sees of the unit; `clock` is the plant's."""

    def __init__(self, clock, recalled=None, calibrations=None):
        self.clock = clock
        self.unit_clock = SimpleNamespace(utc_now=lambda: datetime.fromtimestamp(clock(), UTC))
        self.schedule = Schedule(clock())
        self.state = "ready"
        self.request = SimpleNamespace(job_id="7", experiment="E1")
        self.published = {}
        self.history = []  # (when, setting, value)
        self.remembered = dict(recalled or {})
        self.calibrations = dict(calibrations or {})
        self.started = []
        self.on_wait = lambda: None

    def wait(self, seconds):
        self.on_wait()
        self.clock.sleep(max(0.0, seconds))

    def utc_timestamp(self):
        return utc_timestamp(self.unit_clock.utc_now())

    def publish(self, settings):
        self.published.update(settings)
        self.history += [(self.clock(), name, value) for name, value in settings.items()]

    def recalled(self, table):
        return self.remembered.get(table)

    def remember(self, table, value, *, experiment=None):
        self.remembered[table if experiment is None else (table, experiment)] = value

    def start_job(self, name, options):
        self.started.append((name, options))

    def values(self, setting):
        return [value for _, name, value in self.history if name == setting]


class JobWorld:
    """A reactor, and jobs that run on it."""

    def __init__(self, tmp_path):
        self.reactor = PlantWithDrivers(tmp_path)
        self.clock, self.plant = self.reactor.clock, self.reactor.plant
        self.jobs = []

    def overrides(self, *overrides):
        return default_config().with_overrides(overrides)

    def start(self, job_class, options=None, *, recalled=None, calibrations=None, config=None):
        """Return a job that has been started, as its process does."""
        runtime = FakeRuntime(self.clock, recalled, calibrations)
        job = job_class(runtime, self.reactor.hardware, config or default_config(), options or {})
        self.jobs.append(job)
        first_in_s = job.start()
        runtime.schedule = Schedule(self.clock() + first_in_s)
        return job

    def run(self, job, seconds):
        """Let a job have its ticks for so long; return whether it finished."""
        end_s = self.clock() + seconds
        while self.clock() + (left_s := job.runtime.schedule.seconds_left(self.clock())) <= end_s:
            job.runtime.wait(left_s)
            try:
                job.tick()
            except Finished:
                job.close()
                return True
            job.runtime.schedule.advance(self.clock(), job.interval_s)
        self.clock.sleep(max(0.0, end_s - self.clock()))
        return False

    def leds(self):
        return {channel: self.plant.led(channel) for channel in "ABCD"}

    def change_board(self, board):
        """Have other chips in front of the plant."""
        hardware = self.reactor.hardware
        hardware.board = board
        smbus = SimulatedSMBus(self.plant, board, clock=self.clock)
        hardware._i2c = I2CBus(smbus, wait=self.clock.sleep, clock=self.clock)

    def close(self):
        for job in self.jobs:
            job.close()
        self.reactor.close()
