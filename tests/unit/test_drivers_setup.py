"""How a unit's start puts the simulated reactor together, and what it leaves as it was."""

import pytest

from reactor_unit.drivers import hardware
from reactor_unit.drivers.simulation import person
from reactor_unit.drivers.simulation.clock import VirtualClock
from reactor_unit.drivers.simulation.setup import Setup
from reactor_unit.drivers.simulation.state import SharedPlant


@pytest.fixture
def plant(tmp_path):
    plant = SharedPlant(tmp_path / "plant.bin", clock=VirtualClock(), seed=3)
    yield plant
    plant.close()


def test_a_setup_puts_vial_photodiodes_lamp_speed_and_seed_in_place(plant):
    setup = Setup(speed=60.0, seed=7, vial_ml=(40.0, 30.0), photodiodes={"1": "90", "4": "REF"}, ir_led="C")
    setup.apply(plant)
    state = plant.look()
    assert (plant.speed, state.seed) == (60.0, 7)
    assert (state.pipework.capacity_ml, state.pipework.waste_tube_ml) == (40.0, 30.0)
    expected = person.plug_ir_led(person.point_photodiodes(state, {"1": "90", "4": "REF"}), "C")
    assert state.light == expected.light


def test_what_grows_and_what_vessels_hold_stays_and_so_does_the_seed(plant):
    plant.update(lambda state: state._replace(vial_c=35.0))
    plant.put_standard(2.0)
    plant.update(lambda state: person.fill_vial(state, 9.0))
    plant.tube_into_beaker("waste")
    plant.inject("hall_silent")
    before = plant.look()
    Setup(vial_ml=(40.0, 30.0), photodiodes={"1": "REF", "2": "90"}).apply(plant)
    after = plant.look()
    kept = ("culture", "vessels", "vial_c", "seed", "turns", "time_s", "faults", "leds")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert after.pipework.beakers == before.pipework.beakers


def test_a_unit_without_a_speed_starts_at_real_speed_whatever_the_plants_file_says(plant):
    Setup(speed=60.0).apply(plant)
    Setup().apply(plant)
    assert plant.speed == 1.0


@pytest.mark.parametrize(
    "setup",
    [
        Setup(speed=60.0, vial_ml=(10.0, 14.0)),
        Setup(speed=60.0, photodiodes={"1": "30"}),
        Setup(speed=60.0, ir_led="E"),
        Setup(speed=0.0, seed=9),
    ],
    ids=["tube above the brim", "an angle that is none", "an LED channel that is none", "a plant that stands still"],
)
def test_a_setup_that_is_not_possible_changes_nothing(plant, setup):
    before = plant.look()
    with pytest.raises(ValueError, match=r"possible|LED channel|speed"):
        setup.apply(plant)
    assert (plant.look(), plant.speed) == (before, 1.0)


def test_open_hardware_tells_the_plants_time_and_the_jump_of_its_wall_clock(tmp_path):
    Setup(speed=1000.0).apply(SharedPlant(tmp_path / "plant.bin"))
    opened = hardware.open_hardware("simulated", tmp_path)
    assert opened.speed == 1000.0
    before_s = opened.edge_clock()
    assert before_s <= opened.edge_clock() <= SharedPlant(tmp_path / "plant.bin").plant_time_s()
    assert opened.wall_clock_offset_s() == 0.0
    SharedPlant(tmp_path / "plant.bin").inject("clock_jump")
    assert opened.wall_clock_offset_s() > 86400.0
    opened.close()
