"""What a job hears of `od_reading`: when it reads, and how much its readings scatter."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from reactor_unit.workers.job_desk import DISCONNECTED, INIT, LOST, READY, SLEEPING
from reactor_unit.workers.laws.dodging import Dodging
from reactor_unit.workers.laws.scatter import scatter_about_trend

OD_READING = "od_reading"
SUBSCRIBED = tuple((OD_READING, setting) for setting in ("interval", "first_od_obs_time", "ods"))
KEPT_READINGS = 24


class HeardODReading:
    """Takes note of od_reading's `$state`, `interval`, `first_od_obs_time` and `ods`.

    `clock` is the hearing job's, in which all times here are; `unix_time` is the wall time at the same moment. The
    first reading's wall time is brought over to `clock` when it is heard, so that a step of the wall clock afterwards
    shifts nothing.
    """

    def __init__(self, clock: Callable[[], float], unix_time: Callable[[], float]) -> None:
        self._clock = clock
        self._unix_time = unix_time
        self.stirrer_is_silent = False
        self._forget()

    def _forget(self) -> None:
        self.is_running = False
        self._interval_s: float | None = None
        self._first_s: float | None = None
        self._stirred: deque[float] = deque(maxlen=KEPT_READINGS)
        self._silent: deque[float] = deque(maxlen=KEPT_READINGS)

    def hear(self, setting: str, value: Any) -> None:
        """Take note of one value; None is a setting that was taken away."""
        if setting == "$state":
            if value in (INIT, DISCONNECTED, LOST):
                self._forget()
            self.is_running = value in (INIT, READY, SLEEPING)
        elif setting == "interval":
            self._interval_s = value
        elif setting == "first_od_obs_time":
            self._first_s = None if value is None else value - self._unix_time() + self._clock()
        elif setting == "ods" and value is not None:
            self._note(value["ods"])

    @property
    def times(self) -> tuple[float, float] | None:
        """Seconds from reading to reading, and when the first one was; None when nothing is read."""
        if not self.is_running or not self._interval_s or self._first_s is None:
            return None
        return self._interval_s, self._first_s

    def dodging(self, *, pre_delay_s: float, post_delay_s: float, speed_up_s: float) -> Dodging | None:
        """Return when to dodge; None when nothing is read. Raises ValueError when there is no time to."""
        if self.times is None:
            return None
        return Dodging(*self.times, pre_delay_s=pre_delay_s, post_delay_s=post_delay_s, speed_up_s=speed_up_s)

    def seconds_to_next_reading(self) -> float | None:
        """Return the seconds until the next reading begins; None when nothing is read."""
        if self.times is None:
            return None
        interval_s, first_s = self.times
        gone_s = self._clock() - first_s
        return interval_s * (math.floor(gone_s / interval_s) + 1) - gone_s

    # How the light scatters: as when it was stirred?

    def stirrer_turns(self) -> None:
        """Take note that pulses are seen: what is read from now on is read in stirred liquid."""
        self.stirrer_is_silent = False
        self._silent.clear()

    def relative_scatter(self) -> float | None:
        """Return the scatter of readings since the silence began, divided by that from before; None if too few."""
        stirred, silent = scatter_about_trend(self._stirred_list), scatter_about_trend(list(self._silent))
        return None if not stirred or silent is None else silent / stirred

    @property
    def may_tell_soon(self) -> bool:
        """Whether a few more readings will make a relative scatter."""
        return self.times is not None and bool(scatter_about_trend(self._stirred_list))

    @property
    def _stirred_list(self) -> list[float]:
        return list(self._stirred)

    def _note(self, channels: Mapping[str, Mapping[str, Any]]) -> None:
        if channels:
            od = channels[min(channels)]["od"]
            (self._silent if self.stirrer_is_silent else self._stirred).append(od)
