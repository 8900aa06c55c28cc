"""Self-tests of what the photodiodes see: the lamp, the culture, the stirring, and the room.

Limits are the reference system's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from reactor_unit.workers.laws.correlation import correlation, mean, relative_effect, variance
from reactor_unit.workers.laws.stirring import KICK_S
from reactor_unit.workers.optics import AMBIENT_LIMIT_V, Optics
from reactor_unit.workers.self_tests.bench import Bench, Failed

STIRRED_HARD = 90.0  # % duty cycle
WARM_UP_READINGS, CYCLES, READINGS_IN_PHASE = 5, 8, 2
LEAST_EFFECT, MOST_REF_EFFECT, MOST_SHARE = 0.002, 0.010, 0.5  # of stirring on light, relative to the light

INTENSITIES = (10.0, 70.0, 60.0, 40.0, 30.0, 20.0, 50.0, 80.0)  # %; not in order, so that nothing else goes along
READINGS_AT_INTENSITY, LEAST_CORRELATION = 3, 0.90
SPEED_SETTLES_S = 3.0

REF_SAMPLES, LEAST_REF_V, MOST_REF_V, MOST_REF_VARIANCE = 6, 0.02, 1.0, 1e-2
BLANK_ANGLES = ("45", "90", "135")
BLANK_READINGS, BLANK_APART_S, MOST_BLANK_V = 6, 1.15, 0.035

_OPTICS = (
    "Check the cables of the infrared LED and the photodiodes, and that each is in the pocket that [leds] and "
    "[od_config.photodiode_channel] name."
)


def ref_is_in_position(bench: Bench) -> str:
    """See that the signals change when the stirrer stops and starts, and REF, which looks at the lamp, does not."""
    ref = bench.ref_channel
    effects = _effects_of_stirring(bench)
    each = ", ".join(
        f"{angle} on channel {channel} by {100 * effects[channel]:.2f} %"
        if math.isfinite(effects[channel])
        else f"{angle} on channel {channel} sees none"
        for channel, angle in bench.angles.items()
    )
    said = f"Between stirring and standing the light changes: {each}."
    best = max(
        (effects[channel] for channel in effects if channel != ref and math.isfinite(effects[channel])), default=0
    )
    if best < LEAST_EFFECT:
        raise Failed(
            f"{said} A photodiode at the vial has to see at least {100 * LEAST_EFFECT:g} %.",
            "Put a vial with liquid and a stir bar in, and see that it turns. Then check the photodiodes' cables.",
        )
    if effects[ref] > MOST_REF_EFFECT or effects[ref] > MOST_SHARE * best:
        raise Failed(
            f"{said} REF may see {100 * MOST_REF_EFFECT:g} % at most, and half of what the others see.",
            f"Put the photodiode of channel {ref} into the pocket that looks at the infrared LED, or correct "
            "[od_config.photodiode_channel].",
        )
    return said


def _effects_of_stirring(bench: Bench) -> dict[str, float]:
    """Return for each channel how much its light changes with stirring, relative to the light."""
    phases: list[tuple[dict[str, float], dict[str, float]]] = []
    with bench.stirrer() as stirrer, bench.optics() as optics:
        optics.tune(bench.ir_led_intensity)
        for _ in range(WARM_UP_READINGS):
            _read(bench, optics)
        for _ in range(CYCLES):
            stirrer.set_duty_cycle(STIRRED_HARD)
            driven = _phase(bench, optics)
            stirrer.set_duty_cycle(0.0)
            phases.append((driven, _phase(bench, optics)))
    return {
        channel: relative_effect([(driven[channel], still[channel]) for driven, still in phases])
        for channel in bench.angles
    }


def _phase(bench: Bench, optics: Optics) -> dict[str, float]:
    """Return each channel's mean voltage, in V, when one reading has passed in which the speed settles."""
    _read(bench, optics)
    return _means([_read(bench, optics) for _ in range(READINGS_IN_PHASE)])


def photodiodes_follow_the_led(bench: Bench) -> str:
    """See that every photodiode sees more of the infrared LED when that is brighter."""
    seen: dict[str, list[float]] = {channel: [] for channel in bench.angles}
    with bench.stirrer() as stirrer, bench.optics() as optics:
        stirrer.start(bench.stirring_duty_cycle, KICK_S, bench.time.wait)
        bench.time.wait(SPEED_SETTLES_S)
        optics.tune(max(INTENSITIES))
        for intensity in INTENSITIES:
            for _ in range(READINGS_AT_INTENSITY):
                for channel, voltage_v in optics.read(intensity, {}, 0.0).items():
                    seen[channel].append(voltage_v)
    given = [intensity for intensity in INTENSITIES for _ in range(READINGS_AT_INTENSITY)]
    correlations = {channel: correlation(given, voltages_v) for channel, voltages_v in seen.items()}
    bench.publish({"correlations_between_pds_and_leds": {"IR": correlations}})
    said = ", ".join(f"{value:.3f} on channel {channel}" for channel, value in correlations.items())
    said = f"The correlation of the infrared LED's intensity and what a photodiode sees is {said}"
    if min(correlations.values()) < LEAST_CORRELATION:
        raise Failed(f"{said}; it has to be at least {LEAST_CORRELATION:g}.", _OPTICS)
    return f"{said}."


def dark_is_dark(bench: Bench) -> str:
    """See that the photodiodes see nothing while all LEDs are off."""
    with bench.optics() as optics:
        dark_v = optics.dark()
    said = f"With all LEDs off the photodiodes see {_volts(dark_v)}"
    if max(dark_v.values()) >= AMBIENT_LIMIT_V:
        raise Failed(
            f"{said}; it has to be below {AMBIENT_LIMIT_V:g} V.",
            "Close the lid, and keep lamps and daylight away from the vial.",
        )
    return f"{said}."


def ref_is_lit_well(bench: Bench) -> str:
    """See that the reference photodiode has enough of the lamp's light, not too much, and steadily."""
    ref, intensity = bench.ref_channel, bench.ir_led_intensity
    with bench.optics() as optics:
        optics.tune(intensity)
        samples_v = [_read(bench, optics)[ref] for _ in range(REF_SAMPLES)]
    mean_v, variance_v2 = mean(samples_v), variance(samples_v)
    said = f"At {intensity:g} % of the infrared LED REF sees {mean_v:.4f} V with a variance of {variance_v2:.2g} V2"
    if not LEAST_REF_V < mean_v < MOST_REF_V:
        way = "Raise" if mean_v <= LEAST_REF_V else "Lower"
        raise Failed(
            f"{said}; it has to be between {LEAST_REF_V:g} and {MOST_REF_V:g} V.",
            f"{way} ir_led_intensity in [od_reading.config]. {_OPTICS}",
        )
    if variance_v2 >= MOST_REF_VARIANCE:
        raise Failed(f"{said}; it has to be below {MOST_REF_VARIANCE:g} V2.", f"Close the lid. {_OPTICS}")
    return f"{said}."


def blank_is_near_zero(bench: Bench) -> str:
    """See that what is in the vial scatters hardly any light: it is meant to be water or media."""
    channels = [channel for channel, angle in bench.angles.items() if angle in BLANK_ANGLES]
    if not channels:
        return "No photodiode is at 45, 90 or 135 degrees, so there is nothing to test."
    readings: list[dict[str, float]] = []
    with bench.optics() as optics:
        optics.tune(bench.ir_led_intensity)
        for number in range(BLANK_READINGS):
            next_at = bench.time.clock() + BLANK_APART_S
            readings.append(_read(bench, optics))
            bench.time.wait(max(0.0, next_at - bench.time.clock()) if number < BLANK_READINGS - 1 else 0.0)
    means_v = {channel: voltage_v for channel, voltage_v in _means(readings).items() if channel in channels}
    said = f"At {bench.ir_led_intensity:g} % of the infrared LED the vial gives {_volts(means_v)}"
    if max(means_v.values()) > MOST_BLANK_V:
        raise Failed(
            f"{said}; a blank gives at most {MOST_BLANK_V:g} V.",
            "Put a clean vial with water or fresh media in. If there is one, lower ir_led_intensity in "
            "[od_reading.config], and check that each photodiode is in its pocket.",
        )
    return f"{said}."


def _read(bench: Bench, optics: Optics) -> dict[str, float]:
    return optics.read(bench.ir_led_intensity, {}, 0.0)


def _means(readings: list[dict[str, float]]) -> dict[str, float]:
    return {channel: mean(reading[channel] for reading in readings) for channel in readings[0]}


def _volts(voltages_v: Mapping[str, float]) -> str:
    return ", ".join(f"{voltage_v:.4f} V on channel {channel}" for channel, voltage_v in voltages_v.items())
