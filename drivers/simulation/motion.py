"""The stirrer, its hall sensor, and what it keeps in suspension: arithmetic on plain numbers, in closed form.

The stirrer. A small DC motor has a torque that is proportional to the mean voltage, less what grows with speed
(back-EMF, drag of the liquid) and a dry friction that does not. Divided by the inertia, that is

    d rpm / dt = (headed_for - rpm) / TIME_CONSTANT_S
    headed_for = RPM_PER_PERCENT x (duty cycle - RUNNING_DUTY_CYCLE)

while it turns. `headed_for` is negative below the running friction, and the motor stops when it reaches 0. At rest,
friction is larger: it needs STARTING_DUTY_CYCLE to start.

The hall sensor. A magnet on the rotor pulls the sensor's output low once a turn. The falling edge of turn n comes
at the angle n + jitter(seed, n), the rising edge HALL_LOW_TURNS later.

Suspension. Below SUSPENDING_RPM the fraction of cells in suspension relaxes to SETTLED_FRACTION, above it to 1.
"""

import math

from .constants import (
    HALL_JITTER_TURNS,
    HALL_LOW_TURNS,
    RPM_PER_PERCENT,
    RUNNING_DUTY_CYCLE,
    SETTLED_FRACTION,
    SETTLING_S,
    STARTING_DUTY_CYCLE,
    SUSPENDING_RPM,
    SUSPENDING_S,
    TIME_CONSTANT_S,
)
from .noise import uniform


def settled_rpm(duty_cycle: float, *, turning: bool = True) -> float:
    """Return the speed in rpm that a constant duty cycle (%) ends at, from a turning motor or one at rest.

    >>> settled_rpm(30.0)
    500.0
    >>> settled_rpm(10.0) > 0.0, settled_rpm(10.0, turning=False)
    (True, 0.0)
    """
    if not turning and duty_cycle < STARTING_DUTY_CYCLE:
        return 0.0
    return max(0.0, RPM_PER_PERCENT * (duty_cycle - RUNNING_DUTY_CYCLE))


def turn(rpm: float, duty_cycle: float, seconds: float) -> tuple[float, float]:
    """Return the speed in rpm after `seconds`, and the turns made until then."""
    headed_for = _headed_for(rpm, duty_cycle)
    if headed_for is None:
        return 0.0, 0.0
    turned = _turns_after(rpm, headed_for, min(seconds, _seconds_to_rest(rpm, headed_for)))
    # Past the moment of rest the exponential goes on below 0; the motor does not.
    return max(0.0, headed_for + (rpm - headed_for) * math.exp(-seconds / TIME_CONSTANT_S)), turned


def suspend(suspended: float, rpm: float, duty_cycle: float, seconds: float) -> float:
    """Return the fraction in suspension after `seconds` that began at a speed `rpm`."""
    crossing_s = _seconds_to_speed(rpm, duty_cycle, SUSPENDING_RPM)
    lifted = rpm > SUSPENDING_RPM or (rpm == SUSPENDING_RPM and settled_rpm(duty_cycle) > rpm)
    if crossing_s >= seconds:
        return _relaxed(suspended, lifted, seconds)
    return _relaxed(_relaxed(suspended, lifted, crossing_s), not lifted, seconds - crossing_s)


def seconds_to_turn(rpm: float, duty_cycle: float, turns: float) -> float:
    """Return when the motor will have made `turns` (> 0) more: Newton's method, kept inside a bracket by bisection."""
    headed_for = _headed_for(rpm, duty_cycle)
    if headed_for is None:
        return math.inf
    early = turns * 60.0 / max(rpm, headed_for)  # it is never faster than the larger of the two
    # From any start the motor is past its transient after 40 time constants (exp(-40) is below the resolution of a
    # double).
    late = min(_seconds_to_rest(rpm, headed_for), turns * 60.0 / headed_for if headed_for > 0.0 else math.inf)
    late = late + 40.0 * TIME_CONSTANT_S if headed_for > 0.0 else min(late, 40.0 * TIME_CONSTANT_S)
    if _turns_after(rpm, headed_for, late) < turns:
        return math.inf
    seconds = early
    for _ in range(100):
        missing = turns - _turns_after(rpm, headed_for, seconds)
        early, late = (seconds, late) if missing > 0.0 else (early, seconds)
        speed = (headed_for + (rpm - headed_for) * math.exp(-seconds / TIME_CONSTANT_S)) / 60.0  # turns/s
        step = missing / speed if speed > 0.0 else math.inf
        if abs(missing) < 1e-12 or late - early < 1e-12:
            break
        seconds = seconds + step if early < seconds + step < late else (early + late) / 2.0
    return seconds


def edge_turns(seed: int, turn: int, rising: bool) -> float:
    """Return the angle in turns at which a turn's hall edge comes."""
    return turn + HALL_JITTER_TURNS * uniform(seed, turn) + (HALL_LOW_TURNS if rising else 0.0)


def last_edge(seed: int, turns: float, rising: bool) -> int:
    """Return the number of the last turn whose edge is behind the rotor."""
    turn = math.floor(turns + HALL_JITTER_TURNS - (HALL_LOW_TURNS if rising else 0.0))
    return turn if edge_turns(seed, turn, rising) <= turns else turn - 1


def _headed_for(rpm: float, duty_cycle: float) -> float | None:
    """Return the speed the motor relaxes towards (negative: it will stop), or None for one that stays at rest."""
    if rpm <= 0.0 and duty_cycle < STARTING_DUTY_CYCLE:
        return None
    return RPM_PER_PERCENT * (duty_cycle - RUNNING_DUTY_CYCLE)


def _seconds_to_rest(rpm: float, headed_for: float) -> float:
    return TIME_CONSTANT_S * math.log1p(rpm / -headed_for) if headed_for < 0.0 else math.inf


def _seconds_to_speed(rpm: float, duty_cycle: float, wanted_rpm: float) -> float:
    """Return when the motor passes a speed other than its own, infinity when it never does."""
    headed_for = _headed_for(rpm, duty_cycle)
    if headed_for is None or rpm == wanted_rpm or not min(rpm, headed_for) < wanted_rpm < max(rpm, headed_for):
        return math.inf
    return TIME_CONSTANT_S * math.log((rpm - headed_for) / (wanted_rpm - headed_for))


def _turns_after(rpm: float, headed_for: float, seconds: float) -> float:
    """Return the integral of the speed, in turns, over a time in which the motor does not stop."""
    relaxed = -math.expm1(-seconds / TIME_CONSTANT_S)
    return (headed_for * seconds + (rpm - headed_for) * TIME_CONSTANT_S * relaxed) / 60.0


def _relaxed(suspended: float, lifted: bool, seconds: float) -> float:
    end, time_constant_s = (1.0, SUSPENDING_S) if lifted else (SETTLED_FRACTION, SETTLING_S)
    return end + (suspended - end) * math.exp(-seconds / time_constant_s)
