"""Curves through measured points: polynomials, natural cubic regression splines, Akima; and how good they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from reactor_unit.calibrations.curves import Curve, PiecewiseCubic, Polynomial, Segment, domain_of, is_monotonic
from reactor_unit.calibrations.least_squares import Rows, SingularProblem, solve
from reactor_unit.errors import UnitError

MAX_KNOTS = 6
MAX_DEGREE = 5
EXACT = 1e-12  # residuals below this share of the largest value are rounding: a simpler curve is as good

Values = Sequence[float]
SomeCurve = TypeVar("SomeCurve", bound=Curve)


class BadFit(UnitError):
    """The points do not determine a curve."""

    default_remediation = "Measure more points, further apart."


@dataclass(frozen=True)
class FitQuality:
    """How well a curve describes its points; `r_squared` is 1 for a curve through all of them."""

    points: int
    r_squared: float
    is_monotonic: bool


def quality(curve: Curve, x: Values, y: Values) -> FitQuality:
    """Return how well `curve` describes the points (x, y), at least one."""
    mean = sum(y) / len(y)
    spread = sum((value - mean) ** 2 for value in y)
    misfit = sum((value - curve.y_at(place)) ** 2 for place, value in zip(x, y, strict=True))
    r_squared = 1.0 - misfit / spread if spread else float(misfit == 0.0)
    return FitQuality(len(y), r_squared, is_monotonic(curve, domain_of(x)))


def fit_polynomial(x: Values, y: Values, degree: int, weights: Values | None = None) -> Polynomial:
    """Return the polynomial of `degree` with the least sum of (weight * residual)^2, as numpy's polyfit.

    Raises BadFit when there are fewer different x values than coefficients.
    """
    weights = _checked(x, y, weights, at_least=1)
    if len(set(x)) <= degree:
        raise BadFit(f"{len(set(x))} different x values do not determine a polynomial of degree {degree}.")
    powers = range(degree, -1, -1)
    rows = [[weight * place**power for power in powers] for place, weight in zip(x, weights, strict=True)]
    return Polynomial(tuple(_solved(rows, [w * value for w, value in zip(weights, y, strict=True)])))


def fit_polynomial_auto(x: Values, y: Values, weights: Values | None = None) -> Polynomial:
    """Return the polynomial of degree 0 to 5 that describes the points best for its number of coefficients (AICc)."""
    weights = _checked(x, y, weights, at_least=1)
    degrees = range(min(MAX_DEGREE, len(x) - 1, len(set(x)) - 1) + 1)
    candidates = [(fit_polynomial(x, y, degree, weights), degree + 1) for degree in degrees]
    return _best(candidates, x, y, [weight * weight for weight in weights])


def fit_line_through_origin(x: Values, y: Values) -> tuple[Polynomial, float]:
    """Return y = slope x with the least squares, and the standard error of its slope.

    Raises BadFit for fewer than two points, or when every x is 0.
    """
    _checked(x, y, None, at_least=2)
    size = sum(place * place for place in x)
    if not size:
        raise BadFit("Every x is 0: there is no line through the origin.")
    slope = sum(place * value for place, value in zip(x, y, strict=True)) / size
    misfit = sum((value - slope * place) ** 2 for place, value in zip(x, y, strict=True))
    return Polynomial((slope, 0.0)), math.sqrt(misfit / (len(x) - 1) / size)


def fit_spline(x: Values, y: Values, weights: Values | None = None) -> PiecewiseCubic:
    """Return the natural cubic regression spline with 2 to 6 knots that describes the points best (AICc).

    Knots lie at even quantiles of x; their heights have the least sum of weight * residual^2. With up to four points
    the result is a straight line. Raises BadFit for fewer than two different x values.
    """
    weights = _checked(x, y, weights, at_least=2)
    if len(set(x)) < 2:
        raise BadFit("All points have the same x.", remediation="Measure at different values.")
    most = max(2, min(MAX_KNOTS, len(x), len(set(x))))
    candidates: list[tuple[PiecewiseCubic, int]] = []
    for count in range(2, most + 1):
        knots = _quantiles(x, count)
        try:
            candidates.append((fit_spline_at(knots, x, y, weights), len(knots)))
        except BadFit:  # too few points between these knots
            continue
    return _best(candidates, x, y, weights)


def fit_spline_at(knots: Values, x: Values, y: Values, weights: Values | None = None) -> PiecewiseCubic:
    """Return the natural cubic spline with these knots, strictly ascending, nearest to the points.

    Raises BadFit when the points do not determine it.
    """
    weights = _checked(x, y, weights, at_least=1)
    basis = [natural_spline(knots, [float(place == one) for place in range(len(knots))]) for one in range(len(knots))]
    roots = [math.sqrt(weight) for weight in weights]
    rows = [[root * one.exact_y_at(place) for one in basis] for place, root in zip(x, roots, strict=True)]
    return natural_spline(knots, _solved(rows, [root * value for root, value in zip(roots, y, strict=True)]))


def natural_spline(knots: Values, heights: Values) -> PiecewiseCubic:
    """Return the cubic spline through (knots, heights) without curvature at both ends; a line for two knots.

    The second derivatives solve a tridiagonal system (de Boor, A Practical Guide to Splines, chapter IV).
    """
    widths = [right - left for left, right in pairwise(knots)]
    slopes = [(high - low) / width for (low, high), width in zip(pairwise(heights), widths, strict=True)]
    bends = [0.0, *_inner_bends(widths, slopes), 0.0]
    segments: list[Segment] = []
    for place, width in enumerate(widths):
        left, right = bends[place], bends[place + 1]
        b = slopes[place] - width * (2 * left + right) / 6
        segments.append((heights[place], b, left / 2, (right - left) / (6 * width)))
    return PiecewiseCubic(tuple(knots), tuple(segments), "spline")


def fit_akima(x: Values, y: Values) -> PiecewiseCubic:
    """Return Akima's curve through the points (Akima, J. ACM 17, 1970); a line for two. Equal x are averaged.

    Raises BadFit for fewer than two different x values.
    """
    _checked(x, y, None, at_least=2)
    knots = sorted(set(x))
    if len(knots) < 2:
        raise BadFit("All points have the same x.", remediation="Measure at different values.")
    heights = [_mean([value for at, value in zip(x, y, strict=True) if at == knot]) for knot in knots]
    widths = [right - left for left, right in pairwise(knots)]
    slopes = [(high - low) / width for (low, high), width in zip(pairwise(heights), widths, strict=True)]
    tangents = _akima_tangents(slopes)
    segments: list[Segment] = []
    for place, (width, slope) in enumerate(zip(widths, slopes, strict=True)):
        left, right = tangents[place], tangents[place + 1]
        c = (3 * slope - 2 * left - right) / width
        segments.append((heights[place], left, c, (left + right - 2 * slope) / (width * width)))
    return PiecewiseCubic(tuple(knots), tuple(segments), "akima")


def _akima_tangents(slopes: list[float]) -> list[float]:
    if len(slopes) == 1:
        return [slopes[0], slopes[0]]
    before = 2 * slopes[0] - slopes[1]
    after = 2 * slopes[-1] - slopes[-2]
    wide = [2 * before - slopes[0], before, *slopes, after, 2 * after - slopes[-1]]
    tangents = []
    for place in range(len(slopes) + 1):
        first, left, right, last = wide[place : place + 4]
        weight_left, weight_right = abs(last - right), abs(left - first)
        total = weight_left + weight_right
        tangents.append((weight_left * left + weight_right * right) / total if total else (left + right) / 2)
    return tangents


def _inner_bends(widths: list[float], slopes: list[float]) -> list[float]:
    """Return the second derivatives at the inner knots (Thomas's algorithm)."""
    diagonal: list[float] = []
    right_side: list[float] = []
    for place in range(len(widths) - 1):
        here = 2 * (widths[place] + widths[place + 1])
        wanted = 6 * (slopes[place + 1] - slopes[place])
        if place:
            share = widths[place] / diagonal[-1]
            here -= share * widths[place]
            wanted -= share * right_side[-1]
        diagonal.append(here)
        right_side.append(wanted)
    bends: list[float] = []
    for place in range(len(diagonal) - 1, -1, -1):
        beyond = widths[place + 1] * bends[0] if bends else 0.0
        bends.insert(0, (right_side[place] - beyond) / diagonal[place])
    return bends


def _best(candidates: Sequence[tuple[SomeCurve, int]], x: Values, y: Values, weights: Values) -> SomeCurve:
    """Return the curve with the lowest AICc, the first of equals; each comes with its number of parameters."""
    floor = (EXACT * max(map(abs, y))) ** 2 + 1e-300

    def score(candidate: tuple[SomeCurve, int]) -> float:
        curve, parameters = candidate
        points = len(x)
        if points <= parameters + 1:
            return math.inf
        pairs = zip(x, y, weights, strict=True)
        misfit = sum(weight * (value - curve.exact_y_at(place)) ** 2 for place, value, weight in pairs)
        correction = 2 * parameters * (parameters + 1) / (points - parameters - 1)
        return points * math.log(max(misfit / points, floor)) + 2 * parameters + correction

    return min(candidates, key=score)[0]


def _quantiles(x: Values, count: int) -> list[float]:
    """Return `count` even quantiles of x with linear interpolation, each once."""
    ordered = sorted(x)
    found = []
    for number in range(count):
        place = number * (len(ordered) - 1) / (count - 1)
        low = min(int(place), len(ordered) - 2)
        found.append(ordered[low] + (place - low) * (ordered[low + 1] - ordered[low]))
    return sorted(set(found))


def _mean(values: Values) -> float:
    return sum(values) / len(values)


def _solved(rows: Rows, wanted: Values) -> list[float]:
    try:
        return solve(rows, wanted)
    except SingularProblem as ex:
        raise BadFit("The points do not determine the curve.", cause=str(ex)) from ex


def _checked(x: Values, y: Values, weights: Values | None, *, at_least: int) -> Values:
    """Return the weights, 1 where none are given. Raises BadFit for unusable points."""
    weights = [1.0] * len(x) if weights is None else weights
    if not len(x) == len(y) == len(weights):
        raise BadFit(f"There are {len(x)} x values, {len(y)} y values and {len(weights)} weights.")
    if len(x) < at_least:
        raise BadFit(f"{len(x)} points are too few; {at_least} are needed.")
    if not all(map(math.isfinite, [*x, *y, *weights])) or min(weights) < 0:
        raise BadFit("A value is not a finite number, or a weight is negative.")
    return weights
