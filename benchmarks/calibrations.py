"""How long 500 calibrations take to list, and how soon a change by hand is seen."""

from __future__ import annotations

import random
import time
from pathlib import Path

from benchmarks.figures import Figure, percentile
from benchmarks.unit import Unit, running_unit

FILES = 500
DEVICES = ("od45", "od90", "od135", "media_pump", "stirring")
POINTS = 40  # recorded in each: a large one

_TEXT = """\
calibration_type: od600
calibration_name: {name}
calibrated_on_pioreactor_unit: bench
created_at: 2031-03-04T05:06:07Z
curve_data_: {{type: akima, knots: {knots}, coefficients: {segments}}}
recorded_data: {{x: {x}, y: {y}}}
ir_led_intensity: 70.0
angle: '90'
pd_channel: '2'
"""


def calibration_figures(quick: bool) -> list[Figure]:
    """Measure `GET /unit_api/calibrations` with 500 files, and each time after one of them was changed."""
    with running_unit() as unit:
        paths = _write_files(data_folder(unit) / "storage" / "calibrations")
        began = time.perf_counter()
        _listed(unit)
        cold_ms = (time.perf_counter() - began) * 1000
        time.sleep(0.2)  # files of the last moment are read again
        _listed(unit)
        size = sum(path.stat().st_size for path in paths)
        warm, fresh = [], []
        for number in range(50 if quick else 300):
            warm.append(_timed(unit))
            if number % 10 == 0:
                fresh.append(_after_change(unit, paths[number % FILES], number))
    note = f"p99 {percentile(warm, 99):.2f} ms; first time {cold_ms:.0f} ms; {size / 1024:.0f} KiB in files"
    return [
        Figure("GET /calibrations, 500 files, warm p50", percentile(warm, 50), "ms", "<=", 10, note),
        Figure("... right after one was changed by hand, p50", percentile(fresh, 50), "ms", note="the change was seen"),
    ]


def data_folder(unit: Unit) -> Path:
    """Return the data folder that a unit was started with."""
    words = Path(f"/proc/{unit.process.pid}/cmdline").read_text().split("\0")
    return Path(words[words.index("--dot") + 1])


def _write_files(storage: Path) -> list[Path]:
    random_, paths = random.Random(1), []
    for number in range(FILES):
        folder = storage / DEVICES[number % len(DEVICES)]
        folder.mkdir(parents=True, exist_ok=True)
        x = [round(place * 0.05, 4) for place in range(POINTS)]
        y = [round(random_.random(), 6) for _ in x]
        segments = [[value, random_.random(), random_.random(), random_.random()] for value in y[:9]]
        paths.append(folder / f"cal-{number}.yaml")
        text = _TEXT.format(name=f"cal-{number}", knots=x[:10], segments=segments, x=x, y=y)
        paths[-1].write_text(text)
    return paths


def _listed(unit: Unit) -> dict[str, list[dict[str, float]]]:
    status, lists = unit.ask("GET", "/calibrations")
    if status != 200 or sum(map(len, lists.values())) != FILES:
        raise RuntimeError(f"not all calibrations are listed: {status}")
    return dict(lists)


def _timed(unit: Unit) -> float:
    """Return the milliseconds from the request to the last byte of the answer; it is not parsed."""
    began = time.perf_counter()
    unit.connection.request("GET", "/unit_api/calibrations")
    unit.connection.getresponse().read()
    return (time.perf_counter() - began) * 1000


def _after_change(unit: Unit, path: Path, number: int) -> float:
    intensity = 10 + number % 50 + 0.5
    lines = [f"ir_led_intensity: {intensity}" if "ir_led" in line else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines))
    spent = _timed(unit)
    seen = {one["calibration_name"]: one["ir_led_intensity"] for one in _listed(unit)[path.parent.name]}
    if seen[path.stem] != intensity:  # type: ignore[index]
        raise RuntimeError(f"the change of {path} was not seen")
    return spent
