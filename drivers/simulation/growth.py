"""Biomass that grows on a substrate (Monod), with dilution: arithmetic on plain numbers.

Biomass x and substrate s are both in units of optical density: what is eaten becomes biomass one to one. With the
dilution rate D = inflow / volume and the inhibited fraction f of alt-media,

    dx/dt = mu x s / (HALF_SATURATION + s) - D x
    ds/dt = D (FEED - s) - mu x s / (HALF_SATURATION + s)
    df/dt = D (share of alt-media in the inflow - f)
    mu = GROWTH_RATE x temperature_factor(vial) / (1 + f / ALT_MEDIA_HALF)

Let phi = exp(-integral of D): the share of what was there that is left, a power of the volume, since flows are
constant. The sum z = x + s and f go to what the feed has of them with phi, in closed form. What is left to solve is
the undiluted biomass x / phi, whose logarithm grows with mu s / (HALF_SATURATION + s): nothing in it is faster than
growth itself, so steps may be long. Without flow z stays, and the equation has an (implicit) closed form.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from .constants import (
    ALT_MEDIA_HALF,
    BEST_C,
    COLDEST_C,
    FEED_OD,
    GROWTH_RATE_PER_H,
    HALF_SATURATION_OD,
    HOTTEST_C,
)
from .heat import SLOW_PER_S, Warming

_FIRST_STEP, _LONGER, _DILUTION_STEP, _STIFF_STEP = 0.05, 1.5, 1.0, 0.25
"""1. Runge-Kutta steps: the first times the rate of dilution (a starved culture wakes with the first drops), how
much longer than the one before each may be, and the longest, times the rate of dilution and that of growth's answer
to the substrate. The error of 600 s is then below 1e-4."""

_NONE_OD = 1e-12
"""OD of less than a cell in the vial (OD 1 is some 1e9 per ml)."""

_SETTLED_AFTER_S = 20.0 / SLOW_PER_S  # exp(-20) of a difference is none
_GAUSS = ((0.5 - math.sqrt(0.15), 5.0 / 18.0), (0.5, 8.0 / 18.0), (0.5 + math.sqrt(0.15), 5.0 / 18.0))


class Culture(NamedTuple):
    """What is in each millilitre."""

    biomass_od: float
    substrate_od: float
    alt_fraction: float  # 0..1


class Flow(NamedTuple):
    """What passes through the vial, constant while it holds."""

    media_ml_per_s: float
    alt_media_ml_per_s: float
    out_ml_per_s: float  # by the waste tube and over the brim


def temperature_factor(temperature_c: float) -> float:
    """Return the growth rate at a temperature relative to the best one, 0..1 (Rosso's cardinal temperature model).

    >>> temperature_factor(37.0)
    1.0
    >>> round(GROWTH_RATE_PER_H * temperature_factor(22.0), 2)
    0.35
    """
    if not COLDEST_C < temperature_c < HOTTEST_C:
        return 0.0
    above = temperature_c - COLDEST_C
    curve = (BEST_C - COLDEST_C) * (temperature_c - BEST_C)
    curve -= (BEST_C - HOTTEST_C) * (BEST_C + COLDEST_C - 2.0 * temperature_c)
    return (temperature_c - HOTTEST_C) * above * above / ((BEST_C - COLDEST_C) * curve)


def growth_rate_per_s(temperature_c: float, alt_fraction: float) -> float:
    """Return mu: the growth rate with plenty of substrate."""
    return GROWTH_RATE_PER_H / 3600.0 * temperature_factor(temperature_c) / (1.0 + alt_fraction / ALT_MEDIA_HALF)


def grown(culture: Culture, units: float) -> Culture:
    """Return a culture without flow after `units` of growth, the integral of mu over the time.

    From dt = (HALF_SATURATION + s) / (mu x s) ds with x + s = z: for w = ln(s before / s after),
    A ln(x after / x before) + B w = units, A = (HALF_SATURATION + z) / z, B = HALF_SATURATION / z. The left side is
    concave in w, so Newton's method from w = 0 comes closer from one side and never overshoots.
    """
    x, s, alt_fraction = culture
    if units <= 0.0 or x <= _NONE_OD or s <= _NONE_OD:
        return culture
    z = x + s
    a, b = (HALF_SATURATION_OD + z) / z, HALF_SATURATION_OD / z
    w = 0.0
    for _ in range(100):
        eaten = -s * math.expm1(-w)
        missing = units - a * math.log1p(eaten / x) - b * w
        step = missing / (a * (s - eaten) / (x + eaten) + b)
        w += step
        if step <= 1e-12 * w:
            break
    eaten = -s * math.expm1(-w)
    return Culture(x + eaten, s - eaten, alt_fraction)


def growth_units(warming: Warming, alt_fraction: float, start_s: float, seconds: float) -> float:
    """Return the integral of mu over `seconds` that begin at `start_s` of the warming, without flow.

    By Gauss's rule, on panels that are short while the temperature changes fast.
    """
    end_s = start_s + seconds
    if warming.steady:
        return seconds * growth_rate_per_s(warming.settled_vial_c, alt_fraction)
    at_s, units = start_s, 0.0
    while at_s < end_s and at_s < _SETTLED_AFTER_S:
        panel_s = _without_limit(warming, at_s, min(end_s - at_s, 15.0 + at_s / 2.0, 120.0))
        for place, weight in _GAUSS:
            units += weight * panel_s * growth_rate_per_s(warming.vial_c(at_s + place * panel_s), alt_fraction)
        at_s += panel_s
    return units + max(0.0, end_s - at_s) * growth_rate_per_s(warming.settled_vial_c, alt_fraction)


def _without_limit(warming: Warming, at_s: float, panel_s: float) -> float:
    """Return the panel's length, or that up to where the temperature passes a limit of growth: a kink in its rate."""
    begin_c, end_c = warming.vial_c(at_s), warming.vial_c(at_s + panel_s)
    for limit_c in (COLDEST_C, HOTTEST_C):
        if (begin_c < limit_c) != (end_c < limit_c):
            before_s, after_s = 0.0, panel_s
            while after_s - before_s > 0.01:
                middle_s = (before_s + after_s) / 2.0
                if (warming.vial_c(at_s + middle_s) < limit_c) == (begin_c < limit_c):
                    before_s = middle_s
                else:
                    after_s = middle_s
            return after_s
    return panel_s


def diluted(
    culture: Culture, flow: Flow, volume_ml: float, warming: Warming, start_s: float, seconds: float
) -> Culture:
    """Return a culture after `seconds` with a flow, from `volume_ml` and `start_s` of the warming."""
    inflow = flow.media_ml_per_s + flow.alt_media_ml_per_s
    alt_share = flow.alt_media_ml_per_s / inflow
    rise = inflow - flow.out_ml_per_s  # ml/s
    total, alt_start = culture.biomass_od + culture.substrate_od, culture.alt_fraction

    def left(at_s: float) -> float:
        """Return phi: what is left of what was there."""
        if abs(rise) < 1e-9 * inflow:
            return math.exp(-inflow * at_s / volume_ml)
        return math.exp(-inflow / rise * math.log1p(rise * at_s / volume_ml))

    def rate(at_s: float, undiluted: float, phi: float) -> float:
        """Return d ln(x / phi) / dt."""
        substrate = FEED_OD + (total - FEED_OD) * phi - phi * undiluted
        if substrate <= 0.0:
            return 0.0
        mu = growth_rate_per_s(warming.vial_c(start_s + at_s), alt_share + (alt_start - alt_share) * phi)
        return mu * substrate / (HALF_SATURATION_OD + substrate)

    biomass, phi = culture.biomass_od, 1.0  # the first is undiluted
    if biomass > 0.0:
        for at_s, step_s in _steps(culture, inflow / min(volume_ml, volume_ml + rise * seconds), warming, seconds):
            middle_s, end_s = at_s + step_s / 2.0, at_s + step_s
            phi_middle, phi_end = left(middle_s), left(end_s)
            first = rate(at_s, biomass, phi)
            second = rate(middle_s, biomass * math.exp(first * step_s / 2.0), phi_middle)
            third = rate(middle_s, biomass * math.exp(second * step_s / 2.0), phi_middle)
            fourth = rate(end_s, biomass * math.exp(third * step_s), phi_end)
            biomass *= math.exp((first + 2.0 * (second + third) + fourth) * step_s / 6.0)
            phi = phi_end
    phi = left(seconds)
    substrate = FEED_OD + (total - FEED_OD) * phi - phi * biomass
    return Culture(phi * biomass, max(0.0, substrate), alt_share + (alt_start - alt_share) * phi)


def _steps(culture: Culture, dilution: float, warming: Warming, seconds: float) -> Iterator[tuple[float, float]]:
    """Yield begin and length of the Runge-Kutta steps, for a rate of dilution in 1/s."""
    factor = temperature_factor(warming.settled_vial_c) if warming.steady else 1.0
    total = max(culture.biomass_od + culture.substrate_od, FEED_OD)
    answer = GROWTH_RATE_PER_H / 3600.0 * factor * total / HALF_SATURATION_OD
    longest_s = min(_DILUTION_STEP / dilution, _STIFF_STEP / answer if answer > 0.0 else math.inf)
    at_s, step_s = 0.0, min(longest_s, _FIRST_STEP / dilution)
    while seconds - at_s > step_s * 1.001:
        yield at_s, step_s
        at_s += step_s
        step_s = min(longest_s, _LONGER * step_s)
    yield at_s, seconds - at_s
