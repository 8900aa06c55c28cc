"""Two kinds of time: wall time for people, boot-clock time for intervals."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

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
