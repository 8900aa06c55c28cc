"""How punctual the readings of optical density are in real time, and what their process takes."""

from __future__ import annotations

import statistics
import time

from benchmarks.figures import Figure, percentile
from benchmarks.processes import activity, memory
from benchmarks.unit import Unit, running_unit
from reactor_unit.clock import unix_seconds

INTERVAL_S = 5.0
MB = 1024 * 1024
SLACK_S = 3.0  # for the last reading to arrive


def od_figures(quick: bool) -> list[Figure]:
    """Measure the moments of readings at an interval of 5 s, beside stirring, on the grid that the first one began."""
    seconds = 60.0 if quick else 600.0
    with running_unit() as unit:
        unit.run_stirring()
        before, before_mb = unit.pids, _memory_mb(unit)
        unit.ended(unit.submit("/jobs/run/job_name/od_reading", {"options": {"interval": INTERVAL_S}}))
        (pid,) = set(unit.pids) - set(before)
        unit.connection.close()
        time.sleep(seconds + SLACK_S)
        figures = _punctuality(unit, round(seconds / INTERVAL_S))
        added_mb, did = _memory_mb(unit) - before_mb, activity(pid)
    return [
        *figures,
        Figure("od_reading, Pss that it adds", added_mb, "MB", note="to supervisor, web and stirring"),
        Figure("od_reading, CPU", 100.0 * did.cpu_s / seconds, "% of a core", note="the simulated chips included"),
    ]


def _memory_mb(unit: Unit) -> float:
    return sum(memory(pid).pss for pid in unit.pids) / MB


def _punctuality(unit: Unit, beats: int) -> list[Figure]:
    """Return how many of the planned readings are missing, and how far the others are off their usual moment."""
    first = float(
        unit.ask("GET", "/jobs/settings/job_name/od_reading/setting/first_od_obs_time")[1]["first_od_obs_time"]
    )
    readings = unit.ask("GET", "/readings?names=od.90.2&limit=1000")[1]["readings"]
    after_s = [unix_seconds(reading["timestamp"]) - first for reading in readings]
    numbers = {int(at_s // INTERVAL_S): at_s % INTERVAL_S for at_s in after_s}
    usual_s = statistics.median(numbers.values())
    off_ms = [1000.0 * abs(lag_s - usual_s) for lag_s in numbers.values()]
    missed = beats - len([number for number in numbers if number < beats])
    note = f"{beats} at {INTERVAL_S:g} s; each is published {usual_s:.2f} s after it began"
    return [
        Figure("od_reading, missed readings", missed, "", "<=", 0, note),
        Figure("od_reading, jitter p99", percentile(off_ms, 99), "ms", "<=", 100, f"worst {max(off_ms):.0f} ms"),
    ]
