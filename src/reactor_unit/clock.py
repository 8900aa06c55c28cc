"""Kinds of time: wall time for people, boot-clock time for intervals, and a unit's own, which its jobs live in."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_timestamp(at: datetime | None = None) -> str:
    """Return `at` (now when not given) as `2026-01-31T12:45:00.123Z`: UTC, milliseconds."""
    at = at or datetime.now(UTC)
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def unix_seconds(timestamp: str) -> float:
    """Return an ISO 8601 timestamp as seconds since 1970; one without a zone is UTC. Raises ValueError."""
    at = datetime.fromisoformat(timestamp)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def timestamp_of(at: float) -> str:
    """Return seconds since 1970 as `utc_timestamp` writes them, to the nearest millisecond."""
    return utc_timestamp(_EPOCH + timedelta(milliseconds=round(at * 1000)))


def boot_clock() -> float:
    """Return seconds since the machine started, sleep included.

    The same in all processes and untouched by changes of the wall clock, so it may be written into records
    that another process reads.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Return the kernel's name for this run of the machine; boot-clock times compare only within one."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


class ReactorTime(Protocol):
    """Time as the reactor has it: what a job's runtime and a task's context offer to whoever works on the hardware."""

    @property
    def clock(self) -> Callable[[], float]:
        """The reactor's monotonic seconds."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait so many of the reactor's seconds, renewing the leases of what this process has on."""


class UnitClock:
    """The time in which a unit's jobs live: real time, or faster by a factor, together with a simulated reactor.

    Make it before the fork: all processes then count from one origin. `speed` is how many of its seconds pass in a
    real one. At speed 1 it is the system's clocks as they are. `wall_offset_s` says how many seconds the wall time is
    ahead besides; a process may put another function there.

    >>> UnitClock(60.0).real_seconds(30.0)
    0.5
    """

    def __init__(
        self,
        speed: float = 1.0,
        *,
        real_monotonic: Callable[[], float] = time.monotonic,
        real_time: Callable[[], float] = time.time,
    ) -> None:
        self.speed = speed
        self.wall_offset_s: Callable[[], float] = float  # which gives 0.0
        self._real_monotonic = real_monotonic
        self._real_time = real_time
        self._origin_s = real_monotonic()

    def monotonic(self) -> float:
        """Return monotonic seconds, which only differences of mean something."""
        return self.speed * self._real_monotonic()

    def utc_now(self) -> datetime:
        """Return the wall time: the system's, ahead by what passed faster than real since this clock was made."""
        gained_s = (self.speed - 1.0) * (self._real_monotonic() - self._origin_s)
        return datetime.fromtimestamp(self._real_time(), UTC) + timedelta(seconds=gained_s + self.wall_offset_s())

    def real_seconds(self, seconds: float) -> float:
        """Return how many real seconds so many of this clock take."""
        return seconds / self.speed
