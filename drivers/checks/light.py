"""Checks of what the photodiodes see: darkness, the infrared LED, and whether the liquid moves."""

import math
from contextlib import closing
from typing import NamedTuple

from ..leds import IR, LEDs
from ..photodiodes import Photodiodes
from ..pwm import PWM
from .bench import FAIL, OK, REFERENCE, SKIPPED, Bench, Finding

SAMPLES, SAMPLE_INTERVAL_S = 20, 0.007  # s: no divisor of a mains period, so that flicker shows as spread
LED_SETTLES_S = 0.2
DARK_S = 10.0  # real seconds, ten times what is needed: others' LEDs come back by themselves after that
BRIGHTEST_DARK_V = 0.080
"""V. The reference's self-test takes no more from a photodiode while all LEDs are off."""
LARGEST_SPREAD_V = 0.005
"""V, standard deviation in the dark: a thin culture gives some 10 mV, and the amplifier's own noise is 0.1 mV."""
LED_PERCENT = 70.0
SMALLEST_RISE_V = 0.001
"""V. The glass of a blank alone reflects several mV at 70 %."""
SMALLEST_REFERENCE_RISE_V = 0.010
"""V. This photodiode looks at the LED itself; the reference's self-test wants 20 mV. A visible LED gives it 2 mV."""
FLICKER_SAMPLES, FLICKER_INTERVAL_S = 30, 0.1  # s: whole periods of 50 and of 60 Hz, so that the mains do not show
FLICKER_DUTY_CYCLE = 90.0  # %: what the self-test of the reference stirs at to see the effect on the light
COASTS_S, SPINS_UP_S = 4.0, 4.0
TURNS_RATIO, STANDS_RATIO = 4.0, 2.0
"""Of variances of 30 samples each: chance gives a ratio of 4 once in over 1000 times; below 2 nothing has changed."""


class Level(NamedTuple):
    """Some samples of one photodiode: mean and standard deviation in V, and whether its ADC was at its end."""

    mean_v: float
    spread_v: float
    saturated: bool


def check_ambient_light(bench: Bench) -> Finding:
    """Read the photodiodes while all LEDs are off."""
    name = "ambient_light"
    if not bench.photodiode_channels:
        return Finding(name, SKIPPED, "No photodiode is assigned in [od_config.photodiode_channel].")
    with closing(bench.hardware.open_leds(bench.leds)) as leds, leds.darkness(DARK_S):
        dark = _levels(bench, _photodiodes(bench))
    saturated = [channel for channel, level in dark.items() if level.saturated]
    if saturated:
        return Finding(
            name,
            FAIL,
            f"Photodiode {', '.join(saturated)}: the ADC is saturated in the dark, all LEDs off "
            f"({dark[saturated[0]].mean_v:.2f} V or more).",
            "Close the lid and keep daylight away; if it stays, check the photodiode's plug and cable for a short.",
        )
    said = ", ".join(
        f"photodiode {channel} {1000 * level.mean_v:.1f} mV +- {1000 * level.spread_v:.1f} mV"
        for channel, level in dark.items()
    )
    remedy = "Close the lid and keep lamps and daylight away from the vial."
    if any(level.spread_v > LARGEST_SPREAD_V for level in dark.values()):
        limit = f"the spread may be {1000 * LARGEST_SPREAD_V:g} mV"
        return Finding(name, FAIL, f"Noisy light reaches the photodiodes in the dark: {said}; {limit}.", remedy)
    if any(level.mean_v >= BRIGHTEST_DARK_V for level in dark.values()):
        limit = f"it has to be below {1000 * BRIGHTEST_DARK_V:g} mV"
        return Finding(name, FAIL, f"Other light reaches the photodiodes in the dark: {said}; {limit}.", remedy)
    return Finding(name, OK, f"In the dark, {said}.")


def check_ir_led(bench: Bench) -> Finding:
    """See that every photodiode gets more light when the infrared LED is on."""
    name = "ir_led"
    if not bench.photodiode_channels:
        return Finding(name, SKIPPED, "No photodiode is assigned in [od_config.photodiode_channel].")
    with closing(bench.hardware.open_leds(bench.leds)) as leds, leds.darkness(DARK_S, but=[leds.channel_of(IR)]):
        leds.set_intensity(IR, 0.0)
        photodiodes = _photodiodes(bench)
        dark = _levels(bench, photodiodes)
        if any(level.saturated or level.spread_v > LARGEST_SPREAD_V for level in dark.values()):
            return Finding(name, SKIPPED, "The dark is not dark enough to see the infrared LED; see ambient_light.")
        _light(bench, leds, LED_PERCENT)
        lit = _levels(bench, photodiodes)
    return _judge_ir_led(bench, dark, lit)


def _judge_ir_led(bench: Bench, dark: dict[str, Level], lit: dict[str, Level]) -> Finding:
    name, at = "ir_led", f"at {LED_PERCENT:g} %"
    saturated = [channel for channel, level in lit.items() if level.saturated]
    if saturated:
        what = f"Photodiode {', '.join(saturated)}: the ADC is saturated with the infrared LED {at}."
        return Finding(name, FAIL, what, "Lower ir_led_intensity in [od_reading.config].")
    rises_v = {channel: lit[channel].mean_v - dark[channel].mean_v for channel in lit}
    said = ", ".join(f"photodiode {channel} by {1000 * rise_v:.1f} mV" for channel, rise_v in rises_v.items())
    blind = [channel for channel in lit if rises_v[channel] < _smallest_rise_v(bench, channel, dark, lit)]
    if len(blind) == len(rises_v):
        remedy = "Check the plug of the infrared LED, and that [leds] says which channel it is plugged into."
        return Finding(name, FAIL, f"No photodiode sees the infrared LED {at}: it rises {said}.", remedy)
    if blind:
        remedy = (
            "Check the plug of that photodiode and its place in the holder; at 180 degrees a dense culture is dark."
        )
        return Finding(name, FAIL, f"Photodiode {', '.join(blind)} does not see the infrared LED {at}: {said}.", remedy)
    return Finding(name, OK, f"With the infrared LED {at}, {said} up.")


def _smallest_rise_v(bench: Bench, channel: str, dark: dict[str, Level], lit: dict[str, Level]) -> float:
    if bench.angles[channel] == REFERENCE:
        return SMALLEST_REFERENCE_RISE_V
    standard_error_v = math.hypot(dark[channel].spread_v, lit[channel].spread_v) / math.sqrt(SAMPLES)
    return max(SMALLEST_RISE_V, 4.0 * standard_error_v)


def flicker_ratio(bench: Bench, stirrer: PWM) -> float | None:
    """Return by what factor the variance of the scattered light grows when the stirrer is driven.

    It is the largest of all photodiodes but the reference; moving liquid scatters light unsteadily. None where there
    is no such photodiode. Leaves the stirrer and the LED off.
    """
    signals = [channel for channel in bench.photodiode_channels if bench.angles[channel] != REFERENCE]
    if not signals:
        return None
    with closing(bench.hardware.open_leds(bench.leds)) as leds:
        photodiodes = bench.hardware.open_photodiodes(signals)
        _light(bench, leds, LED_PERCENT)
        try:
            stirrer.set_duty_cycle(0.0)
            bench.wait(COASTS_S)
            still = _levels(bench, photodiodes, FLICKER_SAMPLES, FLICKER_INTERVAL_S)
            stirrer.set_duty_cycle(FLICKER_DUTY_CYCLE)
            bench.wait(SPINS_UP_S)
            driven = _levels(bench, photodiodes, FLICKER_SAMPLES, FLICKER_INTERVAL_S)
        finally:
            stirrer.set_duty_cycle(0.0)
    if any(level.saturated for level in (*still.values(), *driven.values())):
        return None
    return max((driven[channel].spread_v / max(still[channel].spread_v, 1e-6)) ** 2 for channel in signals)


def _photodiodes(bench: Bench) -> Photodiodes:
    return bench.hardware.open_photodiodes(bench.photodiode_channels)


def _light(bench: Bench, leds: LEDs, percent: float) -> None:
    leds.set_intensity(IR, percent)
    bench.wait(LED_SETTLES_S)


def _levels(
    bench: Bench, photodiodes: Photodiodes, samples: int = SAMPLES, interval_s: float = SAMPLE_INTERVAL_S
) -> dict[str, Level]:
    taken: dict[str, list[float]] = {channel: [] for channel in photodiodes.channels}
    saturated = dict.fromkeys(taken, False)
    next_at = bench.clock()
    for _ in range(samples):
        bench.wait(max(0.0, next_at - bench.clock()))
        next_at += interval_s
        for channel, voltages_v in taken.items():
            sample = photodiodes.sample(channel)
            voltages_v.append(sample.voltage_v)
            saturated[channel] |= sample.saturated
    return {channel: Level(*_mean_and_sd(voltages_v), saturated[channel]) for channel, voltages_v in taken.items()}


def _mean_and_sd(values: list[float]) -> tuple[float, float]:
    """Return mean and sample standard deviation; the module `statistics` would be 0.3 MB in every process."""
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
