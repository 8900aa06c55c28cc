"""YAML that means one thing and has an end: no aliases, duplicate keys, NaN, own tags, or bottomless nesting."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import yaml

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16
MAX_VALUES = 20_000  # keys, numbers, texts, lists and mappings together

_TAG = "tag:yaml.org,2002:"
_SCALARS = {f"{_TAG}{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp")}
_CONTAINERS = {f"{_TAG}map", f"{_TAG}seq", None, "!"}
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is eight times as fast
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class BadYaml(ValueError):
    """The text is not YAML as this unit accepts it; the message says what and where."""


class _Constructor(yaml.constructor.SafeConstructor, yaml.resolver.Resolver):
    """What makes a value of a scalar's text, apart from reading."""

    def __init__(self) -> None:
        yaml.constructor.SafeConstructor.__init__(self)
        yaml.resolver.Resolver.__init__(self)


def loads(data: bytes) -> Any:
    """Return the value of the one YAML document `data` (UTF-8).

    Raises BadYaml, with a reason a person understands, for anything this module's first line rules out. Time and
    memory are bounded: it is read event by event, and reading ends at the first thing that is refused.
    """
    if len(data) > MAX_BYTES:
        raise BadYaml(f"it has {len(data)} bytes, more than {MAX_BYTES}")
    try:
        return _Reader(yaml.parse(data.decode("utf-8"), Loader=_Loader)).document()
    except UnicodeDecodeError as ex:
        raise BadYaml(f"it is not UTF-8 text (byte {ex.start})") from ex
    except yaml.MarkedYAMLError as ex:
        raise BadYaml(f"{ex.problem or ex.context}{_place(ex.problem_mark)}") from ex
    except yaml.YAMLError as ex:
        raise BadYaml(" ".join(str(ex).split())) from ex


def dumps(value: Any) -> bytes:
    """Return mappings, lists, texts, numbers and times as YAML in UTF-8, keys in their order."""
    text: bytes = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, encoding="utf-8")
    return text


class _Reader:
    """Makes values of events, without recursion but what MAX_DEPTH allows."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._constructor: Any = _Constructor()
        self._count = 0

    def document(self) -> Any:
        next(self._events)  # the stream's start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise BadYaml("it is empty")
        value = self._value(next(self._events), 1)
        next(self._events)  # the document's end
        if not isinstance(next(self._events), yaml.StreamEndEvent):
            raise BadYaml("it holds more than one document")
        return value

    def _value(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            raise _refusal(event, f"*{event.anchor} stands for another value; write the value out")
        self._count += 1
        if self._count > MAX_VALUES:
            raise _refusal(event, f"it holds more than {MAX_VALUES} values")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if depth > MAX_DEPTH:
            raise _refusal(event, f"mappings and lists are nested more than {MAX_DEPTH} deep")
        if event.tag not in _CONTAINERS:
            raise _refusal(event, f"the tag {event.tag} is not accepted")
        return self._mapping(depth) if isinstance(event, yaml.MappingStartEvent) else self._list(depth)

    def _list(self, depth: int) -> list[Any]:
        values = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._value(event, depth + 1))
        return values

    def _mapping(self, depth: int) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise _refusal(event, "a key is not a plain text or number")
            key = self._value(event, depth)
            if key in values:
                raise _refusal(event, f"the key {str(key)[:80]!r} appears twice in one mapping")
            values[key] = self._value(next(self._events), depth + 1)
        return values

    def _scalar(self, event: Any) -> Any:
        resolver = self._constructor
        explicit = event.tag not in (None, "!")
        tag = event.tag if explicit else resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag == f"{_TAG}str":
            return event.value
        if tag not in _SCALARS:
            raise _refusal(event, f"{event.value[:40]!r} ({tag.removeprefix(_TAG)}) is not accepted")
        try:
            value = resolver.construct_object(yaml.ScalarNode(tag, event.value))
        except (ValueError, KeyError, AttributeError, OverflowError) as ex:  # whatever PyYAML meets in it
            raise _refusal(event, f"{event.value[:40]!r} is no {tag.removeprefix(_TAG)}") from ex
        if isinstance(value, float) and not math.isfinite(value):
            raise _refusal(event, f"{event.value[:40]!r} is not a finite number")
        return value


def _refusal(event: Any, reason: str) -> BadYaml:
    return BadYaml(f"{reason}{_place(event.start_mark)}")


def _place(mark: Any) -> str:
    return "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
