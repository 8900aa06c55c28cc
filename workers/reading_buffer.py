"""Readings on their way from jobs to the web process: kept by the supervisor until they are on the disk."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from sys import intern

from reactor_unit.channel import Message

log = logging.getLogger(__name__)

MAX_KEPT = 10_000  # about 1.5 MB; hours of readings with a disk that cannot be written
IN_A_MESSAGE = 500


class ReadingBuffer:
    """Numbers readings from 1 on, hands them out in messages, and forgets what is acknowledged.

    When there are too many the oldest are dropped, which the log says once until everything is acknowledged again.
    """

    def __init__(self, max_kept: int = MAX_KEPT) -> None:
        self._max_kept = max_kept
        self._kept: deque[tuple[float, str, float]] = deque()
        self._first = 1  # the number of the oldest one that is kept
        self._next = 1  # the number of the first one that is to be sent
        self._drops = False

    def add(self, readings: Iterable[Sequence[float | str]]) -> None:
        """Keep readings, each as [unix seconds, name, value]."""
        self._kept.extend((float(at), intern(str(name)), float(value)) for at, name, value in readings)
        excess = len(self._kept) - self._max_kept
        if excess > 0:
            if not self._drops:
                self._drops = True
                log.error("The readings cannot be written for too long; only the newest %d are kept.", self._max_kept)
            self._forget(excess)

    def acknowledged(self, number: int) -> None:
        """Forget all readings up to this number."""
        self._forget(min(number - self._first + 1, len(self._kept)))
        if not self._kept:
            self._drops = False

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._kept.popleft()
        self._first += max(0, count)
        self._next = max(self._next, self._first)

    def rewind(self) -> None:
        """Send everything again: there is a new web process."""
        self._next = self._first

    def message(self) -> Message | None:
        """Return the next message for the web process, None when all is sent; `sent` says that it has gone."""
        begin = self._next - self._first
        readings = list(islice(self._kept, begin, begin + IN_A_MESSAGE))
        return {"ev": "readings", "first": self._next, "readings": readings} if readings else None

    def sent(self, message: Message) -> None:
        """Take note that the web process has this message."""
        self._next = message["first"] + len(message["readings"])
