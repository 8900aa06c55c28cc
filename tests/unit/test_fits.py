"""Fits against numpy and scipy."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy.interpolate import Akima1DInterpolator, CubicSpline

from reactor_unit.calibrations.curves import Polynomial
from reactor_unit.calibrations.fits import (
    BadFit,
    fit_akima,
    fit_line_through_origin,
    fit_polynomial,
    fit_polynomial_auto,
    fit_spline,
    fit_spline_at,
    natural_spline,
    quality,
)

SEEDS = range(40)


def points(seed, low=5, high=15):
    random_ = random.Random(seed)
    count = random_.randint(low, high)
    x = [random_.uniform(0, 3) for _ in range(count)]
    y = [0.02 + 0.3 * math.log1p(value) + random_.gauss(0, 0.01) for value in x]
    weights = [random_.uniform(0.2, 3) for _ in x]
    return x, y, weights


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("degree", range(5))
def test_a_polynomial_is_numpys(seed, degree):
    x, y, weights = points(seed, low=6)
    ours = fit_polynomial(x, y, degree, weights).coefficients
    assert ours == pytest.approx(np.polyfit(x, y, degree, w=weights), rel=1e-6, abs=1e-7)
    assert fit_polynomial(x, y, degree).coefficients == pytest.approx(np.polyfit(x, y, degree), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_natural_spline_is_scipys(seed):
    x, y, _ = points(seed, low=2)
    x = sorted(x)
    ours, theirs = natural_spline(x, y), CubicSpline(x, y, bc_type="natural")
    assert np.array(ours.segments).T[::-1] == pytest.approx(theirs.c, rel=1e-7, abs=1e-7 * np.abs(theirs.c).max())


@pytest.mark.parametrize("seed", SEEDS)
def test_akima_is_scipys(seed):
    x, y, _ = points(seed, low=3)
    x = sorted(x)
    ours, theirs = fit_akima(x, y), Akima1DInterpolator(x, y)
    for place in np.linspace(x[0], x[-1], 50):
        assert ours.exact_y_at(float(place)) == pytest.approx(float(theirs(place)), rel=1e-9, abs=1e-12)


def numpy_spline_fit(x, y, weights, count):
    """Return the heights at even quantiles that numpy's least squares finds, and the AICc."""
    knots = np.unique(np.quantile(x, np.linspace(0, 1, count)))
    basis = CubicSpline(knots, np.eye(len(knots)), bc_type="natural") if len(knots) > 2 else None
    design = basis(x) if basis is not None else np.stack([(knots[1] - x), (x - knots[0])], 1) / (knots[1] - knots[0])
    root = np.sqrt(weights)[:, None]
    heights = np.linalg.lstsq(design * root, y * root[:, 0], rcond=None)[0]
    misfit = float(np.sum(weights * (y - design @ heights) ** 2))
    n, k = len(x), len(knots)
    score = n * math.log(misfit / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1) if n > k + 1 else math.inf
    return knots, heights, score


@pytest.mark.parametrize("seed", SEEDS)
def test_the_spline_with_the_lowest_aicc_wins(seed):
    x, y, weights = map(np.array, points(seed))
    candidates = [numpy_spline_fit(x, y, weights, count) for count in range(2, min(6, len(x)) + 1)]
    knots, heights, _ = min(candidates, key=lambda one: one[2])
    ours = fit_spline(list(x), list(y), list(weights))
    assert ours.kind == "spline"
    assert ours.knots == pytest.approx(knots)
    assert [ours.exact_y_at(float(knot)) for knot in knots] == pytest.approx(heights, rel=1e-7)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_polynomial_with_the_lowest_aicc_wins(seed):
    x, y, weights = map(np.array, points(seed))

    def score(degree):
        misfit = np.sum((weights * (y - np.polyval(np.polyfit(x, y, degree, w=weights), x))) ** 2)
        n, k = len(x), degree + 1
        return n * math.log(misfit / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1) if n > k + 1 else math.inf

    best = min(range(min(5, len(x) - 1) + 1), key=score)
    assert len(fit_polynomial_auto(list(x), list(y), list(weights)).coefficients) == best + 1


@pytest.mark.parametrize("count", [2, 3, 4])
def test_up_to_four_points_give_a_straight_line(count):
    curve = fit_spline([float(x) for x in range(count)], [0.0, 1.0, 4.0, 9.0][:count])
    assert len(curve.knots) == 2
    assert curve.segments[0][2:] == (0.0, 0.0)


def test_points_on_a_line_give_a_line_however_many():
    curve = fit_spline([0.1 * x for x in range(20)], [0.3 * x + 0.07 for x in range(20)])
    assert len(curve.knots) == 2
    assert len(fit_polynomial_auto([0.1 * x for x in range(20)], [0.3 * x + 0.07 for x in range(20)]).coefficients) == 2


def test_akima_through_two_points_is_a_line_and_equal_x_are_averaged():
    assert fit_akima([0.0, 2.0], [1.0, 5.0]).segments == ((1.0, 2.0, 0.0, 0.0),)
    assert fit_akima([0.0, 2.0, 2.0], [1.0, 4.0, 6.0]).segments == ((1.0, 2.0, 0.0, 0.0),)


def test_a_line_through_the_origin_and_its_standard_error():
    curve, error = fit_line_through_origin([8.0, 8.0, 16.0], [0.47, 0.49, 0.96])
    assert curve.coefficients == pytest.approx((0.06, 0.0))
    assert error == pytest.approx(math.sqrt((0.01**2 + 0.01**2) / 2 / (64 + 64 + 256)))


@pytest.mark.parametrize(
    "fit",
    [
        lambda: fit_spline([1.0], [1.0]),
        lambda: fit_spline([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]),
        lambda: fit_spline([1.0, 2.0], [1.0]),
        lambda: fit_spline([1.0, math.nan], [1.0, 2.0]),
        lambda: fit_spline([1.0, 2.0], [1.0, 2.0], [1.0, -1.0]),
        lambda: fit_akima([1.0, 1.0], [1.0, 2.0]),
        lambda: fit_polynomial([1.0, 1.0], [1.0, 2.0], 1),
        lambda: fit_polynomial([], [], 0),
        lambda: fit_line_through_origin([1.0], [1.0]),
        lambda: fit_line_through_origin([0.0, 0.0], [1.0, 1.0]),
        lambda: fit_spline_at([0.0, 1.0, 2.0], [0.0, 2.0], [0.0, 1.0]),
    ],
    ids=range(11),
)
def test_points_that_determine_no_curve_are_refused(fit):
    with pytest.raises(BadFit):
        fit()


def test_quality_tells_a_good_fit_from_a_bad_one():
    line = Polynomial((2.0, 1.0))
    good = quality(line, [0.0, 1.0, 2.0], [1.0, 3.0, 5.0])
    assert (good.points, good.r_squared, good.is_monotonic) == (3, 1.0, True)
    bad = quality(Polynomial((1.0, -2.0, 1.0)), [0.0, 1.0, 2.0], [1.0, 3.0, 5.0])
    assert bad.r_squared < 0
    assert not bad.is_monotonic
    assert quality(Polynomial((5.0,)), [0.0, 1.0], [5.0, 5.0]).r_squared == 1.0
