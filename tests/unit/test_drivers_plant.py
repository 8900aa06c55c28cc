import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit.drivers.hall_sensor import HallSensor
from reactor_unit.drivers.simulation import constants
from reactor_unit.drivers.simulation.motion import settled_rpm
from reactor_unit.drivers.simulation.plant import PlantState, advance, edges_passed, hall_level, seconds_to_next_edge

duty_cycles = st.floats(0.0, 100.0)
speeds = st.floats(0.0, 2100.0)
seconds = st.floats(0.0, 600.0)


def stirring(duty_cycle):
    return {"stirring": duty_cycle}


def in_many_looks(state, drive, total_s, looks):
    for _ in range(looks):
        state = advance(state, drive, total_s / looks)
    return state


def by_small_steps(rpm, duty_cycle, total_s, step_s=1e-4):
    """The equation of motion, integrated numerically (midpoint rule): what the closed form has to agree with."""
    turns = 0.0
    for _ in range(round(total_s / step_s)):
        if rpm <= 0.0 and duty_cycle < constants.STARTING_DUTY_CYCLE:
            return 0.0, turns

        def slope(speed):
            headed_for = constants.RPM_PER_PERCENT * (duty_cycle - constants.RUNNING_DUTY_CYCLE)
            return (headed_for - speed) / constants.TIME_CONSTANT_S

        middle = rpm + slope(rpm) * step_s / 2.0
        turns += middle / 60.0 * step_s
        rpm += slope(middle) * step_s
    return max(0.0, rpm), turns


@pytest.mark.parametrize(
    ("rpm", "duty_cycle"),
    [(0.0, 30.0), (0.0, 100.0), (500.0, 10.0), (2000.0, 0.0), (500.0, 40.0), (300.0, 8.0), (0.0, 11.9)],
)
@pytest.mark.parametrize("total_s", [0.1, 1.0, 5.0])
def test_the_closed_form_agrees_with_the_equation_of_motion(rpm, duty_cycle, total_s):
    expected_rpm, expected_turns = by_small_steps(rpm, duty_cycle, total_s)
    after = advance(PlantState(rpm=rpm, turns=0.0), stirring(duty_cycle), total_s)
    assert after.rpm == pytest.approx(expected_rpm, rel=1e-3, abs=0.05)
    assert after.turns == pytest.approx(expected_turns, rel=1e-3, abs=1e-3)
    assert after.time_s == total_s


def test_a_step_of_the_duty_cycle_has_reached_63_percent_after_one_time_constant():
    after = advance(PlantState(), stirring(30.0), constants.TIME_CONSTANT_S)
    assert after.rpm == pytest.approx(500.0 * (1.0 - math.exp(-1.0)), rel=0.01)


@given(speeds, duty_cycles, seconds, st.integers(2, 40))
def test_one_look_and_many_agree(rpm, duty_cycle, total_s, looks):
    state = PlantState(rpm=rpm)
    one = advance(state, stirring(duty_cycle), total_s)
    many = in_many_looks(state, stirring(duty_cycle), total_s, looks)
    assert many.rpm == pytest.approx(one.rpm, rel=1e-3, abs=1e-4)
    assert many.turns == pytest.approx(one.turns, rel=1e-6, abs=1e-6)
    assert many.time_s == pytest.approx(total_s)


@given(speeds, duty_cycles, seconds)
def test_speed_stays_between_where_it_was_and_where_it_goes(rpm, duty_cycle, total_s):
    after = advance(PlantState(rpm=rpm), stirring(duty_cycle), total_s)
    ends = (rpm, settled_rpm(duty_cycle, turning=rpm > 0.0))
    assert min(ends) - 1e-9 <= after.rpm <= max(ends) + 1e-9
    assert after.turns >= 0.5


@given(speeds, duty_cycles)
def test_it_settles(rpm, duty_cycle):
    after = advance(PlantState(rpm=rpm), stirring(duty_cycle), 60.0)
    assert after.rpm == pytest.approx(settled_rpm(duty_cycle, turning=rpm > 0.0), rel=1e-3, abs=1e-6)


def test_what_the_motor_does_at_the_shipped_settings():
    assert settled_rpm(30.0) == pytest.approx(500.0)
    assert settled_rpm(100.0) > 2000.0
    assert settled_rpm(0.0) == 0.0


def test_friction_at_rest_is_larger_than_while_turning():
    at_rest, turning = PlantState(), PlantState(rpm=200.0)
    assert advance(at_rest, stirring(10.0), 100.0).rpm == 0.0
    assert advance(turning, stirring(10.0), 100.0).rpm == pytest.approx(settled_rpm(10.0))
    assert advance(at_rest, stirring(12.0), 100.0).rpm > 0.0


def test_without_drive_the_motor_stops_for_good():
    stopped = advance(PlantState(rpm=500.0), {}, 10.0)
    assert stopped.rpm == 0.0
    assert advance(stopped, {}, 1000.0).turns == stopped.turns


def test_other_roles_do_not_turn_the_stirrer():
    assert advance(PlantState(), {"media": 100.0, "heating": 100.0}, 10.0).rpm == 0.0


@given(st.floats(1.0, 2100.0), duty_cycles, st.integers(0, 1000), st.booleans())
def test_the_next_edge_comes_when_it_is_predicted(rpm, duty_cycle, seed, rising):
    state, drive = PlantState(rpm=rpm, seed=seed), stirring(duty_cycle)
    until = seconds_to_next_edge(state, drive, rising=rising)
    if until == math.inf:
        assert edges_passed(state, advance(state, drive, 3600.0), rising=rising) == 0
        return
    assert edges_passed(state, advance(state, drive, until * (1.0 - 1e-6)), rising=rising) == 0
    assert edges_passed(state, advance(state, drive, until * (1.0 + 1e-6)), rising=rising) == 1


def test_at_rest_no_edge_is_predicted():
    assert seconds_to_next_edge(PlantState(), stirring(11.0)) == math.inf


def edge_times(seed, drive, count, rpm=500.0):
    state, times_s = PlantState(rpm=rpm, seed=seed), []
    for _ in range(count):
        after = advance(state, drive, seconds_to_next_edge(state, drive) + 1e-9)
        assert edges_passed(state, after) == 1
        times_s.append(after.time_s)
        state = after
    return times_s


def test_pulses_jitter_a_little_and_repeat_with_the_seed():
    times_s = edge_times(1, stirring(30.0), 50)
    periods_s = [b - a for a, b in itertools.pairwise(times_s)]
    assert times_s == edge_times(1, stirring(30.0), 50)
    assert times_s != edge_times(2, stirring(30.0), 50)
    assert len({round(period_s, 6) for period_s in periods_s}) > 10
    assert all(abs(period_s - 0.12) <= 0.12 * 2.01 * constants.HALL_JITTER_TURNS for period_s in periods_s)


@given(st.integers(0, 2**63), st.floats(0.0, 1e7), st.floats(0.0, 100.0))
def test_the_sensor_pulls_low_once_a_turn_for_a_tenth_of_it(seed, turns, more):
    before, after = PlantState(turns=turns, seed=seed), PlantState(turns=turns + more, seed=seed)
    assert abs(edges_passed(before, after) - more) <= 1.01
    assert abs(edges_passed(before, after, rising=True) - more) <= 1.01
    changes = edges_passed(before, after) - edges_passed(before, after, rising=True)
    assert changes == hall_level(before) - hall_level(after)


def test_the_sensors_level_goes_with_its_edges():
    state, drive = PlantState(rpm=500.0), stirring(30.0)
    assert hall_level(state) == 1
    low = advance(state, drive, seconds_to_next_edge(state, drive) + 1e-6)
    assert hall_level(low) == 0
    high = advance(low, drive, seconds_to_next_edge(low, drive, rising=True) + 1e-6)
    assert hall_level(high) == 1
    assert high.time_s - low.time_s == pytest.approx(0.12 * constants.HALL_LOW_TURNS, rel=0.01)


class VirtualReactor:
    """The plant behind the real hall sensor's code, on a clock that moves only when somebody waits."""

    IN, PUD_UP, FALLING = 1, 22, 32

    def __init__(self):
        self.state = PlantState()
        self.duty_cycle = 0.0

    def setup(self, pin, direction, pull_up_down):
        pass

    def add_event_detect(self, pin, edge, callback):
        self._callback = callback

    def wait(self, wait_s):
        end_s = self.state.time_s + wait_s
        while self.state.time_s < end_s:
            before, drive = self.state, stirring(self.duty_cycle)
            step_s = min(seconds_to_next_edge(before, drive) + 1e-9, end_s - before.time_s)
            self.state = advance(before, drive, step_s)
            if edges_passed(before, self.state):
                self._callback(21)


def test_a_proportional_law_on_the_measured_speed_reaches_its_target():
    reactor = VirtualReactor()
    sensor = HallSensor(reactor, 21, clock=lambda: reactor.state.time_s)
    sensor.measure_rpm(0.1, reactor.wait)
    reactor.duty_cycle = 30.0
    for _ in range(40):
        reactor.wait(2.0)
        measured_rpm = sensor.measure_rpm(1.5, reactor.wait)
        reactor.duty_cycle += 0.01 * (400.0 - measured_rpm)
    assert measured_rpm == pytest.approx(400.0, rel=0.01)
    assert reactor.state.rpm == pytest.approx(400.0, rel=0.01)
    assert reactor.duty_cycle == pytest.approx(25.6, rel=0.02)
