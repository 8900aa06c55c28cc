"""The history of readings on the real path: from the job to the disk, and back over HTTP."""

from __future__ import annotations

import csv
import io
import os
import signal
from pathlib import Path
from typing import Any

import harness
from harness import RunningUnit, running_unit, wait_for

from reactor_unit.clock import timestamp_of
from reactor_unit.reading_store import ReadingStore

Key = tuple[str, str, float]


def readings(unit: RunningUnit, query: str = "") -> list[dict[str, Any]]:
    answer = unit.get(f"/readings{query}")
    assert answer.status == 200, answer
    return list(answer.json["readings"])


def keys(found: list[dict[str, Any]]) -> list[Key]:
    return [(one["timestamp"], one["name"], one["value"]) for one in found]


def several(unit: RunningUnit, count: int = 2) -> list[dict[str, Any]]:
    """Return the readings once the speed has been measured `count` times."""
    query = "?names=stirring.measured_rpm"
    wait_for(lambda: len(readings(unit, query)) >= count, f"{count} measured speeds")
    return readings(unit)


def on_disk(dot: Path) -> list[Key]:
    store = ReadingStore(dot / "storage" / "readings.sqlite")
    try:
        return sorted((timestamp_of(at), name, value) for at, name, value in store.read(store.names(), 0, 1e12))
    finally:
        store.close()


def test_what_a_job_measures_can_be_read_as_json_and_csv(unit: RunningUnit) -> None:
    unit.run_stirring(target_rpm=400)
    found = several(unit)
    assert {one["name"] for one in found} == {"stirring.target_rpm", "stirring.duty_cycle", "stirring.measured_rpm"}
    assert [one["value"] for one in found if one["name"] == "stirring.target_rpm"] == [400.0]
    assert [one["timestamp"] for one in found] == sorted(one["timestamp"] for one in found)
    assert unit.get("/readings/names").json["names"] == sorted({one["name"] for one in found})

    until = found[-1]["timestamp"]
    answer = unit.get(f"/readings?format=csv&until={until}&limit=100000")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [(row["timestamp"], row["name"], float(row["value"])) for row in rows] == [
        key for key in keys(found) if key[0] < until
    ]
    first = found[0]["timestamp"]
    assert readings(unit, f"?since={first}&limit=1") == found[:1]


def test_a_web_process_that_is_killed_loses_no_reading(unit: RunningUnit) -> None:
    unit.run_stirring(target_rpm=400)
    before = keys(several(unit))
    assert on_disk(unit.dot) == []  # so they were in memory alone
    web = unit.web()
    web.kill()
    wait_for(lambda: unit.web().pid != web.pid, "another web process")
    after = keys(wait_for(lambda: readings(unit)))
    assert after[: len(before)] == before
    assert unit.end() == 0
    assert on_disk(unit.dot)[: len(before)] == before


def test_the_end_of_a_unit_writes_what_waits(unit: RunningUnit) -> None:
    unit.run_stirring(target_rpm=400)
    before = keys(several(unit, 1))
    assert unit.end() == 0
    assert on_disk(unit.dot)[: len(before)] == before


def test_readings_of_a_unit_that_is_killed_are_written_by_its_web_process(unit: RunningUnit) -> None:
    unit.run_stirring(target_rpm=400)
    before = keys(several(unit, 1))
    web = unit.web()
    os.kill(unit.process.pid, signal.SIGKILL)
    wait_for(lambda: not web.is_running(), "the end of the web process")
    assert on_disk(unit.dot)[: len(before)] == before


def test_readings_outlive_the_unit(tmp_path: Path) -> None:
    with running_unit(tmp_path) as unit:
        unit.run_stirring(target_rpm=400)
        before = keys(several(unit, 1))
    with running_unit(tmp_path) as unit:
        assert keys(readings(unit))[: len(before)] == before


def test_a_history_that_cannot_be_opened_hurts_no_job(tmp_path: Path) -> None:
    (tmp_path / "dot" / "storage" / "readings.sqlite").mkdir(parents=True)
    (tmp_path / "dot" / "config.ini").write_text("")
    with running_unit(tmp_path) as unit:
        unit.run_stirring(target_rpm=400)
        assert several(unit, 1)  # from memory
        assert unit.ended(unit.accepted("/jobs/stop/all"))["status"] == "complete"
        assert "Readings are kept in memory only" in unit.log()


def test_a_full_disk_hurts_no_job(tmp_path: Path) -> None:
    with harness.small_disk(tmp_path / "disk", 1024) as disk:
        with running_unit(tmp_path, dot=disk / "dot") as unit:
            filler = harness.fill_disk(disk)
            unit.run_stirring(target_rpm=400)
            before = keys(several(unit, 1))
            filler.unlink()
            assert unit.ended(unit.accepted("/jobs/stop/all"))["status"] == "complete"
        assert on_disk(disk / "dot")[: len(before)] == before
