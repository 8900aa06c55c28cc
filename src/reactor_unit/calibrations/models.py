"""What a calibration and an estimator are, as values that travel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reactor_unit.calibrations.curves import Curve, Domain, PiecewiseCubic, domain_of, invert


@dataclass(frozen=True)
class RecordedData:
    """The points a calibration was made of; both of equal length, maybe none."""

    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()


@dataclass(frozen=True)
class Calibration:
    """What every calibration has. `x` and `y` name the axes of `curve`; `created_at` carries a time zone."""

    calibration_type: str
    calibration_name: str
    calibrated_on_pioreactor_unit: str
    created_at: datetime
    curve: Curve
    x: str
    y: str
    recorded_data: RecordedData

    @property
    def domain(self) -> Domain:
        """The range of x over which it was made; everywhere when nothing was recorded."""
        return domain_of(self.recorded_data.x)

    def y_at(self, x: float) -> float:
        """Return y at `x`. Raises NoSolution for an empty curve."""
        return self.curve.y_at(x)

    def x_at(self, y: float, *, enforce_bounds: bool = False) -> float:
        """Return the x that gives `y`; see `curves.invert` for the choice among several, and for errors."""
        return invert(self.curve, y, self.domain, enforce_bounds=enforce_bounds)


@dataclass(frozen=True)
class OdCalibration(Calibration):
    """Optical density (x) to photodiode voltage (y, V) of one photodiode; types `od` and `od600`."""

    ir_led_intensity: float  # %
    angle: str  # degrees
    pd_channel: str


@dataclass(frozen=True)
class PumpCalibration(Calibration):
    """Seconds a pump runs (x) to mL it moves (y); type `simple_peristaltic_pump`."""

    hz: float
    dc: float  # %
    voltage: float  # V, of the supply


@dataclass(frozen=True)
class StirringCalibration(Calibration):
    """Duty cycle in % (x) to rpm (y); type `simple_stirring`."""

    pwm_hz: float
    voltage: float  # V, of the supply


@dataclass(frozen=True)
class Estimator:
    """What every estimator has."""

    estimator_type: str
    estimator_name: str
    calibrated_on_pioreactor_unit: str
    created_at: datetime


@dataclass(frozen=True)
class FusedOdEstimator(Estimator):
    """Optical density of the readings at several angles; type `od_fused_estimator`.

    For each angle, over log10 of the concentration: the natural logarithm of the signal, and that of its noise.
    """

    ir_led_intensity: float  # %
    angles: tuple[str, ...]
    mu_splines: Mapping[str, PiecewiseCubic]
    sigma_splines_log: Mapping[str, PiecewiseCubic]
    min_logc: float
    max_logc: float
    sigma_floor: float
    recorded_data: Mapping[str, Any]
    y: str
