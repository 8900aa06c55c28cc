"""Files over HTTP: what a download and an archive add to the web process's memory, and how fast they come."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import subprocess
import threading
import time
from pathlib import Path
from typing import Self

from benchmarks.calibrations import data_folder
from benchmarks.figures import Figure, spread
from benchmarks.processes import memory, peak_rss, reset_peak
from benchmarks.unit import Unit, running_unit

MB = 1000 * 1000
READ_BYTES = 1024 * 1024
SMALL_FILES = 1000
LOOK_EVERY_S = 0.02
SETTLE_S = 5.0  # after this, children that only looked at something have ended


def file_figures(quick: bool) -> list[Figure]:
    """Measure the download of a file of 100 MB."""
    size = (20 if quick else 100) * MB
    with running_unit() as unit:
        (data_folder(unit) / "large.bin").write_bytes(random.Random(1).randbytes(size))
        unit.ask("GET", "/health")
        web = _web(unit)
        before = reset_peak(web)
        took_s = _download(unit, "/unit_api/system/path/large.bin", size)
        added = (peak_rss(web) - before) / MB
    note = f"{size / MB / took_s:.0f} MB/s over loopback"
    return [Figure(f"download of {size // MB} MB, peak memory added", added, "MB", "<=", 4, note)]


def export_figures(quick: bool) -> list[Figure]:
    """Measure the archive of a folder of 500 MB, each time after `zip -1` of the same folder."""
    size = (50 if quick else 500) * MB
    with running_unit() as unit:
        folder = data_folder(unit)
        _fill(folder, size)
        web = _web(unit)
        unit.ask("GET", "/health")
        before, ratios, speeds = reset_peak(web), [], []
        for _ in range(2 if quick else 5):
            zip_s = _zip(folder)
            ours_s = _download(unit, "/unit_api/zipped_dot_pioreactor")
            ratios.append(zip_s / ours_s)
            speeds.append(size / MB / ours_s)
        added = (peak_rss(web) - before) / MB
    ratio = sorted(ratios)[len(ratios) // 2]
    note = f"{min(speeds):.0f} to {max(speeds):.0f} MB/s of content; ratio {spread(ratios)}"
    return [
        Figure(f"archive of {size // MB} MB, peak memory added", added, "MB", "<=", 8),
        Figure("... throughput against `zip -1`, median", ratio, "", ">=", 0.7, note),
    ]


def import_figures(quick: bool) -> list[Figure]:
    """Measure the import of an archive of a folder of 500 MB into the unit that made it."""
    size = (50 if quick else 500) * MB
    with running_unit() as unit:
        folder = data_folder(unit)
        _fill(folder, size)
        archive = folder.parent / "archive.zip"
        _download(unit, "/unit_api/zipped_dot_pioreactor", into=archive)
        time.sleep(SETTLE_S)
        before = _pss(unit)
        with _Peak(unit) as peak:
            began = time.perf_counter()
            outage_s = _import(unit, archive)
            took_s = time.perf_counter() - began
        time.sleep(SETTLE_S)
        after = _pss(unit)
        packed = archive.stat().st_size
    added = (peak.bytes - before) / MB
    note = f"{size / MB / took_s:.0f} MB/s of content; archive of {packed / MB:.0f} MB; {took_s:.1f} s in all"
    left = f"from one life of the unit to the next; longest time without an answer {outage_s * 1000:.0f} ms"
    return [
        Figure(f"import of {size // MB} MB, peak memory added (all processes, Pss)", added, "MB", "<=", 16, note),
        Figure("... memory added when it is over", (after - before) / MB, "MB", "<=", 4, left),
    ]


class _Peak:
    """Looks again and again how much memory the processes of a unit take."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(LOOK_EVERY_S):
            self.bytes = max(self.bytes, _pss(self._unit))


def _pss(unit: Unit) -> int:
    total = 0
    for pid in unit.pids:
        with contextlib.suppress(OSError, StopIteration):  # it ended
            total += memory(pid).pss
    return total


def _import(unit: Unit, archive: Path) -> float:
    """Import an archive; return the longest time in seconds that a poll of its task took."""
    url = f"http://127.0.0.1:{unit.port}/unit_api/import_zipped_dot_pioreactor"
    words = ["curl", "-s", "-H", "Expect:", "-F", f"archive=@{archive}", url]
    task_id = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)["task_id"]
    unit.connection.close()
    longest_s = 0.0
    while True:
        began = time.perf_counter()
        status, record = unit.ask("GET", f"/task_results/{task_id}")
        longest_s = max(longest_s, time.perf_counter() - began)
        unit.connection.close()
        if record["status"] == "complete":
            return longest_s
        if status != 202:
            raise RuntimeError(f"the import failed: {record}")
        time.sleep(LOOK_EVERY_S)


def _web(unit: Unit) -> int:
    return unit.pids[1]


def _download(unit: Unit, path: str, expected: int | None = None, into: Path | None = None) -> float:
    """Return the seconds from the request to the last byte."""
    began, size = time.perf_counter(), 0
    out = None if into is None else into.open("wb")
    unit.connection.request("GET", path)
    answer = unit.connection.getresponse()
    while piece := answer.read(READ_BYTES):
        size += len(piece)
        if out is not None:
            out.write(piece)
    if out is not None:
        out.close()
    if answer.status != 200 or expected not in (None, size):
        raise RuntimeError(f"GET {path}: {answer.status}, {size} bytes")
    return time.perf_counter() - began


def _zip(folder: Path) -> float:
    began = time.perf_counter()
    with subprocess.Popen(["zip", "-1", "-q", "-r", "-", "."], cwd=folder, stdout=subprocess.PIPE) as packer:
        assert packer.stdout is not None
        while packer.stdout.read(READ_BYTES):
            pass
    return time.perf_counter() - began


def _fill(folder: Path, size: int) -> None:
    """Put tables (60 %), a database (20 %), incompressible files (18 %) and many small ones (2 %) into `folder`."""
    numbers = random.Random(2)
    (folder / "experiments").mkdir()
    lines = [f"2031-03-04T05:06:{i % 60:02d}Z,od.90,{numbers.random():.6f}\n" for i in range(50_000)]
    table = "".join(lines).encode()
    for number in range(max(1, size * 60 // 100 // len(table))):
        (folder / "experiments" / f"table-{number}.csv").write_bytes(table)
    for number in range(9):
        (folder / "experiments" / f"image-{number}.jpg").write_bytes(numbers.randbytes(size * 2 // 100))
    for number in range(SMALL_FILES):
        (folder / "experiments" / f"note-{number}.yaml").write_bytes(table[: size * 2 // 100 // SMALL_FILES])
    with contextlib.closing(sqlite3.connect(folder / "storage" / "measured.sqlite")) as database:
        database.execute("PRAGMA journal_mode = wal")
        database.execute("CREATE TABLE reading (at REAL, name TEXT, value REAL)")
        rows = size * 20 // 100 // 32
        database.executemany(
            "INSERT INTO reading VALUES (?, ?, ?)", ((1e9 + i * 0.1, "od.90", numbers.random()) for i in range(rows))
        )
        database.commit()
