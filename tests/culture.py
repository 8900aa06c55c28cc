"""A culture in a unit that runs, over HTTP and faster than the clock: its readings, and the reactor's truth."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from harness import DEADLINE_S, RunningUnit, wait_for

from reactor_unit.clock import unix_seconds
from reactor_unit.drivers.simulation import optics

SPEED = 60
MINUTE_S = 60.0
Points = list[tuple[float, float]]


@dataclass
class Culture:
    """A unit with a culture in it. Moments are the unit's wall time in unix seconds."""

    unit: RunningUnit
    moments: dict[str, float] = field(default_factory=dict)
    true_signals_v: Points = field(default_factory=list)  # at 90 degrees, by the plant's seconds
    true_scatter_v: Points = field(default_factory=list)  # of it the cells' part, which bends at high densities

    def note(self, name: str) -> None:
        """Note the moment: that of the newest reading, which is at most a few seconds old."""
        self.moments[name] = self.readings("*", limit=1)[-1][0]

    def readings(self, names: str, *, limit: int = 1000, since: float | None = None) -> Points:
        """Return the readings of these names, the newest or all since a moment."""
        query = f"names={names}&limit={limit}" + ("" if since is None else f"&since={since}")
        found = self.unit.get(f"/readings?{query}").json["readings"]
        return [(unix_seconds(one["timestamp"]), one["value"]) for one in found]

    def between(self, name: str, begin: str, end: str, *, after_s: float = 0.0) -> list[float]:
        """Return the values of a series between two moments, from `after_s` after the first."""
        since, until = self.moments[begin] + after_s, self.moments[end]
        return [value for at, value in self.readings(name, limit=100000, since=since) if at < until]

    def live_for(self, minutes: float) -> None:
        """Let the reactor live for so many of its minutes."""
        plant = self.unit.plant()
        until_s = plant.plant_time_s() + minutes * MINUTE_S
        wait_for(
            lambda: plant.plant_time_s() >= until_s, "the plant's time", within_s=10 + 2 * minutes * MINUTE_S / SPEED
        )
        self.note_truth()

    def note_truth(self) -> None:
        plant = self.unit.plant()
        state = plant.look()._replace(leds=(80.0, 0.0, 0.0, 0.0))
        blank = state._replace(culture=state.culture._replace(biomass_od=0.0))
        at_s, signal_v = plant.plant_time_s(), optics.steady_signal_v(state, "90")
        self.true_signals_v.append((at_s, signal_v))
        self.true_scatter_v.append((at_s, signal_v - optics.steady_signal_v(blank, "90")))

    def true_growth_rate_per_h(self) -> float:
        """Return how fast the cells' light grew in the last stretch that the culture was let live for.

        Without a calibration this is all that can be measured: at an optical density of 1 to 2 it is slower than the
        culture's own growth.
        """
        ended_s, last = self.true_scatter_v[-1]
        began_s, first = next(point for point in reversed(self.true_scatter_v) if point[0] < ended_s - 300.0)
        return 3600.0 * math.log(last / first) / (ended_s - began_s)

    def start(self, name: str, options: dict[str, Any]) -> Any:
        def accepted() -> Any:  # stirring may have been started for the blank a moment ago
            answer = self.unit.post(f"/jobs/run/job_name/{name}", {"options": options})
            assert answer.status in (202, 429), answer
            return answer.json if answer.status == 202 else None

        return self.unit.ended(wait_for(accepted, "an accepted start")["task_id"], within_s=40)

    def running(self) -> set[str]:
        return {row["job_name"] for row in self.unit.get("/jobs/running").json}

    def faults(self) -> list[dict[str, Any]]:
        return list(self.unit.get("/faults").json["faults"])

    def put(self, job: str, setting: str, value: Any) -> None:
        answer = self.unit.ask("PUT", f"/jobs/settings/job_name/{job}/setting/{setting}", {"value": value})
        assert (answer.status, answer.json["value"]) == (200, value), answer

    def simulate(self, *words: str) -> None:
        """Be the person, or the bad luck, at the reactor: by the command line that a person has."""
        command = [sys.executable, "-m", "reactor_unit", "simulate", "--dot", str(self.unit.dot), *words]
        environ = {**os.environ, **self.unit.environ}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode == 0, done.stderr
