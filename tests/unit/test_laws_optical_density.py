"""From samples to volts, and from volts to optical density."""

import itertools
import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit.workers.laws import optical_density as od
from reactor_unit.workers.laws.averages import trimmed_mean
from reactor_unit.workers.laws.optical_density import Brightness, ReferenceNormalization

TIMES_S = od.sample_times_s()


def flickering(steady_v, mains_hz, amplitude_v, phase=0.0, noise_v=0.0, seed=1, times_s=TIMES_S):
    noise = random.Random(seed)
    return [
        steady_v + amplitude_v * math.sin(2 * math.pi * mains_hz * at_s + phase) + noise.gauss(0.0, noise_v)
        for at_s in times_s
    ]


def test_samples_are_uneven_in_order_and_within_the_window():
    assert len(TIMES_S) == 40
    assert TIMES_S[0] == 0.0
    assert TIMES_S[-1] <= 0.85
    steps = [after - before for before, after in itertools.pairwise(TIMES_S)]
    assert min(steps) > 0.004
    assert len({round(step, 4) for step in steps}) > 1
    with pytest.raises(ValueError, match="1 samples"):
        od.sample_times_s(1)


@given(st.floats(0.01, 3.0), st.sampled_from([50.0, 60.0]), st.floats(0.0, 0.3), st.floats(0.0, 6.28))
def test_flicker_of_the_mains_is_left_out(steady_v, mains_hz, amplitude_v, phase):
    voltages_v = flickering(steady_v, mains_hz, amplitude_v, phase)
    assert od.steady_voltage_v(TIMES_S, voltages_v, mains_hz) == pytest.approx(steady_v, abs=1e-6)


def test_flicker_is_left_out_better_than_by_a_mean():
    errors = {"fit": [], "mean": []}
    for seed in range(50):
        voltages_v = flickering(0.2, 50.0, 0.05, phase=seed, noise_v=0.001, seed=seed)
        errors["fit"].append(od.steady_voltage_v(TIMES_S, voltages_v, 50.0) - 0.2)
        errors["mean"].append(trimmed_mean(voltages_v, 1) - 0.2)
    assert statistics.pstdev(errors["fit"]) < 0.25 * statistics.pstdev(errors["mean"])


@pytest.mark.parametrize("mains_hz", [50.0, 60.0])
def test_the_mains_frequency_is_recognised_in_ten_samples(mains_hz):
    times_s = od.sample_times_s(od.TUNING_SAMPLES, od.TUNING_WINDOW_S)
    channels_v = [flickering(0.2, mains_hz, 0.02, 1.0, 0.001, seed, times_s) for seed in (1, 2)]
    assert od.mains_frequency_hz(times_s, channels_v) == mains_hz


def test_samples_without_flicker_are_taken_for_60_hz():
    times_s = od.sample_times_s(od.TUNING_SAMPLES, od.TUNING_WINDOW_S)
    assert od.mains_frequency_hz(times_s, [[0.2] * 10]) == 60.0


def test_one_wild_sample_at_each_end_is_left_out():
    voltages_v = [0.2] * 38 + [3.0, 0.0]
    assert od.steady_voltage_v(TIMES_S, voltages_v, 50.0) == pytest.approx(0.2)


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 100.0))
def test_smoothing_draws_between_the_samples_and_the_previous_reading(now_v, previous_v, weight):
    reading_v = od.steady_voltage_v(TIMES_S, [now_v] * 40, 50.0, previous_v, weight)
    low_v, high_v = sorted((now_v, previous_v))
    assert low_v - 1e-9 <= reading_v <= high_v + 1e-9


def test_the_weight_of_the_previous_reading_is_in_samples():
    assert od.steady_voltage_v(TIMES_S, [0.2] * 40, 50.0, 0.1, 38.0) == pytest.approx(0.15, abs=0.002)
    assert od.smoothing(3.0, None) == 0.0


def test_dark_light_is_taken_off_and_nothing_is_below_0():
    assert od.without_dark([0.3, 0.1], 0.2) == pytest.approx([0.1, 0.0])
    assert od.steady_voltage_v(TIMES_S, [-0.1] * 40, 50.0) == 0.0


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="4 samples are too few"):
        od.steady_voltage_v(TIMES_S[:4], [0.2] * 4, 50.0)


@pytest.mark.parametrize(("voltage_v", "expected"), [(3.0, Brightness.FINE), (3.1, Brightness.BRIGHT)])
def test_brightness_below_what_harms(voltage_v, expected):
    assert od.brightness(voltage_v) is expected


@pytest.mark.parametrize("voltage_v", [3.21, math.inf, math.nan])
def test_what_is_too_bright_or_unknown_ends_the_light(voltage_v):
    assert od.brightness(voltage_v) is Brightness.TOO_BRIGHT


@given(st.floats(0.0, 5.0), st.floats(0.0, 5.0))
def test_the_automatic_intensity_is_within_its_limits_and_falls_with_light(ref_v, signal_v):
    intensity = od.automatic_intensity(ref_v, [signal_v])
    assert 50.0 <= intensity <= 85.0
    assert od.automatic_intensity(ref_v + 0.1, [signal_v]) <= intensity


def test_the_automatic_intensity_needs_one_signal_and_a_reference():
    assert od.automatic_intensity(None, [1.0]) == 85.0
    assert od.automatic_intensity(1.0, [1.0, 1.0]) == 85.0
    assert od.automatic_intensity(0.0, [0.0]) == 85.0


# Reference


@pytest.mark.parametrize("kind", ["unity", "classic"])
def test_a_lamp_that_fades_leaves_the_optical_density_as_it_is(kind):
    lamp = ReferenceNormalization(kind, 0.75)
    state, densities = lamp.begin(), []
    for n in range(400):
        light = 1.0 - 0.0005 * n
        state = lamp.next(state, 0.2 * light)
        densities.append(lamp.optical_density(0.1 * light, state))
    assert not state.noisy
    assert densities[0] == pytest.approx(0.1 if kind == "unity" else 0.5)
    assert densities[-1] == pytest.approx(densities[0], rel=0.003)
    assert lamp.relative_intensity(state) == pytest.approx(0.8, rel=0.01)


def test_unity_starts_from_the_experiments_first_voltage():
    lamp = ReferenceNormalization("unity", 0.75)
    state = lamp.next(lamp.begin(first_v=0.4), 0.2)
    assert lamp.optical_density(0.1, state) == pytest.approx(0.2)
    assert state.first_v == 0.4


def test_a_noisy_sample_of_the_reference_is_left_out_once():
    lamp = ReferenceNormalization("unity", 0.75)
    state = lamp.begin()
    for _ in range(20):
        state = lamp.next(state, 0.2)
    noisy = lamp.next(state, 0.6)
    assert noisy.noisy
    assert noisy.divisor == state.divisor
    assert not lamp.next(noisy, 0.2).noisy


def test_without_light_at_the_reference_there_is_no_optical_density():
    lamp = ReferenceNormalization("classic", 0.0)
    with pytest.raises(ValueError, match="infrared LED"):
        lamp.next(lamp.begin(), 0.0)
    with pytest.raises(ValueError, match="sees no light"):
        lamp.optical_density(0.1, lamp.begin())


@pytest.mark.parametrize("arguments", [("other", 0.5), ("unity", 1.0), ("unity", -0.1), ("unity", math.nan)])
def test_settings_that_make_no_sense_are_refused(arguments):
    with pytest.raises(ValueError, match=r"ref_normalization|pd_reference_ema"):
        ReferenceNormalization(*arguments)
