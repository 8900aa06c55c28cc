"""growth_rate_calculating: from the readings of od_reading to a growth rate, and what is kept for the experiment."""

import json
import math

import pytest
from job_world import JobWorld

from reactor_unit.drivers.simulation.noise import bell
from reactor_unit.errors import ConfigError, Conflict
from reactor_unit.workers.jobs.growth_rate_calculating import OWN_TABLES, GrowthRateCalculating
from reactor_unit.workers.jobs.od_blank import ODBlank
from reactor_unit.workers.jobs.od_reading import ODReadingJob


@pytest.fixture
def world(tmp_path):
    whole = JobWorld(tmp_path)
    yield whole
    whole.close()


def published_ods(od, channel="2", angle="90"):
    return {"ods": {channel: {"od": od, "angle": angle, "channel": channel}}}


def feed(world, job, ods, interval_s=5.0):
    """Let the job hear readings with noise of 0.3 %, as they have."""
    for od in ods:
        job.hear("od_reading", "ods", published_ods(od * (1.0 + 0.003 * bell(1, 2, world.clock()))))
        world.run(job, interval_s)


def growing(seconds, first=0.1, rate_per_h=0.3, interval_s=5.0):
    return [first * math.exp(rate_per_h * step * interval_s / 3600.0) for step in range(int(seconds / interval_s))]


def rate_of(job):
    return job.runtime.published["growth_rate"]["growth_rate"]


def test_a_culture_that_grows_at_0_3_per_h_is_found_through_all_three_jobs(world):
    """Blank, readings and growth rate, of an exponential culture in a reactor that is stirred."""
    world.reactor.stirrer().set_duty_cycle(30.0)
    world.plant.put_blank()
    blank = world.start(ODBlank)
    blank.hear("stirring", "measured_rpm", {"measured_rpm": 500.0})
    assert world.run(blank, 120.0)
    reading = world.start(ODReadingJob)
    growth = world.start(GrowthRateCalculating, recalled=blank.runtime.remembered)
    began, rates = world.clock(), []
    while (at_s := world.clock() - began) < 2 * 3600.0:
        world.plant.inoculate(0.2 * math.exp(0.3 * at_s / 3600.0))
        world.run(reading, 5.0)
        growth.hear("od_reading", "ods", reading.runtime.published["ods"])
        world.run(growth, 0.0)
        if at_s > 3600.0:
            rates.append(rate_of(growth))
    print(f"after 1 h: {min(rates):.3f} to {max(rates):.3f} /h")
    # Thicker cultures hide some of their light: exp(-OD / 20) takes 2 % of the rate at OD 0.4.
    assert all(abs(rate - 0.3) <= 0.02 for rate in rates)


def test_the_rate_is_right_within_an_hour(world):
    job = world.start(GrowthRateCalculating)
    feed(world, job, growing(3900.0))
    assert rate_of(job) == pytest.approx(0.3, abs=0.02)
    assert job.runtime.published["od_filtered"]["od_filtered"] == pytest.approx(math.exp(0.3 * 3810 / 3600), rel=0.02)
    outputs = job.runtime.published["kalman_filter_outputs"]
    assert outputs["state"] == [job.runtime.published["od_filtered"]["od_filtered"], rate_of(job)]
    assert [len(row) for row in outputs["covariance_matrix"]] == [2, 2]


def test_so_many_first_readings_are_left_out_and_counted(world):
    job = world.start(GrowthRateCalculating)
    feed(world, job, [9.0] * 5 + [0.1] * 20 + [9.0] * 5)  # the first five and the five after the statistics: skipped
    assert json.loads(job.runtime.remembered["od_normalization_mean"]) == {"2": pytest.approx(0.1, rel=0.01)}
    assert "growth_rate" not in job.runtime.published
    feed(world, job, [0.1])
    assert job.runtime.published["od_filtered"]["od_filtered"] == pytest.approx(1.0, abs=0.01)


def test_an_experiment_goes_on_where_it_was(world):
    first = world.start(GrowthRateCalculating)
    feed(world, first, growing(3900.0))
    again = world.start(GrowthRateCalculating, recalled=first.runtime.remembered)
    feed(world, again, [0.1 * math.exp(0.3 * 3900 / 3600)] * 6)
    assert len(again.runtime.values("growth_rate")) == 1  # five are skipped, no statistics are needed
    assert rate_of(again) == pytest.approx(rate_of(first), abs=0.02)
    ignoring = world.start(GrowthRateCalculating, {"ignore_cache": True}, recalled=first.runtime.remembered)
    feed(world, ignoring, [0.1] * 30)
    assert "growth_rate" not in ignoring.runtime.published


def test_the_blank_is_subtracted(world):
    job = world.start(GrowthRateCalculating, recalled={"od_blank": '{"2": 0.05}'})
    feed(world, job, [0.1] * 30 + [0.15] * 400)
    assert job.runtime.published["od_filtered"]["od_filtered"] == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("text", ["no json", "[1]", '{"2": "x"}', '{"2": null}'])
def test_what_another_program_left_is_not_used(world, text):
    tables = ("od_blank", "od_normalization_mean")
    job = world.start(GrowthRateCalculating, recalled=dict.fromkeys(tables, text))
    feed(world, job, [0.1] * 31)
    assert "growth_rate" in job.runtime.published


def test_a_reading_below_the_blank_is_left_out(world):
    job = world.start(GrowthRateCalculating, recalled={"od_blank": '{"2": 0.05}'})
    feed(world, job, [0.1] * 40)
    before = len(job.runtime.values("growth_rate"))
    feed(world, job, [0.04])
    assert len(job.runtime.values("growth_rate")) == before
    feed(world, job, [0.1])
    assert len(job.runtime.values("growth_rate")) == before + 1


def test_other_photodiodes_end_it(world):
    job = world.start(GrowthRateCalculating)
    feed(world, job, [0.1])
    job.hear("od_reading", "ods", published_ods(0.1, channel="3", angle="45"))
    with pytest.raises(Conflict, match="photodiodes"):
        world.run(job, 5.0)


def test_clear_cache_forgets_all_but_the_blank(world):
    kept = {"od_blank": "{}", **dict.fromkeys(OWN_TABLES, "1")}
    job = world.start(GrowthRateCalculating, recalled={"od_blank": "{}"})
    job.runtime.remembered = kept
    job.run_clear_cache()
    assert job.runtime.remembered == {"od_blank": "{}", **dict.fromkeys(OWN_TABLES)}


@pytest.mark.parametrize(("option", "value"), [("samples_for_od_statistics", "6"), ("ekf_outlier_std_threshold", "2")])
def test_a_configuration_that_cannot_be_is_refused(world, option, value):
    config = world.overrides(["growth_rate_calculating.config", option, value])
    with pytest.raises(ConfigError, match=option):
        world.start(GrowthRateCalculating, config=config)
