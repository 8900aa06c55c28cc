"""Light: when it is day for phototrophs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LightDarkCycle:
    """Light for some minutes, then dark for some, over and over, from the start.

    For the job, once a minute: set the intensity when `is_light` changes.

    >>> cycle = LightDarkCycle(light_duration_minutes=960.0, dark_duration_minutes=480.0)
    >>> cycle.is_light(0.0), cycle.is_light(16.5 * 3600.0), cycle.is_light(24.5 * 3600.0)
    (True, False, True)

    Raises ValueError for a duration below 0, or a cycle of less than a minute.
    """

    light_duration_minutes: float
    dark_duration_minutes: float

    def __post_init__(self) -> None:
        light, dark = self.light_duration_minutes, self.dark_duration_minutes
        if not (light >= 0 and dark >= 0 and 1 <= light + dark < float("inf")):
            raise ValueError(f"A cycle of {light:g} minutes of light and {dark:g} of darkness is not possible.")

    @property
    def period_minutes(self) -> int:
        """Length of the cycle: whole minutes, as the reference system counts them."""
        return int(self.light_duration_minutes + self.dark_duration_minutes)

    def is_light(self, since_start_s: float) -> bool:
        """Return whether it is light at this time after the start; decided for whole minutes."""
        return since_start_s // 60.0 % self.period_minutes < self.light_duration_minutes

    def seconds_to_next_minute(self, since_start_s: float) -> float:
        """Return how long nothing can change: at most 60 s."""
        return 60.0 - since_start_s % 60.0
