"""Fields of calibration files: nothing is guessed from a value of another kind; a refusal says what is wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

from marshmallow import ValidationError, fields

from reactor_unit.calibrations.curves import Curve, PiecewiseCubic, Polynomial, Segment

MAX_COEFFICIENTS = 21  # of a polynomial; beyond, neither values nor roots mean anything in floats
PIECEWISE_KINDS = ("spline", "akima")

_MISSING: dict[str, Any] = {"required": "is required", "null": "is required, not null"}


class Text(fields.String):
    """Text; a bare number in YAML is none."""

    default_error_messages = {**_MISSING, "invalid": "must be text; put it in quotes if it looks like a number"}  # noqa: RUF012


class Number(fields.Field[float]):
    """A finite number, whole or not; read as a float."""

    default_error_messages = {**_MISSING, "invalid": "must be a number; write 1.0e-05 for 1e-5"}  # noqa: RUF012

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        return number(value)


class Timestamp(fields.Field[datetime]):
    """A point in time with its zone, as YAML knows it: unquoted. Read as UTC."""

    default_error_messages = {**_MISSING, "invalid": "must be a time with a zone and without quotes: {example}"}  # noqa: RUF012

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        if not isinstance(value, date) or getattr(value, "tzinfo", None) is None:
            raise self.make_error("invalid", example="2031-03-04T05:06:07Z")
        assert isinstance(value, datetime)
        try:
            return value.astimezone(UTC)
        except OverflowError as ex:
            raise ValidationError("is outside the years 1 to 9999") from ex


class RecordedXY(fields.Field[Any]):
    """`{x: [number], y: [number]}`: both, of equal length, and nothing else."""

    default_error_messages = _MISSING

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return {"x": list(value.x), "y": list(value.y)}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, tuple[float, ...]]:
        content = _mapping(value)
        if set(content) != {"x", "y"}:
            raise ValidationError("must have x and y, and nothing else")
        x, y = (_in_place(name, lambda name=name: _numbers(content[name])) for name in ("x", "y"))
        if len(x) != len(y):
            raise ValidationError(f"has {len(x)} x values and {len(y)} y values; as many of each are needed")
        return {"x": x, "y": y}


class CurveField(fields.Field[Curve]):
    """A curve: its `type` and what that type needs. `kinds` are the types that are accepted."""

    default_error_messages = _MISSING

    def __init__(self, *kinds: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._kinds = kinds

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return curve_data(value)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Curve:
        content = _mapping(value)
        kind = content.get("type")
        if kind not in self._kinds:
            raise ValidationError({"type": [f"must be one of {', '.join(self._kinds)}"]})
        return _polynomial(content) if kind == "poly" else _piecewise(content, kind)


def curve_data(curve: Curve) -> dict[str, Any]:
    """Return a curve as files and answers have it."""
    if isinstance(curve, PiecewiseCubic):
        segments = [list(segment) for segment in curve.segments]
        return {"type": curve.kind, "knots": list(curve.knots), "coefficients": segments}
    assert isinstance(curve, Polynomial)
    return {"type": curve.kind, "coefficients": list(curve.coefficients)}


def number(value: Any) -> float:
    """Return a finite number as a float. Raises ValidationError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValidationError("must be a number; write 1.0e-05 for 1e-5")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise ValidationError("must be a finite number")
    return result


def _polynomial(content: Mapping[Any, Any]) -> Polynomial:
    coefficients = _in_place("coefficients", lambda: _numbers(content.get("coefficients")))
    if len(coefficients) > MAX_COEFFICIENTS:
        raise ValidationError({"coefficients": [f"has {len(coefficients)} entries, more than {MAX_COEFFICIENTS}"]})
    return Polynomial(coefficients)


def _piecewise(content: Mapping[Any, Any], kind: str) -> PiecewiseCubic:
    knots = _in_place("knots", lambda: _numbers(content.get("knots")))
    segments = _in_place("coefficients", lambda: _segments(content.get("coefficients")))
    if any(left >= right for left, right in pairwise(knots)):
        raise ValidationError({"knots": ["must be strictly increasing"]})
    if len(segments) != max(len(knots) - 1, 0):
        raise ValidationError({"coefficients": [f"has {len(segments)} entries; {len(knots)} knots have one fewer"]})
    return PiecewiseCubic(knots, segments, kind)


def _segments(value: Any) -> tuple[Segment, ...]:
    if not isinstance(value, list):
        raise ValidationError("must be a list of [a, b, c, d]")
    segments: list[Segment] = []
    for place, entry in enumerate(value):
        numbers = _in_place(place, lambda entry=entry: _numbers(entry))
        if len(numbers) != 4:
            raise ValidationError({place: ["must be four numbers: [a, b, c, d]"]})
        segments.append((numbers[0], numbers[1], numbers[2], numbers[3]))
    return tuple(segments)


def _numbers(value: Any) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise ValidationError("must be a list of numbers")
    return tuple(_in_place(place, lambda entry=entry: number(entry)) for place, entry in enumerate(value))


def _mapping(value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise ValidationError("must be a mapping of names to values")
    return value


def _in_place(name: Any, read: Any) -> Any:
    """Return what `read()` returns; its refusal names the place."""
    try:
        return read()
    except ValidationError as ex:
        raise ValidationError({name: ex.messages}) from ex
