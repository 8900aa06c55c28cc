import pytest

from reactor_unit.drivers.simulation import constants
from reactor_unit.drivers.simulation.clock import VirtualClock
from reactor_unit.drivers.simulation.fault_set import PLAIN_FAULTS, Faults
from reactor_unit.drivers.simulation.plant import PlantState, edges_passed, seconds_to_next_edge
from reactor_unit.drivers.simulation.state import SharedPlant

EVERY_NAME = [*PLAIN_FAULTS, "pump_blocked:media", "pump_blocked:alt_media", "pump_blocked:waste"]


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def plant(tmp_path, clock):
    opened = SharedPlant(tmp_path / "plant.bin", clock=clock)
    yield opened
    opened.close()


def drive(plant, pin, duty_cycle):
    plant.change([pin], lambda r: r._replace(out=True, pwm=True, frequency_hz=200.0, duty_cycle=duty_cycle))


@pytest.mark.parametrize("name", [*EVERY_NAME, "sensor_unplugged:0x4f", "sensor_unplugged:0x00"])
def test_each_fault_is_injected_seen_by_others_and_cleared(plant, tmp_path, clock, name):
    other = SharedPlant(tmp_path / "plant.bin", clock=clock)
    assert other.faults() == frozenset()
    plant.inject(name)
    plant.inject(name)
    assert other.faults() == {name}
    other.inject("sensor_unplugged:72")
    other.clear(name)
    assert plant.faults() == {"sensor_unplugged:0x48"}
    plant.clear()
    assert other.faults() == frozenset()
    other.close()


@pytest.mark.parametrize(
    "name", ["", "nonsense", "pump_blocked:", "pump_blocked:stirring", "sensor_unplugged:", "sensor_unplugged:0x80"]
)
def test_a_name_that_is_no_fault_is_refused(plant, name):
    with pytest.raises(ValueError, match=r"no fault|needs an I2C address"):
        plant.inject(name)
    with pytest.raises(ValueError, match=r"no fault|needs an I2C address"):
        plant.clear(name)
    assert plant.faults() == frozenset()


def test_names_and_what_the_plant_asks_agree():
    assert Faults().with_fault("hall_silent").hall_silent
    assert Faults().with_fault("stirrer_stalled").stirrer_stalled
    assert Faults().with_fault("heater_stuck_on").heater_stuck_on
    assert Faults().with_fault("noisy_light").noisy_light
    assert Faults().with_fault("clock_jump").clock_jump
    for pump in constants.PUMPS:
        blocked = Faults().with_fault(f"pump_blocked:{pump}")
        assert [other for other in constants.PUMPS if blocked.pump_blocked(other)] == [pump]
        assert not blocked.hall_silent | blocked.stirrer_stalled | blocked.heater_stuck_on | blocked.noisy_light


def test_a_silent_hall_sensor_gives_no_edge_while_the_stirrer_turns(plant, clock):
    drive(plant, 17, 30.0)
    plant.inject("hall_silent")
    before, drives = plant.look_with_drives()
    clock.sleep(10.0)
    after = plant.look()
    assert after.rpm == pytest.approx(500.0, rel=0.01)
    assert edges_passed(before, after) == edges_passed(before, after, rising=True) == 0
    assert seconds_to_next_edge(after, drives) == float("inf")
    assert plant.level(21) == 1
    plant.clear()
    clock.sleep(10.0)
    assert edges_passed(after, plant.look()) == pytest.approx(83, abs=1)


def test_a_stalled_stirrer_stands_at_once_and_turns_again_when_freed(plant, clock):
    drive(plant, 17, 30.0)
    clock.sleep(10.0)
    plant.inject("stirrer_stalled")
    clock.sleep(0.001)
    turns = plant.look().turns
    clock.sleep(10.0)
    assert (plant.true_rpm(), plant.look().turns) == (0.0, turns)
    plant.clear("stirrer_stalled")
    clock.sleep(10.0)
    assert plant.true_rpm() == pytest.approx(500.0, rel=0.01)


def test_a_heater_stuck_on_heats_whatever_it_is_told(plant, clock):
    drive(plant, 18, 0.0)
    plant.inject("heater_stuck_on")
    clock.sleep(3600.0)
    assert plant.heater_board_temperature_c() > 85.0
    plant.clear()
    clock.sleep(7200.0)
    assert plant.heater_board_temperature_c() == pytest.approx(22.0, abs=0.5)


@pytest.mark.parametrize(("pump", "pin"), [("media", 13), ("alt_media", 16), ("waste", 12)])
def test_a_blocked_pump_moves_nothing(plant, clock, pump, pin):
    plant.tube_into_beaker(pump)
    plant.inject(f"pump_blocked:{pump}")
    drive(plant, pin, 100.0)
    clock.sleep(10.0)
    assert plant.volume_expelled_ml(pump) == 0.0
    plant.clear()
    clock.sleep(10.0)
    assert plant.volume_expelled_ml(pump) == pytest.approx(10.0 * constants.FLOW_ML_PER_S[pump])


def test_a_clock_jump_concerns_the_wall_clock_alone(plant, clock):
    assert plant.wall_clock_offset_s() == 0.0
    plant.inject("clock_jump")
    assert plant.wall_clock_offset_s() == constants.WALL_CLOCK_JUMP_S
    assert plant.plant_time_s() == 0.0


def test_the_state_of_a_plant_without_faults_has_none():
    assert PlantState().faults.names() == frozenset()
