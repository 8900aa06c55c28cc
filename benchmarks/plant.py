"""What the simulated reactor costs: a look, a write, and a day on the virtual clock."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, percentile
from reactor_unit.drivers.simulation import liquids
from reactor_unit.drivers.simulation.clock import VirtualClock
from reactor_unit.drivers.simulation.constants import FLOW_ML_PER_S, MEDIA, WASTE
from reactor_unit.drivers.simulation.state import SharedPlant

APART_S = 600.0
STIRRED, HEATED, MEDIA_PIN, ALT_MEDIA_PIN, WASTE_PIN = 17, 18, 13, 16, 12
DRIVES: dict[str, dict[int, float]] = {  # pin -> %
    "nothing on": {},
    "stirred and heated": {STIRRED: 30.0, HEATED: 20.0},
    "and a slow chemostat": {STIRRED: 30.0, HEATED: 20.0, MEDIA_PIN: 10.0, WASTE_PIN: 100.0},
    "and all pumps on": {STIRRED: 30.0, HEATED: 20.0, MEDIA_PIN: 100.0, ALT_MEDIA_PIN: 100.0, WASTE_PIN: 100.0},
}
IMPORTS = """
import json, sys, argparse, pathlib, dataclasses, typing, threading, contextlib, struct, zlib, mmap, fcntl, logging
def anonymous():
    return sum(int(l.split()[1]) for l in open("/proc/self/smaps_rollup") if l.startswith("Pss_Anon")) / 1024
before = anonymous()
import reactor_unit.drivers.hardware, reactor_unit.drivers.simulation.state
print(anonymous() - before)
"""


def plant_figures(quick: bool) -> list[Figure]:
    """Measure looks 600 simulated seconds apart, a change, a day of dilution, and what the modules weigh."""
    figures = []
    for name, drive in DRIVES.items():
        times_us = _looks_us(drive, 300 if quick else 3000)
        note = f"p95 {percentile(times_us, 95):.0f} us"
        figures.append(Figure(f"look, {name}, p50", percentile(times_us, 50), "us", "<=", 150, note))
    figures.append(Figure("change of the state, p50", percentile(_changes_us(1000), 50), "us"))
    error, wall_s = _day_of_dilution()
    weighed = [sys.executable, "-c", IMPORTS]
    grown_mb = float(subprocess.run(weighed, capture_output=True, text=True, check=True).stdout)
    return [
        *figures,
        Figure("24 h of dilution, volume balance", 100.0 * error, "%", "<=", 0.1, "72 doses"),
        Figure("24 h of dilution, wall time", wall_s, "s", "<=", 60, "a look each 10 s"),
        Figure("drivers + simulation, Pss_Anon", grown_mb, "MB", "<=", 3, "PyYAML included"),
    ]


def _drive(plant: SharedPlant, pin: int, duty_cycle: float) -> None:
    plant.change([pin], lambda r: r._replace(out=True, pwm=True, frequency_hz=200.0, duty_cycle=duty_cycle))


def _looks_us(drive: dict[int, float], count: int) -> list[float]:
    """Return what a look (integrate and read) takes, each at a culture that grows in a vial that warms."""
    clock, times_us = VirtualClock(), []
    with tempfile.TemporaryDirectory() as folder:
        plant = SharedPlant(Path(folder) / "plant.bin", clock=clock)
        for pin, duty_cycle in drive.items():
            _drive(plant, pin, duty_cycle)
        plant.set_led("A", 80.0)
        for number in range(count):
            if number % 20 == 0:
                plant.update(lambda s: s._replace(board_c=s.room_c, vial_c=s.room_c))
                plant.refill()
                plant.inoculate(0.5)
            clock.sleep(APART_S)
            began = time.perf_counter()
            plant.photodiode_voltage_v("2")
            times_us.append((time.perf_counter() - began) * 1e6)
            plant.update(lambda s: s)  # the next look begins here
        plant.close()
    return times_us


def _changes_us(count: int) -> list[float]:
    times_us = []
    with tempfile.TemporaryDirectory() as folder:
        plant = SharedPlant(Path(folder) / "plant.bin")
        for number in range(count):
            began = time.perf_counter()
            _drive(plant, STIRRED, 30.0 + number % 10)
            times_us.append((time.perf_counter() - began) * 1e6)
        plant.close()
    return times_us


def _day_of_dilution() -> tuple[float, float]:
    """Return the relative error of all volumes together, and the wall time in s."""
    clock = VirtualClock()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        plant = SharedPlant(Path(folder) / "plant.bin", clock=clock)
        before_ml = liquids.total_ml(plant.look().vessels)
        while clock() < 86400.0:
            for pin, seconds in ((MEDIA_PIN, 0.5 / FLOW_ML_PER_S[MEDIA]), (WASTE_PIN, 1.0 / FLOW_ML_PER_S[WASTE])):
                _drive(plant, pin, 100.0)
                clock.sleep(seconds)
                _drive(plant, pin, 0.0)
            until_s = clock() + 1200.0 - clock() % 1200.0
            while clock() < until_s:
                clock.sleep(min(10.0, until_s - clock()))
                plant.photodiode_voltage_v("2")
        after = plant.look().vessels
        plant.close()
    expected_ml = 72 * 0.5
    error = abs(liquids.total_ml(after) - before_ml) + abs(after.waste_ml - expected_ml)
    return error / expected_ml, time.perf_counter() - began
