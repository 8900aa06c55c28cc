"""Optical density from photodiodes at several angles together: how an estimator is fitted, used and adapted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reactor_unit.calibrations.curves import PiecewiseCubic
from reactor_unit.calibrations.fits import BadFit, fit_akima
from reactor_unit.calibrations.models import FusedOdEstimator
from reactor_unit.errors import UnitError

ANGLES = ("45", "90", "135")
MIN_LEVELS = 4  # different standards
SIGMA_FLOOR = 0.04  # of the natural logarithm of a reading: 4 %
MIN_READING = 1e-12
MIN_SLOPE = 0.05  # a flatter curve tells nothing, but must not divide by zero
NORMAL_MAD = 1.4826  # standard deviation of a normal distribution / its median absolute deviation

# How much less, or more, an angle is trusted in dilute samples: fully as said at `_LOW_LOGC` and below, blended to 1 at
# `_HIGH_LOGC` and above.
_TRUST_WHEN_DILUTE = {"135": 0.04, "90": 4.0, "45": 10.0}
_LOW_LOGC, _HIGH_LOGC = -2.5, -0.1

_GRID_POINTS = 256
_BEST_MINIMA = 4
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
_TOLERANCE = 1e-6
_MAX_STEPS = 64


class CannotEstimate(UnitError):
    """The readings do not give one optical density."""

    default_remediation = "Check that every angle of the estimator has a photodiode that reads."


@dataclass(frozen=True)
class Observation:
    """One reading of a standard: `od` and `reading` are positive."""

    angle: str
    od: float
    reading: float


@dataclass(frozen=True)
class FusedFit:
    """What a fit finds; the fields are those of `FusedOdEstimator`."""

    mu_splines: Mapping[str, PiecewiseCubic]
    sigma_splines_log: Mapping[str, PiecewiseCubic]
    min_logc: float
    max_logc: float
    recorded_data: Mapping[str, Any]


def fit(observations: Iterable[Observation]) -> FusedFit:
    """Return the curves of an estimator for the angles 45, 90 and 135; readings and ODs <= 0 are left out.

    Raises BadFit when an angle has fewer than four different standards.
    """
    usable = [one for one in observations if one.od > 0 and one.reading > 0]
    levels = {angle: _levels(angle, usable) for angle in ANGLES}
    logcs = [logc for of_angle in levels.values() for logc in of_angle]
    centres = {a: {logc: math.fsum(values) / len(values) for logc, values in levels[a].items()} for a in ANGLES}
    mu = {angle: fit_akima(list(centres[angle]), list(centres[angle].values())) for angle in ANGLES}
    recorded = {angle: {"x": list(centres[angle]), "y": list(centres[angle].values())} for angle in ANGLES}
    sigma = {angle: _noise_curve(mu[angle], levels[angle]) for angle in ANGLES}
    return FusedFit(mu, sigma, min(logcs), max(logcs), {"by_angle": recorded})


def estimate(estimator: FusedOdEstimator, readings: Mapping[str, float]) -> float:
    """Return the optical density that explains `readings`, angle -> reading, best.

    The misfit, summed over the angles, is a pseudo-Huber loss with the logarithm of the noise. Its minimum is sought on
    a grid, then refined by golden sections. Raises CannotEstimate when a reading is missing or not a number.
    """
    logs = {angle: _log_reading(readings, angle) for angle in estimator.angles}

    def misfit(logc: float) -> float:
        return sum(_misfit_of(estimator, angle, log_reading, logc) for angle, log_reading in logs.items())

    low, high = estimator.min_logc, estimator.max_logc
    step = (high - low) / (_GRID_POINTS - 1)
    values = [misfit(low + place * step) for place in range(_GRID_POINTS)]
    refined = [
        _golden_section(misfit, max(low, low + (place - 1) * step), min(high, low + (place + 1) * step))
        for place in _lowest_minima(values)
    ]
    return float(10.0 ** min(refined, key=misfit))


@dataclass(frozen=True)
class LogcShift:
    """`scale * log10(OD) + offset`: how one unit's estimates become another's."""

    scale: float
    offset: float

    @classmethod
    def through(cls, first: tuple[float, float], second: tuple[float, float]) -> LogcShift:
        """Return the shift that makes two estimates true; each is (true OD, estimated OD), all positive.

        Raises BadFit when the estimates are equal, or the larger one belongs to the smaller OD.
        """
        (true_1, estimated_1), (true_2, estimated_2) = (tuple(map(math.log10, pair)) for pair in (first, second))
        if estimated_1 == estimated_2:
            raise BadFit("Both standards give the same estimate.", remediation="Use standards further apart.")
        scale = (true_2 - true_1) / (estimated_2 - estimated_1)
        if scale <= 0:
            raise BadFit(
                f"The estimates {first[1]:g} and {second[1]:g} are in the other order than the standards.",
                remediation="Check which vial is which, and measure both again.",
            )
        return cls(scale, true_1 - scale * estimated_1)

    def logc(self, logc: float) -> float:
        """Return the shifted logarithm."""
        return self.scale * logc + self.offset

    def curve(self, curve: PiecewiseCubic) -> PiecewiseCubic:
        """Return the curve over shifted logarithms that has the same values."""
        s = self.scale
        segments = tuple((a, b / s, c / s**2, d / s**3) for a, b, c, d in curve.segments)
        return PiecewiseCubic(tuple(map(self.logc, curve.knots)), segments, curve.kind)


def _levels(angle: str, observations: Sequence[Observation]) -> dict[float, list[float]]:
    """Return the logarithms of the angle's readings for each log10 of an OD, ascending."""
    levels: dict[float, list[float]] = {}
    for one in observations:
        if one.angle == angle:
            levels.setdefault(math.log10(one.od), []).append(math.log(max(one.reading, MIN_READING)))
    if len(levels) < MIN_LEVELS:
        raise BadFit(
            f"There are usable readings of {len(levels)} different standards at {angle} degrees; "
            f"at least {MIN_LEVELS} are needed."
        )
    return dict(sorted(levels.items()))


def _noise_curve(mu: PiecewiseCubic, levels: Mapping[float, Sequence[float]]) -> PiecewiseCubic:
    logs = []
    for logc, values in levels.items():
        residuals = [value - mu.exact_y_at(logc) for value in values]
        middle = _median(residuals)
        deviation = _median([abs(residual - middle) for residual in residuals])
        logs.append(math.log(max(NORMAL_MAD * deviation, SIGMA_FLOOR)))
    return fit_akima(list(levels), logs)


def _median(values: Sequence[float]) -> float:
    """Return the median; the module `statistics` would be 0.3 MB in every process."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2.0


def _log_reading(readings: Mapping[str, float], angle: str) -> float:
    reading = readings.get(angle)
    if reading is None or not math.isfinite(reading):
        raise CannotEstimate(f"There is no reading at {angle} degrees.")
    return math.log(max(reading, MIN_READING))


def _misfit_of(estimator: FusedOdEstimator, angle: str, log_reading: float, logc: float) -> float:
    mu = estimator.mu_splines[angle]
    noise = max(math.exp(estimator.sigma_splines_log[angle].exact_y_at(logc)), estimator.sigma_floor)
    sigma = noise / max(abs(mu.slope_at(logc)), MIN_SLOPE) * _trust(angle, logc)
    residual = (log_reading - mu.exact_y_at(logc)) / sigma
    return math.sqrt(1.0 + residual * residual) - 1.0 + math.log(sigma)


def _trust(angle: str, logc: float) -> float:
    share = (_HIGH_LOGC - min(max(logc, _LOW_LOGC), _HIGH_LOGC)) / (_HIGH_LOGC - _LOW_LOGC)
    return share * _TRUST_WHEN_DILUTE[angle] + (1.0 - share)


def _lowest_minima(values: Sequence[float]) -> list[int]:
    """Return the places of the lowest local minima, best first; edges and plateaus count."""
    last = len(values) - 1
    places = [
        place
        for place, value in enumerate(values)
        if value <= values[max(place - 1, 0)] and value <= values[min(place + 1, last)]
    ]
    return sorted(places, key=lambda place: values[place])[:_BEST_MINIMA]


def _golden_section(function: Any, low: float, high: float) -> float:
    """Return where `function` has its minimum in [low, high], to 1e-6."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(_MAX_STEPS):
        if high - low <= _TOLERANCE:
            break
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = function(right)
    return (low + high) / 2
