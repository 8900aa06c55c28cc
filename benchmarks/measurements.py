"""The measurements: each starts what it needs and returns figures with their targets."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from benchmarks.calibrations import calibration_figures
from benchmarks.figures import Figure, percentile, spread
from benchmarks.files import export_figures, file_figures, import_figures
from benchmarks.fleet import fleet_figures
from benchmarks.od import od_figures
from benchmarks.plant import plant_figures
from benchmarks.poller import poller_figures
from benchmarks.polling import polling_figures
from benchmarks.processes import Activity, activity, command_line, lent_to, memory, other_pythons
from benchmarks.unit import DAY_AND_NIGHT, HERE, WITH_TASK, Unit, port_of, process, running_unit, wait_until

MB = 1024 * 1024
SETTLE_S = 3.0  # after this, what was begun at the start is done
MONITOR_CHECKED_S = 6.0  # its self-check comes 5 s after its start
CONNECTIONS = 4


# Memory


def memory_figures(quick: bool) -> list[Figure]:
    """Measure the memory of all processes together, idle and at work."""
    with running_unit() as unit:
        unit.connection.close()
        time.sleep(SETTLE_S)
        idle = _memory_of(unit, "idle", 38)
    with running_unit(monitor=True) as unit:
        unit.connection.close()
        time.sleep(SETTLE_S + MONITOR_CHECKED_S)
        idle += _memory_of(unit, "idle with monitor")
        unit.run_thermostat()
        unit.connection.close()
        time.sleep(SETTLE_S + MONITOR_CHECKED_S)
        idle += _memory_of(unit, "monitor + thermostat")
    with running_unit(WITH_TASK) as unit:
        unit.run_stirring()
        unit.ended(unit.submit("/bench/nothing"))
        unit.connection.close()
        time.sleep(SETTLE_S)
        return [*idle, *_memory_of(unit, "stirring + warm worker", 46)]


CULTURE = {
    "stirring": {"target_rpm": 500},
    "od_reading": {},
    "temperature_automation": {"automation_name": "thermostat", "target_temperature": 30},
    "led_automation": DAY_AND_NIGHT,
    "growth_rate_calculating": {},
    "monitor": {},
}
CHEMOSTAT = {"automation_name": "chemostat", "exchange_volume_ml": 0.3, "duration": 1}
PUMP = """\
calibration_type: simple_peristaltic_pump
calibration_name: {0}-linear
calibrated_on_pioreactor_unit: bench
created_at: 2026-11-22T12:00:00Z
curve_data_: {{type: poly, coefficients: [0.09, 0.0]}}
recorded_data: {{x: [10.0, 20.0], y: [0.9, 1.8]}}
hz: 250.0
dc: 100.0
voltage: 12.0
"""
CULTURE_SETTLE_S = 30.0  # a few readings, one of each job's rounds at least


def culture_figures(quick: bool) -> list[Figure]:
    """Measure the memory of all processes together while all jobs of a culture run, without dosing and with it."""
    with running_unit() as unit:
        missing = [name for name, options in CULTURE.items() if not unit.run_job(name, options)]
        unit.connection.close()
        time.sleep(SETTLE_S if quick else CULTURE_SETTLE_S)
        state = "a culture's jobs" + (f" without {', '.join(missing)}" if missing else "")
        figures = _memory_of(unit, state, 75)
        for pump in ("media_pump", "waste_pump"):
            status, answer = unit.ask(
                "POST", f"/calibrations/{pump}", {"calibration_data": PUMP.format(pump), "set_as_active": True}
            )
            if status != 201:
                raise RuntimeError(f"the calibration of {pump} was refused: {answer}")
        unit.run_job("dosing_automation", CHEMOSTAT)
        unit.connection.close()
        time.sleep(SETTLE_S if quick else CULTURE_SETTLE_S)
        return [*figures, *_memory_of(unit, "a culture's jobs with a chemostat", 80)]


def _memory_of(unit: Unit, state: str, target_mb: float | None = None) -> list[Figure]:
    """Return Pss as it would be without other Pythons, this one included, and the anonymous part of it."""
    pids = unit.pids
    others = other_pythons(pids)
    lent = lent_to(others, pids)
    each = [memory(pid) for pid in pids]
    seen = sum(one.pss for one in each)
    details: dict[str, Any] = {
        "processes": [asdict(one) for one in each],
        "pss_seen": seen,
        "lent_to_other_pythons": lent,
        "other_pythons": [command_line(pid) for pid in others],
    }
    shares = " + ".join(f"{one.pss / MB:.1f}" for one in each)
    note = f"{len(each)} processes: {shares}; {lent / MB:.1f} more for pages shared with {len(others)} other Pythons"
    return [
        Figure(f"Pss, {state}", (seen + lent) / MB, "MB", "" if target_mb is None else "<=", target_mb, note, details),
        Figure(f"Pss_Anon, {state}", sum(one.pss_anon for one in each) / MB, "MB"),
    ]


# Start


def start_figures(quick: bool) -> list[Figure]:
    """Measure from the start of the process to the first 200 of /health, with an empty data folder each time."""
    times = []
    for _ in range(5 if quick else 20):
        began = time.perf_counter()
        with running_unit():
            times.append(time.perf_counter() - began)
    return [Figure("cold start to first 200", statistics.median(times), "s", "<=", 0.5, spread(times))]


# Requests


def request_figures(quick: bool) -> list[Figure]:
    """Measure requests a second, each endpoint in turn with a bare WSGI function right before or after it."""
    rounds, seconds = (5, 0.3) if quick else (20, 0.5)
    with running_unit() as unit, process((str(HERE / "bare_server.py"),)) as bare_process:
        bare = port_of(bare_process)
        unit.run_stirring()
        task_id = unit.submit("/jobs/stop", {"job_name": "no_such_job"})
        unit.ended(task_id)
        unit.connection.close()
        figures = []
        for name, path, target in (
            ("/health", "/unit_api/health", 0.70),
            ("/jobs/running", "/unit_api/jobs/running", 0.60),
            ("task result", f"/unit_api/task_results/{task_id}", 0.60),
        ):
            pairs = [_pair(bare_process.pid, bare, unit, path, seconds, round_ % 2 == 1) for round_ in range(rounds)]
            figures.extend(_ratio_figures(name, target, pairs))
        return figures


def capabilities_figures(quick: bool) -> list[Figure]:
    """Measure requests a second of /capabilities, with a bare WSGI function that answers with as many bytes."""
    rounds, seconds = (5, 0.3) if quick else (20, 0.5)
    path = "/unit_api/capabilities"
    with running_unit() as unit:
        size = len(json.dumps(unit.ask("GET", "/capabilities")[1], separators=(",", ":")))
        with process((str(HERE / "bare_server.py"), str(size))) as bare_process:
            bare = port_of(bare_process)
            unit.connection.close()
            pairs = [_pair(bare_process.pid, bare, unit, path, seconds, round_ % 2 == 1) for round_ in range(rounds)]
        return _ratio_figures("/capabilities", 0.60, pairs)


Load = dict[str, float]


def _pair(bare_pid: int, bare: int, unit: Unit, path: str, seconds: float, bare_last: bool) -> tuple[Load, Load]:
    """Return one measurement of the bare function and one of the unit, made right after another."""
    if bare_last:
        ours = _load(unit.pids, unit.port, path, seconds)
        return _load([bare_pid], bare, path, seconds), ours
    return _load([bare_pid], bare, path, seconds), _load(unit.pids, unit.port, path, seconds)


def _load(pids: list[int], port: int, path: str, seconds: float) -> Load:
    """Return what the load client measured, and the CPU time that all processes of the server took for a request."""
    words = [sys.executable, "-S", str(HERE / "load_client.py"), str(port), path, str(CONNECTIONS), str(seconds)]
    before = sum(activity(pid).cpu_s for pid in pids)
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=seconds + 30)
    cpu_s = sum(activity(pid).cpu_s for pid in pids) - before
    answer: Load = json.loads(done.stdout)
    answer["cpu_us_per_request"] = cpu_s / answer["answered"] * 1e6
    return answer


def _ratio_figures(name: str, target: float, pairs: list[tuple[Load, Load]]) -> list[Figure]:
    ratios = [ours["requests_per_s"] / bare["requests_per_s"] for bare, ours in pairs]
    bare, ours = ({key: statistics.median(pair[side][key] for pair in pairs) for key in pairs[0][0]} for side in (0, 1))
    note = (
        f"{ours['requests_per_s']:.0f} of {bare['requests_per_s']:.0f} requests/s; {spread(ratios)}; "
        f"p50 {ours['p50_ms']:.2f} (bare {bare['p50_ms']:.2f}) ms, p99 {ours['p99_ms']:.2f} ({bare['p99_ms']:.2f}) ms; "
        f"CPU {ours['cpu_us_per_request']:.0f} ({bare['cpu_us_per_request']:.0f}) us a request; "
        f"client {ours['client_cpu'] * 100:.0f} % of a core"
    )
    details = {"bare": bare, "unit": ours, "ratios": ratios}
    return [Figure(f"{name} vs bare WSGI", statistics.median(ratios), "", ">=", target, note, details)]


# Tasks and jobs


def task_figures(quick: bool) -> list[Figure]:
    """Measure a task that does nothing: stop a job that does not run, ask at once and then each 5 ms."""
    times, polls = [], []
    with running_unit() as unit:
        for _ in range(30 if quick else 200):
            began = time.perf_counter()
            polls.append(unit.ended(unit.submit("/jobs/stop", {"job_name": "no_such_job"}), poll_s=0.005))
            times.append((time.perf_counter() - began) * 1000)
    note = f"p99 {percentile(times, 99):.1f} ms; {spread(times)}; {statistics.mean(polls):.1f} polls"
    return [Figure("no-op task, POST to complete seen", statistics.median(times), "ms", "<=", 15, note)]


def job_figures(quick: bool) -> list[Figure]:
    """Measure from POST run to the job's row in the list of running jobs, asked for each 2 ms."""
    listed, ready = [], []
    with running_unit() as unit:
        for _ in range(5 if quick else 20):
            time.sleep(1.05)  # the same job may be started once a second
            began = time.perf_counter()
            task_id = unit.submit("/jobs/run/job_name/stirring")
            wait_until(lambda: bool(unit.ask("GET", "/jobs/running")[1]), poll_s=0.002)
            listed.append((time.perf_counter() - began) * 1000)
            unit.ended(task_id, poll_s=0.002)
            ready.append((time.perf_counter() - began) * 1000)
            unit.stop_stirring()
    return [
        Figure("POST run stirring to listed", statistics.median(listed), "ms", "<=", 150, spread(listed)),
        Figure("POST run stirring to its task complete", statistics.median(ready), "ms", note=spread(ready)),
    ]


# Idling


def idle_figures(quick: bool) -> list[Figure]:
    """Measure what a unit does that has nothing to do, without and with the job that it runs for itself."""
    seconds = 10.0 if quick else 30.0
    return [*_idle_figures("idle", seconds, monitor=False), *_idle_figures("idle with monitor", seconds, monitor=True)]


def _idle_figures(state: str, seconds: float, *, monitor: bool) -> list[Figure]:
    with running_unit(monitor=monitor) as unit:
        unit.connection.close()
        time.sleep(SETTLE_S + (MONITOR_CHECKED_S if monitor else 0.0))
        pids = unit.pids
        before = {pid: activity(pid) for pid in pids}
        time.sleep(seconds)
        after = {pid: activity(pid).since(before[pid]) for pid in pids}
    total = Activity(sum(one.switches for one in after.values()), sum(one.cpu_s for one in after.values()))
    note = f"{total.switches} in {seconds:g} s, of {len(pids)} processes with all their threads"
    details = {"seconds": seconds, "processes": [asdict(one) for one in after.values()]}
    return [
        Figure(f"{state}, context switches", total.switches / seconds, "/s", "<=", 3, note, details),
        Figure(f"{state}, CPU time", total.cpu_s / seconds * 1000, "ms/s"),
    ]


def speed_figures(quick: bool) -> list[Figure]:
    """Measure what a stirring job takes of a core in reactors that run faster than the clock, once it has settled."""
    seconds = 5.0 if quick else 20.0
    figures = []
    for speed in (1.0, 60.0, 1000.0):
        with running_unit(speed=speed) as unit:
            unit.run_stirring()
            pid = unit.ask("GET", "/jobs/running")[1][0]["pid"]
            time.sleep(25.0 if speed == 1.0 else SETTLE_S)  # the search for the speed is over
            before = activity(pid)
            time.sleep(seconds)
            did = activity(pid).since(before)
        share = did.cpu_s / seconds * 100
        figures.append(
            Figure(f"stirring at speed {speed:g}, CPU", share, "% of a core", note=f"{did.switches} switches")
        )
    return figures


MEASUREMENTS: dict[str, Callable[[bool], list[Figure]]] = {
    "memory": memory_figures,
    "culture": culture_figures,
    "start": start_figures,
    "requests": request_figures,
    "capabilities": capabilities_figures,
    "task": task_figures,
    "polling": polling_figures,
    "poller": poller_figures,
    "job": job_figures,
    "idle": idle_figures,
    "speed": speed_figures,
    "plant": plant_figures,
    "calibrations": calibration_figures,
    "fleet": fleet_figures,
    "files": file_figures,
    "export": export_figures,
    "import": import_figures,
    "od": od_figures,
}
