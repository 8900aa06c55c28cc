"""The PID controller, and the limits that every law keeps to."""

from __future__ import annotations

from dataclasses import dataclass, replace


def clamp(value: float, low: float, high: float) -> float:
    """Return `value`, or the limit it is beyond.

    >>> clamp(101.0, 0.0, 100.0)
    100.0
    """
    return min(max(value, low), high)


@dataclass(frozen=True)
class PID:
    """A proportional, integral and derivative controller for evenly spaced samples.

    The derivative acts on the measurement, so a new target causes no jolt; the integral is limited to the output's own
    limit, so it cannot wind up. Every term is in units of the output.

    >>> pid = PID(kp=0.005, ki=0.0, kd=0.0, output_limit=7.5)
    >>> pid.next(PIDState(), target=500.0, measured=460.0)
    (0.2, PIDState(integral=0.0, last_measured=460.0))
    """

    kp: float
    ki: float
    kd: float
    output_limit: float
    output_minimum: float | None = None  # minus the limit, unless it is given

    def next(self, state: PIDState, *, target: float, measured: float) -> tuple[float, PIDState]:
        """Return the output, within its limits, and the state for the next sample."""
        error = target - measured
        low = -self.output_limit if self.output_minimum is None else self.output_minimum
        integral = clamp(state.integral + self.ki * error, low, self.output_limit)
        change = 0.0 if state.last_measured is None else measured - state.last_measured
        output = self.kp * error + integral - self.kd * change
        return clamp(output, low, self.output_limit), replace(state, integral=integral, last_measured=measured)


@dataclass(frozen=True)
class PIDState:
    """What a PID remembers between two samples."""

    integral: float = 0.0
    last_measured: float | None = None
