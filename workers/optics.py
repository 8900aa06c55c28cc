"""Where the voltages of a reading come from: the infrared LED and the photodiodes, or numbers that are made up."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from reactor_unit.clock import ReactorTime
from reactor_unit.config import Config
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.drivers.leds import IR, LEDs
from reactor_unit.drivers.photodiodes import Photodiodes, Saturated
from reactor_unit.drivers.simulation.noise import bell
from reactor_unit.errors import InterlockTripped
from reactor_unit.workers.laws import optical_density as law
from reactor_unit.workers.laws.averages import ExponentialMean, trimmed_mean

log = logging.getLogger(__name__)

SECTION = "od_reading.config"
REF = "REF"
DARK_AT_MOST_S = 5.0  # real seconds that the LEDs of other jobs are dark for one reading, whatever happens
AMBIENT_LIMIT_V = 0.080  # the reference's self-test calls more than this in the dark ambient light
FOLLOWING = 0.05  # weight of the past in the voltage that the ADC's range and the limits of brightness follow


class LightSource(Protocol):
    """Where voltages come from."""

    def start(self) -> None:
        """Make ready for readings. Raises HardwareFault."""

    def tune(self, intensity: float) -> dict[str, float]:
        """Find what suits this intensity of the infrared LED (%), and return the voltage of each channel."""

    def read(self, intensity: float, previous_v: Mapping[str, float], weight: float) -> dict[str, float]:
        """Return the voltage of each channel at this intensity, drawn to the previous reading with a weight.

        Raises HardwareFault.
        """

    def close(self) -> None:
        """Turn the infrared LED off and give it back. May be called twice."""


class Optics:
    """The reactor's photodiodes `channels`, and its infrared LED."""

    def __init__(self, time: ReactorTime, hardware: Hardware, config: Config, channels: Sequence[str]) -> None:
        self._time = time
        self._photodiodes: Photodiodes = hardware.open_photodiodes(channels)
        self._leds: LEDs = hardware.open_leds(config.section("leds"))
        self._ir_channel = self._leds.channel_of(IR)
        self._channels = tuple(channels)
        self._settle_s = config.get_float(SECTION, "duration_between_led_off_and_od_reading")
        self._darkens_others = config.get_boolean(SECTION, "turn_off_leds_during_reading")
        self._subtracts_dark = config.get_boolean(SECTION, "use_dark_offsets")
        self._mains_hz: float | None = config.get_float(SECTION, "local_ac_hz", None)  # None until it is found
        self._dark_v = dict.fromkeys(channels, 0.0)
        self._followed = dict.fromkeys(channels, ExponentialMean(FOLLOWING))

    def start(self) -> None:
        """Claim the infrared LED, and note what the photodiodes see in the dark."""
        self._leds.set_intensity(IR, 0.0)
        if not self._subtracts_dark:
            return
        self._dark_v = self.dark()
        for channel, dark_v in self._dark_v.items():
            if dark_v > AMBIENT_LIMIT_V:
                log.warning("Photodiode %s sees %.3f V in the dark: is the lid closed?", channel, dark_v)

    def dark(self) -> dict[str, float]:
        """Return the voltage of each channel with all LEDs dark. Raises HardwareFault."""
        for channel in self._channels:
            self._photodiodes.fit_gain(channel, 0.0)
        with self._leds.darkness(DARK_AT_MOST_S):
            self._time.wait(self._settle_s)
            times_s, samples = self._sample(law.SAMPLES, law.WINDOW_S)
        return {channel: self._steady_v(channel, times_s, samples) for channel in self._channels}

    def tune(self, intensity: float) -> dict[str, float]:
        """Fit the ADC's range and find the mains' frequency with a short reading."""
        for channel in self._channels:
            self._photodiodes.fit_gain(channel, 3.0)
        times_s, samples = self._lit_samples(intensity, law.TUNING_SAMPLES, law.TUNING_WINDOW_S)
        self._find_mains(times_s, samples)
        self._followed = dict.fromkeys(self._channels, ExponentialMean(FOLLOWING))
        return {channel: self._follow(channel, trimmed_mean(samples[channel], 1)) for channel in self._channels}

    def read(self, intensity: float, previous_v: Mapping[str, float], weight: float) -> dict[str, float]:
        """Take one reading, with all other LEDs dark meanwhile."""
        times_s, samples = self._lit_samples(intensity, law.SAMPLES, law.WINDOW_S)
        found = {}
        for channel in self._channels:
            voltage_v = self._steady_v(channel, times_s, samples, previous_v.get(channel), weight)
            found[channel] = self._follow(channel, voltage_v)
        return found

    def _steady_v(
        self,
        channel: str,
        times_s: Mapping[str, Sequence[float]],
        samples: Mapping[str, Sequence[float]],
        before_v: float | None = None,
        weight: float = 0.0,
    ) -> float:
        """Return a channel's voltage without the mains' flicker."""
        mains_hz = self._find_mains(times_s, samples)
        return law.steady_voltage_v(times_s[channel], samples[channel], mains_hz, before_v, weight)

    def _find_mains(self, times_s: Mapping[str, Sequence[float]], samples: Mapping[str, Sequence[float]]) -> float:
        """Return the mains' frequency in Hz; the first samples say which it is, best in the dark."""
        if self._mains_hz is None:
            self._mains_hz = law.mains_frequency_hz(times_s[self._channels[0]], list(samples.values()))
        return self._mains_hz

    def _lit_samples(
        self, intensity: float, samples: int, window_s: float
    ) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
        """Return when each channel was sampled in s, and its voltages less those of the dark, with the LED on."""
        try:
            with self._others_dark(), self._infrared(intensity):
                self._time.wait(self._settle_s)
                times_s, found = self._sample(samples, window_s)
        except Saturated as ex:
            raise too_bright(str(ex)) from ex
        return times_s, {channel: law.without_dark(found[channel], self._dark_v[channel]) for channel in found}

    def _others_dark(self) -> contextlib.AbstractContextManager[None]:
        if not self._darkens_others:
            return contextlib.nullcontext()
        return self._leds.darkness(DARK_AT_MOST_S, but=(self._ir_channel,))

    @contextlib.contextmanager
    def _infrared(self, intensity: float) -> Iterator[None]:
        self._leds.set_intensity(IR, intensity)
        try:
            yield
        finally:
            self._leds.set_intensity(IR, 0.0)

    def _sample(self, samples: int, window_s: float) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
        """Return for each channel when it was sampled and what it gave, in V; the channels take turns."""
        times_s: dict[str, list[float]] = {channel: [] for channel in self._channels}
        voltages_v: dict[str, list[float]] = {channel: [] for channel in self._channels}
        began = self._time.clock()
        for at_s in law.sample_times_s(samples, window_s):
            self._time.wait(began + at_s - self._time.clock())
            for channel in self._channels:
                before_s = self._time.clock()
                voltages_v[channel].append(self._photodiodes.read_voltage_v(channel))
                times_s[channel].append((before_s + self._time.clock()) / 2.0 - began)
        return times_s, voltages_v

    def _follow(self, channel: str, voltage_v: float) -> float:
        """Fit the ADC's range to a voltage, and look whether it is too bright; return the voltage."""
        followed = self._followed[channel] = self._followed[channel].with_value(voltage_v)
        at_adc_v = (followed.mean or 0.0) + self._dark_v[channel]
        brightness = law.brightness(at_adc_v)
        if brightness is law.Brightness.TOO_BRIGHT:
            raise too_bright(f"Photodiode {channel} sees {at_adc_v:.2f} V, and its ADC takes 3.2 V.")
        if brightness is law.Brightness.BRIGHT:
            log.warning("Photodiode %s sees %.2f V, near the end of its ADC; lower the LED.", channel, at_adc_v)
        self._photodiodes.fit_gain(channel, at_adc_v)
        return voltage_v

    def close(self) -> None:
        """Turn the infrared LED off and give it back. May be called twice."""
        self._leds.close()


def too_bright(what: str) -> InterlockTripped:
    """Return the error with which a reading ends that could damage an ADC."""
    return InterlockTripped(
        f"The infrared LED was turned off and the readings end: it is too bright. {what}",
        remediation="Lower ir_led_intensity, close the lid, and check that each photodiode is in the pocket that "
        "[od_config.photodiode_channel] names.",
    )


class MadeUpLight:
    """Voltages of a culture that grows from OD 0.05 at 0.3 /h until it nears OD 2, with noise of 0.3 %: no hardware."""

    START_V, END_V, RATE_PER_H, REF_V = 0.005, 0.2, 0.3, 0.2  # at 80 %
    NOISE = 0.003

    def __init__(self, clock: Callable[[], float], angles: Mapping[str, str]) -> None:
        self._clock = clock
        self._angles = angles
        self._began = clock()

    def start(self) -> None:
        """Do nothing: there is no darkness to measure."""

    def tune(self, intensity: float) -> dict[str, float]:
        """Return what a reading returns."""
        return self.read(intensity, {}, 0.0)

    def read(self, intensity: float, previous_v: Mapping[str, float], weight: float) -> dict[str, float]:
        """Return what a logistic culture would give now."""
        at_s = self._clock() - self._began
        fold = (self.END_V / self.START_V - 1.0) * math.exp(-self.RATE_PER_H * at_s / 3600.0)
        signal_v = self.END_V / (1.0 + fold)
        found = {}
        for channel, angle in self._angles.items():
            steady_v = self.REF_V if angle == REF else signal_v
            noise = 0.0 if angle == REF else self.NOISE * bell(0, int(channel), at_s)
            found[channel] = steady_v * (1.0 + noise) * intensity / 80.0
        return found

    def close(self) -> None:
        """Do nothing: there is no LED."""
