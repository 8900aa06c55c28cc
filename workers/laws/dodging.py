"""Dodging: have the stirrer slow while the optical density is read, and fast in between."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

OD_SLOT_S = 1.0  # what one reading of the optical density takes, with its preparations
TELLING_DELAY_S = 0.25  # a shorter delay leaves the liquid no time to calm down, or to speed up
SHORT_INTERVAL_S = 8.33  # below it the stirrer is slow for more of the time than it is fast


class DodgingStep(NamedTuple):
    """What is to be done next: at which time, and whether the stirrer is then slow, for the reading."""

    at_s: float
    slow: bool


@dataclass(frozen=True)
class Dodging:
    """When to slow down and speed up, for readings every `interval_s` from `first_od_obs_time` on.

    Times are of one clock, that of `first_od_obs_time`. A reading begins on the grid and takes OD_SLOT_S; the stirrer
    is made fast `post_delay_s` after it, which takes `speed_up_s`, and slow `pre_delay_s` before the next one. Raises
    ValueError when that leaves no time in between.

    >>> dodging = Dodging(interval_s=10.0, first_od_obs_time=100.0, pre_delay_s=1.5, post_delay_s=0.5)
    >>> dodging.next_step(100.2)
    DodgingStep(at_s=101.5, slow=False)
    >>> dodging.next_step(101.5)
    DodgingStep(at_s=108.5, slow=True)
    """

    interval_s: float
    first_od_obs_time: float
    pre_delay_s: float = 1.5
    post_delay_s: float = 0.5
    speed_up_s: float = 0.0

    def __post_init__(self) -> None:
        if min(self.pre_delay_s, self.post_delay_s, self.speed_up_s) < 0:
            raise ValueError("The delays before and after a reading cannot be below 0 s.")
        if not self.fast_s > 0:
            raise ValueError(
                f"Readings every {self.interval_s:g} s leave no time to stir: a reading takes {OD_SLOT_S:g} s, and the "
                f"delays are {self.post_delay_s:g} s after it, {self.speed_up_s:g} s to speed up, and "
                f"{self.pre_delay_s:g} s before the next. Read less often, or shorten the delays."
            )

    @property
    def fast_s(self) -> float:
        """How long the stirrer stays fast in each interval."""
        return self.interval_s - OD_SLOT_S - self.pre_delay_s - self.post_delay_s - self.speed_up_s

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of these times, as sentences."""
        found = [
            f"{name}_delay_duration is {delay_s:g} s; below {TELLING_DELAY_S:g} s the reading may see the stirrer."
            for name, delay_s in (("pre", self.pre_delay_s), ("post", self.post_delay_s))
            if delay_s < TELLING_DELAY_S
        ]
        if self.interval_s < SHORT_INTERVAL_S:
            found.append(f"With readings every {self.interval_s:g} s the stirrer is slow for much of the time.")
        return tuple(found)

    def is_slow(self, now_s: float) -> bool:
        """Return whether the stirrer is to be slow now."""
        return not self.next_step(now_s).slow

    def next_step(self, now_s: float) -> DodgingStep:
        """Return the next step after `now_s`, also for a time before the first reading."""
        speed_up_s, slow_down_s = OD_SLOT_S + self.post_delay_s, self.interval_s - self.pre_delay_s
        grid_s = self.first_od_obs_time + self.interval_s * math.floor(
            (now_s - self.first_od_obs_time) / self.interval_s
        )
        for offset_s, slow in ((speed_up_s, False), (slow_down_s, True), (self.interval_s + speed_up_s, False)):
            if grid_s + offset_s > now_s:
                return DodgingStep(grid_s + offset_s, slow)
        return DodgingStep(grid_s + self.interval_s + slow_down_s, True)
