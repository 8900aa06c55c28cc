"""Making outputs safe from outside: a short-lived child turns them off, and another one if it does not manage.

On a Raspberry Pi a released output keeps its last level, so the end of a job's process says nothing about its pump.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Collection

from reactor_unit.drivers.leases import ALL_LEDS, ALL_PINS
from reactor_unit.workers.children import Child, Exit, Nursery
from reactor_unit.workers.loop import Loop

log = logging.getLogger(__name__)

DEADLINE_S = 0.5  # a bus or library that takes longer hangs, or the machine is busy: each try has twice as long
LONGEST_DEADLINE_S = 8.0
RETRY_AFTER_S = 0.25
LONGEST_RETRY_AFTER_S = 5.0
LED_TRIES = 2  # without a dead owner: a board without LED driver must not keep a unit from stirring

Outputs = Collection[str]  # by their names, see drivers.leases
DriveSafe = Callable[[Outputs], None]


class Safety:
    """Forks `safe` children until one has driven the given outputs to their safe state."""

    def __init__(self, loop: Loop, nursery: Nursery, drive_safe: DriveSafe) -> None:
        self._loop = loop
        self._nursery = nursery
        self._drive_safe = drive_safe

    def make_safe(
        self,
        outputs: Outputs,
        done: Callable[[], None],
        on_failure: Callable[[str], None] | None = None,
        *,
        tries: int | None = None,
    ) -> None:
        """Drive outputs to their safe state, however many tries it takes, then call `done`.

        `on_failure(how)` is called after each try that failed. With `tries`, `done` is called after so many as well.
        """
        self._try(outputs, done, on_failure or (lambda _how: None), 1, tries)

    def make_all_safe(self, done: Callable[[], None], on_failure: Callable[[str], None] | None = None) -> None:
        """Make all pins safe, then all LEDs, then call `done`.

        LEDs get a few tries: their driver may not be there, and nothing of what it might light spills or burns.
        """
        self.make_safe(
            [ALL_PINS], lambda: self.make_safe([ALL_LEDS], done, tries=LED_TRIES), on_failure or (lambda _how: None)
        )

    def _try(
        self,
        outputs: Outputs,
        done: Callable[[], None],
        on_failure: Callable[[str], None],
        number: int,
        tries: int | None,
    ) -> None:
        within_s = min(DEADLINE_S * 2 ** (number - 1), LONGEST_DEADLINE_S)

        def on_exit(_child: Child, how: Exit) -> None:
            deadline.cancel()
            if how.code == 0:
                done()
            else:
                failed(f"the process that tried {how}")

        def failed(how: str) -> None:
            if number & (number - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
                log.critical("Could not make safe: %s (try %d, %s).", ", ".join(sorted(outputs)), number, how)
            on_failure(how)
            if number == tries:
                done()
                return
            pause_s = min(RETRY_AFTER_S * number, LONGEST_RETRY_AFTER_S)
            self._loop.call_later(pause_s, lambda: self._try(outputs, done, on_failure, number + 1, tries))

        try:
            child = self._nursery.fork("safe", lambda _channel: self._child_main(outputs, within_s), on_exit)
        except OSError as ex:
            failed(f"no process could be started: {ex}")
            return
        deadline = self._loop.call_later(within_s, lambda: child.signal(signal.SIGKILL))

    def _child_main(self, outputs: Outputs, within_s: float) -> None:
        """Finish the work even if the supervisor dies meanwhile; the alarm ends a try that nobody else can end."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, within_s)
        self._drive_safe(outputs)
