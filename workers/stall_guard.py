"""What is done about a silent hall sensor: kicks, a verdict, and in the end a latched fault."""

from __future__ import annotations

import logging
from collections.abc import Callable

from reactor_unit.errors import HardwareFault
from reactor_unit.workers.heard_od_reading import HeardODReading
from reactor_unit.workers.job import JobRuntime
from reactor_unit.workers.laws import stall
from reactor_unit.workers.laws.stall import Standstill, Verdict
from reactor_unit.workers.laws.stirring import SETTLE_S

log = logging.getLogger(__name__)

PAUSE_S = 0.75  # without power before a kick
KICK_S = 0.75  # at full power: longer than for a start, so that there are pulses to count
MAX_DUTY_CYCLE = 60.0  # % after a kick
SOUND_S = 60.0  # a stirrer that is seen to turn for so long after a kick is sound again
AFTER_READING_S = 2.0  # a reading of optical density that begins sooner than this is let through first
LIGHT_WAIT_S = 90.0  # at most, for readings that tell whether the liquid moves

REMEDIES = {
    Standstill.STALLED: "Look whether the stir bar, the fan and its cable are in place and turn freely. ",
    Standstill.UNKNOWN: "Look whether the fan turns, and at the hall sensor's cable; with the jobs stopped, "
    "`reactor-unit doctor` tells the two apart. Without the sensor, start stirring with use_rpm=false. ",
}


class StallGuard:
    """Restarts a stirrer that gives no pulses, a bounded number of times, and says what is wrong with it."""

    def __init__(self, runtime: JobRuntime, od: HeardODReading) -> None:
        self._runtime = runtime
        self._od = od
        self._restarts = 0
        self._restarted_at = 0.0

    def turns(self) -> None:
        """Take note that pulses were seen."""
        self._od.stirrer_turns()
        if self._runtime.clock() - self._restarted_at >= SOUND_S:
            self._restarts = 0

    def restart(
        self,
        duty_cycle: float,
        drive: Callable[[float], bool],
        measure: Callable[[float], float],
        *,
        window_s: float,
        readings_are_dodged: bool,
    ) -> float | None:
        """Kick a stirrer that is silent at `duty_cycle` %; return the duty cycle to go on with.

        `drive` returns False when somebody changed the speed meanwhile, and then this returns None. Raises
        HardwareFault, with the fault latched and the stirrer off, when another kick makes no sense.
        """
        self._od.stirrer_is_silent = True
        if not readings_are_dodged:
            self._let_reading_through()
        after = min(1.01 * duty_cycle, MAX_DUTY_CYCLE)
        if not drive(0.0):
            return None
        self._runtime.wait(PAUSE_S)
        if not drive(100.0):
            return None
        kick_rpm = measure(KICK_S)
        if not drive(after):
            return None
        self._runtime.wait(SETTLE_S)
        rpm_after = measure(window_s)
        self._restarts, self._restarted_at = self._restarts + 1, self._runtime.clock()
        verdict = self._judge(duty_cycle, kick_rpm, rpm_after, telling=not readings_are_dodged)
        if not drive(after):
            return None
        log.warning("%s", verdict.message)
        if not stall.may_restart(verdict, self._restarts):
            drive(0.0)
            self._give_up(verdict)
        return after

    def _let_reading_through(self) -> None:
        """Leave a reading that is about to begin alone: a kick would be seen in it."""
        left_s = self._od.seconds_to_next_reading()
        if left_s is not None and left_s <= AFTER_READING_S:
            self._runtime.wait(left_s + AFTER_READING_S)

    def _judge(self, duty_cycle: float, kick_rpm: float, rpm_after: float, *, telling: bool) -> Verdict:
        """Return the verdict; before the last one, wait for readings that tell whether the liquid moves."""

        def verdict() -> Verdict:
            # Published readings are smoothed, and of thin cultures hold the ADC's noise: they tell calm, never motion.
            scatter = self._od.relative_scatter() if telling else None
            if scatter is not None and scatter > stall.STILL_SCATTER:
                scatter = None
            return stall.judge(duty_cycle=duty_cycle, kick_rpm=kick_rpm, rpm_after=rpm_after, relative_scatter=scatter)

        give_up_at = self._runtime.clock() + LIGHT_WAIT_S
        while (
            telling
            and self._restarts >= stall.MAX_RESTARTS
            and verdict().standstill is Standstill.UNKNOWN
            and self._od.relative_scatter() is None
            and self._od.may_tell_soon
            and self._runtime.clock() < give_up_at
        ):
            self._runtime.wait(self._od.seconds_to_next_reading() or SETTLE_S)
        return verdict()

    def _give_up(self, verdict: Verdict) -> None:
        kind = Standstill.STALLED if verdict.standstill is Standstill.STALLED_BRIEFLY else verdict.standstill
        message = f"{verdict.message} It was kicked {self._restarts} times; stirring ends."
        remediation = f"{REMEDIES[kind]}Then clear the fault and start stirring again."
        self._runtime.latch_fault(kind.value, message, remediation, jobs=(self._runtime.request.job_name,))
        raise HardwareFault(message, remediation=remediation)
