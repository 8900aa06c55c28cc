"""What the active calibrations make of readings: optical densities of their own scale, and one of several angles."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reactor_unit.calibrations.curves import (
    AboveCalibration,
    BelowCalibration,
    Curve,
    NoSolution,
    curve_from,
    domain_of,
    invert,
    piecewise_from,
)
from reactor_unit.errors import Json, UnitError
from reactor_unit.workers.od_reader import ODReading

if TYPE_CHECKING:
    from reactor_unit.calibrations.models import FusedOdEstimator

log = logging.getLogger(__name__)

DEVICES = ("od45", "od90", "od135", "od")  # a photodiode's own angle goes before "od"
FUSED = "od_fused"
COMPLAINT_INTERVAL_S = 300.0  # between two complaints of the same kind


class NotCalibrated(Exception):
    """A calibration says nothing about a reading."""


class _Clamped(Exception):
    """A reading is outside the calibrated range; `od` is the edge's optical density."""

    def __init__(self, od: float) -> None:
        super().__init__(f"is outside the calibrated range; {od:g} is published, its edge")
        self.od = od


@dataclass(frozen=True)
class ODCurve:
    """A calibration of one photodiode: optical density (x) to normalized voltage (y)."""

    name: str
    curve: Curve
    recorded_ods: tuple[float, ...]
    recorded_voltages_v: tuple[float, ...]
    ir_led_intensity: float  # %

    @classmethod
    def of(cls, record: Json) -> ODCurve:
        """Return the calibration of a checked file's content."""
        points = record["recorded_data"]
        return cls(
            record["calibration_name"],
            curve_from(record["curve_data_"]),
            tuple(points["x"]),
            tuple(points["y"]),
            record["ir_led_intensity"],
        )

    def od_at(self, voltage_v: float) -> float:
        """Return the optical density at a voltage. Raises _Clamped, and NotCalibrated where the curve has none."""
        domain = domain_of(self.recorded_ods)
        try:
            return invert(self.curve, voltage_v, domain, enforce_bounds=True)
        except BelowCalibration as ex:
            raise _Clamped(domain[0]) from ex
        except AboveCalibration as ex:
            raise _Clamped(domain[1]) from ex
        except NoSolution as ex:
            points = list(zip(self.recorded_voltages_v, self.recorded_ods, strict=True))
            if not points:
                raise NotCalibrated(ex.message) from ex
            raise _Clamped(min(points, key=lambda point: abs(point[0] - voltage_v))[1]) from ex


class ODCalibrator:
    """Turns readings into the settings that od_reading publishes.

    `records` are the active calibrations and the estimator by device, as their files have them; `signals` is
    channel -> angle. A photodiode without a calibration is published as it reads. `clock` spaces complaints.
    """

    def __init__(self, records: Mapping[str, Json], signals: Mapping[str, str], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._complained_at: dict[str, float] = {}
        found = {channel: _calibration_of(records, channel, angle) for channel, angle in signals.items()}
        self._curves = {channel: curve for channel, curve in found.items() if curve is not None}
        self._estimator = _estimator_of(records[FUSED]) if FUSED in records else None

    def settings(self, readings: Sequence[ODReading], timestamp: str) -> dict[str, Any]:
        """Return `ods` and `odN`, with `raw_odN` and `calibrated_odN` of what is calibrated, and `od_fused`.

        A reading of which its calibration says nothing is in `raw_odN` alone.
        """
        ods: dict[str, Json] = {}
        settings: dict[str, Any] = {}
        for reading in readings:
            raw, curve = reading.to_json(timestamp), self._curves.get(reading.channel)
            if curve is None:
                ods[reading.channel] = raw
                continue
            settings[f"raw_od{reading.channel}"] = raw
            od = self._od(curve, reading)
            if od is not None:
                ods[reading.channel] = {**raw, "od": od, "calibrated": 1, "calibration_name": curve.name}
                settings[f"calibrated_od{reading.channel}"] = ods[reading.channel]
        settings.update({f"od{channel}": od for channel, od in ods.items()})
        if ods:
            settings["ods"] = {"timestamp": timestamp, "ods": ods}
        fused = self._fused(readings)
        if fused is not None:
            settings[FUSED] = {FUSED: fused, "timestamp": timestamp}
        return settings

    def _od(self, curve: ODCurve, reading: ODReading) -> float | None:
        """Return what a calibration makes of a reading; None, with an error in the log, where it may not be used."""
        about = f"Channel {reading.channel}, calibration {curve.name!r}"
        try:
            _check_intensity(curve.ir_led_intensity, reading.ir_led_intensity)
            return curve.od_at(reading.od)
        except _Clamped as ex:
            self._complain(f"edge {reading.channel}", logging.WARNING, f"{about}: {reading.od:g} {ex}.")
            return ex.od
        except NotCalibrated as ex:
            self._complain(f"curve {reading.channel}", logging.ERROR, f"{about}: no optical density. {ex}")
            return None

    def _fused(self, readings: Sequence[ODReading]) -> float | None:
        """Return the estimate from the raw readings of all angles; None without an estimator that may be used."""
        estimator = self._estimator
        if estimator is None or not readings:
            return None
        from reactor_unit.calibrations.fused_od import estimate  # with what it needs 0.7 MB, for few units

        by_angle: dict[str, list[float]] = {}
        for reading in readings:
            by_angle.setdefault(reading.angle, []).append(reading.od)
        try:
            _check_intensity(estimator.ir_led_intensity, readings[0].ir_led_intensity)
            return estimate(estimator, {angle: sum(ods) / len(ods) for angle, ods in by_angle.items()})
        except (NotCalibrated, UnitError) as ex:
            about = f"Estimator {estimator.estimator_name!r}: no fused optical density."
            self._complain(FUSED, logging.ERROR, f"{about} {ex}")
            return None

    def _complain(self, kind: str, level: int, message: str) -> None:
        """Log a complaint, unless one of its kind was logged within the last five minutes."""
        now = self._clock()
        if now - self._complained_at.get(kind, -COMPLAINT_INTERVAL_S) >= COMPLAINT_INTERVAL_S:
            self._complained_at[kind] = now
            log.log(level, "%s", message)


def _check_intensity(calibrated: float, present: float) -> None:
    if calibrated != present:
        raise NotCalibrated(
            f"It was made with the infrared LED at {calibrated:g} %, which is at {present:g} % now: set "
            f"ir_led_intensity to {calibrated:g}, or calibrate again."
        )


def _calibration_of(records: Mapping[str, Json], channel: str, angle: str) -> ODCurve | None:
    """Return the calibration of a photodiode, None without one; say which, and which one is not for it."""
    for device in (f"od{angle}", "od"):
        record = records.get(device)
        if record is None:
            continue
        name = record["calibration_name"]
        if (record["pd_channel"], record["angle"]) == (channel, angle):
            log.info("Channel %s (%s degrees) uses the calibration %r of %s.", channel, angle, name, device)
            return ODCurve.of(record)
        if device != "od":  # which is for any one photodiode
            log.warning(
                "The active calibration %r of %s is not used for channel %s: it is of channel %s at %s degrees.",
                *(name, device, channel, record["pd_channel"], record["angle"]),
            )
    return None


def _estimator_of(record: Json) -> FusedOdEstimator:
    from reactor_unit.calibrations.models import FusedOdEstimator

    log.info("The fused optical density is that of the estimator %r.", record["estimator_name"])
    return FusedOdEstimator(
        estimator_type=record["estimator_type"],
        estimator_name=record["estimator_name"],
        calibrated_on_pioreactor_unit=record["calibrated_on_pioreactor_unit"],
        created_at=datetime.fromisoformat(record["created_at"]),
        ir_led_intensity=record["ir_led_intensity"],
        angles=tuple(record["angles"]),
        mu_splines={angle: piecewise_from(data) for angle, data in record["mu_splines"].items()},
        sigma_splines_log={angle: piecewise_from(data) for angle, data in record["sigma_splines_log"].items()},
        min_logc=record["min_logc"],
        max_logc=record["max_logc"],
        sigma_floor=record["sigma_floor"],
        recorded_data={},
        y=record["y"],
    )
