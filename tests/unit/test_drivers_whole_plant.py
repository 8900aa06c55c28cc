"""The whole simulated reactor: one look or many, its speed, and writers that are killed."""

import contextlib
import signal
import subprocess
import sys
import threading
import time

import pytest
from harness import DEADLINE_S
from hypothesis import example, given
from hypothesis import strategies as st

from reactor_unit.drivers.hall_sensor import HallSensor
from reactor_unit.drivers.simulation import constants, optics
from reactor_unit.drivers.simulation.clock import VirtualClock
from reactor_unit.drivers.simulation.gpio import SimulatedGPIO
from reactor_unit.drivers.simulation.growth import Culture
from reactor_unit.drivers.simulation.liquids import Vessels
from reactor_unit.drivers.simulation.plant import PlantState, advance
from reactor_unit.drivers.simulation.state import SharedPlant

duty_cycle = st.one_of(st.just(0.0), st.floats(0.0, 100.0), st.sampled_from([10.0, 50.0, 100.0]))
drives = st.fixed_dictionaries(dict.fromkeys(("stirring", "heating", *constants.PUMPS), duty_cycle))
states = st.builds(
    lambda biomass, substrate, alt, vial_ml, media_ml, board_c, vial_c, rpm: PlantState(
        culture=Culture(biomass, substrate, alt),
        vessels=Vessels(vial_ml=vial_ml, media_ml=media_ml),
        board_c=board_c,
        vial_c=vial_c,
        rpm=rpm,
        leds=(80.0, 0.0, 0.0, 0.0),
    ),
    st.one_of(st.just(0.0), st.floats(1e-4, 10.0)),
    st.one_of(st.just(0.0), st.floats(1e-4, 8.0)),
    st.floats(0.0, 1.0),
    st.floats(5.0, 20.0),
    st.floats(0.0, 60.0),
    st.floats(15.0, 90.0),
    st.floats(15.0, 60.0),
    st.floats(0.0, 2000.0),
)


def in_many_looks(state, drive, total_s, looks):
    for _ in range(looks):
        state = advance(state, drive, total_s / looks)
    return state


@given(states, drives, st.floats(0.0, 3600.0), st.integers(2, 60))
@example(  # starved cells that wake with the first drops
    PlantState(culture=Culture(1.0, 0.0, 0.0), board_c=37.0, vial_c=37.0, room_c=37.0),
    {"media": 100.0, "alt_media": 100.0, "waste": 100.0},
    600.0,
    60,
)
@example(PlantState(), {"heating": 45.0}, 3600.0, 36)  # past the hottest temperature of growth
def test_an_interval_in_one_look_and_in_many_agrees_within_a_thousandth(state, drive, total_s, looks):
    one, many = advance(state, drive, total_s), in_many_looks(state, drive, total_s, looks)
    assert tuple(many.culture) == pytest.approx(tuple(one.culture), rel=1e-3, abs=1e-4)
    assert tuple(many.vessels) == pytest.approx(tuple(one.vessels), rel=1e-6, abs=1e-6)
    for name in ("time_s", "turns", "board_c", "vial_c", "suspended"):
        assert getattr(many, name) == pytest.approx(getattr(one, name), rel=1e-4), name
    assert many.rpm == pytest.approx(one.rpm, rel=1e-3, abs=1e-4)
    for angle in ("REF", "45", "90", "135", "180"):
        expected_v = optics.steady_signal_v(one, angle)
        assert optics.steady_signal_v(many, angle) == pytest.approx(expected_v, rel=1e-3, abs=1e-5)


@given(states, drives, st.floats(0.0, 30 * 86400.0))
def test_whatever_happens_the_state_makes_sense(state, drive, total_s):
    after = advance(state, drive, total_s)
    assert min(after.culture) >= 0.0
    assert after.culture.alt_fraction <= 1.0
    assert after.culture.biomass_od <= state.culture.biomass_od + max(state.culture.substrate_od, constants.FEED_OD)
    assert constants.SETTLED_FRACTION <= after.suspended <= 1.0
    assert 15.0 - 1e-6 <= after.vial_c <= 200.0


def run_pwm(plant, pin, duty_cycle):
    plant.change([pin], lambda r: r._replace(out=True, pwm=True, frequency_hz=200.0, duty_cycle=duty_cycle))


def test_the_plant_runs_faster_than_the_clock_by_its_speed(tmp_path):
    clock = VirtualClock(500.0)
    plant = SharedPlant(tmp_path / "plant.bin", clock=clock, speed=60.0)
    run_pwm(plant, 13, 100.0)
    clock.sleep(1.0)
    assert plant.speed == 60.0
    assert plant.plant_time_s() == pytest.approx(60.0)
    assert plant.look().vessels.media_ml == pytest.approx(500.0 - 60.0 * constants.FLOW_ML_PER_S["media"])
    plant.close()


def test_the_speed_belongs_to_the_plant_and_a_new_one_counts_from_its_moment(tmp_path):
    clock = VirtualClock()
    first = SharedPlant(tmp_path / "plant.bin", clock=clock, speed=10.0)
    clock.sleep(5.0)
    with contextlib.closing(SharedPlant(tmp_path / "plant.bin", clock=clock)) as other:
        assert other.speed == 10.0
    second = SharedPlant(tmp_path / "plant.bin", clock=clock, speed=2.0, wiring={17: "stirring"})
    clock.sleep(5.0)
    assert first.plant_time_s() == second.look().time_s == pytest.approx(60.0)
    for speed in (0.0, -1.0, float("nan"), 1e9):
        with pytest.raises(ValueError, match="speed"):
            SharedPlant(tmp_path / "plant.bin", clock=clock, speed=speed)
    first.close()
    second.close()


def test_a_day_on_the_virtual_clock_grows_a_batch(tmp_path):
    clock = VirtualClock()
    plant = SharedPlant(tmp_path / "plant.bin", clock=clock)
    plant.put_blank()
    clock.sleep(86400.0)
    assert plant.look().culture.biomass_od == 0.0
    plant.inoculate(0.1)
    ods = []
    for _ in range(24):
        ods.append(plant.look().culture.biomass_od)
        clock.sleep(3600.0)
    assert ods == sorted(ods)
    assert ods[-1] == pytest.approx(5.1, rel=0.01)
    plant.put_standard(2.0)
    clock.sleep(86400.0)
    assert plant.look().culture.biomass_od == 2.0  # a standard does not grow
    plant.close()


def test_what_a_person_does_with_bottles(tmp_path):
    clock = VirtualClock()
    plant = SharedPlant(tmp_path / "plant.bin", clock=clock)
    run_pwm(plant, 13, 100.0)
    run_pwm(plant, 12, 50.0)
    clock.sleep(7000.0)
    vessels = plant.look().vessels
    assert vessels.media_ml == 0.0
    assert min(vessels.waste_ml, vessels.bench_ml) > 1.0
    plant.refill()
    plant.empty_waste()
    assert (plant.look().vessels.media_ml, plant.look().vessels.waste_ml, plant.look().vessels.bench_ml) == (500, 0, 0)
    for od in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="optical density"):
            plant.inoculate(od)
    plant.close()


def test_the_hall_sensor_is_measured_on_the_virtual_clock(tmp_path):
    clock = VirtualClock(1000.0)
    gpio = SimulatedGPIO(tmp_path / "plant.bin", clock=clock)
    gpio.setmode(gpio.BCM)
    gpio.setup(17, gpio.OUT)
    pwm = gpio.PWM(17, 200)
    threads = threading.active_count()
    with HallSensor(gpio, 21, clock=clock) as sensor:
        assert sensor.measure_rpm(1.0, clock.sleep) == 0.0
        pwm.start(30.0)
        clock.sleep(10.0)
        assert sensor.measure_rpm(5.0, clock.sleep) == pytest.approx(500.0, rel=0.005)
        assert threading.active_count() == threads
    pwm.stop()
    gpio.close()


WRITE = """
import pathlib, sys
from reactor_unit.drivers.simulation.state import SharedPlant
plant = SharedPlant(pathlib.Path(sys.argv[1]))
print("ready", flush=True)
n = 0
while True:
    n = n % 100 + 1
    # Numbers that belong together, across the whole slot.
    plant.update(lambda s: s._replace(
        leds=(n, n, n, n), culture=s.culture._replace(substrate_od=n), vessels=s.vessels._replace(bench_ml=n)))
"""


def test_a_writer_killed_anywhere_leaves_every_part_of_the_state_whole(tmp_path):
    path = tmp_path / "plant.bin"
    plant = SharedPlant(path)
    plant.put_blank()  # nothing eats the substrate
    plant.update(lambda s: s._replace(vial_c=4.0, culture=Culture(0.0, 0.0, 0.0)))
    for trial in range(10):
        process = subprocess.Popen([sys.executable, "-c", WRITE, str(path)], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.002 + 0.0017 * trial)
            process.send_signal(signal.SIGKILL)
            process.wait(DEADLINE_S)
            state = plant.look()
            assert {*state.leds, state.culture.substrate_od, state.vessels.bench_ml} == {state.leds[0]}
            plant.inject("bus_stuck")
            assert plant.faults() == {"bus_stuck"}
            plant.clear()
        finally:
            process.kill()
            process.wait(DEADLINE_S)
            process.stdout.close()
    plant.close()
