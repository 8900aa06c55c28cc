"""What a job hears of the culture: optical density and growth rate, and how old they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from reactor_unit.clock import unix_seconds
from reactor_unit.workers.automations import STALE_AFTER_S, JobRequired, Reading

OD_READING, GROWTH = "od_reading", "growth_rate_calculating"
REFERENCE = "REF"
SUBSCRIBED = (
    (OD_READING, "ods"),
    (OD_READING, "od_fused"),
    (GROWTH, "growth_rate"),
    (GROWTH, "od_filtered"),
)


def first_signal(angles: Mapping[str, str]) -> tuple[str, str]:
    """Return channel and angle of the first photodiode that sees the culture; both empty where there is none.

    >>> first_signal({"1": "REF", "2": "", "3": "90", "4": "45"})
    ('3', '90')
    """
    signals = [(channel, angle) for channel, angle in sorted(angles.items()) if angle and angle != REFERENCE]
    return signals[0] if signals else ("", "")


class CultureReadings:
    """Takes note of the newest optical densities and growth rate.

    `clock` is the hearing job's, in which ages are; `unix_time` is the wall time at the same moment, which is compared
    once with each value's timestamp, so that a step of the wall clock afterwards makes nothing older. `od_channel` is
    the photodiode whose optical density counts.
    """

    def __init__(self, clock: Callable[[], float], unix_time: Callable[[], float], od_channel: str) -> None:
        self._od_channel = od_channel
        self._clock = clock
        self._unix_time = unix_time
        self._newest: dict[str, tuple[float, float]] = {}  # setting -> (value, read at by the clock)

    def hear(self, setting: str, value: Any) -> None:
        """Take note of one published value; None, and what holds no number, says nothing."""
        if not isinstance(value, Mapping):
            return
        number = value["ods"].get(self._od_channel, {}).get("od") if setting == "ods" else value.get(setting)
        if isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number):
            age_s = max(0.0, self._unix_time() - unix_seconds(value["timestamp"]))
            self._newest[setting] = (float(number), self._clock() - age_s)

    def growth_rate_per_h(self) -> Reading:
        """Return the growth rate. Raises JobRequired for one that is older than 5 minutes, or none, as all do."""
        return self._reading("growth_rate", GROWTH)

    def normalized_od(self) -> Reading:
        """Return the filtered optical density, relative to the experiment's start."""
        return self._reading("od_filtered", GROWTH)

    def od(self) -> Reading:
        """Return the optical density of the photodiode that counts."""
        return self._reading("ods", OD_READING)

    def fused_od(self) -> Reading:
        """Return the optical density of several angles."""
        return self._reading("od_fused", OD_READING)

    def _reading(self, setting: str, job_name: str) -> Reading:
        if setting not in self._newest:
            raise JobRequired(f"{job_name} has not published {setting}: it has to run.")
        value, at = self._newest[setting]
        age_s = self._clock() - at
        if age_s > STALE_AFTER_S:
            raise JobRequired(f"{setting} of {job_name} is {age_s / 60.0:.0f} minutes old: it has to run.")
        return Reading(value, age_s)
