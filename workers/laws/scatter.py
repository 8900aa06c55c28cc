"""Scatter of successive readings about their trend: what tells moving liquid from still liquid."""

from __future__ import annotations

import math
from collections.abc import Sequence

FEWEST_READINGS = 12  # from which a scatter is taken; it is then within a fifth of the true one, usually


def scatter_about_trend(readings: Sequence[float]) -> float | None:
    """Return the standard deviation of evenly spaced readings about their straight trend, divided by their mean.

    The trend is left out because cells grow, and sink when nothing stirs them. None with fewer than FEWEST_READINGS,
    or when the mean is not above 0.

    >>> scatter_about_trend([1.0 + 0.1 * step for step in range(12)]) < 1e-12
    True
    """
    count = len(readings)
    mean = math.fsum(readings) / count if readings else 0.0
    if count < FEWEST_READINGS or mean <= 0:
        return None
    places = [step - (count - 1) / 2.0 for step in range(count)]
    slope = math.fsum(place * od for place, od in zip(places, readings, strict=True)) / math.fsum(
        place**2 for place in places
    )
    residuals = [od - mean - slope * place for place, od in zip(places, readings, strict=True)]
    return math.sqrt(math.fsum(residual**2 for residual in residuals) / (count - 2)) / mean
