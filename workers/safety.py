"""Making outputs safe from outside: a short-lived child drives them low, and another one if it does not manage.

On a Raspberry Pi a released output keeps its last level, so the end of a job's process says nothing about its pump.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Collection

from reactor_unit.channel import Channel
from reactor_unit.workers.children import Child, Exit, Nursery
from reactor_unit.workers.loop import Loop, Timer

log = logging.getLogger(__name__)

DEADLINE_S = 0.5  # a bus or library that takes longer hangs
RETRY_AFTER_S = 0.25

Pins = Collection[int] | None  # None: all outputs of the board
DriveSafe = Callable[[Pins], None]


class Safety:
    """Forks `safe` children until one has driven the given outputs to their safe state."""

    def __init__(self, loop: Loop, nursery: Nursery, drive_safe: DriveSafe) -> None:
        self._loop = loop
        self._nursery = nursery
        self._drive_safe = drive_safe

    def make_safe(self, pins: Pins, done: Callable[[], None], on_failure: Callable[[str], None] | None = None) -> None:
        """Drive `pins` to their safe state, however many tries it takes, then call `done`.

        `on_failure(how)` is called after each try that failed.
        """
        _Attempts(self._loop, self._nursery, self._drive_safe, pins, done, on_failure).start()


class _Attempts:
    """One call of `make_safe`."""

    def __init__(
        self,
        loop: Loop,
        nursery: Nursery,
        drive_safe: DriveSafe,
        pins: Pins,
        done: Callable[[], None],
        on_failure: Callable[[str], None] | None,
    ) -> None:
        self._loop = loop
        self._nursery = nursery
        self._drive_safe = drive_safe
        self._pins = pins
        self._done = done
        self._on_failure = on_failure
        self._tries = 0
        self._deadline: Timer | None = None

    def start(self) -> None:
        self._tries += 1
        try:
            child = self._nursery.fork("safe", self._child_main, self._on_exit)
        except OSError as ex:
            self._failed(f"no process could be started: {ex}")
            return
        self._deadline = self._loop.call_later(DEADLINE_S, lambda: child.signal(signal.SIGKILL))

    def _child_main(self, _channel: Channel) -> None:
        self._drive_safe(self._pins)

    def _on_exit(self, _child: Child, how: Exit) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if how.code == 0:
            self._done()
        else:
            self._failed(f"the process that tried {how}")

    def _failed(self, how: str) -> None:
        which = "all outputs" if self._pins is None else f"the outputs on pins {sorted(self._pins)}"
        log.critical("Could not make %s safe (try %d): %s. Trying again.", which, self._tries, how)
        if self._on_failure is not None:
            self._on_failure(how)
        self._loop.call_later(RETRY_AFTER_S, self.start)
