"""The curves of calibrations: y at an x, and the x values that give a y."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from reactor_unit.calibrations.polynomials import derivative, real_roots, value_at
from reactor_unit.errors import UnitError

DECIMALS = 10  # of every value and root, so that a value's root is the x it was made of
SEGMENT_TOLERANCE = 1e-9  # how far outside its segment a root may lie and still belong to it
NEGLIGIBLE_TERM = 1e-12  # a segment's leading coefficient below this is rounding of a fit
SAME_ROOT = 1e-7  # two segments find the root at the knot between them
EDGE_TOLERANCE = 1e-12

Segment = tuple[float, float, float, float]  # a + b u + c u^2 + d u^3
Domain = tuple[float, float]

EVERYWHERE: Domain = (-math.inf, math.inf)


class NoSolution(UnitError):
    """The curve has no value at this x, or nowhere the value y."""

    default_remediation = "Check the calibration; make it again over a wider range if need be."


class OutsideCalibration(UnitError):
    """The value lies outside the range over which the calibration was made."""

    default_remediation = "Calibrate again over a range that includes the value."


class BelowCalibration(OutsideCalibration):
    """The x that belongs to the value is smaller than every recorded one."""


class AboveCalibration(OutsideCalibration):
    """The x that belongs to the value is larger than every recorded one."""


class Curve(Protocol):
    """A curve y(x)."""

    @property
    def kind(self) -> str:
        """The curve's name in a file: `poly`, `spline` or `akima`."""

    def y_at(self, x: float) -> float:
        """Return the value at `x`, rounded to 10 decimals. Raises NoSolution for a curve without coefficients."""

    def exact_y_at(self, x: float) -> float:
        """Return the value at `x` as it is, for fits: values in a small unit must not lose their digits."""

    def slope_at(self, x: float) -> float:
        """Return the slope at `x`. Raises NoSolution for a curve without coefficients."""

    def turning_points(self) -> list[float]:
        """Return where the slope is zero, ascending."""

    def roots(self, y: float) -> list[float]:
        """Return every x whose value is `y`, ascending, not rounded."""


@dataclass(frozen=True)
class Polynomial:
    """`c0 x^n + ... + cn`: `coefficients`, highest power first.

    >>> Polynomial((0.06, 0.0)).y_at(10.0)
    0.6
    """

    coefficients: tuple[float, ...]
    kind: str = "poly"

    def y_at(self, x: float) -> float:
        """Return the value at `x`."""
        return round(self.exact_y_at(x), DECIMALS)

    def exact_y_at(self, x: float) -> float:
        """Return the value at `x`, not rounded."""
        _needs(self.coefficients)
        return value_at(self.coefficients, x)

    def slope_at(self, x: float) -> float:
        """Return the slope at `x`."""
        _needs(self.coefficients)
        return value_at(derivative(self.coefficients), x)

    def turning_points(self) -> list[float]:
        """Return where the slope is zero."""
        return real_roots(derivative(self.coefficients))

    def roots(self, y: float) -> list[float]:
        """Return every x whose value is `y`."""
        return real_roots([*self.coefficients[:-1], self.coefficients[-1] - y]) if self.coefficients else []


@dataclass(frozen=True)
class PiecewiseCubic:
    """A cubic between each two neighbouring `knots`, in u = x - left knot; the outer ones go on beyond the knots.

    `kind` is `spline` or `akima`, which differ in how they are fitted.
    """

    knots: tuple[float, ...]
    segments: tuple[Segment, ...]
    kind: str = "spline"

    def y_at(self, x: float) -> float:
        """Return the value at `x`."""
        return round(self.exact_y_at(x), DECIMALS)

    def exact_y_at(self, x: float) -> float:
        """Return the value at `x`, not rounded."""
        place = self._place(x)
        return value_at(_cubic(self.segments[place]), x - self.knots[place])

    def slope_at(self, x: float) -> float:
        """Return the slope at `x`."""
        place = self._place(x)
        return value_at(derivative(_cubic(self.segments[place])), x - self.knots[place])

    def turning_points(self) -> list[float]:
        """Return where the slope is zero."""
        return self._found([derivative(_cubic(segment)) for segment in self.segments])

    def roots(self, y: float) -> list[float]:
        """Return every x whose value is `y`; the two ends of an inner segment that is `y` all along."""
        return self._found([_cubic((a - y, b, c, d)) for a, b, c, d in self.segments])

    def _place(self, x: float) -> int:
        _needs(self.segments)
        return min(max(bisect_right(self.knots, x) - 1, 0), len(self.segments) - 1)

    def _found(self, polynomials: Sequence[list[float]]) -> list[float]:
        """Return the roots of a polynomial in u for each segment, as x, ascending, each once."""
        found: list[float] = []
        for place, polynomial in enumerate(polynomials):
            low = -math.inf if place == 0 else 0.0
            width = self.knots[place + 1] - self.knots[place]
            high = math.inf if place == len(polynomials) - 1 else width
            found.extend(self.knots[place] + u for u in _roots_within(polynomial, low, high))
        distinct: list[float] = []
        for x in sorted(found):
            if not distinct or x - distinct[-1] >= SAME_ROOT:
                distinct.append(x)
        return distinct


def curve_from(data: Mapping[str, Any]) -> Curve:
    """Return the curve that checked `curve_data_` describes, as the web process hands it on.

    >>> curve_from({"type": "poly", "coefficients": [0.06, 0.0]}).y_at(10.0)
    0.6
    """
    if data["type"] == "poly":
        return Polynomial(tuple(data["coefficients"]))
    return piecewise_from(data)


def piecewise_from(data: Mapping[str, Any]) -> PiecewiseCubic:
    """Return the piecewise curve that checked `data` describes."""
    segments = tuple((a, b, c, d) for a, b, c, d in data["coefficients"])
    return PiecewiseCubic(tuple(data["knots"]), segments, data["type"])


def _needs(coefficients: Sequence[object]) -> None:
    if not coefficients:
        raise NoSolution("The curve has no coefficients, and so no value anywhere.")


def _cubic(segment: Segment) -> list[float]:
    a, b, c, d = segment
    return [d, c, b, a]


def _roots_within(polynomial: list[float], low: float, high: float) -> list[float]:
    """Return the roots in [low, high]; those outside by no more than the tolerance are moved to the edge."""
    place = 0
    while place < len(polynomial) and abs(polynomial[place]) < NEGLIGIBLE_TERM:
        place += 1
    if place == len(polynomial):
        return [low, high] if math.isfinite(low) and math.isfinite(high) else []
    roots = real_roots(polynomial[place:])
    return [min(max(u, low), high) for u in roots if low - SEGMENT_TOLERANCE <= u <= high + SEGMENT_TOLERANCE]


def domain_of(recorded_x: Sequence[float]) -> Domain:
    """Return the range of the recorded x values; everywhere when there are none."""
    return (min(recorded_x), max(recorded_x)) if recorded_x else EVERYWHERE


def invert(curve: Curve, y: float, domain: Domain, *, enforce_bounds: bool = False) -> float:
    """Return the x whose value on `curve` is `y`, rounded to 10 decimals.

    Of several, the smallest inside `domain`; if there is none, the one nearest to an edge, of two the smaller.
    Raises NoSolution when there is none at all, and with `enforce_bounds` BelowCalibration or AboveCalibration when
    it lies outside `domain`.

    >>> invert(Polynomial((1.0, 0.0, 0.0)), 4.0, (0.0, 5.0))
    2.0
    """
    roots = [round(x, DECIMALS) + 0.0 for x in curve.roots(y)]
    if not roots:
        raise NoSolution(f"The curve has the value {y:g} nowhere.")
    low, high = domain
    inside = [x for x in roots if low <= x <= high]
    if inside:
        return inside[0]
    nearest = min(roots, key=lambda x: (min(abs(x - low), abs(x - high)), x))
    return _at_the_edge(nearest, y, domain) if enforce_bounds else nearest


def _at_the_edge(x: float, y: float, domain: Domain) -> float:
    low, high = domain
    if x < low - EDGE_TOLERANCE:
        raise BelowCalibration(f"{y:g} belongs to {x:g}, which is below the calibrated range {low:g} to {high:g}.")
    if x > high + EDGE_TOLERANCE:
        raise AboveCalibration(f"{y:g} belongs to {x:g}, which is above the calibrated range {low:g} to {high:g}.")
    return min(max(x, low), high)


def is_monotonic(curve: Curve, domain: Domain) -> bool:
    """Return whether the curve only rises or only falls over a finite `domain`."""
    low, high = domain
    places = [low, *(x for x in curve.turning_points() if low < x < high), high]
    values = [curve.y_at(x) for x in places]
    pairs = list(pairwise(values))
    return all(a < b for a, b in pairs) or all(a > b for a, b in pairs)
