"""od_blank on the simulated reactor: stirred, measured, remembered."""

import json

import pytest
from job_world import JobWorld

from reactor_unit.workers.jobs.od_blank import ODBlank


@pytest.fixture
def world(tmp_path):
    whole = JobWorld(tmp_path)
    yield whole
    whole.close()


def measured(rpm):
    return {"measured_rpm": rpm, "timestamp": "2026-01-31T12:45:00.000Z"}


def test_the_blank_is_measured_when_the_vial_is_stirred(world):
    world.plant.put_blank()
    job = world.start(ODBlank)
    assert job.runtime.started == [("stirring", {"target_rpm": 500.0})]
    job.hear("stirring", "measured_rpm", measured(0.0))
    assert not world.run(job, 20.0)
    assert world.leds()["A"] == 0.0
    assert "means" not in job.runtime.published
    job.hear("stirring", "measured_rpm", measured(480.0))
    assert world.run(job, 60.0)
    means = json.loads(job.runtime.remembered["od_blank"])
    # Only what the glass reflects: 6e-5 V per % of light, at 80 %.
    assert means == {"2": pytest.approx(80 * 6e-5, rel=0.05)}
    assert job.runtime.published["means"] == means
    assert world.leds()["A"] == 0.0


def test_so_many_readings_are_taken(world):
    job = world.start(ODBlank, {"n_samples": 5})
    job.hear("stirring", "measured_rpm", measured(480.0))
    began = world.clock()
    assert world.run(job, 100.0)
    assert 5 * 1.5 < world.clock() - began < 15.0


def test_without_a_word_of_the_stirrer_it_goes_on_after_40_s(world):
    job = world.start(ODBlank, {"n_samples": 5})
    assert not world.run(job, 39.0)
    assert "means" not in job.runtime.published
    assert world.run(job, 30.0)


def test_delete_forgets_the_blank_of_an_experiment(world):
    ODBlank(world.start(ODBlank).runtime, world.reactor.hardware, world.overrides(), {}).run_delete()
    other = world.start(ODBlank, {"experiment": "E7"})
    other.run_delete()
    assert other.runtime.remembered == {("od_blank", "E7"): None}
