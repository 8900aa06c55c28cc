"""What a person does to the simulated reactor: each a function from its state to the one after it."""

import math

from .constants import ANGLES, BOTTLE_ML, FEED_OD, LED_CHANNELS, NO_ANGLE, PHOTODIODES, PUMPS
from .growth import Culture
from .plant import Light, PlantState


def put_standard(state: PlantState, od: float) -> PlantState:
    """Put a vial with a standard of an OD (>= 0) in, filled to the waste tube; it has no substrate and stays as is."""
    return _new_vial(state, Culture(_od(od), 0.0, 0.0))


def put_blank(state: PlantState) -> PlantState:
    """Put a vial with fresh media and no cells in, filled to the waste tube."""
    return _new_vial(state, Culture(0.0, FEED_OD, 0.0))


def inoculate(state: PlantState, od: float) -> PlantState:
    """Bring what is in the vial to an OD (>= 0) of cells; the volume of the inoculum is neglected."""
    return state._replace(culture=state.culture._replace(biomass_od=_od(od)))


def fill_vial(state: PlantState, volume_ml: float) -> PlantState:
    """Have so much in the vial, within 0.1 ml and its brim, of what is in it."""
    if not 0.1 <= volume_ml <= state.pipework.capacity_ml:
        raise ValueError(f"The volume must be within 0.1..{state.pipework.capacity_ml:g} ml, not {volume_ml!r}.")
    return state._replace(vessels=state.vessels._replace(vial_ml=volume_ml))


def choose_vial(state: PlantState, capacity_ml: float, waste_tube_ml: float) -> PlantState:
    """Use a vial of another size, with the waste tube's end at a volume; it holds what fits in."""
    if not 1.0 <= waste_tube_ml <= capacity_ml <= 1000.0:
        raise ValueError(f"A tube at {waste_tube_ml!r} ml in a vial of {capacity_ml!r} ml is not possible.")
    pipework = state.pipework._replace(capacity_ml=capacity_ml, waste_tube_ml=waste_tube_ml)
    vessels = state.vessels._replace(vial_ml=min(state.vessels.vial_ml, capacity_ml))
    return state._replace(pipework=pipework, vessels=vessels)


def tube_into_beaker(state: PlantState, pump: str) -> PlantState:
    """Put a pump's tube into its beaker, empty; media comes from its bottle, for the waste pump from a jug of water."""
    number = _pump(pump)
    vessels = state.vessels._replace(**{f"{pump}_beaker_ml": 0.0})
    return state._replace(
        vessels=vessels, pipework=state.pipework._replace(beakers=state.pipework.beakers | 1 << number)
    )


def tube_into_vial(state: PlantState, pump: str) -> PlantState:
    """Put a pump's tube back where it belongs; what is in its beaker stays there."""
    beakers = state.pipework.beakers & ~(1 << _pump(pump))
    return state._replace(pipework=state.pipework._replace(beakers=beakers))


def volume_expelled_ml(state: PlantState, pump: str) -> float:
    """Return what the pump's beaker holds: all since its tube was put in."""
    return float(state.vessels[-len(PUMPS) + _pump(pump)])


def refill(state: PlantState) -> PlantState:
    """Put full bottles of media and alt-media in place."""
    return state._replace(vessels=state.vessels._replace(media_ml=BOTTLE_ML, alt_media_ml=BOTTLE_ML))


def empty_waste(state: PlantState) -> PlantState:
    """Empty the waste bottle and wipe the bench."""
    return state._replace(vessels=state.vessels._replace(waste_ml=0.0, bench_ml=0.0))


def point_photodiodes(state: PlantState, angles: dict[str, str]) -> PlantState:
    """Put photodiodes ("1".."4") at angles ("REF", "45", "90", "135", "180"); those not named are not there."""
    for channel, angle in angles.items():
        if channel not in PHOTODIODES or angle not in ANGLES:
            raise ValueError(f"A photodiode {channel!r} at {angle!r} is not possible.")
    one, two, three, four = (ANGLES.index(angles.get(channel, NO_ANGLE)) for channel in PHOTODIODES)
    return state._replace(light=Light(one, two, three, four, state.light.ir_led))


def plug_ir_led(state: PlantState, channel: str) -> PlantState:
    """Plug the infrared LED into an LED channel ("A".."D")."""
    return state._replace(light=state.light._replace(ir_led=led_number(channel)))


def warm_room(state: PlantState, temperature_c: float) -> PlantState:
    """Have the room at a temperature, -20..60 degC."""
    if not -20.0 <= temperature_c <= 60.0:
        raise ValueError(f"The room's temperature must be within -20..60 degC, not {temperature_c!r}.")
    return state._replace(room_c=temperature_c)


def brake_stirrer(state: PlantState, duty_cycle: float) -> PlantState:
    """Brake the stirrer, as a thick culture does: by what a duty cycle of 0..100 % overcomes; 0 lets it go."""
    if not 0.0 <= duty_cycle <= 100.0:
        raise ValueError(f"The brake must be within 0..100 % of duty cycle, not {duty_cycle!r}.")
    return state._replace(brake=duty_cycle)


def led_number(channel: str) -> int:
    """Return the place of an LED channel; raises ValueError for one that does not exist."""
    if channel not in LED_CHANNELS:
        raise ValueError(f"There is no LED channel {channel!r}; there are {', '.join(LED_CHANNELS)}.")
    return LED_CHANNELS.index(channel)


def _new_vial(state: PlantState, culture: Culture) -> PlantState:
    vessels = state.vessels._replace(vial_ml=min(state.pipework.waste_tube_ml, state.pipework.capacity_ml))
    return state._replace(culture=culture, vessels=vessels, suspended=1.0)


def _od(od: float) -> float:
    if not (math.isfinite(od) and 0.0 <= od <= 1000.0):
        raise ValueError(f"The optical density must be within 0..1000, not {od!r}.")
    return float(od)


def _pump(pump: str) -> int:
    if pump not in PUMPS:
        raise ValueError(f"There is no pump {pump!r}; there are {', '.join(PUMPS)}.")
    return PUMPS.index(pump)
