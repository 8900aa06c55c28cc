"""What the growth rate makes of doses: the optical density falls, and nothing has died."""

import math

import pytest
from job_world import JobWorld

from reactor_unit.drivers.simulation.noise import bell
from reactor_unit.workers.heard_dosing import HeardDosing
from reactor_unit.workers.jobs.growth_rate_calculating import GrowthRateCalculating

RATE_PER_H = 0.4
EXCHANGES_EVERY_S, POURING_S, DOSING_S = 300.0, 6.0, 35.0


@pytest.fixture
def world(tmp_path):
    whole = JobWorld(tmp_path)
    yield whole
    whole.close()


def event(name):
    return {"event_name": name, "message": "", "data": {}}


def dose(what="add_media"):
    return {"event": what, "volume_change": 0.5}


@pytest.fixture
def dosing():
    heard = HeardDosing()
    assert not heard.take()
    return heard


def test_all_readings_of_an_exchange_and_the_first_one_after_it_are_dosed(dosing):
    assert dosing.hear("dosing_automation", "latest_event", event("DosingStarted"))
    assert [dosing.take() for _ in range(3)] == [True] * 3
    dosing.hear("dosing_automation", "latest_event", event("DosingStopped"))
    dosing.hear("dosing_automation", "latest_event", event("DilutionEvent"))
    assert [dosing.take(), dosing.take()] == [True, False]


@pytest.mark.parametrize("state", ["lost", "disconnected", "sleeping"])
def test_an_automation_that_ends_or_sleeps_in_an_exchange_doses_no_more(dosing, state):
    dosing.hear("dosing_automation", "$state", "ready")
    assert not dosing.take()
    dosing.hear("dosing_automation", "latest_event", event("DosingStarted"))
    dosing.hear("dosing_automation", "$state", state)
    assert [dosing.take(), dosing.take()] == [True, False]


def test_an_action_pours_for_as_long_as_it_runs(dosing):
    dosing.hear("add_media", "$state", "init")
    dosing.hear("add_media", "$state", "ready")
    assert [dosing.take(), dosing.take()] == [True, True]
    dosing.hear("add_media", "dosing_event", dose())
    dosing.hear("add_media", "$state", "disconnected")
    assert [dosing.take(), dosing.take()] == [True, False]


@pytest.mark.parametrize(("what", "counts"), [("add_media", True), ("add_alt_media", True), ("remove_waste", False)])
def test_only_what_comes_in_changes_the_density(dosing, what, counts):
    dosing.hear("dosing_automation", "dosing_event", dose(what))
    assert dosing.take() is counts
    assert not dosing.hear("od_reading", "ods", {})


class Diluted:
    """A culture that grows exponentially and is diluted now and then; read every 5 s with noise."""

    def __init__(self, world, hears):
        self.world, self.hears = world, hears
        self.job = world.start(GrowthRateCalculating)
        self.od, self.began = 0.5, world.clock()

    def step(self):
        at_s = self.world.clock() - self.began
        since_s = at_s % EXCHANGES_EVERY_S if at_s > 600.0 else math.inf
        if self.hears and since_s in (0.0, DOSING_S):
            self.job.hear("dosing_automation", "latest_event", event("DosingStopped" if since_s else "DosingStarted"))
        self.od *= math.exp(RATE_PER_H * 5.0 / 3600.0)
        if 0.0 < since_s <= POURING_S:
            self.od *= 14.0 / 14.5
        noisy = self.od * (1.0 + 0.003 * bell(1, 2, self.world.clock()))
        self.job.hear("od_reading", "ods", {"ods": {"2": {"od": noisy, "angle": "90", "channel": "2"}}})
        self.world.run(self.job, 5.0)

    def rates(self, hours):
        while self.world.clock() - self.began < hours * 3600.0:
            self.step()
        published = self.job.runtime.values("growth_rate")
        return [value["growth_rate"] for value in published[len(published) // 2 :]]


def test_a_culture_that_is_diluted_over_and_over_keeps_its_growth_rate(world):
    rates = Diluted(world, hears=True).rates(4.0)
    print(f"0.4 /h, diluted every 5 minutes: {min(rates):.3f} to {max(rates):.3f} /h")
    assert min(rates) == pytest.approx(RATE_PER_H, abs=0.06)
    assert max(rates) == pytest.approx(RATE_PER_H, abs=0.06)


def test_one_that_does_not_hear_of_it_takes_it_for_dying(world):
    rates = Diluted(world, hears=False).rates(4.0)
    assert sum(rates) / len(rates) < RATE_PER_H - 0.05
