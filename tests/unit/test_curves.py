"""Curves against an independent implementation: numpy's eigenvalue roots, polished in extended precision."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy.interpolate import PPoly

from reactor_unit.calibrations.curves import (
    EVERYWHERE,
    AboveCalibration,
    BelowCalibration,
    NoSolution,
    PiecewiseCubic,
    Polynomial,
    domain_of,
    invert,
    is_monotonic,
)
from reactor_unit.calibrations.polynomials import real_roots

RELATIVE, ABSOLUTE = 1e-9, 2e-10  # values are rounded to 10 decimals


# The rules, written a second time on top of numpy


def numpy_roots(coefficients, imaginary):
    """Return numpy's real roots, ascending, each polished by Newton's steps in extended precision."""
    coefficients = np.trim_zeros(np.asarray(coefficients, dtype=float), "f")
    found = np.roots(coefficients)
    real = np.sort(found.real[np.abs(found.imag) <= imaginary]).astype(np.longdouble)
    slopes = np.polyder(coefficients.astype(np.longdouble)) if len(coefficients) > 1 else np.zeros(1)
    for _ in range(4):
        slope = np.polyval(slopes, real)
        step = np.polyval(coefficients.astype(np.longdouble), real) / np.where(slope == 0, np.inf, slope)
        real = np.where(np.abs(step) < 1e-6 * (1 + np.abs(real)), real - step, real)
    return [float(x) for x in real], [complex(x) for x in found]


def expected_roots(curve, y):
    if isinstance(curve, Polynomial):
        return numpy_roots([*curve.coefficients[:-1], curve.coefficients[-1] - y], 1e-10)
    accepted, everything = [], []
    for place, (a, b, c, d) in enumerate(curve.segments):
        width = curve.knots[place + 1] - curve.knots[place]
        low = -math.inf if place == 0 else 0.0
        high = math.inf if place == len(curve.segments) - 1 else width
        cubic = [d, c, b, a - y]
        while cubic and abs(cubic[0]) < 1e-12:
            del cubic[0]
        roots, found = numpy_roots(cubic, 1e-9)
        everything += [curve.knots[place] + u for u in found]
        accepted += [curve.knots[place] + min(max(u, low), high) for u in roots if low - 1e-9 <= u <= high + 1e-9]
    distinct = []
    for x in sorted(accepted):
        if not distinct or x - distinct[-1] >= 1e-7:
            distinct.append(x)
    return distinct, everything


def expected_inverse(roots, domain):
    low, high = domain
    inside = [x for x in roots if low <= x <= high]
    return inside[0] if inside else min(roots, key=lambda x: (min(abs(x - low), abs(x - high)), x), default=None)


def expected_value(curve, x):
    if isinstance(curve, Polynomial):
        return float(np.polyval(curve.coefficients, x))
    return float(PPoly(np.array(curve.segments).T[::-1], np.array(curve.knots), extrapolate=True)(x))


def is_nearly_double(found):
    """Return whether two of numpy's roots, complex ones too, are so close that rounding decides about them."""
    size = 1 + max(map(abs, found), default=0.0)
    return any(abs(a - b) < 1e-5 * size for i, a in enumerate(found) for b in found[:i])


# Random curves


def random_polynomial(random_):
    degree = random_.randint(0, 5)
    return Polynomial(tuple(random_.uniform(-1, 1) * 10 ** random_.uniform(-3, 2) for _ in range(degree + 1)))


def random_piecewise(random_):
    knots = sorted(random_.uniform(-5, 60) for _ in range(random_.randint(2, 9)))
    scale = 10 ** random_.uniform(-2, 3)
    segments = tuple(
        tuple(scale * random_.uniform(-1, 1) / (10.0**power) for power in range(4)) for _ in range(len(knots) - 1)
    )
    return PiecewiseCubic(tuple(knots), segments, random_.choice(["spline", "akima"]))


@dataclass
class Comparison:
    compared: int = 0
    nearly_double: int = 0
    worst_value: float = 0.0  # 1 is the largest difference that is accepted
    worst_root: float = 0.0
    failures: list = field(default_factory=list)


def difference(ours, theirs):
    return abs(ours - theirs) / max(RELATIVE * abs(theirs), ABSOLUTE)


def compare(count, seed=1):
    """Compare values and inverses of `count` random curves; return what came out."""
    random_, result = random.Random(seed), Comparison()
    for number in range(count):
        curve = (random_polynomial if number % 2 else random_piecewise)(random_)
        low, high = sorted(random_.uniform(-5, 60) for _ in range(2))
        x = random_.uniform(low - 5, high + 5)
        y = curve.y_at(x)
        result.worst_value = max(result.worst_value, difference(y, expected_value(curve, x)))
        roots, found = expected_roots(curve, y)
        result.compared += 1
        if is_nearly_double(found):
            result.nearly_double += 1
            check_residual(curve, y, low, high, result)
            continue
        theirs = expected_inverse(roots, (low, high))
        ours = None if not curve.roots(y) else invert(curve, y, (low, high))
        if (ours is None) != (theirs is None):
            result.failures.append((curve, y, ours, theirs))
        elif ours is not None and theirs is not None:
            result.worst_root = max(result.worst_root, difference(ours, theirs))
            if difference(ours, theirs) > 1:
                result.failures.append((curve, y, ours, theirs))
    return result


def check_residual(curve, y, low, high, result):
    """Whichever of two nearly equal roots was found: the curve has the value there."""
    if not curve.roots(y):
        return
    x = invert(curve, y, (low, high))
    slack = 1e-9 * (abs(y) + abs(curve.slope_at(x)) + 1)
    if abs(curve.exact_y_at(x) - y) > slack:
        result.failures.append((curve, y, x, curve.exact_y_at(x)))


def test_a_thousand_random_curves_agree_with_numpy():
    result = compare(1000)
    assert result.failures == []
    assert result.compared == 1000
    assert result.nearly_double < 100
    assert result.worst_value <= 1
    assert result.worst_root <= 1


@pytest.mark.soak
def test_ten_thousand_random_curves_agree_with_numpy():
    result = compare(10_000, seed=2)
    print(
        f"\n10000 curves: {result.nearly_double} with nearly double roots (by residual); largest difference "
        f"{result.worst_value:.2g} (values) and {result.worst_root:.2g} (inverses) of what is accepted"
    )
    assert result.failures == []
    assert max(result.worst_value, result.worst_root) <= 1


# Near-double roots


def nearly_double_cases(count, seed=3):
    """Yield cubics whose turning point comes as close to y as rounding, on either side of it."""
    random_ = random.Random(seed)
    for _ in range(count):
        middle, other = random_.uniform(0, 10), random_.uniform(15, 30)
        lift = random_.choice([0.0, 1e-16, -1e-16, 1e-12, -1e-12, 1e-8, -1e-8, -1e-4])
        a = random_.uniform(0.1, 2)
        coefficients = np.polymul(np.polymul([1, -middle], [1, -middle]), [a, -a * other])
        yield Polynomial(tuple(float(c) for c in coefficients)), lift, middle


def check_nearly_double(count):
    found_double = 0
    for curve, y, middle in nearly_double_cases(count):
        roots = curve.roots(y)
        assert roots  # there is always the third one
        for x in roots:
            assert abs(curve.exact_y_at(x) - y) <= 1e-11 * (1 + 30**3)
        found_double += any(abs(x - middle) < 0.1 for x in roots)
    return found_double


def test_nearly_double_roots_have_a_small_residual():
    assert 400 < check_nearly_double(1000) < 1000


@pytest.mark.soak
def test_ten_thousand_nearly_double_roots_have_a_small_residual():
    assert check_nearly_double(10_000) > 4000


# Roots


@pytest.mark.parametrize(
    ("coefficients", "roots"),
    [
        ([], []),
        ([5.0], []),
        ([0.0], []),
        ([0.0, 0.0, 0.0], []),
        ([0.0, 2.0, -4.0], [2.0]),
        ([1.0, 0.0, 1.0], []),
        ([1.0, -2.0, 1.0], [1.0]),
        ([1.0, 0.0, 0.0, 0.0], [0.0]),
        ([1.0, 0.0, -4.0], [-2.0, 2.0]),
        ([1e-300, 1.0, -1.0], [-1e300, 1.0]),
        ([1.0, 0.0, 0.0, 0.0, 0.0, -1e200], [1e40]),
        ([1e-20, 0.0, -1.0], [-1e10, 1e10]),
    ],
    ids=str,
)
def test_real_roots(coefficients, roots):
    assert real_roots(coefficients) == pytest.approx(roots, rel=1e-12, abs=1e-150)


def test_the_roots_of_wilkinsons_tenth_are_found():
    coefficients = [float(c) for c in np.poly(np.arange(1, 11))]
    assert real_roots(coefficients) == pytest.approx(range(1, 11), abs=1e-7)


def test_a_polynomial_of_the_largest_degree_is_solved_at_once():
    import time

    coefficients = [random.Random(4).uniform(-1, 1) for _ in range(21)]
    began = time.process_time()
    roots = real_roots(coefficients)
    assert time.process_time() - began < 2
    assert all(abs(np.polyval(coefficients, x)) < 1e-9 for x in roots)


# The choice among roots

PARABOLA = Polynomial((1.0, 0.0, 0.0))  # roots of 4: -2 and 2
CUBIC = Polynomial((1.0, 0.0, -1.0, 0.0))  # roots of 0: -1, 0, 1
LINE = Polynomial((2.0, 0.0))


@pytest.mark.parametrize(
    ("curve", "y", "domain", "x"),
    [
        (PARABOLA, 4.0, (0.0, 5.0), 2.0),
        (PARABOLA, 4.0, (-5.0, 5.0), -2.0),
        (PARABOLA, 4.0, EVERYWHERE, -2.0),
        (CUBIC, 0.0, (-0.5, 2.0), 0.0),
        (PARABOLA, 4.0, (3.0, 5.0), 2.0),
        (PARABOLA, 4.0, (-7.0, -3.0), -2.0),
        (PARABOLA, 4.0, (-1.0, 1.0), -2.0),  # as near: the smaller
        (PARABOLA, 4.0, (2.0, 2.0), 2.0),
        (LINE, 10.0, (0.0, 1.0), 5.0),
        (LINE, 0.0, (0.0, 1.0), 0.0),
        (LINE, 1e-300, (0.0, 1.0), 0.0),
    ],
    ids=str,
)
def test_the_smallest_root_inside_the_domain_wins_else_the_one_nearest_to_it(curve, y, domain, x):
    found = invert(curve, y, domain)
    assert found == x
    assert math.copysign(1, found) == math.copysign(1, x)  # no -0.0


@pytest.mark.parametrize(
    ("curve", "y", "domain", "error"),
    [
        (LINE, 10.0, (0.0, 1.0), AboveCalibration),
        (LINE, -1.0, (0.0, 1.0), BelowCalibration),
        (PARABOLA, 4.0, (-7.0, -3.0), AboveCalibration),
        (PARABOLA, 4.0, (3.0, 5.0), BelowCalibration),
        (PARABOLA, -1.0, (0.0, 1.0), NoSolution),
        (Polynomial((3.0,)), 3.0, (0.0, 1.0), NoSolution),
        (Polynomial(()), 3.0, (0.0, 1.0), NoSolution),
        (PiecewiseCubic((), ()), 3.0, (0.0, 1.0), NoSolution),
    ],
    ids=str,
)
def test_outside_the_calibrated_range_is_an_error_that_says_on_which_side(curve, y, domain, error):
    with pytest.raises(error):
        invert(curve, y, domain, enforce_bounds=True)


def test_a_root_that_rounds_to_the_edge_is_inside():
    assert invert(LINE, 2.0 + 6e-11, (0.0, 1.0), enforce_bounds=True) == 1.0


def test_bounds_say_nothing_where_nothing_was_recorded():
    assert invert(LINE, 1e6, domain_of([]), enforce_bounds=True) == 5e5


# Piecewise

STEPS = PiecewiseCubic((0.0, 1.0, 2.0, 3.0), ((0.0, 1.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (1.0, 2.0, 0.0, 0.0)))


@pytest.mark.parametrize(
    ("x", "y"), [(-1.0, -1.0), (0.5, 0.5), (1.0, 1.0), (1.5, 1.0), (2.0, 1.0), (2.5, 2.0), (9.0, 15.0)]
)
def test_the_outer_segments_go_on_beyond_the_knots(x, y):
    assert STEPS.y_at(x) == y


def test_a_segment_that_is_the_value_gives_its_two_ends():
    assert STEPS.roots(1.0) == [1.0, 2.0]


def test_an_outer_segment_that_is_the_value_gives_no_end():
    assert PiecewiseCubic((0.0, 1.0), ((3.0, 0.0, 0.0, 0.0),)).roots(3.0) == []


def test_a_root_at_a_knot_is_found_once():
    assert PiecewiseCubic((0.0, 1.0, 2.0), ((0.0, 1.0, 0.0, 0.0), (1.0, 1.0, 0.0, 0.0))).roots(1.0) == [1.0]


def test_a_negligible_leading_term_is_dropped():
    curve = PiecewiseCubic((0.0, 1.0), ((0.0, 1.0, 0.0, 1e-13),))
    assert curve.roots(0.5) == [0.5]


@pytest.mark.parametrize("curve", [Polynomial(()), PiecewiseCubic((), ()), PiecewiseCubic((1.0,), ())], ids=str)
def test_a_curve_without_coefficients_has_no_value(curve):
    with pytest.raises(NoSolution):
        curve.y_at(1.0)


@pytest.mark.parametrize(
    ("curve", "domain", "expected"),
    [
        (LINE, (0.0, 1.0), True),
        (Polynomial((-1.0, 0.0)), (0.0, 1.0), True),
        (Polynomial((1.0,)), (0.0, 1.0), False),
        (PARABOLA, (0.0, 1.0), True),
        (PARABOLA, (-0.1, 1.0), False),
        (STEPS, (0.0, 3.0), False),
        (PiecewiseCubic((0.0, 2.0), ((0.0, 0.0, 1.0, 0.0),)), (0.0, 2.0), True),
        (PiecewiseCubic((0.0, 2.0), ((0.0, -0.1, 1.0, 0.0),)), (0.0, 2.0), False),
    ],
    ids=str,
)
def test_monotonic_means_rising_or_falling_all_along(curve, domain, expected):
    assert is_monotonic(curve, domain) is expected
