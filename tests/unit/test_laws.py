"""The small laws: averages, matrices, light, dodging, stalls; and the examples of all of them."""

import doctest
import importlib
import math
import pkgutil
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit.workers import laws
from reactor_unit.workers.laws.averages import ExponentialMean, ExponentialStd, line_fit, trimmed_mean, trimmed_variance
from reactor_unit.workers.laws.dodging import Dodging
from reactor_unit.workers.laws.light import LightDarkCycle
from reactor_unit.workers.laws.matrix import diagonal, inverse, product
from reactor_unit.workers.laws.stall import MAX_RESTARTS, Standstill, is_plausible_rpm, judge, may_restart

MODULES = [module.name for module in pkgutil.iter_modules(laws.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_hold(name):
    assert doctest.testmod(importlib.import_module(f"{laws.__name__}.{name}")).failed == 0


# Averages and matrices


def test_trimming_leaves_so_many_out_at_both_ends():
    values = [9.0, -100.0, 1.0, 2.0, 3.0, 1000.0, 8.0]
    assert trimmed_mean(values, 1) == statistics.fmean([1.0, 2.0, 3.0, 8.0, 9.0])
    assert trimmed_variance(values, 2) == pytest.approx(statistics.variance([2.0, 3.0, 8.0]))
    with pytest.raises(ValueError, match="too few"):
        trimmed_mean([1.0, 2.0, 3.0, 4.0], 2)


def test_a_line_through_one_place_has_no_slope():
    assert line_fit([5.0, 5.0], [1.0, 3.0]) == (2.0, 0.0)


def test_an_exponential_mean_weighs_the_new_by_the_rest():
    mean = ExponentialMean(0.9).with_value(10.0)
    assert mean.mean == 10.0
    assert mean.with_value(20.0).mean == pytest.approx(11.0)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60))
def test_an_exponential_spread_is_never_the_root_of_a_negative_number(values):
    spread = ExponentialStd(0.95, ExponentialMean(0.8), 0.001**2)
    for value in values:
        spread = spread.with_value(value)
        assert spread.std >= 0.0


square = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.lists(st.floats(-10.0, 10.0), min_size=n, max_size=n), min_size=n, max_size=n)
)


@given(square)
def test_a_matrix_times_its_inverse_is_one(rows):
    # A diagonal larger than its row makes it invertible.
    matrix = tuple(
        tuple(x + (sum(map(abs, row)) + 1.0 if i == j else 0.0) for j, x in enumerate(row))
        for i, row in enumerate(rows)
    )
    if any(abs(matrix[i][i]) < 0.5 for i in range(len(matrix))):
        return
    for got, want in zip(product(matrix, inverse(matrix)), diagonal([1.0] * len(matrix)), strict=True):
        assert got == pytest.approx(want, abs=1e-6)


# Light


def test_light_is_decided_for_whole_minutes_and_goes_round():
    cycle = LightDarkCycle(2.0, 1.0)
    assert [cycle.is_light(second) for second in (0.0, 119.9, 120.0, 179.9, 180.0)] == [True, True, False, False, True]


@given(st.floats(0.0, 2000.0), st.floats(1.0, 2000.0), st.integers(0, 5000))
def test_a_cycle_repeats(light, dark, minute):
    cycle = LightDarkCycle(light, dark)
    assert cycle.is_light(60.0 * minute) == cycle.is_light(60.0 * (minute + cycle.period_minutes))
    assert cycle.is_light(0.0) == (light > 0.0)


@pytest.mark.parametrize("durations", [(0.0, 0.0), (-1.0, 5.0), (0.5, 0.4), (math.nan, 1.0), (math.inf, 1.0)])
def test_an_impossible_cycle_is_refused(durations):
    with pytest.raises(ValueError, match="not possible"):
        LightDarkCycle(*durations)


# Dodging


@given(st.floats(5.0, 600.0), st.floats(0.0, 1.5), st.floats(0.0, 1.5), st.floats(-1e4, 1e4), st.floats(0.0, 1e4))
def test_the_stirrer_is_slow_around_every_reading_and_fast_in_between(interval, pre, post, first, later):
    dodging = Dodging(interval, first, pre, post)
    now = first + later
    for _ in range(4):
        step = dodging.next_step(now)
        assert now < step.at_s <= now + interval
        since_reading = (step.at_s - first) % interval
        expected = interval - pre if step.slow else 1.0 + post
        assert min(abs(since_reading - expected), interval - abs(since_reading - expected)) < 1e-6
        assert dodging.is_slow(step.at_s + 1e-6) == step.slow
        now = step.at_s + 1e-6
    assert dodging.is_slow(first + 0.5)
    assert not dodging.is_slow(first + 1.0 + post + dodging.fast_s / 2.0)


@pytest.mark.parametrize("interval", [3.0, 1.0, 0.5, math.nan])
def test_readings_without_time_to_stir_in_between_are_refused_with_the_numbers(interval):
    with pytest.raises(ValueError, match=rf"every {interval:g} s leave no time"):
        Dodging(interval, 0.0, pre_delay_s=1.5, post_delay_s=0.5)


def test_the_time_to_speed_up_counts():
    Dodging(5.0, 0.0, 1.5, 0.5, speed_up_s=1.9)
    with pytest.raises(ValueError, match="leave no time"):
        Dodging(5.0, 0.0, 1.5, 0.5, speed_up_s=2.0)


def test_short_delays_and_intervals_are_warned_of():
    assert Dodging(10.0, 0.0).warnings == ()
    assert len(Dodging(5.0, 0.0, pre_delay_s=0.2, post_delay_s=0.1).warnings) == 3


# Stalls


@pytest.mark.parametrize(
    ("kick_rpm", "rpm_after", "scatter", "standstill", "certain"),
    [
        (900.0, 500.0, None, Standstill.STALLED_BRIEFLY, True),
        (0.0, 500.0, None, Standstill.STALLED_BRIEFLY, True),
        (900.0, 0.0, 1.0, Standstill.STALLED, True),  # pulses outweigh the light
        (0.0, 0.0, None, Standstill.UNKNOWN, False),
        (0.0, 0.0, 0.5, Standstill.UNKNOWN, False),
        (0.0, 0.0, 0.9, Standstill.SENSOR_FAULT, False),
        (0.0, 0.0, 0.2, Standstill.STALLED, False),
    ],
)
def test_what_silence_of_the_sensor_means(kick_rpm, rpm_after, scatter, standstill, certain):
    verdict = judge(duty_cycle=30.0, kick_rpm=kick_rpm, rpm_after=rpm_after, relative_scatter=scatter)
    assert (verdict.standstill, verdict.certain) == (standstill, certain)
    assert "30.0 %" in verdict.message


def test_restarts_are_bounded_and_a_dead_sensor_is_not_kicked():
    stalled = judge(duty_cycle=30.0, kick_rpm=0.0, rpm_after=0.0)
    assert [may_restart(stalled, n) for n in range(MAX_RESTARTS + 1)] == [True] * MAX_RESTARTS + [False]
    dead = judge(duty_cycle=30.0, kick_rpm=0.0, rpm_after=0.0, relative_scatter=1.0)
    assert not may_restart(dead, 0)


@pytest.mark.parametrize("rpm", [math.nan, math.inf, -1.0, 40000.0])
def test_a_speed_that_no_stirrer_has_is_not_believed(rpm):
    assert not is_plausible_rpm(rpm, 100.0)


@given(st.floats(0.0, 100.0), st.floats(12.0, 30.0))
def test_speeds_that_motors_have_are_believed(duty_cycle, rpm_per_percent):
    assert is_plausible_rpm(duty_cycle * rpm_per_percent, duty_cycle)
