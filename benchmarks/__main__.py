"""Measure a unit on this machine: `python -m benchmarks [--only NAME] [--quick] [--json FILE]`.

Exit code 0, also when a target is missed: how noisy the machine is, a person judges.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, table
from benchmarks.measurements import MEASUREMENTS
from benchmarks.unit import state_folder


def machine() -> dict[str, Any]:
    """Return where this runs, and how busy it was."""
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith(("model name", "Model"))
    ]
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "processor": models[-1].partition(":")[2].strip() if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
        "state_folder": str(state_folder()),
    }


def main() -> int:
    """Run the measurements that were asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure a unit on this machine.")
    parser.add_argument("--only", action="append", choices=tuple(MEASUREMENTS), help="measure this (may be repeated)")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter repetitions")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything that was measured")
    options = parser.parse_args()
    where = machine()
    print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in where.items()), flush=True)
    if where["load_average"] > 0.5:
        print("The machine is busy: expect noise.", flush=True)
    figures: list[Figure] = []
    for name in options.only or MEASUREMENTS:
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        figures.extend(MEASUREMENTS[name](options.quick))
    print(table(figures))
    if options.json:
        report = {"machine": where, "quick": options.quick, "figures": [figure.to_json() for figure in figures]}
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
