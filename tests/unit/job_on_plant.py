"""A job on the simulated reactor with the real drivers, in this process, on a virtual clock."""

from __future__ import annotations

from datetime import UTC, datetime

from reactor_unit.config import default_config
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.workers.job import Schedule, Trouble


class RecordingSystem:
    def __init__(self):
        self.wanted = []

    def shut_down(self, reason):
        self.wanted.append(("shut_down", reason))


class PlantRuntime:
    """A job's runtime whose time is the plant's, and which writes down what the job says."""

    def __init__(self, reactor):
        self.clock = reactor.clock
        self.published, self.history, self.faults = {}, [], []
        self.calibrations = {}
        self.system = RecordingSystem()
        self.schedule = Schedule(self.clock())
        self.state = "ready"
        self.request = type("Request", (), {"job_name": "this job"})()
        self.during_wait = None  # called once, in the middle of a wait

    def wait(self, seconds):
        self.clock.sleep(seconds)
        doing, self.during_wait = self.during_wait, None
        if doing is not None:
            doing()

    def utc_timestamp(self):
        return datetime.fromtimestamp(self.clock(), UTC).isoformat()

    def publish(self, settings):
        self.published.update(settings)
        self.history += [(self.clock(), name, value) for name, value in settings.items()]

    def latch_fault(self, kind, message, remediation, *, jobs, outputs=()):
        self.faults.append((self.clock(), kind, message, remediation, list(jobs), list(outputs)))
        self.publish({"fault": message})

    def values(self, name):
        return [value for _, setting, value in self.history if setting == name]


class JobOnPlant:
    """Steps a job as the runtime does: ticks on their grid, trouble with the hardware counted."""

    def __init__(self, reactor, job_class, options, config=None):
        self.reactor = reactor
        self.runtime = PlantRuntime(reactor)
        job_class.spec.parse_options(options)
        self.job = job_class(self.runtime, reactor.hardware, config or default_config(), options)
        self.trouble = Trouble(self.job)
        self.ended = None  # the error that ended it
        self.runtime.schedule = Schedule(reactor.clock() + self.job.start())

    def run(self, seconds):
        """Carry out the ticks that are planned for the next seconds, or fewer if the job ends."""
        until = self.reactor.clock() + seconds
        while self.ended is None:
            left_s = self.runtime.schedule.seconds_left(self.reactor.clock())
            if self.reactor.clock() + left_s >= until:
                return
            self.reactor.clock.sleep(left_s)
            try:
                self.trouble.watch(self.job.tick)
            except HardwareFault as ex:
                self.ended = ex
            self.runtime.schedule.advance(self.reactor.clock(), self.job.interval_s)
        self.job.close()
