"""What jobs remember for an experiment, as the web process keeps it: in the persistent cache, and before that here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from typing import Any

from reactor_unit.errors import StorageFault
from reactor_unit.persistent_cache import PersistentCache

log = logging.getLogger(__name__)

PAUSE_S = 60.0  # between two times of writing: a filter remembers its state with each reading, and an SD card must last


class Remembered:
    """Takes what jobs remember, writes it now and then, and recalls it from disk and memory together.

    An entry belongs to a table and an experiment. The first one is written at once, those that follow within PAUSE_S,
    of each only the newest. `acknowledge(number)` is called when everything up to that number is on the disk. Safe to
    use from many threads.
    """

    def __init__(self, acknowledge: Callable[[int], None], pause_s: float = PAUSE_S) -> None:
        self._acknowledge = acknowledge
        self._pause_s = pause_s
        self._cache: PersistentCache | None = None
        self._waiting: dict[tuple[str, str], Any] = {}
        self._number = 0
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._closing = False
        self._fails = False

    def use(self, cache: PersistentCache | None) -> None:
        """Write into this cache from now on; None keeps everything in memory."""
        self._cache = cache

    def add(self, number: int, values: Iterable[list[Any]]) -> None:
        """Take entries [table, experiment, value], the last of which has this number; a value None is a deletion."""
        with self._changed:
            for table, experiment, value in values:
                self._waiting[table, experiment] = value
            self._number = number
            self._changed.notify_all()

    def recall(self, tables: Collection[str], experiment: str) -> dict[str, Any]:
        """Return the experiment's entries by table; tables without one are left out. Raises StorageFault."""
        with self._writing:  # what is being written is not in memory any more and on the disk already
            stored = {} if self._cache is None else {table: self._cache.get(table, experiment) for table in tables}
            with self._changed:
                waiting = {
                    table: self._waiting[table, experiment] for table in tables if (table, experiment) in self._waiting
                }
        return {table: value for table, value in {**stored, **waiting}.items() if value is not None}

    def write_for_ever(self) -> None:
        """Write what comes, until `close`; a cache that fails is tried again after the pause."""
        while not self._closing:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
            self.write()
            with self._changed:
                self._changed.wait_for(lambda: self._closing, self._pause_s)

    def write(self) -> None:
        """Write what waits now; what cannot be written waits on, and the log says so once."""
        if self._cache is None:
            return
        with self._writing:
            with self._changed:
                batch, number = dict(self._waiting), self._number
            try:
                for (table, experiment), value in batch.items():
                    self._put(self._cache, table, experiment, value)
            except StorageFault as ex:
                if not self._fails:
                    log.error("What jobs remember is kept in memory only, until it can be written: %s", ex.message)
                self._fails = True
                return
            self._fails = False
            self._written(batch)
        if batch:
            self._acknowledge(number)

    @staticmethod
    def _put(cache: PersistentCache, table: str, experiment: str, value: Any) -> None:
        if value is None:
            cache.delete(table, experiment)
        else:
            cache.put(table, experiment, value)

    def _written(self, batch: dict[tuple[str, str], Any]) -> None:
        with self._changed:
            for key, value in batch.items():
                if self._waiting.get(key) is value:  # else it changed meanwhile, and is written again
                    del self._waiting[key]

    def hand_over(self) -> None:
        """Write what waits, and forget what could not be written: somebody else is told it again, and newer values."""
        self.write()
        with self._changed:
            self._waiting.clear()

    def close(self) -> None:
        """Write what waits, and end `write_for_ever`; may be called twice."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self.write()
