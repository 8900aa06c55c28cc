"""What is in the vial as its doses tell it, and how an exchange of liquid is cut into doses."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from reactor_unit.workers.laws.pid import clamp

MEDIA, ALT_MEDIA, WASTE = "media", "alt_media", "waste"
ROUNDING_ML = 1e-9  # by which sums of volumes may be off
BETWEEN_REMOVALS_S = 0.05  # from a removal of waste to the second, longer one


@dataclass(frozen=True)
class VialLiquid:
    """The liquid in the vial: volume, the share of alternative media in it, and what was added in all.

    Waste is only removed down to the end of the waste tube, which is at `working_volume_ml`; below it the pump takes
    air. A negative volume takes a dose back that was told too high.

    >>> liquid = VialLiquid(volume_ml=14.0).with_dose(ALT_MEDIA, 1.0, working_volume_ml=14.0)
    >>> liquid.volume_ml, round(liquid.alt_media_fraction, 4), liquid.alt_media_throughput_ml
    (15.0, 0.0667, 1.0)
    >>> liquid.with_dose(WASTE, 3.0, working_volume_ml=14.0).volume_ml
    14.0
    """

    volume_ml: float
    alt_media_fraction: float = 0.0  # 0..1
    media_throughput_ml: float = 0.0
    alt_media_throughput_ml: float = 0.0

    def with_dose(self, role: str, volume_ml: float, *, working_volume_ml: float, by_hand: bool = False) -> VialLiquid:
        """Return what there is after a pump moved `volume_ml`; `by_hand` waste leaves at any level.

        Raises ValueError for a role that is none, or a volume that is no finite number.
        """
        if not math.isfinite(volume_ml):
            raise ValueError(f"A dose of {volume_ml} mL is not possible.")
        if role == MEDIA:
            added = self._with_inflow(volume_ml, alt_media_ml=0.0)
            return replace(added, media_throughput_ml=max(0.0, self.media_throughput_ml + volume_ml))
        if role == ALT_MEDIA:
            added = self._with_inflow(volume_ml, alt_media_ml=volume_ml)
            return replace(added, alt_media_throughput_ml=max(0.0, self.alt_media_throughput_ml + volume_ml))
        if role == WASTE:
            return self._without(volume_ml, 0.0 if by_hand else working_volume_ml)
        raise ValueError(f"There is no pump for {role!r}.")

    def _with_inflow(self, volume_ml: float, *, alt_media_ml: float) -> VialLiquid:
        after_ml = max(0.0, self.volume_ml + volume_ml)
        if after_ml <= 0.0:
            return replace(self, volume_ml=0.0)
        alt_ml = self.alt_media_fraction * self.volume_ml + alt_media_ml
        return replace(self, volume_ml=after_ml, alt_media_fraction=clamp(alt_ml / after_ml, 0.0, 1.0))

    def _without(self, volume_ml: float, lowest_ml: float) -> VialLiquid:
        if self.volume_ml <= lowest_ml and volume_ml > 0.0:
            return self
        return replace(self, volume_ml=max(self.volume_ml - volume_ml, lowest_ml))


class Dose(NamedTuple):
    """One run of one pump, and how long to wait after it."""

    role: str
    volume_ml: float
    pause_s: float = 0.0
    is_extra: bool = False  # a removal that only makes sure; it does not count as moved


@dataclass(frozen=True)
class ExchangePlan:
    """How liquid is exchanged: in small equal parts, each with its own waste, so that the level hardly rises.

    An exchange that adds more than `largest_dose_ml` in all is done as two of half its size, over and over. After what
    is added, as much is removed, and then `waste_removal_multiplier` times that, which takes air where all is well.

    >>> [(dose.role, dose.volume_ml) for dose in ExchangePlan().doses(media_ml=1.5)]  # doctest: +ELLIPSIS
    [('media', 0.75), ('waste', 0.75), ('waste', 1.5), ('media', 0.75), ('waste', 0.75), ('waste', 1.5)]
    """

    largest_dose_ml: float = 1.0
    waste_removal_multiplier: float = 2.0
    pause_s: float = 5.0  # after each addition, for the liquid to mix

    def __post_init__(self) -> None:
        if not (0.0 < self.largest_dose_ml < math.inf):
            raise ValueError(f"A largest dose of {self.largest_dose_ml:g} mL is not possible.")
        if not (0.0 <= self.waste_removal_multiplier < math.inf and 0.0 <= self.pause_s < math.inf):
            raise ValueError("The waste's multiplier and the pause between doses are 0 or more.")

    def doses(
        self, *, media_ml: float = 0.0, alt_media_ml: float = 0.0, waste_ml: float | None = None
    ) -> tuple[Dose, ...]:
        """Return the runs of pumps for an exchange, in their order; without `waste_ml` as much as is added.

        Raises ValueError for a volume that is negative or no finite number, and for less waste than what is added.
        """
        added_ml = media_ml + alt_media_ml
        waste_ml = added_ml if waste_ml is None else waste_ml
        for name, volume_ml in (("media", media_ml), ("alt_media", alt_media_ml), ("waste", waste_ml)):
            if not 0.0 <= volume_ml < math.inf:
                raise ValueError(f"An exchange with {volume_ml} mL of {name} is not possible.")
        if waste_ml < added_ml - ROUNDING_ML:
            raise ValueError(f"An exchange that adds {added_ml:g} mL and removes {waste_ml:g} mL would fill the vial.")
        parts = 1
        while added_ml / parts > self.largest_dose_ml:
            parts *= 2
        part_waste_ml = waste_ml if parts == 1 else added_ml / parts
        return self._part(media_ml / parts, alt_media_ml / parts, part_waste_ml) * parts

    def _part(self, media_ml: float, alt_media_ml: float, waste_ml: float) -> tuple[Dose, ...]:
        doses = (
            Dose(MEDIA, media_ml, self.pause_s),
            Dose(ALT_MEDIA, alt_media_ml, self.pause_s),
            Dose(WASTE, waste_ml, BETWEEN_REMOVALS_S),
            Dose(WASTE, self.waste_removal_multiplier * waste_ml, is_extra=True),
        )
        return tuple(dose for dose in doses if dose.volume_ml > 0.0)
