"""Stirring: find and hold the duty cycle that turns the stirrer at its target speed."""

from __future__ import annotations

from dataclasses import dataclass, field

from reactor_unit.workers.laws.pid import PID, PIDState, clamp

KICK_S = 0.3
"""s. How long a start is helped with 100 %: enough against static friction. The reference's 0.5 s takes a motor that
makes 500 rpm at 30 % to 820 rpm."""

SETTLE_S = 2.0
"""s. From a change of the duty cycle to the next measurement."""

CHECK_INTERVAL_S = 8.0
"""s. How often to look whether the speed is near its target, so that a new load is answered within 30 s. While it is
near, the duty cycle is trimmed at the job's own, slower interval."""


@dataclass(frozen=True)
class StirringState:
    """What the stirring law remembers: the PID's state, and the last point it saw (%, rpm)."""

    pid: PIDState = field(default_factory=PIDState)
    duty_cycle: float | None = None
    measured_rpm: float = 0.0


@dataclass(frozen=True)
class StirringLaw:
    """Find and hold the duty cycle that turns the stirrer at its target speed.

    Near the target (within `near`, a share of it) the reference system's slow PID trims the duty cycle. Farther away
    its small gain would need many minutes, so the duty cycle is moved along a line: through the last two points when
    the duty cycle has moved enough to tell (the secant method), else through the origin. Friction makes the speed rise
    more steeply than a line through the origin, so the steeper of the two is taken and `damping` shortens the step.

    >>> law = StirringLaw(PID(0.005, 0.0, 0.0, 7.5))
    >>> law.next_duty_cycle(30.0, StirringState(), target_rpm=500.0, measured_rpm=496.0)[0]
    30.02
    >>> law.next_duty_cycle(30.0, StirringState(), target_rpm=400.0, measured_rpm=500.0)[0]
    25.8
    """

    pid: PID
    near: float = 0.03
    damping: float = 0.7
    max_step: float = 7.5  # % duty cycle, both ways
    telling_step: float = 0.2  # % duty cycle; smaller changes of speed drown in the sensor's jitter

    def is_near(self, *, target_rpm: float, measured_rpm: float) -> bool:
        """Whether `measured_rpm` is as close to `target_rpm` as the slow PID may be left alone with."""
        return abs(target_rpm - measured_rpm) <= self.near * target_rpm

    def next_duty_cycle(
        self, duty_cycle: float, state: StirringState, *, target_rpm: float, measured_rpm: float
    ) -> tuple[float, StirringState]:
        """Return the next duty cycle in %, within 0..100, and the state for the next measurement."""
        if target_rpm <= 0:
            return 0.0, StirringState()
        if self.is_near(target_rpm=target_rpm, measured_rpm=measured_rpm):
            step, pid = self.pid.next(state.pid, target=target_rpm, measured=measured_rpm)
        else:
            step, pid = (
                self.damping * (target_rpm - measured_rpm) / self._slope(duty_cycle, measured_rpm, state),
                PIDState(),
            )
        step = clamp(step, -self.max_step, self.max_step)
        return round(clamp(duty_cycle + step, 0.0, 100.0), 5), StirringState(pid, duty_cycle, measured_rpm)

    def _slope(self, duty_cycle: float, measured_rpm: float, state: StirringState) -> float:
        """Return how steeply the speed rises with the duty cycle, in rpm per %; never less than 1."""
        slope = measured_rpm / max(duty_cycle, 1.0)
        if state.duty_cycle is not None and abs(duty_cycle - state.duty_cycle) >= self.telling_step:
            slope = max(slope, (measured_rpm - state.measured_rpm) / (duty_cycle - state.duty_cycle))
        return max(slope, 1.0)
