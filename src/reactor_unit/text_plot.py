"""A curve and points, drawn with characters."""

from __future__ import annotations

from collections.abc import Sequence

CURVE, POINT = ".", "o"

Points = Sequence[tuple[float, float]]


def text_plot(curve: Points, points: Points, x_label: str, y_label: str, *, width: int, height: int) -> list[str]:
    """Return lines of at most `width` characters: `y_label`, `height` rows with the y range, the x range, `x_label`.

    >>> for line in text_plot([(0, 0), (1, 1), (2, 2)], [(1, 1)], "s", "mL", width=12, height=3):
    ...     print(line)
    mL
    2 |       .
      |    o
    0 |.
      +--------
       0      2
          s
    """
    xs, ys = zip(*curve, *points, strict=True)
    left, right, bottom, top = min(xs), max(xs), min(ys), max(ys)
    labels = [f"{top:.4g}", f"{bottom:.4g}"]
    margin = max(map(len, labels))
    columns = max(width - margin - 3, 5)
    rows = [[" "] * columns for _ in range(height)]
    for marks, symbol in ((curve, CURVE), (points, POINT)):
        for x, y in marks:
            column = round((x - left) / ((right - left) or 1.0) * (columns - 1))
            row = round((top - y) / ((top - bottom) or 1.0) * (height - 1))
            rows[row][column] = symbol
    sides = [labels[0], *[""] * (height - 2), labels[1]]
    drawn = [f"{side:>{margin}} |{''.join(row)}".rstrip() for side, row in zip(sides, rows, strict=True)]
    ends = f"{left:.4g}" + f"{right:.4g}".rjust(columns - len(f"{left:.4g}"))
    indent = " " * (margin + 2)
    return [
        y_label,
        *drawn,
        f"{' ' * margin} +{'-' * columns}",
        indent + ends,
        (indent + x_label.center(columns)).rstrip(),
    ]
