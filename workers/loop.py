"""The supervisor's one selector: descriptors, child exits and timers, without polling."""

from __future__ import annotations

import heapq
import itertools
import selectors
import time
from collections.abc import Callable
from typing import Any

Callback = Callable[[], None]

FEW_TIMERS = 64


class Timer:
    """A call that will be made once; `cancel` may be called at any time."""

    def __init__(self, callback: Callback, on_cancel: Callback) -> None:
        self._callback: Callback | None = callback
        self._on_cancel = on_cancel

    def cancel(self) -> None:
        """Forget the call."""
        if self._callback is not None:
            self._callback = None
            self._on_cancel()

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
        self._cancelled = 0

    def close(self) -> None:
        """Give the selector back; the loop turns no more."""
        self._selector.close()

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
        timer = Timer(callback, self._forget_cancelled)
        heapq.heappush(self._timers, (self._clock() + delay_s, next(self._order), timer))
        return timer

    def _forget_cancelled(self) -> None:
        """Keep timers that were cancelled, as most time-outs are, from piling up behind one that is far away."""
        self._cancelled += 1
        if self._cancelled > FEW_TIMERS and self._cancelled > len(self._timers) / 2:
            self._timers = [entry for entry in self._timers if entry[2].pending]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def turn(self) -> None:
        """Wait for whatever comes first and handle it; waits for ever when there is nothing to wait for."""
        for key, events in self._selector.select(self._time_to_next_timer()):
            on_read, on_write = key.data
            if events & selectors.EVENT_READ:
                on_read()
            if events & selectors.EVENT_WRITE and on_write is not None and self._is_watched(key):
                on_write()  # unless what was read put an end to it
        self._fire_due_timers()

    def _is_watched(self, key: selectors.SelectorKey) -> bool:
        now = self._selector.get_map().get(key.fd)
        return now is not None and now.fileobj is key.fileobj

    def _time_to_next_timer(self) -> float | None:
        while self._timers and not self._timers[0][2].pending:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - self._clock()) if self._timers else None

    def _fire_due_timers(self) -> None:
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2].fire()
