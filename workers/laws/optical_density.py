"""Optical density: from the samples of one reading to volts, and from volts to a value that the lamp does not move.

A reading takes about 0.85 s. Room light flickers with the mains, so samples are taken at uneven times and the flicker
is fitted and left out; the lamp ages and warms, so the reference photodiode's signal divides the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from reactor_unit.workers.laws.averages import ExponentialMean, ExponentialStd
from reactor_unit.workers.laws.matrix import apply, inverse, product, total, transposed
from reactor_unit.workers.laws.pid import clamp

SAMPLES, WINDOW_S = 40, 0.85
TUNING_SAMPLES, TUNING_WINDOW_S = 10, 0.25
_GOLDEN = 0.618034  # its multiples' fractions spread evenly and repeat with no period: no mains frequency hides

AUTO_LOWEST, AUTO_HIGHEST = 50.0, 85.0
"""%. What the automatic intensity of the infrared LED may be."""

AUTO_REF_V, AUTO_SIGNAL_V = 0.250, 3.0 / 50.0
"""V. What it aims at: this at the reference, and at the signal 1/50 of what the ADC can take, as cells grow."""


def sample_times_s(samples: int = SAMPLES, window_s: float = WINDOW_S) -> tuple[float, ...]:
    """Return when to sample, in s after the reading's start: from 0 to at most `window_s`, unevenly.

    The job samples all channels at each time, one after the other, and notes when it really did.

    >>> [round(at_s, 3) for at_s in sample_times_s(4, 0.3)]
    [0.0, 0.062, 0.124, 0.285]
    """
    if samples < 2 or window_s <= 0:
        raise ValueError(f"{samples} samples within {window_s:g} s are no reading.")
    step_s = window_s / (samples - 1)
    return (0.0, *(step_s * (i - 1 + i * _GOLDEN % 1.0) for i in range(1, samples)))


def smoothing(smoothing_penalizer: float, interval_s: float | None) -> float:
    """Return how many samples' weight the previous reading has; none for a single one (interval None).

    >>> smoothing(3.0, 5.0)
    24.0
    """
    return 0.0 if interval_s is None else SAMPLES * smoothing_penalizer / interval_s


def without_dark(voltages_v: Sequence[float], dark_v: float) -> list[float]:
    """Return the samples less what the photodiode gives in the dark, never below 0."""
    return [max(0.0, voltage_v - dark_v) for voltage_v in voltages_v]


def steady_voltage_v(
    times_s: Sequence[float],
    voltages_v: Sequence[float],
    mains_hz: float,
    previous_v: float | None = None,
    weight: float = 0.0,
) -> float:
    """Return the steady part C of samples that also hold the mains' flicker: C + b sin + c cos, by least squares.

    The lowest and the highest sample are left out; C is drawn to the previous reading with the `weight` of so many
    samples. `times_s` are when the samples were really taken. Raises ValueError for fewer than 5 samples.
    """
    (steady_v, _, _), _ = _fit(times_s, voltages_v, mains_hz, previous_v, weight)
    return max(0.0, round(steady_v, 10))


def mains_frequency_hz(times_s: Sequence[float], channels_v: Sequence[Sequence[float]]) -> float:
    """Return 50 or 60 Hz, whichever explains the samples of all channels better; 60 when neither does.

    Both fits have as many parameters, so the one with the smaller rest has the lower AIC.
    """
    rests = {
        mains_hz: math.fsum(len(v) * math.log(_fit(times_s, v, mains_hz)[1] + 1e-20) for v in channels_v)
        for mains_hz in (50.0, 60.0)
    }
    return 50.0 if rests[50.0] < rests[60.0] else 60.0


def _fit(
    times_s: Sequence[float],
    voltages_v: Sequence[float],
    mains_hz: float,
    previous_v: float | None = None,
    weight: float = 0.0,
) -> tuple[tuple[float, ...], float]:
    """Return (C, b, c) and the mean square of what they leave."""
    if len(voltages_v) < 5:
        raise ValueError(f"{len(voltages_v)} samples are too few to tell flicker from light; at least 5 are needed.")
    pairs = sorted(zip(voltages_v, times_s, strict=True))[1:-1]
    turn = 2.0 * math.pi * mains_hz
    rows = tuple((1.0, math.sin(turn * at_s), math.cos(turn * at_s)) for _, at_s in pairs)
    squares = product(transposed(rows), rows)
    sums = list(apply(transposed(rows), [voltage_v for voltage_v, _ in pairs]))
    if previous_v is not None:
        squares = total(squares, ((weight, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)))
        sums[0] += weight * previous_v
    found = apply(inverse(squares), sums)
    rest = math.fsum((pair[0] - fitted) ** 2 for pair, fitted in zip(pairs, apply(rows, found), strict=True))
    return found, rest / len(pairs)


class Brightness(Enum):
    """How near a photodiode is to the end of its ADC."""

    FINE = "fine"
    BRIGHT = "bright"  # warn
    TOO_BRIGHT = "too bright"  # turn all LEDs off and end the job: more light could damage the ADC


def brightness(voltage_v: float) -> Brightness:
    """Return how near a smoothed voltage is to the limits of 3.0 and 3.2 V.

    >>> brightness(3.1)
    <Brightness.BRIGHT: 'bright'>
    """
    if voltage_v <= 3.0:
        return Brightness.FINE
    return Brightness.BRIGHT if voltage_v <= 3.2 else Brightness.TOO_BRIGHT


def automatic_intensity(ref_v: float | None, signals_v: Sequence[float]) -> float:
    """Return the infrared LED's intensity in % from voltages measured at AUTO_HIGHEST, 2 decimals.

    Only with a reference and exactly one signal; otherwise it is AUTO_HIGHEST.

    >>> automatic_intensity(0.25, [0.05]), automatic_intensity(0.3125, [0.05]), automatic_intensity(2.0, [0.05])
    (85.0, 68.0, 50.0)
    """
    if ref_v is None or len(signals_v) != 1:
        return AUTO_HIGHEST
    aims = [
        AUTO_HIGHEST * aim_v / seen_v
        for aim_v, seen_v in ((AUTO_REF_V, ref_v), (AUTO_SIGNAL_V, signals_v[0]))
        if seen_v > 0
    ]
    return round(clamp(min(aims, default=AUTO_HIGHEST), AUTO_LOWEST, AUTO_HIGHEST), 2)


@dataclass(frozen=True)
class ReferenceState:
    """What is known of the lamp: the reference's first voltage in the experiment, and its course."""

    first_v: float | None = None  # kept over restarts within an experiment
    mean: ExponentialMean = field(default_factory=lambda: ExponentialMean(0.75))
    spread: ExponentialStd | None = None
    noisy: bool = False  # the last sample was not used: warn

    @property
    def divisor(self) -> float:
        """What signals are divided by; raises ValueError unless it is above 0."""
        if self.mean.mean is None or not self.mean.mean > 0.0:
            raise ValueError(
                "The reference photodiode sees no light: is the infrared LED on, and the photodiode in its pocket?"
            )
        return self.mean.mean


@dataclass(frozen=True)
class ReferenceNormalization:
    """Follow the lamp by the reference photodiode, so that signals can be divided by it.

    `unity` divides by the smoothed ratio to the first voltage of the experiment, `classic` by the smoothed voltage. A
    sample that makes the course too noisy is not used. For the job, at each reading:

    >>> lamp = ReferenceNormalization("unity", ema_alpha=0.75, interval_s=5.0)
    >>> state = lamp.next(lamp.begin(), 0.20)
    >>> state = lamp.next(state, 0.19)  # the lamp became dimmer by 5 %
    >>> lamp.optical_density(0.10, state), lamp.relative_intensity(state)
    (0.10126582278481013, 0.9875)
    """

    kind: str  # "unity" or "classic"
    ema_alpha: float  # pd_reference_ema
    interval_s: float = 5.0

    def __post_init__(self) -> None:
        if self.kind not in ("unity", "classic"):
            raise ValueError(f"ref_normalization is unity or classic, not {self.kind!r}.")
        if not 0.0 <= self.ema_alpha < 1.0:
            raise ValueError(f"pd_reference_ema must be within 0..1 and below 1, not {self.ema_alpha:g}.")

    @property
    def noise_limit(self) -> float:
        """The standard deviation of the course from which on a sample is not used."""
        return 0.025 * math.sqrt(self.interval_s / 5.0)

    def begin(self, first_v: float | None = None) -> ReferenceState:
        """Return the first state, with the experiment's first voltage if there was one."""
        return ReferenceState(first_v, ExponentialMean(self.ema_alpha))

    def next(self, state: ReferenceState, ref_v: float) -> ReferenceState:
        """Return the state with one more voltage of the reference; `noisy` says that it was left out."""
        first_v = ref_v if state.first_v is None else state.first_v
        if not first_v > 0.0:
            raise ValueError("The reference photodiode's first voltage is 0 V: is the infrared LED plugged in?")
        value = ref_v / first_v if self.kind == "unity" else ref_v
        spread = state.spread or ExponentialStd(0.95, ExponentialMean(0.8), 0.001**2)
        spread = spread.with_value(value)
        if spread.std > self.noise_limit:
            return ReferenceState(first_v, state.mean, None, noisy=True)
        return ReferenceState(first_v, state.mean.with_value(value), spread)

    def optical_density(self, signal_v: float, state: ReferenceState) -> float:
        """Return the signal divided by what the state says of the lamp."""
        return signal_v / state.divisor

    def relative_intensity(self, state: ReferenceState) -> float:
        """Return the lamp's light relative to the experiment's first reading."""
        return state.divisor if self.kind == "unity" else state.divisor / (state.first_v or state.divisor)
