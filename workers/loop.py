"""The supervisor's one selector: descriptors, child exits and timers, without polling."""

from __future__ import annotations

import heapq
import itertools
import selectors
import time
from collections.abc import Callable
from typing import Any

Callback = Callable[[], None]


class Timer:
    """A call that will be made once; `cancel` may be called at any time."""

    def __init__(self, callback: Callback) -> None:
        self._callback: Callback | None = callback

    def cancel(self) -> None:
        """Forget the call."""
        self._callback = None

    def fire(self) -> None:
        """Make the call, unless it was cancelled or made before."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()

    @property
    def pending(self) -> bool:
        """Whether the call is still to come."""
        return self._callback is not None


class Loop:
    """Wait for descriptors and deadlines (monotonic seconds), and call back.

    Descriptors are watched through objects with a `fileno`. A callback that raises ends the loop: there is no safe way
    to go on for a supervisor that does not know its own state.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._selector = selectors.EpollSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    @property
    def selector_fileno(self) -> int:
        """The selector's own descriptor, which a forked child closes."""
        return self._selector.fileno()

    def watch(self, source: Any, callback: Callback) -> None:
        """Call `callback` whenever `source` can be read."""
        self._selector.register(source, selectors.EVENT_READ, (callback, None))

    def watch_writable(self, source: Any, callback: Callback | None) -> None:
        """Call `callback` also when the watched `source` can be written; None ends that."""
        key = self._selector.get_key(source)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if callback else 0)
        self._selector.modify(source, events, (key.data[0], callback))

    def unwatch(self, source: Any) -> None:
        """Stop watching `source`; do this before closing it."""
        self._selector.unregister(source)

    def call_later(self, delay_s: float, callback: Callback) -> Timer:
        """Call `callback` once, `delay_s` seconds from now."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (self._clock() + delay_s, next(self._order), timer))
        return timer

    def turn(self) -> None:
        """Wait for whatever comes first and handle it; waits for ever when there is nothing to wait for."""
        for key, events in self._selector.select(self._time_to_next_timer()):
            on_read, on_write = key.data
            if events & selectors.EVENT_READ and on_read is not None:
                on_read()
            if events & selectors.EVENT_WRITE and on_write is not None:
                on_write()
        self._fire_due_timers()

    def _time_to_next_timer(self) -> float | None:
        while self._timers and not self._timers[0][2].pending:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - self._clock()) if self._timers else None

    def _fire_due_timers(self) -> None:
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2].fire()
