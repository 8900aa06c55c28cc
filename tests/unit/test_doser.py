"""The doser on the simulated reactor, on a virtual clock: what it moves, counts, publishes, and refuses."""

import math
from types import SimpleNamespace

import pytest
from job_world import FakeRuntime
from plant_with_drivers import PlantWithDrivers

from reactor_unit.config import default_config
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.models import load_models
from reactor_unit.drivers.simulation.constants import FLOW_ML_PER_S
from reactor_unit.errors import ConfigError, Conflict, InterlockTripped, InvalidRequest, StorageFault
from reactor_unit.vial import ALT_MEDIA, MEDIA, WASTE, Vial, VialFull, VialState, VialUnknown, new_state
from reactor_unit.workers.counted_pump import CountedPump
from reactor_unit.workers.dosing import Dose, Doser, maximum_volume_ml
from reactor_unit.workers.pump_flow import BadCalibration

MAXIMUM_ML, TUBE_ML = 18.0, 14.0


class Stopped(BaseException):
    pass


def calibration(flow_ml_per_s):
    return {
        "curve_data_": {"type": "poly", "coefficients": [flow_ml_per_s, 0.0]},
        "recorded_data": {"x": [5.0, 15.0], "y": [5 * flow_ml_per_s, 15 * flow_ml_per_s]},
        "hz": 250.0,
        "dc": 100.0,
    }


CALIBRATED = {f"{pump}_pump": calibration(flow) for pump, flow in FLOW_ML_PER_S.items()}


class Bench:
    """A reactor and a doser; `truth` is what is in the vial."""

    def __init__(self, tmp_path, calibrations=None, maximum_ml=MAXIMUM_ML, overrides=()):
        self.reactor = PlantWithDrivers(tmp_path)
        self.runtime = FakeRuntime(
            self.reactor.clock, calibrations=CALIBRATED if calibrations is None else calibrations
        )
        self.runtime.request = SimpleNamespace(experiment="E1", job_name="this job")
        self.runtime.faults = []
        self.runtime.latch_fault = lambda kind, *_args, **_more: self.runtime.faults.append(kind)
        config = default_config().with_overrides(overrides)
        self.vial = Vial(tmp_path / "vial", new_state(config), maximum_ml)
        self.doser = Doser(self.runtime, self.reactor.hardware, config, self.vial)

    @property
    def truth_ml(self):
        return self.reactor.plant.look().vessels.vial_ml

    @property
    def counted_ml(self):
        return self.vial.look().volume_ml

    def events(self):
        return [(event["event"], event["volume_change"]) for event in self.runtime.values("dosing_event")]

    def pumps_on(self):
        _, drives = self.reactor.plant.look_with_drives()
        return {pump for pump in FLOW_ML_PER_S if drives.get(pump)}

    def stop_after(self, seconds):
        """Have the job stopped in the middle of a wait, so long from now."""
        due = self.reactor.clock() + seconds
        wait = self.runtime.wait

        def waiting(length):
            left_s = due - self.reactor.clock()
            if length >= left_s:
                wait(left_s)
                raise Stopped
            wait(length)

        self.runtime.wait = waiting


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.doser.close()
    made.reactor.close()


@pytest.mark.parametrize("role", [MEDIA, ALT_MEDIA])
@pytest.mark.parametrize("ml", [0.05, 1.0, 3.5])
def test_what_is_asked_comes_in(bench, role, ml):
    assert bench.doser.pump(role, ml=ml) == pytest.approx(ml, rel=1e-6)
    assert bench.truth_ml == pytest.approx(TUBE_ML + ml, abs=1e-4)
    assert bench.counted_ml == pytest.approx(TUBE_ML + ml, abs=1e-4)
    assert bench.events() == [(f"add_{role}", pytest.approx(ml))]
    assert bench.runtime.remembered["current_volume_ml"] == pytest.approx(TUBE_ML + ml)
    assert bench.runtime.remembered[f"{role}_throughput"] == pytest.approx(ml)


def test_nothing_is_a_dose_without_a_run(bench):
    assert bench.doser.pump(MEDIA, ml=0.0) == 0.0
    assert bench.events() == []


@pytest.mark.parametrize(
    ("amount", "error"),
    [
        ({"ml": -0.1}, InvalidRequest),
        ({"ml": math.nan}, InvalidRequest),
        ({"ml": math.inf}, InvalidRequest),
        ({"duration_s": -1.0}, InvalidRequest),
        ({"duration_s": math.nan}, InvalidRequest),
        ({"duration_s": math.inf}, InvalidRequest),
        ({}, InvalidRequest),
        ({"ml": 1.0, "duration_s": 1.0}, InvalidRequest),
        ({"ml": 4.0}, VialFull),
        ({"duration_s": 44.0}, VialFull),
        ({"duration_s": 300.1}, InvalidRequest),
    ],
    ids=str,
)
@pytest.mark.parametrize("role", [MEDIA, ALT_MEDIA])
def test_what_must_not_be_is_refused_before_anything_moves(bench, role, amount, error):
    with pytest.raises(error):
        bench.doser.check([Dose(WASTE, ml=0.1), Dose(role, **amount)])
    with pytest.raises(error):
        bench.doser.pump(role, **amount)
    assert bench.truth_ml == TUBE_ML
    assert bench.counted_ml == TUBE_ML
    assert bench.runtime.history == []


@pytest.mark.parametrize(
    "amount", [{"ml": 0.1}, {"ml": None, "duration_s": 0.1}, {"ml": -1.0}, {"ml": math.nan}, {}], ids=str
)
def test_an_unknown_model_takes_nothing_however_it_is_asked(tmp_path, amount):
    bench = Bench(tmp_path, maximum_ml=None)
    with pytest.raises((VialUnknown, InvalidRequest)):
        bench.doser.pump(MEDIA, **amount)
    with pytest.raises(VialUnknown):
        bench.doser.pump_continuously(MEDIA)
    with pytest.raises(VialUnknown):
        bench.doser.exchange(media_ml=0.1, waste_ml=0.1)
    assert bench.truth_ml == TUBE_ML
    assert bench.doser.pump(WASTE, ml=0.5) > 0
    bench.reactor.close()


@pytest.mark.parametrize("seconds", [0.01, 3.0, 8.0])
def test_a_stop_cuts_a_dose_at_once_and_what_was_moved_is_told(bench, seconds):
    bench.stop_after(seconds)
    with pytest.raises(Stopped):
        bench.doser.pump(MEDIA, ml=1.0)
    assert bench.pumps_on() == set()
    moved_ml = seconds * FLOW_ML_PER_S[MEDIA]
    assert bench.truth_ml == pytest.approx(TUBE_ML + moved_ml, abs=1e-6)
    assert bench.counted_ml == pytest.approx(TUBE_ML + moved_ml, abs=1e-5)
    assert bench.events() == [("add_media", pytest.approx(moved_ml, abs=1e-5))]


@pytest.mark.parametrize("start", ["pump", "pump_continuously"])
def test_while_a_pump_turns_the_account_has_what_it_brings_in_until_it_would_be_killed(bench, start):
    seen = []
    wait = bench.runtime.wait

    def waiting(seconds):
        state = bench.vial.look()
        seen.append(state.volume_ml - (bench.truth_ml + (seconds + 1.5) * FLOW_ML_PER_S[MEDIA]))
        wait(seconds)

    bench.runtime.wait = waiting
    if start == "pump":
        bench.doser.pump(MEDIA, ml=1.0)
    else:
        with pytest.raises(VialFull):
            bench.doser.pump_continuously(MEDIA)
    assert seen
    assert min(seen) > 0


def test_all_pumps_stand_still_before_anything_is_written(bench):
    on_at_the_end = []
    end = bench.vial.end

    def ending(run, moved_ml):
        on_at_the_end.append(bench.pumps_on())
        return end(run, moved_ml)

    bench.stop_after(4.5)  # both pumps turn
    bench.vial.end = ending
    with pytest.raises(Stopped):
        bench.doser.circulate(MEDIA, 30.0)
    assert on_at_the_end == [set(), set()]


def test_a_pump_that_cannot_be_stopped_stays_counted(bench, monkeypatch):
    def broken(_pump):
        raise HardwareFault("The pin does not answer.")

    monkeypatch.setattr("reactor_unit.drivers.pump.Pump.stop", broken)
    with pytest.raises(HardwareFault):
        bench.doser.pump(MEDIA, ml=1.0)
    assert bench.counted_ml == pytest.approx(TUBE_ML + 1.0 + 2.0 * FLOW_ML_PER_S[MEDIA])


def test_an_exchange_moves_what_it_was_told_in_parts_and_keeps_the_volume(bench):
    moved = bench.doser.exchange(media_ml=2.4, alt_media_ml=0.8, waste_ml=3.2)
    assert moved == {MEDIA: pytest.approx(2.4), ALT_MEDIA: pytest.approx(0.8), WASTE: pytest.approx(3.2)}
    assert bench.truth_ml == pytest.approx(TUBE_ML)
    assert bench.counted_ml == TUBE_ML
    media = [ml for event, ml in bench.events() if event == "add_media"]
    assert media == [pytest.approx(0.6)] * 4  # no part is larger than 1 ml
    assert bench.vial.look().alt_media_fraction == pytest.approx(0.049, abs=0.005)


def test_waste_is_removed_after_each_part_of_an_exchange(bench):
    highest_ml = 0.0
    wait = bench.runtime.wait

    def waiting(seconds):
        nonlocal highest_ml
        wait(seconds)
        highest_ml = max(highest_ml, bench.truth_ml)

    bench.runtime.wait = waiting
    bench.doser.exchange(media_ml=8.0, waste_ml=8.0)
    assert highest_ml == pytest.approx(TUBE_ML + 1.0)


@pytest.mark.parametrize(
    "amounts",
    [
        {"media_ml": 1.0, "waste_ml": 0.9},
        {"media_ml": -1.0, "waste_ml": 1.0},
        {"media_ml": math.nan, "waste_ml": 1.0},
        {"media_ml": 1.0, "waste_ml": math.inf},
    ],
    ids=str,
)
def test_an_exchange_that_does_not_balance_is_refused(bench, amounts):
    with pytest.raises(InvalidRequest):
        bench.doser.exchange(**amounts)
    assert bench.truth_ml == TUBE_ML


@pytest.mark.parametrize("largest_ml", ["0", "-1", "1e-9", "1e-320"])
def test_an_exchange_in_parts_that_no_pump_can_give_is_refused(tmp_path, largest_ml):
    bench = Bench(tmp_path, overrides=[("dosing_automation.config", "max_subdose", largest_ml)])
    with pytest.raises(ConfigError, match="max_subdose"):
        bench.doser.exchange(media_ml=0.5, waste_ml=0.5)
    assert bench.events() == []


@pytest.mark.parametrize("ml", [1025.0, 1e6, 1e300])
def test_an_exchange_that_would_not_end_is_refused_before_it_is_planned(bench, ml):
    with pytest.raises(InvalidRequest, match="1024 is the most"):
        bench.doser.exchange(media_ml=ml, waste_ml=ml)
    assert bench.events() == []


def test_an_exchange_into_a_vial_that_is_nearly_full_is_refused_as_a_whole(bench):
    bench.vial.put(current_volume_ml=17.3)
    with pytest.raises(VialFull):
        bench.doser.exchange(media_ml=0.5, alt_media_ml=0.3, waste_ml=0.8)
    assert bench.events() == []


def test_waste_is_removed_when_another_job_filled_the_vial_during_an_exchange(bench):
    bench.vial.put(current_volume_ml=16.0)
    other = Vial(bench.vial._record.path, VialState(0.0, 0.0, TUBE_ML), MAXIMUM_ML)
    wait = bench.runtime.wait

    def waiting(seconds):
        wait(seconds)
        if not other.look().runs:
            other.begin(ALT_MEDIA, 1.0)
            other.close()
            bench.runtime.wait = wait

    bench.runtime.wait = waiting
    with pytest.raises(VialFull):
        bench.doser.exchange(media_ml=0.5, alt_media_ml=0.5, waste_ml=1.0)
    assert [event for event, _ in bench.events()] == ["add_media", "remove_waste", "remove_waste"]


@pytest.mark.parametrize("error", [StorageFault("The card cannot be written."), HardwareFault("The pin is gone.")])
def test_what_came_in_leaves_again_when_the_rest_of_an_exchange_cannot_come_in(bench, monkeypatch, error):
    on = CountedPump.on

    def turning(pump, for_s):
        if pump.flow.role == ALT_MEDIA:
            raise error
        on(pump, for_s)

    monkeypatch.setattr(CountedPump, "on", turning)
    with pytest.raises(type(error)):
        bench.doser.exchange(media_ml=0.5, alt_media_ml=0.5, waste_ml=1.0)
    assert bench.truth_ml == pytest.approx(TUBE_ML)
    assert bench.counted_ml == TUBE_ML
    assert bench.pumps_on() == set()


def test_a_vial_that_is_nearly_full_is_warned_of(bench, caplog):
    bench.vial.put(current_volume_ml=16.5)
    bench.doser.pump(MEDIA, ml=0.5)
    assert caplog.records == []
    bench.doser.pump(MEDIA, ml=0.2)
    assert "17.20 ml" in caplog.text
    caplog.clear()
    bench.doser.pump(WASTE, ml=0.05)
    assert caplog.records == []


def test_what_is_removed_first_makes_room_for_what_comes_after(bench):
    bench.reactor.plant.update(lambda state: state._replace(vessels=state.vessels._replace(vial_ml=17.5)))
    bench.vial.put(current_volume_ml=17.5)
    bench.doser.check([Dose(WASTE, ml=2.0), Dose(MEDIA, ml=1.5)])
    with pytest.raises(VialFull):
        bench.doser.check([Dose(MEDIA, ml=1.5), Dose(WASTE, ml=2.0)])
    with pytest.raises(VialFull):
        bench.doser.check([Dose(WASTE, ml=2.0), Dose(MEDIA, ml=1.5), Dose(MEDIA, ml=1.5)])


def test_a_continuous_run_ends_before_the_vial_is_full_and_a_person_has_to_look(bench):
    with pytest.raises(VialFull):
        bench.doser.pump_continuously(MEDIA)
    assert MAXIMUM_ML - 2.0 < bench.truth_ml < MAXIMUM_ML
    assert bench.counted_ml == pytest.approx(bench.truth_ml, abs=1e-3)
    assert bench.pumps_on() == set()
    assert bench.runtime.faults == ["vial_full"]


def test_what_waste_removed_once_is_not_removed_again_as_the_pump_runs_on(bench, tmp_path):
    bench.vial.put(current_volume_ml=TUBE_ML + 0.5)
    other, wait, brought_in_ml = Vial(tmp_path / "vial", bench.vial.look(), MAXIMUM_ML), bench.runtime.wait, [0.4, 0.5]

    def waiting(seconds):  # another job brings media in at the end of each slice, when this pump takes air
        wait(seconds)
        if not brought_in_ml:
            raise Stopped
        ml = brought_in_ml.pop()
        other.end(other.begin(MEDIA, ml), ml)
        if not brought_in_ml:
            raise Stopped

    bench.runtime.wait = waiting
    with pytest.raises(Stopped):
        bench.doser.pump_continuously(WASTE)
    other.close()
    assert bench.counted_ml == pytest.approx(TUBE_ML + 0.4)


def test_a_continuous_run_that_cannot_begin_latches_nothing(bench):
    bench.vial.put(current_volume_ml=17.5)
    with pytest.raises(VialFull):
        bench.doser.pump_continuously(MEDIA)
    assert bench.runtime.faults == []


def test_a_continuous_run_is_no_longer_than_a_single_run_may_be(bench):
    began = bench.reactor.clock()
    with pytest.raises(InterlockTripped, match="300 s"):
        bench.doser.pump_continuously(WASTE)
    assert bench.reactor.clock() - began == pytest.approx(300.0, abs=0.1)
    assert bench.pumps_on() == set()


@pytest.mark.parametrize("role", [MEDIA, ALT_MEDIA])
def test_circulating_rinses_and_keeps_the_volume(bench, role):
    bench.doser.circulate(role, 120.0)
    assert bench.truth_ml == pytest.approx(TUBE_ML, abs=0.01)
    assert TUBE_ML <= bench.counted_ml < TUBE_ML + 0.01
    rinsed_ml = sum(ml for event, ml in bench.events() if event == f"add_{role}")
    assert rinsed_ml == pytest.approx(0.85 * 120.0 * FLOW_ML_PER_S[role], rel=0.01)


def test_media_circulate_no_faster_than_a_slow_waste_pump_takes_them(tmp_path):
    bench = Bench(tmp_path, calibrations={**CALIBRATED, "waste_pump": calibration(0.02)})
    bench.doser.circulate(MEDIA, 60.0)
    rinsed_ml = sum(ml for event, ml in bench.events() if event == "add_media")
    assert rinsed_ml == pytest.approx(60.0 * 0.02, rel=0.05)
    bench.doser.close()
    bench.reactor.close()


def test_each_pulse_of_circulation_counts_as_a_run_of_its_own(tmp_path):
    start_ml, flow_ml_per_s = 0.05, 0.1  # this pump brings some in whenever it is turned on
    curve = {"type": "poly", "coefficients": [flow_ml_per_s, start_ml]}
    recorded = {"x": [5.0, 15.0], "y": [0.55, 1.55]}
    media_pump = {**calibration(flow_ml_per_s), "curve_data_": curve, "recorded_data": recorded}
    bench = Bench(tmp_path, calibrations={"media_pump": media_pump, "waste_pump": calibration(0.1)})
    on, pulses = CountedPump.on, []

    def turning(pump, for_s):
        if pump.flow.role == MEDIA:
            pulses.append(for_s)
            assert bench.counted_ml >= TUBE_ML + start_ml + flow_ml_per_s * for_s
        on(pump, for_s)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CountedPump, "on", turning)
        bench.doser.circulate(MEDIA, 20.0)
    assert len(pulses) == 20
    really_ml = sum(start_ml + flow_ml_per_s * for_s for for_s in pulses)
    assert bench.vial.look().media_throughput == pytest.approx(really_ml)
    assert sum(ml for event, ml in bench.events() if event == "add_media") == pytest.approx(really_ml)
    bench.doser.close()
    bench.reactor.close()


def test_circulating_without_calibrations_ends_before_the_vial_could_be_full(tmp_path):
    bench = Bench(tmp_path, calibrations={})
    with pytest.raises(VialFull):
        bench.doser.circulate(MEDIA, 200.0)
    assert bench.truth_ml < MAXIMUM_ML
    assert bench.pumps_on() == set()
    bench.doser.close()
    bench.reactor.close()


def test_a_calibration_by_which_nothing_is_moved_hides_nothing_from_the_account(tmp_path):
    bench = Bench(tmp_path, calibrations={**CALIBRATED, "media_pump": calibration(0.0)})
    for run in (
        lambda: bench.doser.pump(MEDIA, duration_s=30.0),
        lambda: bench.doser.pump_continuously(MEDIA),
        lambda: bench.doser.circulate(MEDIA, 60.0),
    ):
        with pytest.raises(BadCalibration):
            run()
    assert bench.truth_ml == TUBE_ML
    bench.reactor.close()


def test_a_pump_that_another_job_has_is_a_conflict_and_nothing_moves(bench):
    with bench.reactor.hardware.open_pump(WASTE, default_config().pwm_assignment()):
        with pytest.raises(Conflict, match="waste pump is in use"):
            bench.doser.exchange(media_ml=0.5, waste_ml=0.5)
        with pytest.raises(Conflict):
            bench.doser.circulate(MEDIA, 10.0)
    assert bench.truth_ml == TUBE_ML
    assert bench.events() == []
    bench.doser.exchange(media_ml=0.5, waste_ml=0.5)


def test_a_pump_that_is_plugged_in_nowhere_is_said_before_anything_moves(tmp_path):
    bench = Bench(tmp_path, overrides=[["PWM", "4", "none"]])
    with pytest.raises(HardwareFault, match="waste"):
        bench.doser.exchange(media_ml=0.5, waste_ml=0.5)
    assert bench.truth_ml == TUBE_ML
    bench.reactor.close()


def test_the_smaller_of_the_units_and_the_requests_models_counts(tmp_path):
    models = load_models()
    large, small = models["pioreactor_40ml", "1.5"], models["pioreactor_20ml", "1.5"]

    def limit(unit, request):
        runtime = SimpleNamespace(model=request, data_folder=tmp_path)
        return maximum_volume_ml(runtime, SimpleNamespace(model=unit))

    assert limit(small, small.key) == 18.0
    assert limit(small, large.key) == limit(large, small.key) == 18.0
    assert limit(None, large.key) == 38.0
    assert limit(None, None) is None
    assert limit(small, ("no such reactor", "1.0")) is None
