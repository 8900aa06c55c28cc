"""How two series of numbers go together."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def correlation(ones: Sequence[float], others: Sequence[float]) -> float:
    """Return Pearson's correlation, -1..1 with 4 decimals; 0 where one of the two does not change.

    >>> correlation([1.0, 2.0, 3.0], [0.1, 0.2, 0.3]), correlation([1.0, 2.0], [0.5, 0.5])
    (1.0, 0.0)
    """
    if len(set(ones)) < 2 or len(set(others)) < 2:
        return 0.0
    return round(statistics.correlation(ones, others), 4)


def relative_effect(pairs: Sequence[tuple[float, float]]) -> float:
    """Return the median difference within pairs, relative to the mean of all values; infinite where that is 0.

    >>> round(relative_effect([(0.9, 1.0), (0.8, 1.0), (1.0, 1.0)]), 3)
    0.105
    """
    mean = statistics.fmean(value for pair in pairs for value in pair)
    return statistics.median(abs(one - other) for one, other in pairs) / mean if mean > 0.0 else float("inf")
