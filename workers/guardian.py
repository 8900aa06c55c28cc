"""Who watches over outputs: it ends those who hang with an output on, and has safe what the dead left on."""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Callable, Collection

from reactor_unit import errors
from reactor_unit.drivers.leases import Lapse, LeaseTable, is_output
from reactor_unit.workers.children import Child, Nursery
from reactor_unit.workers.loop import Loop, Timer
from reactor_unit.workers.safety import Safety

log = logging.getLogger(__name__)

LATE_S = 0.02  # after a deadline: a lease that is renewed at the last moment is still renewed


class Guardian:
    """The supervisor's eye on the leases. One timer runs for the earliest of them, and none while none is held."""

    def __init__(self, loop: Loop, nursery: Nursery, safety: Safety, leases: LeaseTable) -> None:
        self._loop = loop
        self._nursery = nursery
        self._safety = safety
        self.leases = leases
        self._timer: Timer | None = None
        self._timer_at = math.inf
        self._verdicts: dict[int, errors.UnitError] = {}  # by pid, of those that were ended for hanging

    def look(self) -> None:
        """See to it that the earliest deadline is not missed; for whenever somebody turned an output on."""
        deadline = self.leases.next_deadline()
        if deadline >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_later(max(0.0, deadline - self.leases.clock()) + LATE_S, self._on_timer)

    def revoke(self, child: Child) -> None:
        """Let a process that is to end turn nothing on any more."""
        self.leases.revoke(child.pid)

    def verdict(self, child: Child) -> errors.UnitError | None:
        """Return why a process was ended, when it was for hanging."""
        return self._verdicts.get(child.pid)

    def clean_up(self, child: Child, done: Callable[[], None], on_failure: Callable[[str], None] | None = None) -> None:
        """Make safe what an ended process left on, then call `done`; at once when it left nothing.

        `on_failure(how)` is called after each try that failed.
        """
        self._verdicts.pop(child.pid, None)
        self.leases.revoke(child.pid)  # nobody is to be ended for what has ended

        def safe() -> None:
            self.leases.forget(child.pid)
            done()

        outputs = self.leases.outputs_of(child.pid)
        if outputs:
            self._safety.make_safe(outputs, safe, on_failure)
        else:
            safe()

    def make_unowned_safe(self, outputs: Collection[str]) -> None:
        """Make those outputs safe that no process has: one that died without a lease may have left them on."""
        unowned = [output for output in outputs if self.leases.owner_of(output) == 0]
        if unowned:
            self._safety.make_safe(unowned, lambda: None)

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, math.inf
        for lapse in self.leases.lapsed():
            self._end(lapse)
        self.look()

    def _end(self, lapse: Lapse) -> None:
        """End a process that hangs; what it left on is made safe when it is reaped."""
        self.leases.revoke(lapse.pid)
        for child in self._nursery.children:
            if child.pid == lapse.pid:
                having = f" while {lapse.output} was on" if is_output(lapse.output) else ""
                self._verdicts[child.pid] = errors.ProcessHung(
                    f"{child.name} was ended: it gave no sign of life for too long{having}.",
                    cause=f"Process {child.pid} hangs or was stopped.",
                )
                log.error("%s (process %d) gives no sign of life%s; ending it.", child.name, child.pid, having)
                child.signal(signal.SIGKILL)
                return
        self.leases.clear([lapse.output])  # its owner's end was seen to already
