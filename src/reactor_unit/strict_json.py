"""JSON that means one thing: no duplicate keys, no NaN or infinity, no bottomless nesting, Unicode text only."""

from __future__ import annotations

import json
from typing import Any, NoReturn

MAX_BODY_BYTES = 1024 * 1024  # of a request; what is longer is refused unread
MAX_DEPTH = 32
MAX_INTEGER_DIGITS = 308  # what a float still holds; Python would take 4300 digits, and seconds


class BadJson(ValueError):
    """The text is not JSON as this unit accepts it; the message says where or why."""


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise BadJson(f"the key {key!r} appears twice in one object")
        result[key] = value
    return result


def _no_constant(name: str) -> NoReturn:
    raise BadJson(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise BadJson(f"the number {text[:40]} is too large")
    return value


def _bounded_int(text: str) -> int:
    if len(text) > MAX_INTEGER_DIGITS:
        raise BadJson(f"the number {text[:20]}... has {len(text)} digits")
    return int(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite, parse_int=_bounded_int
)
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _check_depth(text: str) -> None:
    depth = 0
    in_string = escaped = False
    for char in text:
        if in_string:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                in_string = False
        elif char == '"':
            in_string = True
        elif char in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise BadJson(f"objects and lists are nested more than {MAX_DEPTH} deep")
        elif char in "]}":
            depth -= 1


def _check_whole_characters(value: Any) -> None:
    try:
        _ENCODER.encode(value).encode("utf-8")
    except UnicodeEncodeError as ex:
        raise BadJson("a text holds half of a surrogate pair") from ex


def loads(data: bytes) -> Any:
    """Return the value of the JSON text `data` (UTF-8).

    Raises BadJson, with a reason a person understands, for anything this module's first line rules out.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as ex:
        raise BadJson(f"it is not UTF-8 text (byte {ex.start})") from ex
    if text.count("[") + text.count("{") > MAX_DEPTH:  # only then can it be too deep
        _check_depth(text)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as ex:
        raise BadJson(f"{ex.msg} at line {ex.lineno}, column {ex.colno}") from ex
    if "\\u" in text:  # only an escape can bring half a character, which no file, socket or database takes
        _check_whole_characters(value)
    return value


def dumps(value: Any) -> bytes:
    """Return `value` as compact JSON in UTF-8.

    Raises ValueError for NaN or infinity, TypeError for what JSON cannot hold.
    """
    return _ENCODER.encode(value).encode("utf-8")
