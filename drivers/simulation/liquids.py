"""Where the liquids are, and where pumps move them: arithmetic on plain numbers, exact.

Flows are constant between events: a level reaches the end of the waste tube or the brim, a bottle runs empty or
full. `flow_of` gives the flows of a moment, `until_event` how long they hold, `moved` what there is after them.

The waste tube ends at `waste_tube_ml`: the waste pump takes what is above it, and air when there is nothing. What
comes in at the brim spills onto the bench, and so does what comes into a full waste bottle. A pump whose tube is in
a beaker pumps into that: media from its bottle, and the waste pump from a jug of water.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from .constants import (
    ALT_MEDIA,
    BOTTLE_ML,
    FLOW_ML_PER_S,
    MEDIA,
    PUMP_STARTING_DUTY_CYCLE,
    VIAL_CAPACITY_ML,
    WASTE,
    WASTE_BOTTLE_ML,
    WASTE_TUBE_ML,
)
from .growth import Flow


class Vessels(NamedTuple):
    """What each vessel holds, in ml."""

    vial_ml: float = WASTE_TUBE_ML
    media_ml: float = BOTTLE_ML
    alt_media_ml: float = BOTTLE_ML
    waste_ml: float = 0.0
    bench_ml: float = 0.0  # spilled
    media_beaker_ml: float = 0.0  # each pump's own beaker
    alt_media_beaker_ml: float = 0.0
    waste_beaker_ml: float = 0.0


class Pipework(NamedTuple):
    """What a person put together."""

    capacity_ml: float = VIAL_CAPACITY_ML  # the vial's brim
    waste_tube_ml: float = WASTE_TUBE_ML  # volume below the waste tube's end
    beakers: int = 0  # bit n: the tube of PUMPS[n] is in its beaker


def flow_rate_ml_per_s(pump: str, duty_cycle: float) -> float:
    """Return what a pump moves at a duty cycle in %.

    >>> flow_rate_ml_per_s("media", 100.0), flow_rate_ml_per_s("media", 5.0)
    (0.0911, 0.0)
    """
    return FLOW_ML_PER_S[pump] * duty_cycle / 100.0 if duty_cycle >= PUMP_STARTING_DUTY_CYCLE else 0.0


class Flows(NamedTuple):
    """All flows of a moment in ml/s; `vial` is what passes through the vial."""

    vial: Flow
    vessels: Vessels  # the change of each vessel per second


STILL = Flows(Flow(0.0, 0.0, 0.0), Vessels(*(0.0,) * len(Vessels._fields)))


def flow_of(vessels: Vessels, pipework: Pipework, duty_cycles: Mapping[str, float]) -> Flows:
    """Return the flows while pumps run at these duty cycles (a blocked pump is one at 0 %)."""
    media = flow_rate_ml_per_s(MEDIA, duty_cycles.get(MEDIA, 0.0)) if vessels.media_ml > 0.0 else 0.0
    alt_media = flow_rate_ml_per_s(ALT_MEDIA, duty_cycles.get(ALT_MEDIA, 0.0)) if vessels.alt_media_ml > 0.0 else 0.0
    waste = flow_rate_ml_per_s(WASTE, duty_cycles.get(WASTE, 0.0))
    if media == alt_media == waste == 0.0:
        return STILL
    media_in = 0.0 if pipework.beakers & 1 else media
    alt_media_in = 0.0 if pipework.beakers & 2 else alt_media
    inflow = media_in + alt_media_in
    sucked = 0.0 if pipework.beakers & 4 else waste
    if vessels.vial_ml < pipework.waste_tube_ml:
        sucked = 0.0
    elif vessels.vial_ml == pipework.waste_tube_ml:
        sucked = min(sucked, inflow)
    spilled = max(0.0, inflow - sucked) if vessels.vial_ml >= pipework.capacity_ml else 0.0
    into_bottle = sucked if vessels.waste_ml < WASTE_BOTTLE_ML else 0.0
    change = Vessels(
        vial_ml=inflow - sucked - spilled,
        media_ml=-media,
        alt_media_ml=-alt_media,
        waste_ml=into_bottle,
        bench_ml=spilled + sucked - into_bottle,
        media_beaker_ml=media - media_in,
        alt_media_beaker_ml=alt_media - alt_media_in,
        waste_beaker_ml=waste if pipework.beakers & 4 else 0.0,
    )
    return Flows(Flow(media_in, alt_media_in, sucked + spilled), change)


def until_event(vessels: Vessels, pipework: Pipework, change: Vessels) -> tuple[float, Vessels]:
    """Return after how many seconds flows change by themselves, and what then is exactly so.

    The second value has the level that is reached then, and NaN for all others.
    """
    soonest_s, reached = math.inf, _UNKNOWN
    if change.vial_ml > 0.0:
        above = vessels.vial_ml >= pipework.waste_tube_ml
        level_ml = pipework.capacity_ml if above else min(pipework.waste_tube_ml, pipework.capacity_ml)
        soonest_s, reached = (level_ml - vessels.vial_ml) / change.vial_ml, _UNKNOWN._replace(vial_ml=level_ml)
    elif change.vial_ml < 0.0:
        level_ml = pipework.waste_tube_ml
        soonest_s, reached = (level_ml - vessels.vial_ml) / change.vial_ml, _UNKNOWN._replace(vial_ml=level_ml)
    if change.media_ml < 0.0 and vessels.media_ml / -change.media_ml < soonest_s:
        soonest_s, reached = vessels.media_ml / -change.media_ml, _UNKNOWN._replace(media_ml=0.0)
    if change.alt_media_ml < 0.0 and vessels.alt_media_ml / -change.alt_media_ml < soonest_s:
        soonest_s, reached = vessels.alt_media_ml / -change.alt_media_ml, _UNKNOWN._replace(alt_media_ml=0.0)
    if change.waste_ml > 0.0 and (WASTE_BOTTLE_ML - vessels.waste_ml) / change.waste_ml < soonest_s:
        soonest_s = (WASTE_BOTTLE_ML - vessels.waste_ml) / change.waste_ml
        reached = _UNKNOWN._replace(waste_ml=WASTE_BOTTLE_ML)
    return soonest_s, reached


def moved(vessels: Vessels, change: Vessels, seconds: float) -> Vessels:
    """Return what the vessels hold after `seconds` of one flow."""
    return Vessels(*[held + rate * seconds for held, rate in zip(vessels, change, strict=True)])


def settled(vessels: Vessels, reached: Vessels) -> Vessels:
    """Return the vessels with the level that was reached exactly there: rounding is not to miss it."""
    return Vessels(
        *[held if level != level else level for held, level in zip(vessels, reached, strict=True)]  # NaN: not reached
    )


def total_ml(vessels: Vessels) -> float:
    """Return all liquid there is, less the water that the waste pump took for its beaker."""
    return sum(vessels) - vessels.waste_beaker_ml


_UNKNOWN = Vessels(*(math.nan,) * len(Vessels._fields))
