"""What the unit counts about itself, and how it is written in the OpenMetrics text format (version 1.0.0)."""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PREFIX = "reactor_unit_"
REQUEST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)
TASK_BUCKETS_S = (0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0)

Labels = tuple[tuple[str, str], ...]


@dataclass
class _Tally:
    """Durations in s: how many there were, their sum, and how many were within each bucket."""

    within: list[int]
    count: int = 0
    sum_s: float = 0.0


class Durations:
    """How often something happened and how long it took, by its labels. Safe to use from several threads."""

    def __init__(self, buckets_s: Sequence[float]) -> None:
        self._buckets_s = buckets_s
        self._lock = threading.Lock()
        self._tallies: dict[Labels, _Tally] = {}

    def add(self, labels: Labels, seconds: float) -> None:
        """Count one that took so long."""
        with self._lock:
            tally = self._tallies.get(labels)
            if tally is None:
                tally = self._tallies[labels] = _Tally([0] * len(self._buckets_s))
            tally.count += 1
            tally.sum_s += seconds
            for index, bucket_s in enumerate(self._buckets_s):
                if seconds <= bucket_s:
                    tally.within[index] += 1

    def samples(self) -> Iterable[tuple[str, Labels, float]]:
        """Yield the samples of a histogram: suffix, labels, value."""
        with self._lock:
            tallies = [(labels, list(one.within), one.count, one.sum_s) for labels, one in self._tallies.items()]
        for labels, within, count, sum_s in tallies:
            for bucket_s, number in zip((*self._buckets_s, math.inf), (*within, count), strict=True):
                yield "_bucket", (*labels, ("le", _number(bucket_s))), number
            yield "_sum", labels, sum_s
            yield "_count", labels, count


class Counts:
    """How often something happened, by its labels. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: dict[Labels, int] = defaultdict(int)

    def add(self, labels: Labels) -> None:
        """Count one."""
        with self._lock:
            self._numbers[labels] += 1

    def samples(self) -> Iterable[tuple[str, Labels, float]]:
        """Yield the samples of a counter: suffix, labels, value."""
        with self._lock:
            numbers = list(self._numbers.items())
        return [("_total", labels, float(number)) for labels, number in numbers]


@dataclass(frozen=True)
class UnitCounts:
    """What the web process counts from its start on."""

    requests: Counts = field(default_factory=Counts)  # by method, route, status
    request_s: Durations = field(default_factory=lambda: Durations(REQUEST_BUCKETS_S))  # by route
    tasks: Counts = field(default_factory=Counts)  # by name, status
    task_s: Durations = field(default_factory=lambda: Durations(TASK_BUCKETS_S))  # by name


class Page:
    """A page of metrics in the making; families come in the order in which they are added."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(
        self, name: str, kind: str, help_text: str, samples: Iterable[tuple[str, Labels, float]], unit: str = ""
    ) -> None:
        """Add a family. `unit` is one of OpenMetrics' base units, which `name` then ends with."""
        full = PREFIX + name
        self._lines.append(f"# TYPE {full} {kind}")
        if unit:
            self._lines.append(f"# UNIT {full} {unit}")
        self._lines.append(f"# HELP {full} {_escaped(help_text)}")
        self._lines += [f"{full}{suffix}{_labels(labels)} {_number(value)}" for suffix, labels, value in samples]

    def gauge(self, name: str, help_text: str, values: Mapping[Labels, float], unit: str = "") -> None:
        """Add a family of values that go up and down."""
        self.add(name, "gauge", help_text, [("", labels, value) for labels, value in values.items()], unit)

    def render(self) -> bytes:
        """Return the whole page."""
        return "\n".join([*self._lines, "# EOF", ""]).encode("utf-8")


def _labels(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}" if labels else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(float(value))
