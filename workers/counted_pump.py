"""A pump whose every turn is counted in the vial's account."""

from __future__ import annotations

from collections.abc import Callable

from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.pump import Pump
from reactor_unit.vial import WASTE, Run, VialState
from reactor_unit.workers.pump_flow import PumpFlow

OVERRUN_S = 2.0  # for which a pump whose process is killed or hangs may go on: its lease has a spare second

Begin = Callable[[str, float], Run]
End = Callable[[Run, float], VialState | None]
Moved = Callable[[str, float, VialState | None], None]


class CountedPump:
    """One pump, claimed. It turns only what `reserve` has counted.

    `begin` and `end` are the account's; `on_moved(role, ml, state)` is told of what was moved, and the vial's state
    after it where that is known. Own it in a `finally`: first `off`, then `settle`, then `close`.
    """

    def __init__(
        self, pump: Pump, flow: PumpFlow, clock: Callable[[], float], begin: Begin, end: End, on_moved: Moved
    ) -> None:
        self.flow = flow
        self._pump = pump
        self._clock = clock
        self._begin = begin
        self._end = end
        self._on_moved = on_moved
        self._run: Run | None = None
        self._on_since: float | None = None
        self._before_s = 0.0  # for which it had turned without a pause when the reservation began
        self._on_s = 0.0  # since the reservation, in the turn that goes on
        self._counted_ml = self._moved_ml = 0.0  # since the reservation, in the turns that ended

    def reserve(self, duration_s: float, turns: int = 1) -> None:
        """Count what may be moved in so many seconds on, of one turn or several; what turned before is settled.

        Raises as the account's `begin`; then what was reserved before is still what there is.
        """
        self._note_time()
        turned_s = self._before_s + self._on_s if self._on_since is not None else 0.0
        turn_s = duration_s / turns
        at_most_ml = self.flow.at_most_between_ml(turned_s, turned_s + turn_s + OVERRUN_S)
        run = self._begin(self.flow.role, at_most_ml + (turns - 1) * self.flow.at_most_ml(turn_s))
        self.settle()
        self._run = run

    def on(self, for_s: float) -> None:
        """Turn from now on, and have been told again or to stop in `for_s` seconds."""
        if self._on_since is None:
            self._on_since = self._clock()
        self._pump.turn(self.flow.dc, for_s)

    def off(self) -> None:
        """Stand still. Idempotent. One that cannot be stopped stays counted with all that was reserved."""
        try:
            self._pump.stop()
        except HardwareFault:
            self._run = None
            raise
        self._note_time()
        if self._on_since is not None:
            self._count()
            self._on_since, self._before_s = None, 0.0  # the next turn is one of its own: a curve may begin above 0

    def settle(self) -> float:
        """Correct the reservation to what was moved until now; return that, in ml. Idempotent."""
        if self._run is None:
            return 0.0
        self._note_time()
        self._count()
        run, self._run = self._run, None
        counted_ml, moved_ml = self._counted_ml, self._moved_ml
        self._counted_ml = self._moved_ml = 0.0
        state = self._end(run, counted_ml)
        if moved_ml > 0:
            self._on_moved(run.role, moved_ml, state)
        return moved_ml

    def close(self) -> None:
        """Stand still, and give the pump back. May be called twice."""
        self._pump.close()

    def _count(self) -> None:
        """Take what was moved in this turn until now to what the turns before it moved."""
        before_s, after_s = self._before_s, self._before_s + self._on_s
        self._before_s, self._on_s = after_s, 0.0
        if self.flow.role == WASTE:
            self._counted_ml += max(0.0, self.flow.at_least_ml(after_s) - self.flow.at_least_ml(before_s))
        else:
            self._counted_ml += self.flow.at_most_between_ml(before_s, after_s)
        self._moved_ml += max(0.0, self.flow.volume_ml(after_s) - self.flow.volume_ml(before_s))

    def _note_time(self) -> None:
        if self._on_since is not None:
            now = self._clock()
            self._on_s += now - self._on_since
            self._on_since = now
