"""What a marshmallow schema finds wrong, as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def sentences(path: str, content: Any) -> Iterator[str]:
    """Yield a sentence for each message in marshmallow's nested dictionaries and lists; `path` names the field.

    >>> list(sentences("curve", {"knots": {1: ["must be a number"]}}))
    ['curve.knots[1] must be a number.']
    """
    if isinstance(content, dict):
        for key, inner in content.items():
            if key in ("key", "value", "_schema"):  # marshmallow's own levels
                yield from sentences(path, inner)
            elif isinstance(key, int):
                yield from sentences(f"{path}[{key}]", inner)
            else:
                yield from sentences(f"{path}.{shortened(str(key))}" if path else shortened(str(key)), inner)
    elif isinstance(content, list):
        for inner in content:
            yield from sentences(path, inner)
    else:
        yield f"{path} {content}".strip().rstrip(".") + "."


def shortened(text: str) -> str:
    """Return `text` cut to 80 characters."""
    return text if len(text) <= 80 else text[:77] + "..."
