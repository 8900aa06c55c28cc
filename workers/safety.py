"""Making outputs safe from outside: a short-lived child drives them low, and another one if it does not manage.

On a Raspberry Pi a released output keeps its last level, so the end of a job's process says nothing about its pump.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Collection

from reactor_unit.workers.children import Child, Exit, Nursery
from reactor_unit.workers.loop import Loop

log = logging.getLogger(__name__)

DEADLINE_S = 0.5  # a bus or library that takes longer hangs
RETRY_AFTER_S = 0.25
LONGEST_RETRY_AFTER_S = 5.0

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
        self._try(pins, done, on_failure or (lambda _how: None), 1)

    def _try(self, pins: Pins, done: Callable[[], None], on_failure: Callable[[str], None], number: int) -> None:
        def on_exit(_child: Child, how: Exit) -> None:
            deadline.cancel()
            if how.code == 0:
                done()
            else:
                failed(f"the process that tried {how}")

        def failed(how: str) -> None:
            if number & (number - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
                which = "all outputs" if pins is None else f"the outputs on pins {sorted(pins)}"
                log.critical("Could not make %s safe (try %d): %s. Trying again and again.", which, number, how)
            on_failure(how)
            pause_s = min(RETRY_AFTER_S * number, LONGEST_RETRY_AFTER_S)
            self._loop.call_later(pause_s, lambda: self._try(pins, done, on_failure, number + 1))

        try:
            child = self._nursery.fork("safe", lambda _channel: self._child_main(pins), on_exit)
        except OSError as ex:
            failed(f"no process could be started: {ex}")
            return
        deadline = self._loop.call_later(DEADLINE_S, lambda: child.signal(signal.SIGKILL))

    def _child_main(self, pins: Pins) -> None:
        """Finish the work even if the supervisor dies meanwhile; the alarm ends a try that nobody else can end."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, DEADLINE_S)
        self._drive_safe(pins)
