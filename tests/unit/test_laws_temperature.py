"""The liquid's thermometer, the thermostat and the heater's interlocks, against heat exchange integrated in steps."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor_unit.workers.laws.heat_interlock import (
    BoardReading,
    HeatDanger,
    HeatingLimits,
    rise_fault,
    stale_fault,
    stuck_sensor_fault,
)
from reactor_unit.workers.laws.pid import PID, PIDState
from reactor_unit.workers.laws.temperature import (
    REFERENCE_CYCLE,
    STEADY_CYCLE,
    HeatExchange,
    LiquidThermometer,
    Thermostat,
    limited_target_c,
)

EXCHANGE = HeatExchange()
THERMOMETER = LiquidThermometer(EXCHANGE)


class Vial:
    """A heater board with a vial, in steps of 0.05 s; nothing of it is the laws' arithmetic."""

    def __init__(self, board_c=22.0, liquid_c=22.0, room_c=22.0, power=1.39, exchange=EXCHANGE, seed=1):
        self.board_c, self.liquid_c, self.room_c = board_c, liquid_c, room_c
        self.power, self.exchange, self.noise = power, exchange, random.Random(seed)

    def go(self, seconds, duty_cycle):
        rates, step_s = self.exchange, 0.05
        for _ in range(round(seconds / step_s)):
            to_liquid = self.board_c - self.liquid_c
            board = self.power * duty_cycle / 100.0 - rates.board_to_liquid * to_liquid
            board -= rates.board_to_room * (self.board_c - self.room_c)
            liquid = rates.liquid_from_board * to_liquid - rates.liquid_to_room * (self.liquid_c - self.room_c)
            self.board_c += step_s * board
            self.liquid_c += step_s * liquid

    def read(self):
        steps = [round((self.board_c + self.noise.gauss(0.0, 0.02)) / 0.0625) for _ in range(6)]
        return 0.0625 * sum(steps) / 6.0


def follow(vial, duty_cycles, thermometer=THERMOMETER, step_s=5.0):
    """Read every `step_s`, with these duty cycles in between; return all states."""
    states = [thermometer.begin(vial.read(), at_s=0.0)]
    for duty_cycle in duty_cycles:
        vial.go(step_s, duty_cycle)
        at_s = states[-1].at_s + step_s
        states.append(thermometer.next(states[-1], vial.read(), duty_cycle=duty_cycle, at_s=at_s))
    return states


HEAT_AND_REST = [15.0] * 38 + [0.0] * 2  # a steady cycle


@given(st.floats(0.0, 90.0), st.floats(0.0, 60.0), st.floats(0.0, 100.0), st.floats(1.0, 400.0))
@settings(max_examples=20)
def test_the_exact_solution_agrees_with_small_steps(board_c, liquid_c, duty_cycle, seconds):
    vial = Vial(board_c, liquid_c)
    seconds = round(seconds / 0.05) * 0.05
    rows = EXCHANGE.transition(seconds, duty_cycle)
    vial.go(seconds, duty_cycle)
    vector = (board_c, liquid_c, 22.0, 1.39)
    found = [sum(x * y for x, y in zip(row, vector, strict=True)) for row in rows]
    assert found == pytest.approx([vial.board_c, vial.liquid_c, 22.0, 1.39], abs=0.1)


def test_a_day_in_one_step_ends_where_heat_balances():
    rows = EXCHANGE.transition(86400.0, 0.0)
    assert rows[0] == pytest.approx((0.0, 0.0, 1.0, 0.0), abs=1e-9)
    assert rows[1] == pytest.approx((0.0, 0.0, 1.0, 0.0), abs=1e-9)


@pytest.mark.parametrize("room_c", [16.0, 22.0, 30.0])
@pytest.mark.parametrize("power", [1.1, 1.39, 1.7])
@pytest.mark.parametrize("volume_ml", [14.0, 30.0], ids=["20 ml vial", "40 ml vial"])
def test_the_liquid_is_found_whatever_room_heater_and_vial(room_c, power, volume_ml):
    exchange = EXCHANGE.for_volume(volume_ml)
    vial = Vial(room_c, room_c + 3.0, room_c, power, exchange)
    states = follow(vial, HEAT_AND_REST * 5, LiquidThermometer(exchange))
    assert states[-1].liquid_c == pytest.approx(vial.liquid_c, abs=0.1)
    assert abs(states[-1].liquid_c - vial.liquid_c) < 4.0 * states[-1].liquid_sd_c + 0.03


@pytest.mark.parametrize("factor", [0.9, 1.1])
@pytest.mark.parametrize("rate", ["board_to_liquid", "board_to_room", "liquid_from_board"])
def test_rates_that_are_10_percent_off_shift_the_estimate_by_less_than_half_a_degree(rate, factor):
    changed = HeatExchange(**{rate: factor * getattr(EXCHANGE, rate)})
    vial = Vial(exchange=changed)
    states = follow(vial, HEAT_AND_REST * 12)
    print(f"{rate} x {factor}: {states[-1].liquid_c - vial.liquid_c:+.2f} degC")
    assert abs(states[-1].liquid_c - vial.liquid_c) < 0.5


def test_a_warm_vial_on_a_cold_board_is_seen_before_it_is_heated():
    vial = Vial(board_c=22.0, liquid_c=37.0)
    states = follow(vial, [0.0] * 40)
    assert states[-1].liquid_c == pytest.approx(vial.liquid_c, abs=0.3)


def test_what_is_not_known_yet_is_said():
    states = follow(Vial(), HEAT_AND_REST * 2)
    assert states[0].liquid_sd_c == 5.0
    assert states[-1].liquid_sd_c < 0.2


def test_the_estimate_runs_on_without_readings_and_refuses_time_that_goes_back():
    state = follow(Vial(), HEAT_AND_REST * 3)[-1]
    later = THERMOMETER.elapsed(state, duty_cycle=0.0, at_s=state.at_s + 600.0)
    assert later.liquid_c < state.liquid_c - 1.0
    assert later.liquid_sd_c > state.liquid_sd_c
    with pytest.raises(ValueError, match="goes back by 1 s"):
        THERMOMETER.elapsed(state, duty_cycle=0.0, at_s=state.at_s - 1.0)


def test_a_volume_of_nothing_is_refused():
    with pytest.raises(ValueError, match="0 ml"):
        EXCHANGE.for_volume(0.0)


# Thermostat

THERMOSTAT = Thermostat(PID(2.6, 0.0, 4.6, 25.0))


@given(st.floats(0.0, 100.0), st.floats(0.0, 80.0), st.lists(st.floats(-20.0, 120.0), min_size=1, max_size=30))
def test_the_duty_cycle_is_bounded_and_so_is_its_change(duty_cycle, target_c, liquids_c):
    state = PIDState()
    for liquid_c in liquids_c:
        before = duty_cycle
        duty_cycle, state = THERMOSTAT.next_duty_cycle(duty_cycle, state, target_c=target_c, liquid_c=liquid_c)
        assert 0.0 <= duty_cycle <= 100.0
        assert abs(duty_cycle - before) <= 25.0 * 0.475 / 0.95 + 0.01


@given(st.floats(0.0, 100.0), st.floats(10.0, 60.0), st.floats(10.0, 60.0))
def test_colder_liquid_is_never_heated_less(duty_cycle, one_c, other_c):
    colder, warmer = sorted((one_c, other_c))
    for_colder, for_warmer = (
        THERMOSTAT.next_duty_cycle(duty_cycle, PIDState(), target_c=37.0, liquid_c=c)[0] for c in (colder, warmer)
    )
    assert for_colder >= for_warmer


def test_an_integral_does_not_wind_up_while_the_heater_is_at_its_limit():
    thermostat, state, duty_cycle = Thermostat(PID(0.1, 0.05, 0.0, 25.0), REFERENCE_CYCLE), PIDState(), 0.0
    for _ in range(200):  # 100 % does not reach it
        duty_cycle, state = thermostat.next_duty_cycle(duty_cycle, state, target_c=45.0, liquid_c=40.0)
    assert duty_cycle == 100.0
    assert state.integral < 10.0  # 25 if it had gone on


@pytest.mark.parametrize("volume_ml", [14.0, 30.0], ids=["20 ml vial", "40 ml vial"])
@pytest.mark.parametrize("power", [1.1, 1.39, 1.7])
@pytest.mark.parametrize("target_c", [30.0, 37.0])
def test_the_liquid_settles_for_any_usual_heater_and_vial(volume_ml, power, target_c):
    exchange = EXCHANGE.for_volume(volume_ml)
    vial, thermometer = Vial(power=power, exchange=exchange), LiquidThermometer(exchange)
    state, pid, duty_cycle, liquid_c = thermometer.begin(vial.read(), at_s=0.0), PIDState(), 0.0, []
    for _ in range(45):
        duty_cycle, pid = THERMOSTAT.next_duty_cycle(duty_cycle, pid, target_c=target_c, liquid_c=state.liquid_c)
        for step in range(40):
            duty = duty_cycle if STEADY_CYCLE.is_heating(5.0 * step) else 0.0
            vial.go(5.0, duty)
            state = thermometer.next(state, vial.read(), duty_cycle=duty, at_s=state.at_s + 5.0)
            liquid_c.append(vial.liquid_c)
    assert all(abs(at_c - target_c) <= 0.3 for at_c in liquid_c[-18 * 40 :])  # the last hour
    assert max(liquid_c) <= target_c + 1.0


def test_a_target_is_kept_within_the_models_limit():
    assert [limited_target_c(target, 63.0) for target in (-5.0, 37.0, 90.0)] == [0.0, 37.0, 63.0]


# Interlocks

LIMITS = HeatingLimits(63.0, 65.0, 66.0)


@pytest.mark.parametrize(
    ("board_c", "danger", "factor", "shut_down"),
    [
        (63.0, None, None, None),
        (63.1, HeatDanger.WARM, 0.9, False),
        (65.1, HeatDanger.HOT, 0.0, False),
        (66.1, HeatDanger.TOO_HOT, 0.0, True),
        (math.nan, HeatDanger.TOO_HOT, 0.0, True),
    ],
)
def test_the_three_limits_of_a_model(board_c, danger, factor, shut_down):
    fault = LIMITS.fault(board_c)
    if danger is None:
        assert fault is None
    else:
        assert (fault.danger, fault.duty_cycle_factor, fault.shut_down) == (danger, factor, shut_down)
        assert "degC" in fault.message


def test_an_old_reading_is_not_heated_with():
    assert stale_fault(10.0, 10.0) is None
    assert stale_fault(10.1, 10.0).danger is HeatDanger.STALE_READING
    assert stale_fault(math.nan, 10.0) is not None


def test_only_identical_readings_with_the_heater_on_are_a_stuck_sensor():
    assert stuck_sensor_fault([30.0] * 21, 5.0).danger is HeatDanger.STUCK_SENSOR
    assert stuck_sensor_fault([30.0] * 21, 4.9) is None
    assert stuck_sensor_fault([30.0] * 20 + [30.0104], 50.0) is None
    assert stuck_sensor_fault([30.0] * 2, 50.0) is None


def window(vial, duty_cycles, warm_up, told=None):
    """Return the state at the start of a window and its readings; `told` are the duty cycles the law believes in."""
    start = follow(vial, warm_up)[-1]
    readings, at_s = [], start.at_s
    for n, duty_cycle in enumerate(duty_cycles):
        readings.append(BoardReading(at_s, vial.read(), duty_cycle if told is None else told[n]))
        vial.go(5.0, duty_cycle)
        at_s += 5.0
    return start, [*readings, BoardReading(at_s, vial.read(), 0.0)]


@pytest.mark.parametrize("room_c", [18.0, 30.0])
@pytest.mark.parametrize("power", [1.0, 1.39, 1.8])
@pytest.mark.parametrize("duty_cycle", [0.0, 5.0, 15.0, 60.0])
def test_a_sound_heater_is_left_alone(room_c, power, duty_cycle):
    for warm_up in ([], HEAT_AND_REST * 2):
        vial = Vial(room_c, room_c, room_c, power)
        start, readings = window(vial, [duty_cycle] * 21, warm_up)
        assert rise_fault(start, readings, EXCHANGE) is None


@pytest.mark.parametrize(("told", "really"), [(0.0, 15.0), (0.0, 100.0), (15.0, 100.0), (5.0, 30.0)])
def test_a_heater_that_heats_by_itself_is_seen(told, really):
    start, readings = window(Vial(), [really] * 21, HEAT_AND_REST * 3, told=[told] * 21)
    fault = rise_fault(start, readings, EXCHANGE)
    assert (fault.danger, fault.shut_down) == (HeatDanger.STUCK_HEATER, True)


@pytest.mark.parametrize("told", [20.0, 50.0, 100.0])
@pytest.mark.parametrize("warm_up", [[0.0] * 40, HEAT_AND_REST * 3], ids=["at rest", "warm"])
def test_a_heater_without_effect_on_the_thermometer_is_seen(told, warm_up):
    start, readings = window(Vial(), [0.0] * 21, warm_up, told=[told] * 21)
    fault = rise_fault(start, readings, EXCHANGE)
    assert fault.danger is HeatDanger.NO_RISE
    assert f"mean duty cycle of {told:.1f} %" in fault.message


def test_too_few_readings_say_nothing():
    start = THERMOMETER.begin(22.0, at_s=0.0)
    assert rise_fault(start, [], EXCHANGE) is None
    assert rise_fault(start, [BoardReading(0.0, 22.0, 50.0)], EXCHANGE) is None
