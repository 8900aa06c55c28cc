"""Fused optical density: fits that find the truth, estimates that are a minimum, offsets that keep values."""

from __future__ import annotations

import datetime
import math
import random

import numpy as np
import pytest
from calibration_examples import FUSED

from reactor_unit.calibrations import fused_od
from reactor_unit.calibrations.fits import BadFit
from reactor_unit.calibrations.fused_od import CannotEstimate, LogcShift, Observation, estimate, fit
from reactor_unit.calibrations.models import FusedOdEstimator
from reactor_unit.calibrations.store import ESTIMATORS

LEVELS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
SLOPES = {"45": 1.1, "90": 0.9, "135": 0.8}


def signal(angle, od):
    return 0.1 * od ** SLOPES[angle] / (1 + 0.1 * od)


def observations(noise, repeats=4, levels=LEVELS):
    random_ = random.Random(5)
    return [
        Observation(angle, od, signal(angle, od) * math.exp(random_.gauss(0, noise)))
        for od in levels
        for angle in SLOPES
        for _ in range(repeats)
    ]


def estimator(found):
    return FusedOdEstimator(
        "od_fused_estimator", "e", "u", datetime.datetime.now(datetime.UTC), 70.0, ("45", "90", "135"),
        found.mu_splines, found.sigma_splines_log, found.min_logc, found.max_logc, 0.04, found.recorded_data, "y",
    )  # fmt: skip


@pytest.mark.parametrize("od", [0.02, 0.03, 0.15, 0.7, 1.6])
def test_readings_without_noise_give_the_od_they_were_made_of(od):
    fused = estimator(fit(observations(0.0)))
    assert estimate(fused, {angle: signal(angle, od) for angle in SLOPES}) == pytest.approx(od, rel=0.01)


def test_noise_is_averaged_and_its_size_is_learned():
    found = fit(observations(0.1, repeats=200))
    assert found.min_logc == pytest.approx(math.log10(0.02))
    assert found.max_logc == pytest.approx(math.log10(1.6))
    for angle in SLOPES:
        assert found.mu_splines[angle].y_at(math.log10(0.2)) == pytest.approx(math.log(signal(angle, 0.2)), abs=0.03)
        assert math.exp(found.sigma_splines_log[angle].y_at(math.log10(0.2))) == pytest.approx(0.1, rel=0.25)
    assert set(found.recorded_data["by_angle"]) == set(SLOPES)


def test_the_estimate_is_the_lowest_misfit_on_a_fine_grid():
    fused = estimator(fit(observations(0.05)))
    random_ = random.Random(6)
    for _ in range(10):
        readings = {angle: signal(angle, 0.3) * math.exp(random_.gauss(0, 0.3)) for angle in SLOPES}

        def misfit(logc, readings=readings):
            total = 0.0
            for angle in SLOPES:
                mu = fused.mu_splines[angle]
                share = min(max((-0.1 - logc) / 2.4, 0.0), 1.0)
                trust = share * {"135": 0.04, "90": 4.0, "45": 10.0}[angle] + 1 - share
                noise = max(math.exp(fused.sigma_splines_log[angle].exact_y_at(logc)), 0.04)
                sigma = noise / max(abs(mu.slope_at(logc)), 0.05) * trust
                residual = (math.log(readings[angle]) - mu.exact_y_at(logc)) / sigma
                total += math.sqrt(1 + residual**2) - 1 + math.log(sigma)
            return total

        best = min(misfit(float(logc)) for logc in np.linspace(fused.min_logc, fused.max_logc, 5001))
        assert misfit(math.log10(estimate(fused, readings))) <= best + 1e-9


def test_the_estimate_stays_within_the_standards():
    fused = estimator(fit(observations(0.0)))
    assert estimate(fused, {angle: signal(angle, 1.8) for angle in SLOPES}) == pytest.approx(1.6, rel=1e-4)
    for reading in (100.0, 0.0, -1.0):
        assert 0.02 <= estimate(fused, dict.fromkeys(SLOPES, reading)) <= 1.6001


@pytest.mark.parametrize("readings", [{"45": 1.0, "90": 1.0}, {"45": 1.0, "90": 1.0, "135": math.nan}], ids=str)
def test_a_missing_reading_gives_no_estimate(readings):
    with pytest.raises(CannotEstimate, match="135"):
        estimate(ESTIMATORS.load(FUSED.encode()), readings)


def test_too_few_standards_are_refused_with_the_angle():
    with pytest.raises(BadFit, match="3 different standards at 45"):
        fit(observations(0.0, levels=LEVELS[:3]))
    with pytest.raises(BadFit, match="0 different standards at 135"):
        fit([one for one in observations(0.0) if one.angle != "135"])


def test_unusable_readings_are_left_out():
    bad = [Observation("45", 0.1, 0.0), Observation("90", 0.0, 1.0), Observation("135", 0.1, -1.0)]
    assert fit([*observations(0.0), *bad]) == fit(observations(0.0))


def test_an_offset_makes_two_standards_true():
    shift = LogcShift.through((0.1, 0.2), (1.0, 1.5))
    for true, estimated in ((0.1, 0.2), (1.0, 1.5)):
        assert 10 ** shift.logc(math.log10(estimated)) == pytest.approx(true)


def test_a_shifted_curve_has_the_same_value_at_the_shifted_place():
    shift = LogcShift(1.3, -0.2)
    curve = fit(observations(0.05)).mu_splines["90"]
    for logc in (-1.6, -1.0, 0.1):
        assert shift.curve(curve).y_at(shift.logc(logc)) == pytest.approx(curve.y_at(logc), abs=1e-9)
    assert shift.curve(curve).kind == "akima"


@pytest.mark.parametrize(("first", "second"), [((0.1, 0.2), (1.0, 0.2)), ((0.1, 0.9), (1.0, 0.2)), ((1, 1), (1, 2))])
def test_an_offset_that_turns_the_order_round_is_refused(first, second):
    with pytest.raises(BadFit):
        LogcShift.through(first, second)


def test_the_trust_in_an_angle_is_blended():
    assert fused_od._trust("45", 0.5) == 1.0
    assert fused_od._trust("45", -3.0) == pytest.approx(10.0)
    assert fused_od._trust("135", -1.3) == pytest.approx(0.52)
