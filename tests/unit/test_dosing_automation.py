"""The job dosing_automation on the simulated reactor with a virtual clock: a day, its runs, and its limits."""

import math
import statistics

import pytest
from dosing_world import DosingWorld, pump_calibrations

from reactor_unit.drivers.simulation import person
from reactor_unit.errors import Conflict, InvalidRequest
from reactor_unit.job_spec import Option, Setting
from reactor_unit.workers.automations import DosingAutomation, Event
from reactor_unit.workers.jobs.dosing_automation import DosingAutomationJob, with_automations
from reactor_unit.workers.jobs.growth_rate_calculating import GrowthRateCalculating
from reactor_unit.workers.laws.dosing import dilution_rate_per_h
from reactor_unit.workers.live import Asleep

DAY_S = 24 * 3600.0


@pytest.fixture
def world(tmp_path):
    whole = DosingWorld(tmp_path)
    whole.reactor.stirrer().set_duty_cycle(30.0)
    yield whole
    whole.close()


def events(job):
    return [event["event_name"] for event in job.runtime.values("latest_event")]


def doses(job, pump):
    return [event["volume_change"] for event in job.runtime.values("dosing_event") if event["pump"] == pump]


def pumps_on(world):
    drives = world.plant.look_with_drives()[1]
    return {pump for pump in ("media", "alt_media", "waste") if drives.get(pump)}


# A day


@pytest.mark.parametrize("exchange_volume_ml", [0.25, 0.5])
def test_a_turbidostat_holds_its_target_for_a_day_within_3_percent(world, exchange_volume_ml):
    world.plant.inoculate(0.5)
    job = world.dose("turbidostat", target_biomass=1.0, exchange_volume_ml=exchange_volume_ml, biomass_signal="od")
    world.read_with(job)
    world.run(job, 3 * 3600.0)  # it grows to the target
    world.ods.clear()
    world.run(job, DAY_S)
    mean = statistics.fmean(world.ods)
    print(
        f"turbidostat, {exchange_volume_ml:g} mL: mean {mean:.4f}, {min(world.ods):.3f} to {max(world.ods):.3f}, "
        f"volume {min(world.volumes_ml):.2f} to {max(world.volumes_ml):.2f} mL"
    )
    assert mean == pytest.approx(1.0, rel=0.03)
    assert min(world.volumes_ml) >= 14.0 - 1e-6
    assert max(world.volumes_ml) <= 14.0 + exchange_volume_ml + 1e-6
    assert world.vessels().bench_ml == 0.0
    assert job.runtime.published["media_throughput"] == pytest.approx(500.0 - world.vessels().media_ml, rel=1e-4)
    assert job.runtime.published["current_volume_ml"] == pytest.approx(world.vessels().vial_ml, abs=0.01)
    assert job.runtime.faults == []


def test_a_chemostat_dilutes_at_its_rate_for_a_day_within_1_percent(world):
    world.plant.inoculate(1.0)
    job = world.dose("chemostat", exchange_volume_ml=0.5, duration=20)
    world.read_with(job)
    world.run(job, DAY_S)
    through_ml = 500.0 - world.vessels().media_ml
    rate_per_h = through_ml / 24.0 / 14.0
    set_per_h = dilution_rate_per_h(0.5, every_min=20.0, working_volume_ml=14.0)
    print(f"chemostat: {rate_per_h:.5f} /h of {set_per_h:.5f} /h")
    assert rate_per_h == pytest.approx(set_per_h, rel=0.01)
    assert 14.0 - 1e-6 <= min(world.volumes_ml) <= max(world.volumes_ml) <= 14.5 + 1e-6
    assert statistics.fmean(world.ods[-100:]) > 3.0  # it grows faster than that, and stays


def test_a_chemostat_that_dilutes_faster_than_it_grows_washes_the_culture_out(world):
    world.plant.inoculate(1.0)
    job = world.dose("chemostat", exchange_volume_ml=2.0, duration=15)  # 0.57 /h; at 22 degC it grows at 0.35 /h
    world.read_with(job)
    world.run(job, DAY_S)
    assert world.ods[-1] < 0.02
    assert max(world.volumes_ml) <= 15.0 + 1e-6  # in parts of 1 mL


def test_dilution_without_growth_follows_the_law(world):
    world.plant.inoculate(1.0)
    world.plant.update(lambda state: state._replace(room_c=4.0, board_c=4.0, vial_c=4.0))  # too cold for it
    job = world.dose("chemostat", exchange_volume_ml=0.5, duration=20)
    world.run(job, 10 * 3600.0)
    assert world.plant.look().culture.biomass_od == pytest.approx((14.0 / 14.5) ** 30, rel=0.01)


def test_a_morbidostat_brings_its_inhibitor_in_and_slows_the_culture_down(world):
    world.plant.inoculate(0.5)
    job = world.dose("pid_morbidostat", target_growth_rate=0.2, target_normalized_od=1.0, duration=20)
    growth = world.start(GrowthRateCalculating)
    world.read_with(job, growth)

    def calculate():
        growth.tick()
        for setting in ("growth_rate", "od_filtered"):
            if setting in growth.runtime.published:
                job.hear("growth_rate_calculating", setting, growth.runtime.published[setting])

    job.runtime.repeat(5.0, calculate)
    world.run(job, DAY_S)
    state, published = world.plant.look(), job.runtime.published
    assert published["alt_media_fraction"] == pytest.approx(state.culture.alt_fraction, abs=0.01)
    assert state.culture.alt_fraction > 0.05
    assert published["alt_media_throughput"] == pytest.approx(500.0 - state.vessels.alt_media_ml, rel=1e-3)
    assert max(world.volumes_ml) <= 15.0 + 1e-6


# Runs


def test_the_first_run_comes_after_2_s_and_the_next_ones_on_the_grid(world):
    job = world.dose("chemostat", exchange_volume_ml=0.5, duration=20)
    began = world.clock()
    world.run(job, 2 * 3600.0)
    started = [at - began for at, name, value in job.runtime.history if name == "latest_event"]
    names = events(job)
    assert names[:3] == ["DosingStarted", "DosingStopped", "DilutionEvent"]
    firsts = [at for at, name in zip(started, names, strict=True) if name == "DosingStarted"]
    assert firsts == pytest.approx([2.0 + 1200.0 * n for n in range(6)])


def test_a_first_run_that_is_skipped_comes_after_a_duration(world):
    job = world.dose("chemostat", exchange_volume_ml=0.5, duration=20, skip_first_run=1)
    world.run(job, 1190.0)
    assert events(job) == []
    world.run(job, 11.0)
    assert events(job)[0] == "DosingStarted"


def test_another_duration_counts_from_the_last_run(world):
    job = world.dose("silent", duration=60)
    world.run(job, 600.0)
    job.set_duration(20.0)
    world.run(job, 601.0)
    assert events(job) == ["NoEvent"]
    world.run(job, 2.0)  # 20 minutes after the first
    assert events(job) == ["NoEvent"] * 2
    world.run(job, 600.0)
    job.set_duration(5.0)  # due already: at once
    world.run(job, 0.0)
    assert events(job) == ["NoEvent"] * 3
    job.set_duration(30.0)
    world.run(job, 1790.0)
    assert events(job) == ["NoEvent"] * 3


@pytest.mark.parametrize(("slept_s", "is_made_up_for"), [(50.0, True), (70.0, False)])
def test_a_run_that_comes_due_in_a_sleep_waits_for_a_minute(world, slept_s, is_made_up_for):
    job = world.dose("silent", duration=30)
    world.run(job, 1790.0)
    job.runtime.wait(12.0 + slept_s)  # asleep, as the runtime does it; due after 12 s
    job.wake()
    job.runtime.schedule.advance(world.clock(), job.interval_s)
    world.run(job, 0.0)
    assert len(events(job)) == (2 if is_made_up_for else 1)
    world.run(job, 1750.0)
    assert len(events(job)) == (3 if is_made_up_for else 2)  # on the same grid


def test_a_run_that_a_sleep_broke_off_is_not_begun_again(world):
    job = world.dose("chemostat", exchange_volume_ml=1.0, duration=30)

    def fall_asleep():
        job.runtime.every.clear()
        raise Asleep(1)

    job.runtime.repeat(5.0, fall_asleep)  # media has been pumped for 3 s then
    assert world.run(job, 60.0)
    assert pumps_on(world) == set()
    assert doses(job, "media") == [pytest.approx(3 * 0.0911, rel=0.01)]
    assert job.runtime.published["current_volume_ml"] == pytest.approx(world.vessels().vial_ml, abs=0.01)
    job.wake()
    job.runtime.schedule.advance(world.clock(), job.interval_s)
    world.run(job, 600.0)
    assert len(doses(job, "media")) == 1


def test_a_turbidostat_has_its_own_pace(world):
    job = world.dose("turbidostat", target_biomass=1.0, exchange_volume_ml=0.5, duration=60)
    assert (job.interval_s, job.runtime.published["duration"]) == (15.0, 0.25)
    with pytest.raises(Conflict, match=r"every 0\.25 min"):
        job.set_duration(1.0)
    assert not job.spec.setting("duration", "turbidostat").settable
    assert job.spec.setting("duration", "chemostat").settable


def test_it_is_said_when_a_run_takes_longer_than_a_duration(world, caplog):
    job = world.dose("chemostat", exchange_volume_ml=2.0, duration=1)
    world.run(job, 600.0)
    assert caplog.text.count("longer than the duration of 1 min") == 1


# What it looks at


def test_without_fresh_readings_nothing_is_dosed_and_the_next_run_goes_on(world, caplog):
    world.plant.inoculate(2.0)
    job = world.dose("turbidostat", target_biomass=1.0, exchange_volume_ml=0.5, biomass_signal="od")
    world.run(job, 60.0)
    assert set(events(job)) == {"ErrorOccurred"}
    assert "od_reading has not published" in job.runtime.published["latest_event"]["message"]
    world.read_with(job)
    world.run(job, 120.0)
    assert "DilutionEvent" in events(job)
    job.runtime.every.clear()
    world.run(job, 280.0)
    assert "ErrorOccurred" not in events(job)[-10:]
    world.run(job, 320.0)
    assert "10 minutes old" in job.runtime.published["latest_event"]["message"]
    assert caplog.text.count("was not run") == 2  # once for each time that readings were missing
    dosed = len(doses(job, "media"))
    world.read_with(job)
    world.run(job, 120.0)
    assert len(doses(job, "media")) > dosed


def test_one_reading_is_the_reason_for_one_exchange(world):
    job = world.dose("turbidostat", target_biomass=1.0, exchange_volume_ml=0.5, biomass_signal="od")
    ods = {"2": {"od": 1.5, "angle": "90", "channel": "2"}}
    job.hear("od_reading", "ods", {"timestamp": job.runtime.utc_timestamp(), "ods": ods})
    world.run(job, 250.0)
    assert events(job).count("DilutionEvent") == 1


def test_another_photodiode_does_not_stand_in_for_the_first(world):
    angles = (("od_config.photodiode_channel", "3", "45"),)
    job = world.dose(
        "turbidostat",
        target_biomass=1.0,
        exchange_volume_ml=0.5,
        biomass_signal="od",
        config=world.overrides(*angles),
    )
    ods = {"3": {"od": 9.0, "angle": "45", "channel": "3"}}  # of channel 2 its calibration says nothing now
    job.hear("od_reading", "ods", {"timestamp": job.runtime.utc_timestamp(), "ods": ods})
    world.run(job, 20.0)
    assert set(events(job)) == {"ErrorOccurred"}


def test_a_value_that_was_old_when_it_was_heard_is_old(world):
    job = world.dose("turbidostat", target_biomass=1.0, exchange_volume_ml=0.5, biomass_signal="normalized_od")
    told_at = job.runtime.utc_timestamp()
    world.clock.sleep(400.0)
    job.hear("growth_rate_calculating", "od_filtered", {"od_filtered": 2.0, "timestamp": told_at})
    world.run(job, 20.0)
    assert set(events(job)) == {"ErrorOccurred"}


@pytest.mark.parametrize(
    ("active", "configured", "signal"),
    [
        ({}, "auto", "normalized_od"),
        ({"od90": {}}, "auto", "od"),
        ({"od45": {}}, "auto", "normalized_od"),  # of another photodiode
        ({"od90": {}, "od_fused": {}}, "auto", "od_fused"),
        ({"od90": {}}, "normalized_od", "normalized_od"),
    ],
)
def test_the_biomass_signal_is_the_best_there_is(world, active, configured, signal):
    config = world.overrides(("dosing_automation.turbidostat", "biomass_signal", configured))
    job = world.dose(
        "turbidostat",
        target_biomass=1.0,
        exchange_volume_ml=0.5,
        calibrations=pump_calibrations() | active,
        config=config,
    )
    assert job.runtime.published["biomass_signal"] == configured
    assert job.runtime.published["resolved_biomass_signal"] == signal


def test_it_is_said_once_that_nothing_stirs(world, caplog):
    job = world.dose("silent", duration=1)
    world.run(job, 300.0)
    assert caplog.text.count("not stirred") == 1


# Limits


def test_a_fed_batch_stops_before_the_vial_is_full_and_sleeps(world):
    world.plant.inoculate(0.5)
    job = world.dose("fed_batch", dosing_volume_ml=1.0, duration=10)
    assert world.run(job, 3600.0)  # it sleeps
    event = job.runtime.published["latest_event"]
    assert event["event_name"] == "ErrorOccurred"
    assert "18 ml" in event["message"]
    assert 16.5 < world.vessels().vial_ml < 18.0
    assert doses(job, "media") == [pytest.approx(1.0)] * 3
    world.plant.update(lambda state: person.fill_vial(state, 14.0))
    job.set_current_volume_ml(14.0)  # a person took some out, and says so
    job.wake()
    world.run(job, 700.0)
    assert len(doses(job, "media")) > 3


def test_an_exchange_that_does_not_fit_is_refused_before_a_pump_moves(world):
    job = world.dose("chemostat", exchange_volume_ml=0.9, duration=10, current_volume_ml=17.5)
    before = world.vessels()
    assert world.run(job, 60.0)
    assert world.vessels() == before
    assert events(job)[-1] == "ErrorOccurred"


def test_a_pump_without_a_calibration_keeps_an_automation_from_starting(world):
    calibrations = pump_calibrations()
    del calibrations["waste_pump"]
    with pytest.raises(Conflict, match="active calibration of waste_pump"):
        world.dose("chemostat", calibrations=calibrations)
    world.dose("silent", calibrations={})


def test_a_stop_cuts_the_pump_at_once(world):
    job = world.dose("chemostat", exchange_volume_ml=1.0, duration=30)

    class Stop(BaseException):
        pass

    def stop():
        assert pumps_on(world) == {"media"}
        raise Stop

    job.runtime.repeat(5.0, stop)
    with pytest.raises(Stop):
        world.run(job, 60.0)
    assert pumps_on(world) == set()
    assert doses(job, "media") == [pytest.approx(3 * 0.0911, rel=0.01)]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("chemostat", {"exchange_volume_ml": 0.0}),
        ("turbidostat", {"target_biomass": 0.0, "exchange_volume_ml": 1.0}),
        ("fed_batch", {"dosing_volume_ml": 0.0}),
        ("pid_morbidostat", {"target_growth_rate": 0.0}),
        ("turbidostat", {"target_biomass": 1.0}),
        ("chemostat", {"exchange_volume_ml": math.nan}),
        ("chemostat", {"exchange_volume_ml": -1.0}),
        ("chemostat", {"target_biomass": 1.0}),
        ("chemostat", {"max_working_volume_ml": 18.0}),
    ],
)
def test_parameters_that_make_no_sense_are_refused(world, name, options):
    with pytest.raises(InvalidRequest):
        world.dose(name, **options)


# Settings


def test_what_is_started_with_is_published_and_the_account_knows_it(world):
    job = world.dose("chemostat", current_volume_ml=15.5, alt_media_fraction=0.25, max_working_volume_ml=15.0)
    published = job.runtime.published
    assert published["automation_name"] == "chemostat"
    assert (published["exchange_volume_ml"], published["duration"]) == (0.5, 60.0)
    assert (published["current_volume_ml"], published["max_working_volume_ml"]) == (15.5, 15.0)
    assert published["alt_media_fraction"] == 0.25
    assert (published["media_throughput"], published["alt_media_throughput"]) == (0.0, 0.0)
    assert job.runtime.remembered["current_volume_ml"] == 15.5
    job.close()
    again = world.dose("silent")
    assert again.runtime.published["current_volume_ml"] == 15.5


def test_throughputs_go_on_within_the_experiment(world):
    job = world.dose("chemostat", duration=20, recalled={"media_throughput": 100.0, "alt_media_throughput": 7.0})
    assert job.runtime.published["media_throughput"] == 100.0
    world.run(job, 3600.0)
    assert job.runtime.published["media_throughput"] == pytest.approx(101.5, abs=1e-3)
    assert job.runtime.remembered["media_throughput"] == pytest.approx(101.5, abs=1e-3)
    assert job.runtime.published["alt_media_throughput"] == 7.0


def test_parameters_are_changed_while_it_runs_and_checked(world):
    job = world.dose("chemostat", exchange_volume_ml=0.5, duration=20)
    job.change_setting("exchange_volume_ml", 0.8)
    assert job.runtime.published["exchange_volume_ml"] == 0.8
    world.run(job, 100.0)
    assert doses(job, "media") == [pytest.approx(0.8)]
    with pytest.raises(InvalidRequest, match="above 0"):
        job.change_setting("exchange_volume_ml", 0.0)
    with pytest.raises(Conflict, match="no dosing_volume_ml"):
        job.change_setting("dosing_volume_ml", 1.0)  # a fed batch's
    job.change_setting("alt_media_fraction", 0.5)
    assert job.runtime.published["alt_media_fraction"] == 0.5
    with pytest.raises(InvalidRequest, match="maximum"):
        job.change_setting("max_working_volume_ml", 18.0)


def test_what_others_pump_is_seen(world):
    job, other = world.dose("silent"), world.dose("fed_batch", dosing_volume_ml=1.0)
    world.run(other, 60.0)
    job.hear("add_media", "dosing_event", other.runtime.published["dosing_event"])
    assert job.runtime.published["current_volume_ml"] == pytest.approx(15.0)
    assert job.runtime.published["media_throughput"] == pytest.approx(1.0)


# An automation of somebody else


class HalfAndHalf(DosingAutomation):
    name = "half_and_half"
    help = "Exchange some liquid for equal parts of both media."
    options = (Option("volume_ml", "float", "How much.", required=True, minimum=0.0, unit="mL"),)
    settings = (Setting("volume_ml", "float", "mL", settable=True), Setting("runs", "integer"))
    calibrations = ("media_pump", "alt_media_pump", "waste_pump")

    def execute(self) -> Event:
        half_ml = self.parameters["volume_ml"] / 2.0
        self.reactor.exchange(media_ml=half_ml, alt_media_ml=half_ml)
        self.reactor.publish({"runs": 1})
        return Event("DilutionEvent", f"Exchanged {2.0 * half_ml:g} mL.")


def test_an_automation_that_somebody_wrote_runs_beside_the_built_in_ones(world):
    job_class = with_automations([HalfAndHalf])
    job = world.dose("half_and_half", job_class=job_class, volume_ml=0.8, duration=10)
    world.run(job, 60.0)
    assert (doses(job, "media"), doses(job, "alt_media")) == ([pytest.approx(0.4)], [pytest.approx(0.4)])
    assert job.runtime.published["runs"] == 1
    assert job.runtime.published["latest_event"]["message"] == "Exchanged 0.8 mL."
    assert {automation.name for automation in job_class.spec.automations} > {"half_and_half", "turbidostat"}
    assert DosingAutomationJob.spec.automation("half_and_half") is None
