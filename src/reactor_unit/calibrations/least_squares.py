"""Linear least squares for a handful of unknowns, without numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence

Rows = Sequence[Sequence[float]]

_SINGULAR = 1e-12  # a column that is this small a share of itself after the others are taken out of it


class SingularProblem(ValueError):
    """The rows do not determine the unknowns."""


def solve(rows: Rows, wanted: Sequence[float]) -> list[float]:
    """Return the unknowns for which `rows` times unknowns is nearest to `wanted`, in the sum of squares.

    Columns are scaled to length 1, then made orthogonal by modified Gram-Schmidt, twice for accuracy (Golub and
    Van Loan, Matrix Computations, 5.2.8 and 5.2.9), the wanted values as the last of them. Raises SingularProblem.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    scales = [math.hypot(*column) for column in columns]
    if not all(scales):
        raise SingularProblem("A column is zero.")
    units = [[value / scale for value in column] for column, scale in zip(columns, scales, strict=True)]
    size = len(units)
    upper = [[0.0] * size for _ in range(size)]
    for place, column in enumerate(units):
        for before in [*range(place), *range(place)]:
            upper[before][place] += _take_out(column, units[before])
        upper[place][place] = length = math.hypot(*column)
        if length < _SINGULAR:
            raise SingularProblem("A column depends on those before it.")
        column[:] = [value / length for value in column]
    rest = list(wanted)
    right_side = [_take_out(rest, unit) for unit in units]
    return [value / scale for value, scale in zip(_back_substituted(upper, right_side), scales, strict=True)]


def _take_out(column: list[float], unit: Sequence[float]) -> float:
    """Take the part along `unit` out of `column`; return its length."""
    share = math.fsum(a * b for a, b in zip(column, unit, strict=True))
    column[:] = [a - share * b for a, b in zip(column, unit, strict=True)]
    return share


def _back_substituted(upper: list[list[float]], right_side: list[float]) -> list[float]:
    unknowns = [0.0] * len(right_side)
    for place in range(len(right_side) - 1, -1, -1):
        known = math.fsum(upper[place][after] * unknowns[after] for after in range(place + 1, len(right_side)))
        unknowns[place] = (right_side[place] - known) / upper[place][place]
    return unknowns
