import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit.drivers.simulation import constants, heat
from reactor_unit.drivers.simulation.plant import PlantState, advance


def by_small_steps(board_c, vial_c, duty_cycle, total_s, step_s=0.01):
    """The equations of `heat`, integrated numerically: what the closed form has to agree with."""
    room_c = constants.ROOM_C

    def slopes(board, vial):
        to_vial = board - vial
        heating = constants.HEATING_C_PER_S * duty_cycle / 100.0
        return (
            heating - constants.BOARD_TO_VIAL_PER_S * to_vial - constants.BOARD_TO_ROOM_PER_S * (board - room_c),
            constants.VIAL_FROM_BOARD_PER_S * to_vial - constants.VIAL_TO_ROOM_PER_S * (vial - room_c),
        )

    for _ in range(round(total_s / step_s)):
        board_slope, vial_slope = slopes(board_c, vial_c)
        board_slope, vial_slope = slopes(board_c + board_slope * step_s / 2, vial_c + vial_slope * step_s / 2)
        board_c, vial_c = board_c + board_slope * step_s, vial_c + vial_slope * step_s
    return board_c, vial_c


@pytest.mark.parametrize(
    ("board_c", "vial_c", "duty_cycle"), [(22.0, 22.0, 30.0), (60.0, 40.0, 0.0), (22.0, 5.0, 100.0)]
)
@pytest.mark.parametrize("total_s", [5.0, 95.0, 600.0])
def test_the_heating_curve_agrees_with_the_equations(board_c, vial_c, duty_cycle, total_s):
    warming = heat.warming(board_c, vial_c, duty_cycle, constants.ROOM_C)
    expected = by_small_steps(board_c, vial_c, duty_cycle, total_s)
    assert (warming.board_c(total_s), warming.vial_c(total_s)) == pytest.approx(expected, rel=1e-4)


def test_a_vial_cools_with_the_slow_time_constant():
    cooling = advance(PlantState(vial_c=40.0, board_c=40.0), {}, 200.0)
    later = advance(cooling, {}, 1.0 / heat.SLOW_PER_S)
    assert later.vial_c - 22.0 == pytest.approx((cooling.vial_c - 22.0) / math.e, rel=0.01)


def test_everything_ends_at_room_temperature_without_heating():
    after = advance(PlantState(vial_c=40.0, board_c=60.0, room_c=19.0), {}, 86400.0)
    assert (after.board_c, after.vial_c) == pytest.approx((19.0, 19.0))


def test_what_the_heater_can_do():
    def settled(duty_cycle):
        return advance(PlantState(), {"heating": duty_cycle}, 86400.0)

    assert 30.0 < settled(10.0).vial_c < 40.0  # a thermostat's usual 30..37 degC are within reach
    assert settled(100.0).board_c > 85.0  # stuck on, it passes every limit
    assert settled(30.0).board_c > settled(30.0).vial_c + 1.0


@given(st.floats(0.0, 150.0), st.floats(0.0, 120.0), st.floats(0.0, 100.0), st.floats(0.0, 600.0), st.integers(2, 30))
def test_one_look_and_many_agree(board_c, vial_c, duty_cycle, total_s, looks):
    warming = heat.warming(board_c, vial_c, duty_cycle, constants.ROOM_C)
    for _ in range(looks):
        step = heat.warming(board_c, vial_c, duty_cycle, constants.ROOM_C)
        board_c, vial_c = step.board_c(total_s / looks), step.vial_c(total_s / looks)
    assert (board_c, vial_c) == pytest.approx((warming.board_c(total_s), warming.vial_c(total_s)), rel=1e-6)
