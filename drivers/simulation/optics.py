"""What the sensors see of the plant, as voltages and temperatures at the chip, noise included.

A photodiode sees the lamps (each LED's intensity, warm ones are dimmer, only the infrared one in full), and of them

    REF   the lamp itself
    180   what passes through the culture: exp(-OD)
    else  what the cells scatter: OD x exp(-OD / peak), and a little that the glass reflects

with OD of the cells in suspension. On top come room light with the mains' flicker, speckle that grows with stirring,
and the amplifier's noise. Saturation is a matter of the ADC.
"""

import math
from collections.abc import Mapping

from .constants import (
    AMBIENT_LIGHT_V,
    AMBIENT_MAINS_V,
    AMBIENT_V,
    AMPLIFIER_NOISE_V,
    ANGLES,
    AUX_NOISE_V,
    DIM_LED_FRACTION,
    LAMP_DRIFT_PER_C,
    LAMP_REFERENCE_C,
    MAINS_HZ,
    NO_ANGLE,
    NOISY_LIGHT_V,
    OTHER_LED_FRACTION,
    PHOTODIODES,
    RAIL_DIVIDER,
    RAIL_SAG_V,
    RAIL_V,
    REF,
    REF_V_PER_PERCENT,
    SCATTER_PEAK_OD,
    SCATTER_V_PER_PERCENT_OD,
    SPECKLE_AT_500_RPM,
    SPECKLE_STILL,
    STRAY_V_PER_PERCENT,
    STUCK_THERMOMETER_C,
    THERMOMETER_NOISE_C,
    TRANSMITTED_V_PER_PERCENT,
    VORTEX_AT_1000_RPM,
    WRONG_SUPPLY_V,
)
from .noise import bell
from .plant import PlantState, effective_drive

# Numbers of the noise channels: photodiode n has n (amplifier), n + 8 (speckle) and n + 16 (the fault's light).
_SPECKLE, _FAULT, _AUX, _THERMOMETER = 8, 16, 32, 33


def light_percent(state: PlantState) -> float:
    """Return the infrared light in % of a cool lamp's full light."""
    leds = state.leds
    infrared = leds[state.light.ir_led]
    others = sum(leds) - infrared
    light = infrared * (DIM_LED_FRACTION if state.faults.ir_led_dim else 1.0) + OTHER_LED_FRACTION * others
    return light * (1.0 + LAMP_DRIFT_PER_C * (state.vial_c - LAMP_REFERENCE_C))


def steady_signal_v(state: PlantState, angle: str) -> float:
    """Return what the lamps give a photodiode at an angle, in V, without room light and noise."""
    light, od = light_percent(state), state.culture.biomass_od * state.suspended
    if angle == NO_ANGLE:
        return 0.0
    if angle == REF:
        return light * REF_V_PER_PERCENT
    clear = 1.0 - VORTEX_AT_1000_RPM * (state.rpm / 1000.0) ** 2
    if angle == "180":
        return light * TRANSMITTED_V_PER_PERCENT * math.exp(-od * clear)
    scattered = SCATTER_V_PER_PERCENT_OD[angle] * od * math.exp(-od / SCATTER_PEAK_OD[angle])
    return light * (scattered * clear + STRAY_V_PER_PERCENT[angle])


def photodiode_voltage_v(state: PlantState, pd_channel: str) -> float:
    """Return the voltage of a photodiode ("1".."4") at its ADC's input, in V, never below 0."""
    number = PHOTODIODES.index(pd_channel)
    angle = ANGLES[state.light[number]]
    if angle == NO_ANGLE:
        return 0.0
    seed, time_s = state.seed, state.time_s
    signal_v = steady_signal_v(state, angle)
    noise_v = AMPLIFIER_NOISE_V * bell(seed, number, time_s)
    if angle != REF:
        speckle = SPECKLE_STILL + (SPECKLE_AT_500_RPM - SPECKLE_STILL) * state.rpm / 500.0
        noise_v += signal_v * speckle * bell(seed, number + _SPECKLE, time_s)
    if state.faults.noisy_light:
        noise_v += NOISY_LIGHT_V * abs(bell(seed, number + _FAULT, time_s))
    room_v = AMBIENT_V + AMBIENT_MAINS_V * math.sin(2.0 * math.pi * MAINS_HZ * time_s)
    if state.faults.ambient_light:
        room_v += AMBIENT_LIGHT_V
    return max(0.0, signal_v + room_v + noise_v)


def aux_voltage_v(state: PlantState, duty_cycles: Mapping[str, float]) -> float:
    """Return the PWM rail as its ADC sees it behind the divider, in V; each load pulls it down a little."""
    duty_cycles = effective_drive(state, duty_cycles)
    sag_v = sum(sag_v * duty_cycles.get(role, 0.0) / 100.0 for role, sag_v in RAIL_SAG_V.items())
    rail_v = WRONG_SUPPLY_V if state.faults.supply_too_high else RAIL_V
    return RAIL_DIVIDER * (rail_v - sag_v) + AUX_NOISE_V * bell(state.seed, _AUX, state.time_s)


def heater_board_temperature_c(state: PlantState) -> float:
    """Return what the thermometer on the heater board touches, in degC."""
    if state.faults.thermometer_stuck:
        return STUCK_THERMOMETER_C
    touched_c = state.room_c if state.faults.sensor_fallen_off else state.board_c
    return touched_c + THERMOMETER_NOISE_C * bell(state.seed, _THERMOMETER, state.time_s)
