"""New readings of a unit as they come, for the command line."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Callable, Generator, Sequence

from reactor_unit.client import BUSY_STATUSES, OUTAGE_S, Reading, UnitAnswerError, UnitClient, UnitUnreachable
from reactor_unit.clock import unix_seconds
from reactor_unit.console import say

PAUSE_S = 1.0
PAGE = 10_000  # readings at once
OVERLAP_S = 10.0  # a reading comes this late at most: a job tells when it measured, and that a little later


def followed(
    unit: UnitClient,
    names: Sequence[str],
    *,
    since: str | None = None,
    limit: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[list[Reading], None, None]:
    """Yield the readings there are, the first from `since` on or the newest `limit`, then for ever those that are new.

    Each comes once. A unit that is away for a moment, as while it replaces a process, is asked again; one that stays
    away for 5 s is the client's error.
    """
    begin: str | float | None = since
    first_at: float | None = None
    seen: dict[tuple[str, str], float] = {}
    answered_at = clock()
    page = unit.readings(names, since=since, limit=limit)
    while True:
        new = [one for one in page if (one["timestamp"], one["name"]) not in seen]
        if new:
            yield new
            seen.update(((one["timestamp"], one["name"]), unix_seconds(one["timestamp"])) for one in new)
            first_at = min(seen.values()) if first_at is None else first_at
            begin = max(first_at, max(seen.values()) - OVERLAP_S)  # what was left out at first stays out
            seen = {key: at for key, at in seen.items() if at >= begin}
        if len(page) < PAGE:
            sleep(PAUSE_S)
        try:
            page = unit.readings(names, since=begin, limit=PAGE)
            answered_at = clock()
        except (UnitUnreachable, UnitAnswerError) as ex:
            is_lasting = isinstance(ex, UnitAnswerError) and ex.status not in BUSY_STATUSES
            if is_lasting or clock() - answered_at > OUTAGE_S:
                raise
            page = []


def print_readings(readings: Sequence[Reading], *, as_csv: bool, as_json: bool, headers: bool) -> None:
    """Print a line each: JSON, CSV, or columns wide enough for most names; at once, since somebody watches."""
    if as_csv:
        lines = csv.writer(sys.stdout, lineterminator="\n")
        if headers:
            lines.writerow(("timestamp", "name", "value"))
        lines.writerows((one["timestamp"], one["name"], one["value"]) for one in readings)
    else:
        for one in readings:
            say(json.dumps(one) if as_json else f"{one['timestamp']}  {one['name']:<24}  {one['value']:g}")
    sys.stdout.flush()
