"""How the values of a setting become readings: named numbers with a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from reactor_unit.clock import unix_seconds


class Reading(NamedTuple):
    """One number of one series at one time, in unix seconds."""

    at: float
    name: str
    value: float


@dataclass(frozen=True)
class Series:
    """Which number of a setting's value is a reading, and what it is called.

    `value` names the field that holds the number; without it the value itself is the number. With `each` the readings
    are the entries of an object: that in the field `each`, or with "" the value itself. In `name`, `{key}` stands for
    the entry's key and any other word in braces for a field of the entry.

    >>> rpm = Series("stirring.measured_rpm", value="measured_rpm")
    >>> rpm.readings({"measured_rpm": 401.2, "timestamp": "1970-01-01T00:01:00.000Z"}, 0.0)
    [Reading(at=60.0, name='stirring.measured_rpm', value=401.2)]
    >>> Series("led.{key}", each="").readings({"A": 80.0, "B": 0}, 60.0)
    [Reading(at=60.0, name='led.A', value=80.0), Reading(at=60.0, name='led.B', value=0.0)]
    >>> ods = {"ods": {"2": {"od": 0.3, "angle": "90", "channel": "2", "timestamp": "1970-01-01T00:01:00.000Z"}}}
    >>> Series("od.{angle}.{channel}", value="od", each="ods").readings(ods, 0.0)
    [Reading(at=60.0, name='od.90.2', value=0.3)]
    """

    name: str
    value: str = ""
    each: str | None = None

    def readings(self, value: Any, published_at: float) -> list[Reading]:
        """Return the readings in a published `value`; a number that is null or missing is no reading.

        Each carries the timestamp of its entry, else that of the whole value, else `published_at` (unix seconds).
        """
        found = []
        for key, entry in self._entries(value):
            number = entry.get(self.value) if isinstance(entry, dict) else entry
            if isinstance(number, int | float) and not isinstance(number, bool):
                fields = entry if isinstance(entry, dict) else {}
                at = _time_of(fields) or _time_of(value) or published_at
                found.append(Reading(round(at, 3), self.name.format_map({**fields, "key": key}), float(number)))
        return found

    def _entries(self, value: Any) -> Iterable[tuple[str, Any]]:
        if self.each is None:
            return [("", value)]
        entries = value.get(self.each) if self.each and isinstance(value, dict) else value
        return entries.items() if isinstance(entries, dict) else []


def _time_of(value: Any) -> float | None:
    timestamp = value.get("timestamp") if isinstance(value, dict) else None
    return unix_seconds(timestamp) if isinstance(timestamp, str) else None
