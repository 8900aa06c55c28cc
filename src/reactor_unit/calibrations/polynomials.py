"""Real polynomials, highest power first: values, derivatives and real roots, without numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence

_EPSILON = 2.0**-52
_MAX_STEPS = 2200  # bisection halves any range of floats in fewer

Coefficients = Sequence[float]


def value_at(coefficients: Coefficients, x: float) -> float:
    """Return the polynomial's value, by Horner's rule.

    >>> value_at([1.0, 0.0, -2.0], 3.0)
    7.0
    """
    value = 0.0
    for coefficient in coefficients:
        value = value * x + coefficient
    return value


def derivative(coefficients: Coefficients) -> list[float]:
    """Return the coefficients of the derivative; none for a constant.

    >>> derivative([1.0, 2.0, 3.0])
    [2.0, 2.0]
    """
    degree = len(coefficients) - 1
    return [(degree - place) * coefficient for place, coefficient in enumerate(coefficients[:-1])]


def real_roots(coefficients: Coefficients) -> list[float]:
    """Return the distinct real roots, ascending, to the last bits of a float.

    Between two neighbouring turning points there is at most one root, and the sign changes there; the turning points
    are the derivative's roots. A turning point whose value is zero within the rounding of its evaluation is a
    (double) root. A constant, also 0, has none.

    >>> real_roots([1.0, -3.0, 2.0])
    [1.0, 2.0]
    """
    own = _without_leading_zeros(coefficients)
    if len(own) < 2:
        return []
    if len(own) == 2:
        return [-own[1] / own[0]]
    bound = _bound(own)
    turning = [x for x in real_roots(derivative(own)) if -bound < x < bound]
    limits = [-bound, *turning, bound]
    signs = [_sign_at_minus_infinity(own), *(_sign_at(own, x) for x in turning), math.copysign(1.0, own[0])]
    roots = []
    for place in range(len(limits) - 1):
        if place and signs[place] == 0:
            roots.append(limits[place])
        if signs[place] * signs[place + 1] < 0:
            roots.append(_root_between(own, limits[place], limits[place + 1], signs[place + 1]))
    return roots


def _without_leading_zeros(coefficients: Coefficients) -> list[float]:
    place = 0
    while place < len(coefficients) and coefficients[place] == 0.0:
        place += 1
    return list(coefficients[place:])


def _bound(coefficients: Coefficients) -> float:
    """Return Fujiwara's bound: no root is further from 0 (Tohoku Math. J. 10, 1916). Rounded up, and finite."""
    lead = abs(coefficients[0])
    largest = 0.0
    for power, coefficient in enumerate(coefficients[1:], start=1):
        if coefficient:
            exponent = (math.log(abs(coefficient)) - math.log(lead)) / power
            largest = max(largest, math.exp(min(exponent, 700.0)))
    return 2.0 * largest * (1.0 + 1e-9) + 1e-300


def _sign_at_minus_infinity(coefficients: Coefficients) -> float:
    sign = math.copysign(1.0, coefficients[0])
    return sign if len(coefficients) % 2 else -sign


def _sign_at(coefficients: Coefficients, x: float) -> float:
    """Return the sign of the value; 0 where rounding may have made all of it."""
    value, size = 0.0, 0.0
    for coefficient in coefficients:
        value = value * x + coefficient
        size = size * abs(x) + abs(coefficient)
    return 0.0 if abs(value) <= 4 * _EPSILON * size else math.copysign(1.0, value)


def _root_between(coefficients: Coefficients, low: float, high: float, sign_at_high: float) -> float:
    """Return the one root in (low, high): Newton's steps, and halving where they leave the range or are slow."""
    slopes = derivative(coefficients)
    x = low + (high - low) / 2
    last_step = high - low
    for _ in range(_MAX_STEPS):
        value = value_at(coefficients, x)
        if value == 0.0:
            return x
        if value * sign_at_high > 0:
            high = x
        else:
            low = x
        slope = value_at(slopes, x)
        step = -value / slope if slope else math.inf
        if not (low < x + step < high) or abs(step) * 2 > last_step:
            step = low + (high - low) / 2 - x
        if x + step == x or abs(step) <= _EPSILON * abs(x) / 4:
            return x
        last_step = abs(step)
        x += step
    return x
