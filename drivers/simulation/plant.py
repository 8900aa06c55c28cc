"""The simulated reactor's equations and constants: arithmetic only, no clock, no pins, no files.

Time passes in `advance(state, duty_cycles, seconds)`, where `duty_cycles` says what drives the plant, role -> %,
constant over the step; a role that is missing is at 0 %. Everything here has a closed form, so a step may be as
long as the drive stays the same, and one long step equals many short ones.

The stirrer. A small DC motor has a torque that is proportional to the mean voltage, less what grows with speed
(back-EMF, drag of the liquid) and a dry friction that does not. Divided by the inertia, that is

    d rpm / dt = (headed_for - rpm) / TIME_CONSTANT_S
    headed_for = RPM_PER_PERCENT x (duty cycle - RUNNING_DUTY_CYCLE)

while it turns. `headed_for` is negative below the running friction, and the motor stops when it reaches 0. At rest,
friction is larger: it needs STARTING_DUTY_CYCLE to start.

The hall sensor. A magnet on the rotor pulls the sensor's output low once a turn. The falling edge of turn n comes
at the angle n + jitter(seed, n), the rising edge HALL_LOW_TURNS later.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

STIRRING = "stirring"
"""The role of the stirrer, as in the section [PWM] of the configuration."""

RUNNING_DUTY_CYCLE = 8.0
"""%. Dry friction of the turning motor; with RPM_PER_PERCENT it puts the shipped 30 % at the shipped 500 rpm."""

STARTING_DUTY_CYCLE = 12.0
"""%. Dry friction at rest, half as much again: the reason why stirring starts with a kick."""

RPM_PER_PERCENT = 500.0 / (30.0 - RUNNING_DUTY_CYCLE)
"""rpm per % of duty cycle (22.7): 30 % gives 500 rpm, 100 % gives 2091 rpm, near the 2000 rpm to which readings are
trusted."""

TIME_CONSTANT_S = 1.0
"""s. A stirrer settles within a few seconds: the reference waits 2 s before its first look and measures over 1.5 s."""

HALL_LOW_TURNS = 0.1
"""turns. A magnet of about 5 mm on a circle of about 50 mm."""

HALL_JITTER_TURNS = 0.003
"""turns. The edge of one turn is up to this much early or late (about 1 degree): noise of the sensor's threshold."""

_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class PlantState:
    """Where the plant is at one moment."""

    time_s: float = 0.0  # since the plant was made
    rpm: float = 0.0  # speed of the stirrer, >= 0
    turns: float = 0.5  # angle of the stirrer since the plant was made; it starts with the magnet away from the sensor
    seed: int = 0  # of everything that is noisy


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


def advance(state: PlantState, duty_cycles: Mapping[str, float], seconds: float) -> PlantState:
    """Return the state `seconds` (>= 0) later, with the drive constant over that time."""
    duty_cycle = duty_cycles.get(STIRRING, 0.0)
    rpm, turned = _turn(state.rpm, duty_cycle, seconds)
    return replace(state, time_s=state.time_s + seconds, rpm=rpm, turns=state.turns + turned)


def edges_passed(before: PlantState, after: PlantState, *, rising: bool = False) -> int:
    """Return how many hall edges of that direction lie between two states, the later one included."""
    return _last_edge(after, rising) - _last_edge(before, rising)


def hall_level(state: PlantState) -> int:
    """Return the hall sensor's output: 0 while the magnet is at the sensor, else 1."""
    return 1 if _last_edge(state, rising=True) == _last_edge(state, rising=False) else 0


def seconds_to_next_edge(state: PlantState, duty_cycles: Mapping[str, float], *, rising: bool = False) -> float:
    """Return after how many seconds the next hall edge comes, infinity when the motor comes to rest before it."""
    edge = _edge_turns(state.seed, _last_edge(state, rising) + 1, rising)
    return _seconds_to_turn(state.rpm, duty_cycles.get(STIRRING, 0.0), edge - state.turns)


def _headed_for(rpm: float, duty_cycle: float) -> float | None:
    """Return the speed the motor relaxes towards (negative: it will stop), or None for one that stays at rest."""
    if rpm <= 0.0 and duty_cycle < STARTING_DUTY_CYCLE:
        return None
    return RPM_PER_PERCENT * (duty_cycle - RUNNING_DUTY_CYCLE)


def _seconds_to_rest(rpm: float, headed_for: float) -> float:
    return TIME_CONSTANT_S * math.log1p(rpm / -headed_for) if headed_for < 0.0 else math.inf


def _turns_after(rpm: float, headed_for: float, seconds: float) -> float:
    """Return the integral of the speed, in turns, over a time in which the motor does not stop."""
    relaxed = -math.expm1(-seconds / TIME_CONSTANT_S)
    return (headed_for * seconds + (rpm - headed_for) * TIME_CONSTANT_S * relaxed) / 60.0


def _turn(rpm: float, duty_cycle: float, seconds: float) -> tuple[float, float]:
    """Return the speed in rpm after `seconds`, and the turns made until then."""
    headed_for = _headed_for(rpm, duty_cycle)
    if headed_for is None:
        return 0.0, 0.0
    turned = _turns_after(rpm, headed_for, min(seconds, _seconds_to_rest(rpm, headed_for)))
    # Past the moment of rest the exponential goes on below 0; the motor does not.
    return max(0.0, headed_for + (rpm - headed_for) * math.exp(-seconds / TIME_CONSTANT_S)), turned


def _seconds_to_turn(rpm: float, duty_cycle: float, turns: float) -> float:
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


def _jitter(seed: int, turn: int) -> float:
    """Return the displacement in turns of one turn's edge, uniform within +/- HALL_JITTER_TURNS.

    A hash of its arguments and not a random number, so that runs repeat and every process sees the same edges.
    """
    x = (seed * 0x9E3779B97F4A7C15 + turn * 0xD1342543DE82EF95 + 0x2545F4914F6CDD1D) & _MASK
    x = ((x ^ (x >> 32)) * 0xD6E8FEB86659FD93) & _MASK
    x = ((x ^ (x >> 32)) * 0xD6E8FEB86659FD93) & _MASK
    return HALL_JITTER_TURNS * ((x ^ (x >> 32)) / (_MASK / 2) - 1.0)


def _edge_turns(seed: int, turn: int, rising: bool) -> float:
    return turn + _jitter(seed, turn) + (HALL_LOW_TURNS if rising else 0.0)


def _last_edge(state: PlantState, rising: bool) -> int:
    """Return the number of the last turn whose edge is behind the rotor."""
    turn = math.floor(state.turns + HALL_JITTER_TURNS - (HALL_LOW_TURNS if rising else 0.0))
    return turn if _edge_turns(state.seed, turn, rising) <= state.turns else turn - 1
