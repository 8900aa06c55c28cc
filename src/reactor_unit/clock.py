"""Two kinds of time: wall time for people, boot-clock time for intervals."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def utc_timestamp(at: datetime | None = None) -> str:
    """Return `at` (now when not given) as `2026-01-31T12:45:00.123Z`: UTC, milliseconds."""
    at = at or datetime.now(UTC)
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


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
