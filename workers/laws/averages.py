"""Averages that forget, and averages that leave the extremes out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ExponentialMean:
    """A mean in which each new value counts `1 - alpha`; the first value is the first mean.

    >>> ExponentialMean(0.75).with_value(1.0).with_value(2.0).mean
    1.25
    """

    alpha: float
    mean: float | None = None

    def with_value(self, value: float) -> ExponentialMean:
        """Return the mean with one more value."""
        mean = value if self.mean is None else (1.0 - self.alpha) * value + self.alpha * self.mean
        return ExponentialMean(self.alpha, mean)


@dataclass(frozen=True)
class ExponentialStd:
    """A standard deviation that forgets, around a mean that forgets as well.

    With m the mean: variance_n = (1 - alpha) (x - m_n) (x - m_(n-1)) + alpha x variance_(n-1).

    >>> spread = ExponentialStd(alpha=0.95, mean=ExponentialMean(0.8), variance=0.001**2)
    >>> spread.with_value(0.2).std  # one value alone says nothing of a spread
    0.001
    """

    alpha: float
    mean: ExponentialMean
    variance: float

    @property
    def std(self) -> float:
        """The standard deviation."""
        return math.sqrt(self.variance)

    def with_value(self, value: float) -> ExponentialStd:
        """Return the standard deviation with one more value."""
        mean = self.mean.with_value(value)
        if self.mean.mean is None or mean.mean is None:
            return ExponentialStd(self.alpha, mean, self.variance)
        product = (value - mean.mean) * (value - self.mean.mean)
        return ExponentialStd(self.alpha, mean, (1.0 - self.alpha) * product + self.alpha * self.variance)


def trimmed(values: Sequence[float], each_end: int) -> list[float]:
    """Return the values in order of size, without so many at each end; raises ValueError when none are left.

    >>> trimmed([5.0, 1.0, 3.0, 100.0, 4.0], 1)
    [3.0, 4.0, 5.0]
    """
    if len(values) <= 2 * each_end:
        raise ValueError(f"{len(values)} values are too few to leave {each_end} out at each end.")
    return sorted(values)[each_end : len(values) - each_end]


def trimmed_mean(values: Sequence[float], each_end: int) -> float:
    """Return the mean of what `trimmed` leaves."""
    left = trimmed(values, each_end)
    return math.fsum(left) / len(left)


def trimmed_variance(values: Sequence[float], each_end: int) -> float:
    """Return the sample variance of what `trimmed` leaves; of a single value it is 0."""
    left = trimmed(values, each_end)
    mean = math.fsum(left) / len(left)
    return math.fsum((value - mean) ** 2 for value in left) / max(1, len(left) - 1)


def line_fit(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Return intercept and slope of the least-squares line; the slope is 0 when all xs are the same.

    >>> line_fit([0.0, 1.0, 2.0], [1.0, 3.0, 5.0])
    (1.0, 2.0)
    """
    x_mean, y_mean = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    spread = math.fsum((x - x_mean) ** 2 for x in xs)
    slope = math.fsum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread if spread else 0.0
    return y_mean - slope * x_mean, slope
