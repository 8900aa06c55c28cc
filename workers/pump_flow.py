"""What a pump moves in which time, as its active calibration says, or as is assumed without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reactor_unit.calibrations.curves import (
    Curve,
    Domain,
    NoSolution,
    Polynomial,
    curve_from,
    domain_of,
    invert,
)
from reactor_unit.errors import Conflict

DEFAULT_HZ, DEFAULT_DC = 250.0, 100.0  # of a pump that was never calibrated
DEFAULT_ML_PER_S = 0.0911  # the reference's
MOST_ML_PER_S, LEAST_ML_PER_S = 2.0 * DEFAULT_ML_PER_S, 0.5 * DEFAULT_ML_PER_S  # what such a pump may really move
USUAL: Domain = (0.0, 10.0)  # seconds, where a calibration has no recorded ones
FIT_FACTOR = 1.5  # by which the curve may miss what the longest recorded runs moved
ROUND_TRIP = 0.01  # share by which the volume of a duration may differ from the volume it was found for


class NotCalibrated(Conflict):
    """An amount in ml was asked of a pump without an active calibration."""

    default_remediation = "Calibrate the pump, and set the calibration active; or give a duration."


class BadCalibration(Conflict):
    """The active calibration of a pump is no use for the amount."""

    default_remediation = "Calibrate the pump again, over a range that includes the amount."


@dataclass(frozen=True)
class PumpFlow:
    """Seconds to ml and back, for one pump at its frequency `hz` and duty cycle `dc` (%).

    Beyond what was recorded the volume goes on along the line through the ends of the curve. Without a calibration
    `at_most_ml` and `at_least_ml` leave room for any pump that fits.
    """

    role: str
    curve: Curve
    domain: Domain = USUAL
    hz: float = DEFAULT_HZ
    dc: float = DEFAULT_DC
    is_calibrated: bool = True
    recorded_ml: float | None = None  # what the longest runs moved on the average, where that was recorded

    def volume_ml(self, duration_s: float) -> float:
        """Return what is moved in so many seconds; never below 0. Raises BadCalibration."""
        low, high = self.domain
        if duration_s <= 0:
            return 0.0
        if low <= duration_s <= high:
            return max(0.0, self._y_at(duration_s))
        edge = low if duration_s < low else high
        return max(0.0, self._y_at(edge) + self._slope() * (duration_s - edge))

    def duration_s(self, volume_ml: float) -> float:
        """Return how long the pump has to run for a volume. Raises NotCalibrated, BadCalibration."""
        self.check()
        if not self.is_calibrated:
            raise NotCalibrated(f"{self.role}_pump has no active calibration, so it cannot be told a volume in ml.")
        if volume_ml <= 0:
            return 0.0
        low, high = self.domain
        if not self._y_at(low) <= volume_ml <= self._y_at(high):
            edge = low if volume_ml < self._y_at(low) else high
            duration_s = edge + (volume_ml - self._y_at(edge)) / self._slope()
        else:
            try:
                duration_s = invert(self.curve, volume_ml, self.domain)
            except NoSolution as ex:
                raise BadCalibration(f"The calibration of {self.role}_pump does not reach {volume_ml:g} ml.") from ex
        if not (duration_s > 0 and abs(self.volume_ml(duration_s) - volume_ml) <= ROUND_TRIP * volume_ml):
            raise BadCalibration(f"The calibration of {self.role}_pump names no duration for {volume_ml:g} ml.")
        return duration_s

    def at_most_ml(self, duration_s: float) -> float:
        """Return the most that may be moved in so many seconds.

        In a short time that is no less than the longest recorded run moved in it on the average: a curve may be
        below zero there, and the pump moves something all the same.
        """
        if not self.is_calibrated:
            return MOST_ML_PER_S * duration_s
        return max(self.volume_ml(duration_s), self._mean_ml_per_s() * min(duration_s, self.domain[1]))

    def at_most_between_ml(self, begin_s: float, end_s: float) -> float:
        """Return the most that may be moved from one moment of a run to a later one, in seconds since its start.

        A curve that is level in between, or falls, is not believed: it is no less than what is moved on the average.
        """
        between_ml = self.at_most_ml(end_s) - self.at_most_ml(begin_s)
        return max(between_ml, self._mean_ml_per_s() * (end_s - begin_s)) if self.is_calibrated else between_ml

    def at_least_ml(self, duration_s: float) -> float:
        """Return the least that is surely moved in so many seconds, where there is liquid."""
        return self.volume_ml(duration_s) if self.is_calibrated else LEAST_ML_PER_S * duration_s

    def check(self) -> None:
        """Raise BadCalibration unless a longer time moves more, and the longest about what was recorded."""
        low, high = self.domain
        if not 0 < self._y_at(high) > self._y_at(low):
            raise BadCalibration(f"The calibration of {self.role}_pump moves no more in a longer time.")
        recorded_ml, said_ml = self.recorded_ml, self._y_at(high)
        if recorded_ml is not None and not recorded_ml / FIT_FACTOR <= said_ml <= recorded_ml * FIT_FACTOR:
            raise BadCalibration(
                f"The calibration of {self.role}_pump says {said_ml:g} ml in {high:g} s, and {recorded_ml:g} ml were "
                "recorded."
            )

    def _mean_ml_per_s(self) -> float:
        """Return what is moved in a second of the longest recorded run."""
        return max(0.0, self._y_at(self.domain[1]) / self.domain[1])

    def _slope(self) -> float:
        low, high = self.domain
        return max(0.0, (self._y_at(high) - self._y_at(low)) / (high - low))

    def _y_at(self, duration_s: float) -> float:
        try:
            return self.curve.y_at(duration_s)
        except NoSolution as ex:
            raise BadCalibration(f"The calibration of {self.role}_pump says nothing.") from ex


def pump_flow(role: str, calibrations: Mapping[str, Any]) -> PumpFlow:
    """Return the flow of a pump; `calibrations` are the active ones by device, as their files have them."""
    record = calibrations.get(f"{role}_pump")
    if record is None:
        return PumpFlow(role, Polynomial((DEFAULT_ML_PER_S, 0.0)), is_calibrated=False)
    low, high = domain_of(record["recorded_data"]["x"])
    domain = (low, high) if 0 <= low < high else USUAL
    if not (0 < record["dc"] <= 100 and record["hz"] > 0):
        raise BadCalibration(f"The calibration of {role}_pump is for {record['dc']:g} % at {record['hz']:g} Hz.")
    longest_ml = [y for x, y in zip(*(record["recorded_data"][of] for of in "xy"), strict=False) if x == domain[1]]
    recorded_ml = sum(longest_ml) / len(longest_ml) if longest_ml else None
    curve = curve_from(record["curve_data_"])
    return PumpFlow(role, curve, domain, record["hz"], record["dc"], recorded_ml=recorded_ml)
