"""Edges of the simulated hall sensor: each has the moment that the plant gives it, whenever somebody looks."""

import contextlib
import itertools
import threading
import time

import pytest
from harness import DEADLINE_S
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit.drivers.hall_sensor import HallSensor
from reactor_unit.drivers.simulation import motion, plant
from reactor_unit.drivers.simulation.edges import FALLING, Detection
from reactor_unit.drivers.simulation.gpio import SimulatedGPIO
from reactor_unit.drivers.simulation.plant import PlantState, advance, edge_moments, edges_passed
from reactor_unit.drivers.simulation.state import SharedPlant


class Clock:
    """A clock that moves when it is told to, in no real time: so the thread is always late."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def turning(tmp_path, clock):
    """A GPIO whose stirrer turns at 500 rpm."""
    gpio = SimulatedGPIO(tmp_path / "plant.bin", clock=clock)
    gpio.setmode(gpio.BCM)
    gpio.setup(17, gpio.OUT)
    gpio.setup(21, gpio.IN, pull_up_down=gpio.PUD_UP)
    pwm = gpio.PWM(17, 200)
    pwm.start(30.0)
    clock.sleep(30.0)
    yield gpio
    pwm.stop()
    gpio.close()


@given(
    st.floats(0.0, 2000.0),
    st.floats(0.0, 100.0),
    st.floats(0.0, 5.0),
    st.floats(0.0, 1e4),
    st.booleans(),
    st.integers(0, 99),
)
def test_each_edge_that_passed_has_the_moment_at_which_the_rotor_was_there(rpm, duty, seconds, turns, rising, seed):
    before = PlantState(rpm=rpm, turns=turns, seed=seed, time_s=50.0)
    after = advance(before, {"stirring": duty}, seconds)
    moments = edge_moments(before, after, {"stirring": duty}, rising=rising)
    assert len(moments) == edges_passed(before, after, rising=rising)
    first = motion.last_edge(seed, turns, rising) + 1
    for turn, moment in enumerate(moments, first):
        assert before.time_s <= moment <= after.time_s
        there = advance(before, {"stirring": duty}, moment - before.time_s)
        # A motor that comes to rest on an edge is there for long: then it is the angle that is known, not the moment.
        assert there.turns == pytest.approx(motion.edge_turns(seed, turn, rising), abs=1e-6)


def test_of_very_many_edges_the_last_are_told(monkeypatch):
    before = PlantState(rpm=500.0)
    after = advance(before, {"stirring": 30.0}, 3600.0)
    all_moments = edge_moments(before, after, {"stirring": 30.0})
    monkeypatch.setattr(plant, "MOST_EDGES", 5)
    assert edge_moments(before, after, {"stirring": 30.0}) == all_moments[-5:]


def test_one_look_over_a_change_of_the_drive_gives_the_moments_of_many_looks(tmp_path, clock):
    with contextlib.closing(SharedPlant(tmp_path / "plant.bin", clock=clock)) as reactor:

        def drive(duty_cycle):
            reactor.change([17], lambda r: r._replace(out=True, pwm=True, frequency_hz=200.0, duty_cycle=duty_cycle))

        drive(30.0)
        clock.sleep(30.0)
        seldom, often = (Detection(21, 21, FALLING, None, seen=reactor.look_back()) for _ in range(2))
        seen_often = []
        for step in range(100):
            if step == 43:
                drive(100.0)
            clock.sleep(0.02)
            seen_often += often.look(reactor.look_back())
        assert len(seen_often) > 20
        assert seldom.look(reactor.look_back()) == pytest.approx(seen_often, abs=1e-6)


def test_who_reads_the_time_has_been_told_of_all_edges_before(turning, clock):
    moments = []
    turning.add_event_detect(21, turning.FALLING, callback=lambda _pin: moments.append(turning.edge_clock()))
    began_s = turning.edge_clock()
    clock.sleep(1.2)
    assert turning.edge_clock() == pytest.approx(began_s + 1.2)
    assert len(moments) in (9, 10, 11)
    assert all(began_s <= moment <= began_s + 1.2 for moment in moments)
    periods_s = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert periods_s == [pytest.approx(0.12, abs=0.001)] * len(periods_s)  # not the one moment of the look


def test_the_speed_is_measured_right_by_a_thread_that_is_always_late(turning, clock):
    with HallSensor(turning, 21, clock=turning.edge_clock) as sensor:
        for _ in range(3):
            assert sensor.measure_rpm(1.2, clock.sleep) == pytest.approx(500.0, rel=0.01)


def test_the_speed_is_measured_right_in_a_plant_60_times_as_fast_as_the_clock(tmp_path):
    gpio = SimulatedGPIO(tmp_path / "plant.bin")
    with contextlib.closing(gpio):
        gpio.plant.update(lambda state: state._replace(rpm=500.0), speed=60.0)
        gpio.setmode(gpio.BCM)
        gpio.setup(17, gpio.OUT)
        pwm = gpio.PWM(17, 200)
        pwm.start(30.0)
        time.sleep(0.5)
        sensor = HallSensor(gpio, 21, clock=gpio.edge_clock)
        measured = [sensor.measure_rpm(3.0, lambda s: time.sleep(s / 60.0)) for _ in range(5)]
        assert measured == [pytest.approx(500.0, rel=0.02)] * 5
        sensor.close()
        pwm.stop()


def test_bounce_is_told_by_the_moments_of_edges_and_not_of_looks(turning, clock):
    moments = []
    turning.add_event_detect(
        21, turning.FALLING, callback=lambda _pin: moments.append(turning.edge_clock()), bouncetime=300
    )
    clock.sleep(2.4)
    turning.edge_clock()
    periods_s = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert periods_s == [pytest.approx(0.36, abs=0.002)] * 6


def test_a_callback_that_removes_its_detection_is_not_called_for_the_edges_after(turning, clock):
    seen = []

    def once(channel):
        seen.append(channel)
        turning.remove_event_detect(channel)

    turning.add_event_detect(21, turning.FALLING, callback=once)
    clock.sleep(1.2)
    turning.edge_clock()
    assert seen == [21]


def test_a_callback_may_end_all_detections_and_the_thread(turning, clock):
    turning.add_event_detect(21, turning.FALLING, callback=lambda _pin: turning.cleanup())
    clock.sleep(1.2)
    reader = threading.Thread(target=turning.edge_clock, daemon=True)
    reader.start()
    reader.join(DEADLINE_S)
    assert not reader.is_alive()
    assert turning.getmode() is None


def test_the_time_out_of_a_wait_for_an_edge_is_the_plants_time(tmp_path):
    with contextlib.closing(SimulatedGPIO(tmp_path / "plant.bin")) as gpio:
        gpio.plant.update(lambda state: state, speed=1000.0)
        gpio.setmode(gpio.BCM)
        gpio.setup(4, gpio.IN)
        began_s = gpio.plant.plant_time_s()
        began = time.monotonic()
        assert gpio.wait_for_edge(4, gpio.FALLING, timeout=60_000) is None
        assert gpio.plant.plant_time_s() - began_s >= 60.0
        assert time.monotonic() - began < 30.0
