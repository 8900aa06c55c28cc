"""Texts of numbers as regular expressions: what the API takes for `200` it takes for `"200"` too."""

from __future__ import annotations

import math

MOST_DIGITS = 9  # of the whole part, where nothing limits a number
DECIMALS = r"(\.[0-9]{1,6})?"


def text_of_numbers(minimum: float | None, maximum: float | None, *, whole: bool = False) -> str:
    r"""Return a pattern of texts that are decimal numbers within these limits, to the next whole number.

    >>> text_of_numbers(0, 100)
    '^(([0-9]|[1-9][0-9])(\\.[0-9]{1,6})?|100)$'
    """
    low = 0 if minimum is None else max(0, math.ceil(minimum))
    if maximum is None:
        whole_part = ("[0-9]" if low == 0 else "[1-9]") + f"[0-9]{{0,{MOST_DIGITS - 1}}}"
        return f"^{whole_part}$" if whole else f"^{whole_part}{DECIMALS}$"
    high = math.floor(maximum)
    if whole:
        return f"^({digits(low, high)})$"
    if high <= low:
        return f"^{high}$"
    return f"^(({digits(low, high - 1)}){DECIMALS}|{high})$"


def digits(low: int, high: int) -> str:
    """Return a pattern of the whole numbers from `low` to `high`, both at least 0.

    >>> digits(5, 120)
    '[5-9]|[1-9][0-9]|1[0-1][0-9]|120'
    """
    parts = []
    while low <= high:
        length = len(str(low))
        step = 1  # the largest power of ten that fits from here on, without a further digit
        while low and low % (step * 10) == 0 and step * 10 <= 10 ** (length - 1) and low + step * 10 - 1 <= high:
            step *= 10
        first = low // step % 10
        last = min(9, first + (high - low + 1) // step - 1)
        parts.append(_one(str(low // step)[:-1], first, last, len(str(step)) - 1))
        low += (last - first + 1) * step
    return "|".join(parts)


def _one(prefix: str, first: int, last: int, free: int) -> str:
    """Return `prefix`, a digit of a range, and so many digits."""
    return prefix + (str(first) if first == last else f"[{first}-{last}]") + "[0-9]" * free
