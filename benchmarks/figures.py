"""Measured figures, their targets, and the table that shows both."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

_COMPARE: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Figure:
    """One measured number; `sense` and `target` say what it should be, `details` how it came about."""

    name: str
    value: float
    unit: str
    sense: str = ""
    target: float | None = None
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Whether the target was met; nothing for a figure without one."""
        if self.target is None:
            return ""
        return "met" if _COMPARE[self.sense](self.value, self.target) else "MISSED"

    def to_json(self) -> dict[str, Any]:
        """Return everything about the figure as JSON."""
        return {**asdict(self), "verdict": self.verdict}


def spread(values: Sequence[float]) -> str:
    """Return the range of repeated measurements in words."""
    return f"{min(values):.3g} to {max(values):.3g} in {len(values)}"


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile of at least two values.

    >>> percentile([1.0, 2.0, 3.0], 50)
    2.0
    """
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as text in columns."""
    rows = [("what", "target", "measured", "verdict", "note")]
    for figure in figures:
        target = "" if figure.target is None else f"{figure.sense} {figure.target:g}"
        rows.append((figure.name, target, f"{figure.value:.3g} {figure.unit}".strip(), figure.verdict, figure.note))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([cell.ljust(width) for cell, width in zip(row, widths, strict=False)] + [row[4]]) for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)
