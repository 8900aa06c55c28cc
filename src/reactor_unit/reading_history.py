"""The history of readings: what is on the disk, and what waits in memory to be written there."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence

from reactor_unit.errors import StorageFault
from reactor_unit.reading_store import ReadingStore
from reactor_unit.series import Reading

log = logging.getLogger(__name__)

WRITE_EVERY_S = 30.0  # one transaction: an SD card must last
WRITE_FROM = 500  # readings; then sooner
MAX_WAITING = 10_000  # while they cannot be written; the supervisor keeps as many
CLOSE_WITHIN_S = 1.0


class ReadingHistory:
    """Takes readings, writes them in batches, and answers from disk and memory together.

    `acknowledge(number)` is called when all readings up to this number need not be remembered by anybody else. Without
    a store (None) only what waits in memory is there. Safe to use from many threads.
    """

    def __init__(self, acknowledge: Callable[[int], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._acknowledge = acknowledge
        self._clock = clock
        self._store: ReadingStore | None = None
        self._waiting: deque[tuple[int, Reading]] = deque(maxlen=MAX_WAITING)
        self._oldest_at = 0.0  # by the clock: since when something waits
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._closing = False
        self._fails = False

    def use(self, store: ReadingStore | None) -> None:
        """Write into this store from now on."""
        self._store = store

    def add(self, first: int, readings: Sequence[Reading]) -> None:
        """Take readings, numbered from `first` on; those that came before are skipped."""
        with self._changed:
            newest = self._waiting[-1][0] if self._waiting else 0
            if not self._waiting:
                self._oldest_at = self._clock()
            self._waiting.extend((number, reading) for number, reading in enumerate(readings, first) if number > newest)
            self._changed.notify_all()

    # Writing

    def write_for_ever(self) -> None:
        """Write batches as they become due, until `close`; a store that fails is tried again with the next batch."""
        while not self._closing:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or (self._waiting and self._store is not None))
                self._changed.wait_for(self._is_due, self._time_left_s())
            self.write()

    def _time_left_s(self) -> float:
        return max(0.0, self._oldest_at + WRITE_EVERY_S - self._clock())

    def _is_due(self) -> bool:
        return self._closing or (len(self._waiting) >= WRITE_FROM and not self._fails) or self._time_left_s() <= 0

    def write(self) -> None:
        """Write all that waits, WRITE_FROM readings in a transaction."""
        with self._writing:
            while batch := self._batch():
                try:
                    self._put(batch)
                except StorageFault as ex:
                    self._failed(ex)
                    return
                if self._fails:
                    self._fails = False
                    log.info("Readings are written again.")
                self._written(batch[-1][0])

    def _put(self, batch: Sequence[tuple[int, Reading]]) -> None:
        if self._store is not None:
            self._store.put([reading for _, reading in batch])

    def _batch(self) -> list[tuple[int, Reading]]:
        with self._changed:
            return list(itertools.islice(self._waiting, WRITE_FROM)) if self._store is not None else []

    def _failed(self, ex: StorageFault) -> None:
        if not self._fails:
            log.error("Readings wait in memory, the newest %d of them: %s", MAX_WAITING, ex)
        with self._changed:
            self._fails = True
            self._oldest_at = self._clock()  # the next attempt is as far away as a batch

    def _written(self, number: int) -> None:
        with self._changed:
            while self._waiting and self._waiting[0][0] <= number:
                self._waiting.popleft()
            self._oldest_at = self._clock()
        self._acknowledge(number)

    def close(self) -> None:
        """Write what waits, then close the store; may be called twice."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self.write()
        if self._store is not None:
            self._store.close()

    # Reading

    def names(self) -> list[str]:
        """Return the names of all series, sorted. Raises StorageFault."""
        stored = self._store.names() if self._store is not None else []
        return sorted({*stored, *(reading.name for reading in self._in_memory())})

    def read(
        self, patterns: Collection[str], since: float | None, until: float | None, limit: int
    ) -> Iterator[Reading]:
        """Yield up to `limit` readings in the order of time, with `since` <= at < `until` (unix seconds).

        The first ones from `since` on; without `since`, the newest before `until`. A pattern is a name, or the
        beginning of names with `*` behind it; no pattern means all. Raises StorageFault, also while it is read.
        """
        names = frozenset(name for name in self.names() if _matches(name, patterns))
        begin, end, skip = -float("inf") if since is None else since, float("inf") if until is None else until, 0
        if since is None:
            begin, skip = self._begin_of_newest(names, end, limit)
        return itertools.islice(self._merged(names, begin, end), skip, skip + limit)

    def _begin_of_newest(self, names: frozenset[str], until: float, limit: int) -> tuple[float, int]:
        """Return when the newest `limit` readings begin, and how many readings of that instant are not among them."""
        count = 0
        for at, group in itertools.groupby(
            self._merged(names, -float("inf"), until, newest_first=True), key=lambda reading: reading.at
        ):
            count += sum(1 for _ in group)
            if count >= limit:
                return at, count - limit
        return -float("inf"), 0

    def _merged(
        self, names: frozenset[str], since: float, until: float, *, newest_first: bool = False
    ) -> Iterator[Reading]:
        """Yield readings from disk and memory by time and name, each of them once.

        Memory is looked at first: what is written meanwhile is found twice rather than not at all.
        """
        waiting = [one for one in self._in_memory() if one.name in names and since <= one.at < until]
        waiting.sort(key=lambda reading: reading.at, reverse=newest_first)
        stored = self._store.read(names, since, until, newest_first=newest_first) if self._store is not None else ()
        both = heapq.merge(stored, waiting, key=lambda reading: reading.at, reverse=newest_first)
        for at, group in itertools.groupby(both, key=lambda reading: reading.at):
            at_once = {reading.name: reading.value for reading in group}
            for name in sorted(at_once):
                yield Reading(at, name, at_once[name])

    def _in_memory(self) -> list[Reading]:
        with self._changed:
            return [reading for _, reading in self._waiting]


def _matches(name: str, patterns: Collection[str]) -> bool:
    return not patterns or any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern for pattern in patterns
    )
