"""Reading the photodiodes under the infrared LED: one reading after another, as signals that the lamp does not move."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from reactor_unit.config import Config
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.drivers.leds import IR
from reactor_unit.errors import HardwareFault
from reactor_unit.workers.laws.optical_density import (
    WINDOW_S,
    Brightness,
    ReferenceNormalization,
    brightness,
    mains_frequency_hz,
    sample_times_s,
    steady_voltage_v,
    without_dark,
)

REF = "REF"
SPARE_DARKNESS_S = 30.0  # real seconds after which other LEDs are lit again in any case, should this process hang

Wait = Callable[[float], object]


@dataclass(frozen=True)
class Samples:
    """What the photodiodes gave in one reading: when each sample was taken, in s, and its voltage in V."""

    times_s: Sequence[float]
    voltages_v: Sequence[float]


class OdMeter:
    """Read optical signals, each divided by the reference photodiode as `[od_reading.config]` says.

    `channels` are channel -> angle, one of them REF. `wait(seconds)` waits so many of the reactor's seconds.
    `first_ref_v` is the reference's voltage at the first reading of a series, for the normalization `unity`.
    `close()` leaves the LED dark and may be called twice.
    """

    def __init__(
        self,
        hardware: Hardware,
        config: Config,
        channels: Mapping[str, str],
        ir_led_intensity: float,
        wait: Wait,
        first_ref_v: float | None = None,
    ) -> None:
        section = "od_reading.config"
        self._hardware = hardware
        self._wait = wait
        self._channels = dict(channels)
        self._intensity = ir_led_intensity
        self._settle_s = config.get_float(section, "duration_between_led_off_and_od_reading")
        self._mains_hz = config.get_float(section, "local_ac_hz", None)
        self._lamp = ReferenceNormalization(
            config.get("od_reading.config", "ref_normalization"),
            config.get_float(section, "pd_reference_ema"),
        )
        self._state = self._lamp.begin(first_ref_v)
        self._photodiodes = hardware.open_photodiodes(self._channels)
        self._leds = hardware.open_leds(config.section("leds"))
        self._dark_v: dict[str, float] = dict.fromkeys(self._channels, 0.0)

    @property
    def first_ref_v(self) -> float | None:
        """The reference's voltage at the first reading, in V; None before it."""
        return self._state.first_v

    def measure_dark(self) -> None:
        """Measure what the photodiodes give without light; it is subtracted from now on."""
        with self._leds.darkness(SPARE_DARKNESS_S):
            self._wait(self._settle_s)
            self._dark_v = self._steady(self._sampled())

    def read(self) -> dict[str, float]:
        """Take one reading, about a second; return channel -> signal for every channel but the reference.

        Raises HardwareFault when there is too much light, or none at the reference.
        """
        ir_channel = self._leds.channel_of(IR)
        with self._leds.darkness(SPARE_DARKNESS_S, but=[ir_channel]):
            self._leds.set_intensity(ir_channel, self._intensity)
            try:
                self._wait(self._settle_s)
                samples = self._sampled()
            finally:
                self._leds.set_intensity(ir_channel, 0.0)
        voltages_v = self._steady(samples)
        signals = {
            channel: without_dark([voltage_v], self._dark_v[channel])[0] for channel, voltage_v in voltages_v.items()
        }
        (ref,) = (channel for channel, angle in self._channels.items() if angle == REF)
        self._check_brightness(voltages_v)
        try:
            self._state = self._lamp.next(self._state, signals.pop(ref))
            return {channel: self._lamp.optical_density(signal_v, self._state) for channel, signal_v in signals.items()}
        except ValueError as ex:
            raise HardwareFault(str(ex), remediation="Check the LED, its cable, and the reference photodiode.") from ex

    def _sampled(self) -> dict[str, Samples]:
        """Sample every channel at uneven times for almost a second."""
        clock = self._hardware.edge_clock
        taken: dict[str, list[tuple[float, float]]] = {channel: [] for channel in self._channels}
        began_s = clock()
        for at_s in sample_times_s(window_s=WINDOW_S):
            self._wait(max(0.0, at_s - (clock() - began_s)))
            for channel in self._channels:
                before_s = clock()
                voltage_v = self._photodiodes.read_voltage_v(channel)
                taken[channel].append(((before_s + clock()) / 2 - began_s, voltage_v))
        for channel, pairs in taken.items():
            self._photodiodes.fit_gain(channel, max(voltage_v for _, voltage_v in pairs))
        return {channel: Samples(*zip(*pairs, strict=True)) for channel, pairs in taken.items()}

    def _steady(self, samples: Mapping[str, Samples]) -> dict[str, float]:
        """Return each channel's voltage without the mains' flicker."""
        if self._mains_hz is None:
            all_v = [one.voltages_v for one in samples.values()]
            self._mains_hz = mains_frequency_hz(next(iter(samples.values())).times_s, all_v)
        mains_hz = self._mains_hz
        return {channel: steady_voltage_v(one.times_s, one.voltages_v, mains_hz) for channel, one in samples.items()}

    def _check_brightness(self, voltages_v: Mapping[str, float]) -> None:
        for channel, voltage_v in voltages_v.items():
            if brightness(voltage_v) is Brightness.TOO_BRIGHT:
                raise HardwareFault(
                    f"Photodiode {channel} gives {voltage_v:.2f} V: that is too much light.",
                    remediation="Lower ir_led_intensity in [od_reading.config], or keep ambient light away.",
                )

    def close(self) -> None:
        """Leave the LED dark. May be called twice."""
        self._leds.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, ex: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
