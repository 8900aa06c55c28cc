"""Readings of optical density: what photodiodes see while the infrared LED shines, relative to the lamp.

Jobs and calibration sessions share it, so that a calibration is made of what od_reading reads.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reactor_unit.clock import ReactorTime
from reactor_unit.config import Config
from reactor_unit.drivers.closing import Closing
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.errors import ConfigError
from reactor_unit.workers.laws import optical_density as law
from reactor_unit.workers.optics import REF, SECTION, LightSource, MadeUpLight, Optics

log = logging.getLogger(__name__)

ANGLES = ("45", "90", "135", "180")
AUTO = "auto"


@dataclass(frozen=True)
class ODReading:
    """The optical density that one photodiode channel saw."""

    channel: str
    angle: str
    od: float
    ir_led_intensity: float

    def to_json(self, timestamp: str) -> dict[str, Any]:
        """Return it as it is published; nothing here is calibrated."""
        return {
            "od": self.od,
            "angle": self.angle,
            "channel": self.channel,
            "timestamp": timestamp,
            "ir_led_intensity": self.ir_led_intensity,
            "calibrated": 0,
        }


class ODReader(Closing):
    """Takes readings and divides them by the lamp's light; see docs/laws.md.

    `angles` are channel -> angle, or REF, of the photodiodes to read; without it those of the configuration.
    `interval_s` is None for a single reading, `first_ref_v` the reference's first voltage in the experiment, if there
    was one. Between readings the infrared LED is off. Raises ConfigError for a configuration that cannot be, and
    HardwareFault.
    """

    def __init__(
        self,
        time: ReactorTime,
        hardware: Hardware,
        config: Config,
        *,
        angles: Mapping[str, str] | None = None,
        interval_s: float | None,
        intensity: float | None = None,
        first_ref_v: float | None = None,
        made_up: bool = False,
    ) -> None:
        self.angles = photodiode_angles(config, hardware.board.photodiode_channels) if angles is None else dict(angles)
        self._penalizer = config.get_float(SECTION, "smoothing_penalizer")
        self._normalization_kind = config.get(SECTION, "ref_normalization")
        self._ema_alpha = config.get_float(SECTION, "pd_reference_ema")
        self.signals = {channel: angle for channel, angle in self.angles.items() if angle != REF}
        self.ref_channel = next((channel for channel, angle in self.angles.items() if angle == REF), None)
        self.set_interval(interval_s)
        self._intensity = configured_intensity(config) if intensity is None else intensity
        self._tuned_to: float | None = None  # the intensity at which the lamp is followed
        self._state = self._normalization.begin(first_ref_v)
        self._previous_v: dict[str, float] = {}
        self._light: LightSource = (
            MadeUpLight(time.clock, self.angles) if made_up else Optics(time, hardware, config, list(self.angles))
        )

    @property
    def intensity(self) -> float:
        """Intensity of the infrared LED in %; before `start`, what an automatic one begins with."""
        return law.AUTO_HIGHEST if self._intensity is None else self._intensity

    @property
    def first_ref_v(self) -> float | None:
        """The reference's first voltage in the experiment, in V; None before there is one."""
        return self._state.first_v

    @property
    def relative_intensity(self) -> float:
        """The lamp's light relative to the experiment's first reading; 1 without a reference."""
        return 1.0 if self.ref_channel is None else self._normalization.relative_intensity(self._state)

    def start(self) -> None:
        """Measure the dark, and tune to the light; about 2 s."""
        self._light.start()
        voltages_v = self._light.tune(self.intensity)
        if self._intensity is None:
            ref_v = None if self.ref_channel is None else voltages_v[self.ref_channel]
            self._intensity = law.automatic_intensity(ref_v, [voltages_v[channel] for channel in self.signals])

    def set_interval(self, interval_s: float | None) -> None:
        """Smooth for readings that come each `interval_s` from now on, None for a single one."""
        self._weight = law.smoothing(self._penalizer, interval_s)
        try:
            self._normalization = law.ReferenceNormalization(
                self._normalization_kind, self._ema_alpha, interval_s or 5.0
            )
        except ValueError as ex:
            raise ConfigError(f"[{SECTION}] {ex}") from ex

    def set_intensity(self, intensity: float) -> None:
        """Read with another intensity (%) from the next reading on."""
        self._intensity = intensity

    def read(self) -> list[ODReading]:
        """Take one reading of each signal channel, about 1 s. Raises HardwareFault, and InterlockTripped."""
        intensity = self.intensity
        if intensity != self._tuned_to:  # the lamp is followed anew
            self._tuned_to, self._previous_v = intensity, {}
            self._state = self._normalization.begin(self._state.first_v)
        self._previous_v = self._light.read(intensity, self._previous_v, self._weight)
        return self._readings(self._previous_v, intensity)

    def _readings(self, voltages_v: Mapping[str, float], intensity: float) -> list[ODReading]:
        ods = {channel: voltages_v[channel] for channel in self.signals}
        if self.ref_channel is not None:
            try:
                self._state = self._normalization.next(self._state, voltages_v[self.ref_channel])
                ods = {channel: self._normalization.optical_density(od, self._state) for channel, od in ods.items()}
            except ValueError as ex:
                raise HardwareFault(str(ex), remediation="Check the LED's cable, and the lid.") from ex
            if self._state.noisy:
                log.warning("The reference photodiode is too noisy; its last reading is not used.")
        return [ODReading(channel, self.signals[channel], round(od, 10), intensity) for channel, od in ods.items()]

    def close(self) -> None:
        """Leave the infrared LED off. May be called twice."""
        self._light.close()


def photodiode_angles(config: Config, available: Sequence[str]) -> dict[str, str]:
    """Return channel -> angle, or REF, of the photodiodes that are read, in the order of their channels.

    A reference on a channel that the reactor lacks is left out. Raises ConfigError.
    """
    angles = dict(sorted(config.section("od_config.photodiode_channel").items()))
    for channel, angle in angles.items():
        if angle not in (*ANGLES, REF):
            raise ConfigError(
                f"[od_config.photodiode_channel] {channel}={angle!r} is none of {', '.join((*ANGLES, REF))}."
            )
    if list(angles.values()).count(REF) > 1:
        raise ConfigError("[od_config.photodiode_channel] has more than one REF.")
    angles = {channel: angle for channel, angle in angles.items() if angle != REF or channel in available}
    if not set(angles.values()) - {REF}:
        raise ConfigError(
            "No photodiode looks at the culture.",
            remediation="Give a channel in [od_config.photodiode_channel] an angle of 45, 90, 135 or 180.",
        )
    return angles


def configured_intensity(config: Config) -> float | None:
    """Return the infrared LED's intensity in %, None where it is to be found. Raises ConfigError."""
    if config.get(SECTION, "ir_led_intensity").strip().lower() == AUTO:
        return None
    intensity = config.get_float(SECTION, "ir_led_intensity")
    if not 0.0 < intensity <= 100.0:
        raise ConfigError(f"[{SECTION}] ir_led_intensity {intensity:g} is not within 0..100 %, or auto.")
    return intensity
