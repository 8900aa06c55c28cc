import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit.drivers.simulation import constants, liquids
from reactor_unit.drivers.simulation.clock import VirtualClock
from reactor_unit.drivers.simulation.growth import Culture
from reactor_unit.drivers.simulation.liquids import Pipework, Vessels
from reactor_unit.drivers.simulation.plant import PlantState, advance
from reactor_unit.drivers.simulation.state import SharedPlant

MEDIA, ALT_MEDIA, WASTE = (constants.FLOW_ML_PER_S[pump] for pump in constants.PUMPS)


def pumped(duty_cycles, seconds, vessels=None, **pipework):
    state = PlantState(vessels=vessels or Vessels(), pipework=Pipework(**pipework))
    return advance(state, duty_cycles, seconds).vessels


def test_media_comes_from_its_bottle_into_the_vial():
    after = pumped({"media": 100.0}, 20.0)
    assert after.vial_ml == pytest.approx(14.0 + 20.0 * MEDIA)
    assert after.media_ml == pytest.approx(500.0 - 20.0 * MEDIA)


def test_flow_goes_with_the_duty_cycle_above_the_motors_start():
    assert pumped({"media": 50.0}, 20.0).vial_ml == pytest.approx(14.0 + 10.0 * MEDIA)
    assert pumped({"media": 9.0}, 20.0) == Vessels()


def test_the_waste_pump_takes_only_what_is_above_its_tube():
    assert pumped({"waste": 100.0}, 600.0, Vessels(vial_ml=10.0)) == Vessels(vial_ml=10.0)
    after = pumped({"waste": 100.0}, 600.0, Vessels(vial_ml=15.0))
    assert (after.vial_ml, after.waste_ml) == (14.0, pytest.approx(1.0))


def test_at_the_tubes_level_as_much_goes_out_as_comes_in():
    after = pumped({"media": 100.0, "waste": 100.0}, 600.0, Vessels(vial_ml=13.0))
    assert after.vial_ml == 14.0
    assert after.waste_ml == pytest.approx(600.0 * MEDIA - 1.0)


def test_what_passes_the_brim_is_on_the_bench():
    after = pumped({"media": 100.0}, 200.0)
    assert after.vial_ml == 20.0
    assert after.bench_ml == pytest.approx(200.0 * MEDIA - 6.0)


def test_both_media_are_more_than_the_waste_pump_can_take():
    after = pumped({"media": 100.0, "alt_media": 100.0, "waste": 100.0}, 600.0)
    assert after.vial_ml == 20.0
    assert after.waste_ml == pytest.approx(600.0 * WASTE)
    assert after.bench_ml == pytest.approx(600.0 * (MEDIA + ALT_MEDIA - WASTE) - 6.0)


def test_an_empty_bottle_gives_nothing_more():
    after = pumped({"media": 100.0}, 600.0, Vessels(media_ml=3.0))
    assert (after.media_ml, after.vial_ml) == (0.0, pytest.approx(17.0))


def test_a_full_waste_bottle_runs_over():
    after = pumped({"media": 100.0, "waste": 100.0}, 600.0, Vessels(waste_ml=995.0))
    assert (after.waste_ml, after.bench_ml) == (1000.0, pytest.approx(600.0 * MEDIA - 5.0))


def test_a_tube_in_a_beaker_leaves_the_vial_alone():
    after = pumped({"media": 100.0, "waste": 100.0}, 10.0, beakers=0b101)
    assert after.vial_ml == 14.0
    assert after.media_beaker_ml == pytest.approx(10.0 * MEDIA)
    assert after.waste_beaker_ml == pytest.approx(10.0 * WASTE)
    assert after.waste_ml == 0.0


def test_dilution_lowers_biomass_and_brings_alt_media():
    state = PlantState(culture=Culture(1.0, 0.0, 0.0), vial_c=4.0, board_c=4.0, room_c=4.0)  # too cold to grow
    after = advance(state, {"alt_media": 100.0}, 1.0 / ALT_MEDIA)  # 1 ml into 14 ml
    assert after.culture.biomass_od == pytest.approx(14.0 / 15.0)
    assert after.culture.alt_fraction == pytest.approx(1.0 / 15.0)


vessels = st.builds(
    Vessels,
    vial_ml=st.floats(1.0, 20.0),
    media_ml=st.floats(0.0, 60.0),
    alt_media_ml=st.floats(0.0, 60.0),
    waste_ml=st.floats(950.0, 1000.0),
    **dict.fromkeys(("bench_ml", "media_beaker_ml", "alt_media_beaker_ml", "waste_beaker_ml"), st.just(0.0)),
)
duty_cycles = st.fixed_dictionaries({pump: st.sampled_from([0.0, 20.0, 70.0, 100.0]) for pump in constants.PUMPS})


@given(vessels, duty_cycles, st.integers(0, 7), st.floats(0.0, 3600.0))
def test_nothing_is_lost_and_no_vessel_is_over_its_brim(held, drive, beakers, seconds):
    after = pumped(drive, seconds, held, beakers=beakers)
    assert liquids.total_ml(after) == pytest.approx(liquids.total_ml(held), rel=1e-9)
    assert all(volume_ml >= -1e-9 for volume_ml in after)
    assert after.vial_ml <= 20.0 + 1e-9
    assert after.waste_ml <= 1000.0 + 1e-9


def test_a_person_calibrates_a_pump(tmp_path):
    clock = VirtualClock()
    plant = SharedPlant(tmp_path / "plant.bin", clock=clock)
    plant.tube_into_beaker("waste")
    run_pump(plant, 12, 100.0)
    clock.sleep(10.0)
    run_pump(plant, 12, 0.0)
    assert plant.volume_expelled_ml("waste") == pytest.approx(10.0 * WASTE)
    plant.tube_into_beaker("waste")  # emptied
    assert plant.volume_expelled_ml("waste") == 0.0
    plant.tube_into_vial("waste")
    run_pump(plant, 12, 100.0)
    clock.sleep(10.0)
    assert plant.volume_expelled_ml("waste") == 0.0
    with pytest.raises(ValueError, match="no pump 'stirring'"):
        plant.tube_into_beaker("stirring")
    plant.close()


def run_pump(plant, pin, duty_cycle):
    plant.change([pin], lambda r: r._replace(out=True, pwm=True, frequency_hz=250.0, duty_cycle=duty_cycle))


def test_a_day_of_dilution_by_driven_pumps_keeps_the_balance(tmp_path):
    """A chemostat as the jobs drive it: every 20 minutes 0.5 ml in, then waste for twice as long."""
    clock = VirtualClock()
    plant = SharedPlant(tmp_path / "plant.bin", clock=clock)
    plant.inoculate(1.0)
    began_ml = liquids.total_ml(plant.look().vessels)
    in_ml = 0.0
    while clock() < 86400.0:
        for pin, seconds in ((13, 0.5 / MEDIA), (12, 1.0 / WASTE)):
            run_pump(plant, pin, 100.0)
            clock.sleep(seconds)
            run_pump(plant, pin, 0.0)
            clock.sleep(5.0)
        in_ml += 0.5
        until_next_s = 1200.0 - clock() % 1200.0
        for _ in range(10):  # jobs look in between
            clock.sleep(until_next_s / 10)
            plant.photodiode_voltage_v("2")
    end = plant.look().vessels
    assert liquids.total_ml(end) == pytest.approx(began_ml, rel=1e-9)
    assert end.vial_ml == pytest.approx(14.0, rel=1e-3)
    assert end.waste_ml == pytest.approx(in_ml, rel=1e-3)
    assert end.media_ml == pytest.approx(500.0 - in_ml, rel=1e-3)
    assert end.bench_ml == 0.0
    plant.close()
