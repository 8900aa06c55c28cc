"""The few operations on small matrices that Kalman filters need, as tuples of rows of floats."""

from __future__ import annotations

from collections.abc import Sequence

Matrix = tuple[tuple[float, ...], ...]


def diagonal(values: Sequence[float]) -> Matrix:
    """Return a square matrix with these values on its diagonal.

    >>> diagonal([1.0, 2.0])
    ((1.0, 0.0), (0.0, 2.0))
    """
    return tuple(tuple(value if i == j else 0.0 for j in range(len(values))) for i, value in enumerate(values))


def transposed(a: Matrix) -> Matrix:
    """Return a matrix with rows and columns exchanged."""
    return tuple(zip(*a, strict=True))


def product(a: Matrix, b: Matrix) -> Matrix:
    """Return a x b.

    >>> product(((1.0, 2.0),), ((3.0,), (4.0,)))
    ((11.0,),)
    """
    columns = transposed(b)
    return tuple(tuple(dot(row, column) for column in columns) for row in a)


def total(a: Matrix, b: Matrix) -> Matrix:
    """Return a + b."""
    return tuple(tuple(x + y for x, y in zip(*rows, strict=True)) for rows in zip(a, b, strict=True))


def scaled(a: Matrix, factor: float) -> Matrix:
    """Return factor x a."""
    return tuple(tuple(factor * value for value in row) for row in a)


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the sum of the products of two vectors' elements."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def apply(a: Matrix, vector: Sequence[float]) -> tuple[float, ...]:
    """Return a x vector."""
    return tuple(dot(row, vector) for row in a)


def inverse(a: Matrix) -> Matrix:
    """Return the inverse by Gauss-Jordan elimination with pivots; raises ZeroDivisionError for a singular matrix.

    >>> inverse(((2.0, 0.0), (0.0, 4.0)))
    ((0.5, 0.0), (0.0, 0.25))
    """
    size = len(a)
    rows = [[*row, *unit] for row, unit in zip(a, diagonal([1.0] * size), strict=True)]
    for i in range(size):
        pivot = max(range(i, size), key=lambda row: abs(rows[row][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for j in range(size):
            if j != i:
                rows[j] = [x - rows[j][i] * y for x, y in zip(rows[j], rows[i], strict=True)]
    return tuple(tuple(row[size:]) for row in rows)


def symmetric(a: Matrix) -> Matrix:
    """Return the mean of a matrix and its transpose: rounding must not make a covariance lopsided."""
    return scaled(total(a, transposed(a)), 0.5)
