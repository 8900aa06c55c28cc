"""Growth rate from optical densities: an extended Kalman filter, and what normalises its input.

The filter's state is the normalised optical density (nOD, 1 at the start of the experiment) and the growth rate in
1/h. Between readings nOD grows by exp(rate x dt) and the rate stays. Equations and constants are the reference
system's, but for one: a new filter allows a rate of 0.1 /h from the start (`initial_rate_std`), not of 0.01 /h. Each
photodiode at 45, 90 or 135 degrees sees nOD; one at 180 degrees sees exp(-(nOD - 1)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reactor_unit.workers.laws.averages import ExponentialMean, ExponentialStd, line_fit, trimmed_mean, trimmed_variance
from reactor_unit.workers.laws.matrix import (
    Matrix,
    apply,
    diagonal,
    inverse,
    product,
    scaled,
    symmetric,
    total,
    transposed,
)

SKIPPED_READINGS = 5
"""So many first readings are left out, before the statistics and again after them: the optics settle."""


class Normalization(NamedTuple):
    """What one channel's optical densities are relative to: mean and variance of the first readings, and the blank."""

    mean: float
    variance: float
    blank: float

    def normalized(self, od: float) -> float:
        """Return (od - blank) / (mean - blank); raises ValueError unless that is above 0.

        >>> Normalization(mean=0.75, variance=1e-6, blank=0.25).normalized(1.25)
        2.0
        """
        normalized = (od - self.blank) / (self.mean - self.blank)
        if not 0.0 < normalized < math.inf:
            raise ValueError(
                f"The optical density {od:g} is not above its blank of {self.blank:g}: nothing grows from there."
            )
        return normalized


def normalization(readings: Sequence[tuple[float, float]], blank: float = 0.0) -> Normalization:
    """Return the normalisation of one channel, from its first readings (time in s, optical density).

    The mean leaves two readings out at each end. The variance is that of what a straight line through the readings
    (found without the lowest and the highest) leaves, two left out at each end again. A blank above 0.9 of the mean is
    taken as 0: it belongs to something else. Raises ValueError for fewer than 7 readings or a mean that is not above 0.
    """
    if len(readings) < 7:
        raise ValueError(f"{len(readings)} readings are too few for statistics; at least 7 are needed.")
    ods = [od for _, od in readings]
    mean = trimmed_mean(ods, 2)
    if not 0.0 < mean < math.inf:
        raise ValueError(f"The mean optical density is {mean:g}: is there a vial, and does the infrared LED shine?")
    middle = sorted(readings, key=lambda reading: reading[1])[1:-1]
    intercept, slope = line_fit([at_s for at_s, _ in middle], [od for _, od in middle])
    variance = trimmed_variance([od - intercept - slope * at_s for at_s, od in readings], 2)
    return Normalization(mean, variance, 0.0 if blank > 0.9 * mean else blank)


class GrowthEstimate(NamedTuple):
    """What is estimated of a culture: nOD, growth rate in 1/h, and their covariance."""

    od_filtered: float
    growth_rate_per_h: float
    covariance: Matrix


@dataclass(frozen=True)
class GrowthRateState:
    """What the filter remembers between two readings."""

    estimate: GrowthEstimate
    rate_noise: float  # variance that the rate gains in a step, adapted
    observation_noise: Matrix  # covariance of the channels' noise, adapted
    residuals: ExponentialStd  # of the first channel
    at_s: float | None = None  # of the last reading


@dataclass(frozen=True)
class GrowthRateFilter:
    """The extended Kalman filter: step it with each reading.

    `angles` are the channels' angles in degrees, `normalizations` theirs in the same order. For the job, with the last
    known estimates from the cache (1.0 and 0.0 for a new experiment):

    >>> growth = GrowthRateFilter(("90",), (Normalization(0.2, 1e-6, 0.0),))
    >>> state = growth.begin(od_filtered=1.0, growth_rate_per_h=0.0)
    >>> for second in range(0, 7200, 5):
    ...     estimate, state = growth.next(state, (math.exp(0.3 * second / 3600.0),), at_s=second)
    >>> abs(estimate.growth_rate_per_h - 0.3) < 0.01
    True

    After media was dosed, give `dosed=True` with the next reading: nOD may jump then. Raises ValueError for a time
    before the last one, or an observation that is not a positive number.
    """

    angles: tuple[str, ...]
    normalizations: tuple[Normalization, ...]
    samples_per_second: float = 0.2
    outlier_std_threshold: float = 5.0
    obs_std: float = 1.0
    od_std: float = 0.0025
    rate_std: float = 0.15
    initial_rate_std: float = 0.1  # the reference's 0.01 takes more than an hour to find 0.3 /h from 0

    def begin(self, *, od_filtered: float = 1.0, growth_rate_per_h: float = 0.0) -> GrowthRateState:
        """Return the first state, from estimates of before."""
        noise = [self.obs_std**2 * entry.variance / (entry.mean - entry.blank) ** 2 for entry in self.normalizations]
        noise = [max(variance, 1e-10) for variance in noise]
        estimate = GrowthEstimate(od_filtered, growth_rate_per_h, diagonal([0.04**2, self.initial_rate_std**2]))
        residuals = ExponentialStd(alpha=0.975, mean=ExponentialMean(0.80), variance=noise[0])
        return GrowthRateState(estimate, self._usual_rate_noise, diagonal(noise), residuals)

    def normalized(self, ods: Sequence[float]) -> tuple[float, ...]:
        """Return what `next` takes, for one optical density of each channel; see `Normalization.normalized`."""
        return tuple(entry.normalized(od) for entry, od in zip(self.normalizations, ods, strict=True))

    def next(
        self, state: GrowthRateState, observation: Sequence[float], at_s: float, *, dosed: bool = False
    ) -> tuple[GrowthEstimate, GrowthRateState]:
        """Return the estimate with one more reading, made at `at_s` by the job's clock, and the state after it."""
        self._check(observation)
        expected = self._expected(state, at_s, dosed=dosed)
        residual = [
            seen - self._seen(angle, expected.od_filtered) for seen, angle in zip(observation, self.angles, strict=True)
        ]
        limit = self.outlier_std_threshold * state.residuals.std
        outlier = abs(residual[0]) > limit
        if outlier:
            (p00, p01), rates = expected.covariance
            expected = expected._replace(covariance=((2.0 * p00, p01), rates))
        slopes = tuple((self._slope(angle, expected.od_filtered), 0.0) for angle in self.angles)
        to_state = product(expected.covariance, transposed(slopes))
        uncertainty = total(product(slopes, to_state), state.observation_noise)
        gain = product(to_state, inverse(uncertainty))
        if outlier:
            gain = scaled((gain[0], (0.0,) * len(residual)), limit / abs(residual[0]))
        estimate = _corrected(expected, gain, slopes, residual)
        return estimate, GrowthRateState(
            estimate,
            self._next_rate_noise(state.rate_noise, residual[0] ** 2 / uncertainty[0][0]),
            state.observation_noise if outlier or dosed else _adapted(state.observation_noise, residual),
            state.residuals if outlier or dosed else state.residuals.with_value(residual[0]),
            at_s,
        )

    @property
    def _step_h(self) -> float:
        return 1.0 / (3600.0 * self.samples_per_second)

    @property
    def _usual_rate_noise(self) -> float:
        return (self.rate_std * self._step_h) ** 2

    def _next_rate_noise(self, rate_noise: float, surprise: float) -> float:
        """Let the rate change faster while readings lie three standard deviations off, and calm down after."""
        return 2.0 * rate_noise if surprise > 9.0 else 0.95 * rate_noise + 0.05 * self._usual_rate_noise

    def _expected(self, state: GrowthRateState, at_s: float, *, dosed: bool) -> GrowthEstimate:
        """Return the estimate carried forward to `at_s`."""
        hours = 0.0 if state.at_s is None else (at_s - state.at_s) / 3600.0
        if hours < 0.0:
            raise ValueError(f"The reading is {-3600.0 * hours:g} s older than the one before.")
        od, rate, covariance = state.estimate
        od_noise = (self.od_std * self._step_h) ** 2
        if dosed:
            covariance = diagonal([covariance[0][0], covariance[1][1]])
            od_noise += 0.25 * od * od
        growth = math.exp(rate * hours)
        slopes = ((growth, od * hours * growth), (0.0, 1.0))
        carried = product(product(slopes, covariance), transposed(slopes))
        return GrowthEstimate(od * growth, rate, total(carried, diagonal([od_noise, state.rate_noise])))

    def _check(self, observation: Sequence[float]) -> None:
        if len(observation) != len(self.angles):
            raise ValueError(f"There are {len(observation)} observations for {len(self.angles)} channels.")
        for value in observation:
            if not 0.0 < value < math.inf:
                raise ValueError(f"A normalised optical density is above 0, not {value:g}.")

    @staticmethod
    def _seen(angle: str, od: float) -> float:
        return math.exp(-(od - 1.0)) if angle == "180" else od

    @staticmethod
    def _slope(angle: str, od: float) -> float:
        return -math.exp(-(od - 1.0)) if angle == "180" else 1.0


def _corrected(expected: GrowthEstimate, gain: Matrix, slopes: Matrix, residual: Sequence[float]) -> GrowthEstimate:
    """Return the estimate after a correction by gain x residual; (1 - K H) P, kept symmetric."""
    od, rate = (value + step for value, step in zip(expected[:2], apply(gain, residual), strict=True))
    left = total(diagonal([1.0, 1.0]), scaled(product(gain, slopes), -1.0))
    return GrowthEstimate(od, rate, symmetric(product(left, expected.covariance)))


def _adapted(noise: Matrix, residual: Sequence[float]) -> Matrix:
    """Return 0.97 of the channels' noise and 0.03 of what the residuals show, no variance below 1e-10."""
    seen = tuple(tuple(0.03 * x * y for y in residual) for x in residual)
    adapted = total(scaled(noise, 0.97), seen)
    return tuple(
        tuple(max(value, 1e-10) if i == j else value for j, value in enumerate(row)) for i, row in enumerate(adapted)
    )
