"""How two series of numbers go together. What it takes of `statistics` is imported when it is wanted, 0.4 MB less."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def correlation(ones: Sequence[float], others: Sequence[float]) -> float:
    """Return Pearson's correlation, -1..1 with 4 decimals; 0 where one of the two does not change.

    >>> correlation([1.0, 2.0, 3.0], [0.1, 0.2, 0.3]), correlation([1.0, 2.0], [0.5, 0.5])
    (1.0, 0.0)
    """
    if len(set(ones)) < 2 or len(set(others)) < 2:
        return 0.0
    import statistics

    return round(statistics.correlation(ones, others), 4)


def relative_effect(pairs: Sequence[tuple[float, float]]) -> float:
    """Return the median difference within pairs, relative to the mean of all values; infinite where that is 0.

    >>> round(relative_effect([(0.9, 1.0), (0.8, 1.0), (1.0, 1.0)]), 3)
    0.105
    """
    from statistics import fmean, median

    middle = fmean(value for pair in pairs for value in pair)
    return median(abs(one - other) for one, other in pairs) / middle if middle > 0.0 else float("inf")


def mean(values: Iterable[float]) -> float:
    """Return the mean of one value at least."""
    from statistics import fmean

    return fmean(values)


def variance(values: Sequence[float]) -> float:
    """Return the sample variance of two values at least."""
    import statistics

    return statistics.variance(values)
