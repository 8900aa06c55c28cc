"""Many kills at random moments: outputs low within a second each time. CI runs a tenth; `tox -e soak` runs all."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
from harness import RunningUnit, kill, running_unit, wait_for

LOW_WITHIN_S = 1.0


def kill_rounds(tmp_path: Path, rounds: int) -> list[float]:
    """Kill a stirring job `rounds` times, from before it is ready to well after; return the seconds to a low output."""
    moments = random.Random(1)
    seconds: list[float] = []
    with running_unit(tmp_path) as unit:
        for number in range(rounds):
            wait_for(lambda: start(unit), f"start {number}")
            row = wait_for(lambda: unit.get("/jobs/running").json, "a running job")[0]
            threading.Event().wait(moments.uniform(0, 0.7))
            killed_at_s = kill(row["pid"])
            seconds.append(unit.plant().wait_until_off(unit.stirrer_is_driven, killed_at_s, LOW_WITHIN_S))
            wait_for(lambda: unit.get("/jobs/running").json == [], "no running job")
            assert not unit.stirrer_is_driven()
    return seconds


def start(unit: RunningUnit) -> bool:
    return unit.post("/jobs/run/job_name/stirring").status == 202


def test_ten_killed_jobs_leave_their_output_low(tmp_path: Path) -> None:
    assert len(kill_rounds(tmp_path, 10)) == 10


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_hundred_killed_jobs_leave_their_output_low(tmp_path: Path) -> None:
    seconds = sorted(kill_rounds(tmp_path, 100))
    median_ms, worst_ms = seconds[50] * 1000, seconds[-1] * 1000
    print(f"\n100 of 100 kills: output low after {median_ms:.0f} ms (median), {worst_ms:.0f} ms (worst)")
