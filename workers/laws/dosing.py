"""What the dosing automations decide: how much to add to the culture, and of what.

All volumes are in mL, growth and dilution rates in 1/h. What is added is removed as waste again, but by fed batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from reactor_unit.workers.laws.pid import PID, PIDState


class Exchange(NamedTuple):
    """Liquid to add; as much is to be removed."""

    media_ml: float = 0.0
    alt_media_ml: float = 0.0

    @property
    def volume_ml(self) -> float:
        """Everything that is added."""
        return self.media_ml + self.alt_media_ml


def parts_of_exchange(added_ml: float, largest_dose_ml: float) -> int:
    """Return in how many equal parts to exchange, so that each adds no more than `largest_dose_ml`.

    An exchange that adds more is done as two of half its size, over and over: so the level hardly rises.

    >>> parts_of_exchange(1.0, 1.0), parts_of_exchange(2.5, 1.0)
    (1, 4)
    """
    parts = 1
    while added_ml / parts > largest_dose_ml:
        parts *= 2
    return parts


def dilution_rate_per_h(exchange_volume_ml: float, *, every_min: float, working_volume_ml: float) -> float:
    """Return the dilution rate that exchanges of one volume make: what flows through, in vial volumes an hour.

    >>> dilution_rate_per_h(0.5, every_min=20.0, working_volume_ml=15.0)
    0.1
    """
    return exchange_volume_ml * 60.0 / every_min / working_volume_ml


def share_left(exchange_volume_ml: float, working_volume_ml: float) -> float:
    """Return what is left of the culture after an exchange: it is diluted first, then the surplus leaves.

    >>> share_left(1.0, 15.0)
    0.9375
    """
    return working_volume_ml / (working_volume_ml + exchange_volume_ml)


@dataclass(frozen=True)
class TurbidostatLaw:
    """Dilute whenever the culture is at its target.

    Biomass saws between the target and what an exchange leaves of it, so its mean is about half an exchange lower.

    >>> TurbidostatLaw(target_biomass=1.0, exchange_volume_ml=0.5).next_exchange(1.02)
    Exchange(media_ml=0.5, alt_media_ml=0.0)
    """

    target_biomass: float
    exchange_volume_ml: float

    def next_exchange(self, biomass: float) -> Exchange | None:
        """Return what to exchange at this biomass, None for nothing. Raises ValueError for one that is no number."""
        if not math.isfinite(biomass):
            raise ValueError(f"A biomass of {biomass} says nothing.")
        return Exchange(media_ml=self.exchange_volume_ml) if biomass >= self.target_biomass else None


@dataclass(frozen=True)
class MorbidostatLaw:
    """Hold the growth rate with an inhibitor in the alternative media: the faster it grows, the more of it.

    The culture is diluted at the target growth rate, once it is dense enough. `gains` are per 1/h of growth above the
    target: kp, ki and kd.

    >>> law = MorbidostatLaw(target_growth_rate_per_h=0.1, target_normalized_od=1.5, gains=(1.0, 0.0, 0.0))
    >>> exchange, _ = law.next_exchange(
    ...     PIDState(), normalized_od=1.5, growth_rate_per_h=0.4, duration_min=60.0, working_volume_ml=14.0
    ... )
    >>> round(exchange.media_ml, 3), round(exchange.alt_media_ml, 3)
    (0.98, 0.42)
    """

    target_growth_rate_per_h: float
    target_normalized_od: float
    gains: tuple[float, float, float]
    minimum_dosing_volume_ml: float = 0.1

    SPARSE, DENSE = 0.7, 1.25  # of the target: below it nothing is done, above it more
    DENSE_FACTOR = 2.5

    def next_exchange(
        self,
        state: PIDState,
        *,
        normalized_od: float,
        growth_rate_per_h: float,
        duration_min: float,
        working_volume_ml: float,
    ) -> tuple[Exchange | None, PIDState]:
        """Return what to exchange now, None for nothing, and the state for the next time, `duration_min` later.

        Raises ValueError for a density or rate that is no number.
        """
        if not (math.isfinite(normalized_od) and math.isfinite(growth_rate_per_h)):
            raise ValueError("The optical density or the growth rate is no number.")
        if normalized_od <= self.SPARSE * self.target_normalized_od:
            return None, state
        hours = duration_min / 60.0
        fraction, state = self._alt_media_fraction(state, growth_rate_per_h, hours)
        volume_ml = round(self.target_growth_rate_per_h * working_volume_ml * hours, 4)
        if normalized_od > self.DENSE * self.target_normalized_od:
            volume_ml *= self.DENSE_FACTOR
        parts = (volume_ml * (1.0 - fraction), volume_ml * fraction)
        exchange = Exchange(*(part if part >= self.minimum_dosing_volume_ml else 0.0 for part in parts))
        return exchange if exchange.volume_ml > 0.0 else None, state

    def _alt_media_fraction(self, state: PIDState, growth_rate_per_h: float, hours: float) -> tuple[float, PIDState]:
        """Return the share of alternative media, 0..1; it rises with the growth rate, so the gains are negative."""
        kp, ki, kd = self.gains
        pid = PID(-kp, -ki * hours, -kd / hours, output_limit=1.0, output_minimum=0.0)
        return pid.next(state, target=self.target_growth_rate_per_h, measured=growth_rate_per_h)
