"""od_reading on the simulated reactor: what it reads, when, with which light, and how it protects the ADC."""

import json
import statistics

import pytest
from job_world import JobWorld

from reactor_unit.drivers import board
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.leds import LEDs
from reactor_unit.drivers.models import load_models
from reactor_unit.drivers.simulation import person
from reactor_unit.errors import ConfigError, InterlockTripped, InvalidRequest
from reactor_unit.workers.jobs.od_reading import FIRST_REFERENCE, ODReadingJob
from reactor_unit.workers.od_reader import photodiode_angles


@pytest.fixture
def world(tmp_path):
    whole = JobWorld(tmp_path)
    yield whole
    whole.close()


def ods(job, channel="2"):
    return [value["ods"][channel]["od"] for value in job.runtime.values("ods")]


@pytest.mark.parametrize("model", [None, ("pioreactor_20ml", "1.5")], ids=["HAT's ADC", "ADS1114"])
def test_the_reading_is_proportional_to_a_standard(world, tmp_path, model):
    if model:
        world.change_board(board.load(board.DEFAULT_HAT_VERSION, model=load_models(tmp_path)[model]))
    means = {}
    for standard in (0.0, 0.5, 1.0):
        world.plant.put_standard(standard)
        job = world.start(ODReadingJob)
        world.run(job, 60.0)
        job.close()
        means[standard] = statistics.fmean(ods(job))
    assert 0.0 < means[0.0] < 0.1 * means[1.0]  # what the glass reflects
    # Scattered light falls off by exp(-OD / 20): 0.5 gives 51.3 % of what 1 gives.
    assert (means[0.5] - means[0.0]) / (means[1.0] - means[0.0]) == pytest.approx(0.513, abs=0.02)
    assert means[1.0] - means[0.0] == pytest.approx(80.0 * 0.0015 * 0.951, rel=0.03)


def test_what_is_published_is_what_the_reference_publishes(world):
    world.plant.put_standard(0.5)
    job = world.start(ODReadingJob, {"interval": 10.0})
    world.run(job, 0.0)
    published = job.runtime.published
    (reading,) = published["ods"]["ods"].values()
    assert published["od2"] == reading
    assert reading.keys() == {"od", "angle", "channel", "timestamp", "ir_led_intensity", "calibrated"}
    assert (reading["angle"], reading["channel"], reading["ir_led_intensity"]) == ("90", "2", 80.0)
    assert reading["calibrated"] == 0
    assert published["interval"] == 10.0
    assert published["relative_intensity_of_ir_led"].keys() == {"relative_intensity_of_ir_led", "timestamp"}
    json.dumps(published, allow_nan=False)


def test_other_leds_are_dark_while_it_reads_and_lit_again_after(world):
    world.plant.put_standard(0.5)
    alone = world.start(ODReadingJob)
    world.run(alone, 60.0)
    alone.close()
    others = world.reactor.leds()
    others.set_intensity("C", 100.0)
    world.plant.put_standard(0.5)
    beside = world.start(ODReadingJob)
    seen = set()

    def look():
        seen.add(tuple(value > 0 for value in world.leds().values()))

    beside.runtime.on_wait = look
    world.run(beside, 60.0)
    assert statistics.fmean(ods(beside)) == pytest.approx(statistics.fmean(ods(alone)), rel=0.01)
    # Between readings only C; while it reads only the infrared LED on A; never both.
    assert seen == {(False, False, True, False), (True, False, False, False)}
    assert world.leds()["C"] == pytest.approx(100.0)


def test_the_infrared_led_shines_only_while_it_reads(world):
    job = world.start(ODReadingJob)
    assert world.leds() == dict.fromkeys("ABCD", 0.0)
    world.run(job, 30.0)
    assert world.leds() == dict.fromkeys("ABCD", 0.0)
    assert job.runtime.published["ir_led_intensity"] == 80.0


def test_readings_come_on_a_grid_that_begins_with_the_first(world):
    job = world.start(ODReadingJob)
    world.run(job, 600.0)
    first = job.runtime.published["first_od_obs_time"]
    assert job.runtime.values("first_od_obs_time") == [first]
    # Each is published when it is read, about a second after its beginning on the grid.
    after = [(at - first) % 5.0 for at, name, _ in job.runtime.history if name == "ods"]
    assert len(after) == 121
    assert all(0.9 < lag < 1.7 for lag in after)


def test_another_interval_is_another_grid(world):
    job = world.start(ODReadingJob)
    world.run(job, 12.0)
    job.set_interval(20.0)
    world.run(job, 100.0)
    old, new = job.runtime.values("first_od_obs_time")
    assert new > old
    late = [at for at, name, _ in job.runtime.history if name == "ods" and at > new]
    assert all(0.9 < (at - new) % 20.0 < 1.7 for at in late)
    assert 5 <= len(late) <= 6


def test_a_snapshot_is_one_reading(world):
    job = world.start(ODReadingJob, {"snapshot": True})
    assert world.run(job, 60.0)
    assert len(ods(job)) == 1
    assert "interval" not in job.runtime.published


def test_the_lamp_is_divided_out(world):
    world.plant.put_standard(0.5)
    job = world.start(ODReadingJob)
    world.run(job, 60.0)
    before = statistics.fmean(ods(job)[-6:])
    job.set_ir_led_intensity(50.0)
    world.run(job, 60.0)
    assert statistics.fmean(ods(job)[-6:]) == pytest.approx(before, rel=0.05)  # cells settle a little
    assert job.runtime.published["relative_intensity_of_ir_led"]["relative_intensity_of_ir_led"] == pytest.approx(
        50.0 / 80.0, rel=0.02
    )


def test_the_first_reference_of_an_experiment_is_remembered(world):
    job = world.start(ODReadingJob)
    world.run(job, 10.0)
    first = job.runtime.remembered[FIRST_REFERENCE]
    assert first == pytest.approx(0.2, rel=0.05)
    again = world.start(ODReadingJob, recalled={FIRST_REFERENCE: 2 * first}) if not job.close() else None
    world.run(again, 10.0)
    assert again.runtime.remembered[FIRST_REFERENCE] == 2 * first
    assert statistics.fmean(ods(again)) == pytest.approx(2 * statistics.fmean(ods(job)), rel=0.05)


def test_an_automatic_intensity_is_found(world):
    world.plant.put_standard(2.0)
    config = world.overrides(["od_reading.config", "ir_led_intensity", "auto"])
    job = world.start(ODReadingJob, config=config)
    # At 85 % and OD 2 the signal is 85 x 0.0015 x 2 x exp(-0.1) + stray V = 0.236 V: 85 x 0.06 / 0.236 is below 50.
    assert job.runtime.published["ir_led_intensity"] == 50.0
    world.run(job, 10.0)
    assert job.runtime.published["od2"]["ir_led_intensity"] == 50.0


def test_too_much_light_ends_it_with_the_led_off(world):
    job = world.start(ODReadingJob)
    world.run(job, 10.0)
    world.plant.inject("adc_saturated")
    with pytest.raises(InterlockTripped, match="too bright"):
        world.run(job, 10.0)
    assert world.leds() == dict.fromkeys("ABCD", 0.0)


def test_a_dark_lamp_is_an_error_and_not_a_number(world):
    world.plant.update(lambda state: person.plug_ir_led(state, "B"))  # nothing shines where the job lights
    config = world.overrides(["od_reading.config", "use_dark_offsets", "1"])
    job = world.start(ODReadingJob, config=config)
    job.reader._light._dark_v = dict.fromkeys("12", 1.0)
    with pytest.raises(HardwareFault, match="reference photodiode"):
        world.run(job, 10.0)
    assert world.leds()["A"] == 0.0


def test_made_up_readings_need_no_photodiodes_and_grow(world):
    world.plant.inject("bus_stuck")
    job = world.start(ODReadingJob, {"fake_data": True})
    world.run(job, 4 * 3600.0)
    values = ods(job)
    assert values[-1] > 1.5 * values[0] > 0.0
    assert FIRST_REFERENCE not in job.runtime.remembered


def test_without_light_there_is_no_job(world):
    with pytest.raises(InvalidRequest):
        world.start(ODReadingJob, {"ir_led_intensity": 0.0})
    job = world.start(ODReadingJob, {"fake_data": True})
    with pytest.raises(InvalidRequest):
        job.set_ir_led_intensity(0.0)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ({"1": "REF", "2": "90"}, {"1": "REF", "2": "90"}),
        ({"1": "90", "2": "", "4": "REF"}, {"1": "90"}),  # the reactor has no channel 4
        ({"1": "REF", "2": ""}, None),
        ({"1": "REF", "2": "REF"}, None),
        ({"1": "REF", "2": "91"}, None),
    ],
    ids=["usual", "reference without ADC", "reference alone", "two references", "no angle"],
)
def test_which_photodiodes_are_read(world, channels, expected):
    section = "od_config.photodiode_channel"
    config = world.overrides(*([section, channel, angle] for channel, angle in channels.items()))
    if expected is None:
        with pytest.raises(ConfigError):
            photodiode_angles(config, ("1", "2"))
    else:
        assert photodiode_angles(config, ("1", "2")) == expected


def test_an_infrared_led_that_was_not_turned_off_is_seen_to_soon(world, monkeypatch):
    job = world.start(ODReadingJob, {"interval": 3600.0})
    set_intensity = LEDs.set_intensity

    def failing(leds, led, percent):
        if percent == 0.0:
            raise HardwareFault("The LED driver does not answer.")
        set_intensity(leds, led, percent)

    with monkeypatch.context() as patch:
        patch.setattr(LEDs, "set_intensity", failing)
        with pytest.raises(HardwareFault) as caught:
            job.tick()
    assert world.leds()["A"] == 80.0
    job.on_trouble(caught.value)
    job.runtime.schedule.advance(world.clock(), job.interval_s)
    world.run(job, 10.0)
    assert world.leds()["A"] == 0.0
    assert len(job.runtime.values("ods")) == 1
    world.run(job, 3500.0)
    assert len(job.runtime.values("ods")) == 1  # then as before
