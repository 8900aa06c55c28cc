"""A fleet of units on this machine: what each takes; and how soon a test has a unit."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from benchmarks.figures import Figure, percentile
from benchmarks.processes import family, memory
from reactor_unit.testing import running_fleet, running_unit

MB = 1024 * 1024
SETTLE_S = 3.0


def fleet_figures(quick: bool) -> list[Figure]:
    """Measure idle fleets of two sizes, and the start of single units as the pytest fixture does it."""
    few, many = (2, 12) if quick else (2, 50)
    small, _ = _fleet_mb(few)
    large, seconds = _fleet_mb(many)
    starts_s = [_start_s() for _ in range(5 if quick else 20)]
    return [
        Figure(f"Pss a unit, fleet of {many} idle", large / many, "MB", "<=", 9, f"{large:.0f} MB in all"),
        Figure("Pss of one unit more", (large - small) / (many - few), "MB"),
        Figure(f"start of a fleet of {many}", seconds, "s"),
        Figure(
            "fixture reactor_unit, start to the first 200, p50",
            statistics.median(starts_s),
            "s",
            "<=",
            0.4,
            f"p90 {percentile(starts_s, 90):.2f} s",
        ),
    ]


def _fleet_mb(units: int) -> tuple[float, float]:
    """Return the Pss of an idle fleet in MB, and how long it took to start, in s."""
    began = time.perf_counter()
    with running_fleet(units) as fleet:
        seconds = time.perf_counter() - began
        for unit in fleet:
            unit.client.health()
            unit.close()
        time.sleep(SETTLE_S)
        pids = family(_parent_of(fleet[0].pid))
        return sum(memory(pid).pss for pid in pids) / MB, seconds


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _start_s() -> float:
    began = time.perf_counter()
    with running_unit():
        return time.perf_counter() - began
