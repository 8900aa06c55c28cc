"""Scatter of successive readings about their trend: what tells moving liquid from still liquid."""

from __future__ import annotations

import math
from collections.abc import Sequence

FEWEST_READINGS = 8  # from which a scatter is taken; its own error is then about a third


def scatter_about_trend(readings: Sequence[float]) -> float | None:
    """Return the standard deviation of evenly spaced readings about their local trend, divided by their mean.

    Second differences leave out a trend: cells grow, and sink when nothing stirs them. For independent noise their
    mean square is 6 times its variance. None with fewer than FEWEST_READINGS, or when the mean is not above 0.

    >>> scatter_about_trend([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]) < 1e-12
    True
    """
    mean = math.fsum(readings) / len(readings) if readings else 0.0
    if len(readings) < FEWEST_READINGS or mean <= 0:
        return None
    seconds = [
        before - 2.0 * middle + after
        for before, middle, after in zip(readings, readings[1:], readings[2:], strict=False)
    ]
    return math.sqrt(math.fsum(second**2 for second in seconds) / (6.0 * len(seconds))) / mean
