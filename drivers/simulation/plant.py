"""The simulated reactor as one state and its passing of time: arithmetic only, no clock, no pins, no files.

Time passes in `advance(state, duty_cycles, seconds)`, where `duty_cycles` says what drives the plant, role -> %,
constant over the step; a role that is missing is at 0 %. A step may be as long as the drive stays the same, and one
long step equals many short ones. The equations are in `motion`, `heat`, `liquids` and `growth`, what sensors see of
the state in `optics`, constants in `constants`.
"""

from collections.abc import Mapping
from typing import NamedTuple

from . import growth, heat, liquids, motion
from .constants import FEED_OD, HEATING, INOCULATED_OD, PUMPS, ROOM_C, STIRRING
from .fault_set import Faults

MOST_EDGES = 10_000  # that one look finds: what a process missed that stood for an hour is of no use to it


class Light(NamedTuple):
    """How the optics are put together: places in ANGLES, and the LED that is infrared, as a place in LED_CHANNELS."""

    angle_1: int = 1  # REF
    angle_2: int = 3  # 90 degrees
    angle_3: int = 0
    angle_4: int = 0
    ir_led: int = 0  # A


class PlantState(NamedTuple):
    """Where the plant is at one moment, and how a person set it up."""

    time_s: float = 0.0  # since the plant was made
    rpm: float = 0.0  # speed of the stirrer, >= 0
    turns: float = 0.5  # angle of the stirrer since the plant was made; it starts with the magnet away from the sensor
    seed: int = 0  # of everything that is noisy
    suspended: float = 1.0  # fraction of the biomass that the light meets
    board_c: float = ROOM_C  # heater board
    vial_c: float = ROOM_C
    room_c: float = ROOM_C
    culture: growth.Culture = growth.Culture(INOCULATED_OD, FEED_OD, 0.0)
    vessels: liquids.Vessels = liquids.Vessels()
    pipework: liquids.Pipework = liquids.Pipework()
    leds: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # %, of LED_CHANNELS
    light: Light = Light()
    faults: Faults = Faults()
    brake: float = 0.0  # what brakes the stirrer, as the duty cycle in % that it takes to overcome it


def advance(state: PlantState, duty_cycles: Mapping[str, float], seconds: float) -> PlantState:
    """Return the state `seconds` (>= 0) later, with the drive constant over that time."""
    duty_cycles = effective_drive(state, duty_cycles)
    stirring = duty_cycles.get(STIRRING, 0.0)
    before_rpm = 0.0 if state.faults.stirrer_stalled else state.rpm
    rpm, turned = motion.turn(before_rpm, stirring, seconds)
    warming = heat.warming(state.board_c, state.vial_c, duty_cycles.get(HEATING, 0.0), state.room_c)
    culture, vessels = _flow_and_grow(state, duty_cycles, warming, seconds)
    return PlantState(
        state.time_s + seconds,
        rpm,
        state.turns + turned,
        state.seed,
        motion.suspend(state.suspended, before_rpm, stirring, seconds),
        warming.board_c(seconds),
        warming.vial_c(seconds),
        state.room_c,
        culture,
        vessels,
        *state[10:],
    )


def effective_drive(state: PlantState, duty_cycles: Mapping[str, float]) -> Mapping[str, float]:
    """Return what the parts do for what drives them: the same, but for those with a fault."""
    faults = state.faults
    if not faults.named and not state.brake:
        return duty_cycles
    effective = {role: duty for role, duty in duty_cycles.items() if not faults.pump_blocked(role)}
    if state.brake:
        effective[STIRRING] = max(0.0, effective.get(STIRRING, 0.0) - state.brake)
    if faults.stirrer_stalled:
        effective[STIRRING] = 0.0
    if faults.heater_stuck_on:
        effective[HEATING] = 100.0
    if faults.heater_unpowered:
        effective[HEATING] = 0.0
    return effective


def edges_passed(before: PlantState, after: PlantState, *, rising: bool = False) -> int:
    """Return how many hall edges of that direction lie between two states, the later one included."""
    if after.faults.hall_silent:
        return 0
    return motion.last_edge(after.seed, after.turns, rising) - motion.last_edge(before.seed, before.turns, rising)


def edge_moments(
    before: PlantState, after: PlantState, duty_cycles: Mapping[str, float], *, rising: bool = False
) -> list[float]:
    """Return the plant's time in s at each of the hall edges that `edges_passed` counts, or at the last MOST_EDGES.

    `duty_cycles` is what drove the plant in between.
    """
    passed = edges_passed(before, after, rising=rising)
    if passed <= 0 or before.faults.hall_silent:
        return []
    duty_cycle = effective_drive(before, duty_cycles).get(STIRRING, 0.0)
    last = motion.last_edge(after.seed, after.turns, rising)
    moments = []
    for turn in range(last - min(passed, MOST_EDGES) + 1, last + 1):
        turns = motion.edge_turns(before.seed, turn, rising) - before.turns
        after_s = motion.seconds_to_turn(before.rpm, duty_cycle, turns) if turns > 0.0 else 0.0
        moments.append(min(before.time_s + after_s, after.time_s))
    return moments


def hall_level(state: PlantState) -> int:
    """Return the hall sensor's output: 0 while the magnet is at the sensor, else 1."""
    if state.faults.hall_silent:
        return 1
    rising, falling = (motion.last_edge(state.seed, state.turns, rising) for rising in (True, False))
    return 1 if rising == falling else 0


def seconds_to_next_edge(state: PlantState, duty_cycles: Mapping[str, float], *, rising: bool = False) -> float:
    """Return after how many seconds the next hall edge comes, infinity when the motor comes to rest before it."""
    if state.faults.hall_silent or state.faults.stirrer_stalled:
        return float("inf")
    edge = motion.edge_turns(state.seed, motion.last_edge(state.seed, state.turns, rising) + 1, rising)
    duty_cycle = effective_drive(state, duty_cycles).get(STIRRING, 0.0)
    return motion.seconds_to_turn(state.rpm, duty_cycle, edge - state.turns)


def _flow_and_grow(
    state: PlantState, duty_cycles: Mapping[str, float], warming: heat.Warming, seconds: float
) -> tuple[growth.Culture, liquids.Vessels]:
    """Return culture and vessels `seconds` later: from event to event, each stretch with flows of its own."""
    culture, vessels = state.culture, state.vessels
    pumping = any(duty_cycles.get(pump) for pump in PUMPS)
    at_s = 0.0
    while True:
        flows = liquids.flow_of(vessels, state.pipework, duty_cycles) if pumping else liquids.STILL
        lasting_s = seconds - at_s
        reached = None
        if flows is not liquids.STILL:
            until_s, level = liquids.until_event(vessels, state.pipework, flows.vessels)
            if until_s <= lasting_s:
                lasting_s, reached = until_s, level
        flow = flows.vial
        if flow.media_ml_per_s + flow.alt_media_ml_per_s > 0.0:
            culture = growth.diluted(culture, flow, vessels.vial_ml, warming, at_s, lasting_s)
        else:
            culture = growth.grown(culture, growth.growth_units(warming, culture.alt_fraction, at_s, lasting_s))
        if flows is not liquids.STILL:
            vessels = liquids.moved(vessels, flows.vessels, lasting_s)
        if reached is None:
            return culture, vessels
        vessels = liquids.settled(vessels, reached)
        at_s += lasting_s
