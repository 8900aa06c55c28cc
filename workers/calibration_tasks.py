"""What calibration sessions have the pool do with the hardware: run a pump, measure speeds, measure a vial."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from typing import Any

from reactor_unit.config import Config
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.drivers.photodiodes import open_aux_voltage
from reactor_unit.drivers.stirrer import Stirrer
from reactor_unit.workers.laws.pid import PID
from reactor_unit.workers.laws.stirring import KICK_S, SETTLE_S, StirringLaw, StirringState
from reactor_unit.workers.od_reader import ODReader
from reactor_unit.workers.tasks import TaskContext, TaskFunction

log = logging.getLogger(__name__)

LoadConfig = Callable[[], Config]

LONGEST_PUMP_RUN_TIMEOUT_S = 330.0
TIMEOUT_S = 300.0
POINTS = 5  # duty cycles on each of three ways through the range
WARM_UP_S, SPEED_SETTLE_S, SPEED_WINDOW_S = 3.0, 2.0, 2.0
REACH_S = 60.0  # then a speed that is not reached is taken as it is
STIRRING_WINDOW_S = 1.5
MAX_CORRECTION = 7.5  # % duty cycle at once
MIX_S = 15.0  # lifts what has sunk since the vial was put in: three times what a sediment takes
DISCARDED, DISCARDED_APART_S = 3, 1.0  # readings: the LED warms up
READINGS, READINGS_APART_S = 3, 3.0
SPEEDS = (0.9, 1.1, 0.8, 1.2)  # shares of the speed, so that the noise between speeds is seen
NEXT_SPEED_S = 2.0


def task_functions(load_config: LoadConfig) -> tuple[TaskFunction, ...]:
    """Return the pool tasks of calibration sessions."""
    return (
        TaskFunction("calibration_pump", partial(run_pump, load_config), LONGEST_PUMP_RUN_TIMEOUT_S),
        TaskFunction("calibration_stirring", partial(measure_speeds, load_config), TIMEOUT_S),
        TaskFunction("calibration_od", partial(measure_vial, load_config), TIMEOUT_S),
        TaskFunction("calibration_od_samples", partial(measure_samples, load_config), TIMEOUT_S),
    )


def run_pump(
    load_config: LoadConfig, context: TaskContext, *, pump: str, duration_s: float, hz: float, dc: float
) -> dict[str, Any]:
    """Run a pump for some seconds; return for how many it did (`ran_s`), and its supply's voltage (`voltage_v`)."""
    config = load_config()
    with closing(context.open_hardware()) as hardware:
        context.progress(0, duration_s, f"the {pump} pump runs for {duration_s:g} s")
        with hardware.open_pump(pump, config.pwm_assignment(), hz) as device:
            ran_s = device.run_for(duration_s, dc, context.wait, context.clock)
        return {"ran_s": ran_s, "voltage_v": _supply_voltage_v(hardware)}


def measure_speeds(load_config: LoadConfig, context: TaskContext, *, min_dc: float, max_dc: float) -> dict[str, Any]:
    """Measure the stirrer's speed at duty cycles down, up and down again; return `dcs` (%), `rpms` and `voltage_v`."""
    step = (max_dc - min_dc) / (POINTS - 1)
    up = [round(min_dc + step * number, 3) for number in range(POINTS)]
    dcs = [*reversed(up), *up, *reversed(up)]
    rpms: list[float] = []
    with closing(context.open_hardware()) as hardware, _stirrer(hardware, load_config()) as stirrer:
        stirrer.start((min_dc + max_dc) / 2, KICK_S, context.wait)
        context.wait(WARM_UP_S)
        for number, dc in enumerate(dcs):
            context.progress(number, len(dcs), f"{dc:g} %")
            stirrer.set_duty_cycle(dc)
            context.wait(SPEED_SETTLE_S)
            rpms.append(stirrer.measure_rpm(SPEED_WINDOW_S, context.wait))
        return {"dcs": dcs, "rpms": rpms, "voltage_v": _supply_voltage_v(hardware)}


def measure_vial(
    load_config: LoadConfig,
    context: TaskContext,
    *,
    rpm: float,
    channels: Mapping[str, str],
    ir_led_intensity: float,
    first_ref_v: float | None,
) -> dict[str, Any]:
    """Return the mean signal of each channel (`voltages`), and the reference's first voltage (`first_ref_v`)."""
    config = load_config()
    with closing(context.open_hardware()) as hardware, _stirrer(hardware, config) as stirrer:
        _reach(stirrer, config, rpm, context)
        with _reader(context, hardware, config, channels, ir_led_intensity, first_ref_v) as reader:
            _warm_up(reader, context)
            readings = []
            for number in range(READINGS):
                context.progress(number, READINGS, "reading")
                readings.append(_read(reader))
                context.wait(READINGS_APART_S if number < READINGS - 1 else 0.0)
            means = {channel: _mean([one[channel] for one in readings]) for channel in readings[0]}
            return {"voltages": means, "first_ref_v": reader.first_ref_v}


def measure_samples(
    load_config: LoadConfig,
    context: TaskContext,
    *,
    rpm: float,
    channels: Mapping[str, str],
    ir_led_intensity: float,
    first_ref_v: float | None,
    repeats: int,
) -> dict[str, Any]:
    """Return angle -> mean signal of `repeats` readings at different speeds (`samples`), and `first_ref_v`."""
    config = load_config()
    samples: list[dict[str, float]] = []
    with closing(context.open_hardware()) as hardware, _stirrer(hardware, config) as stirrer:
        _reach(stirrer, config, rpm, context)
        usual_dc = stirrer.duty_cycle
        with _reader(context, hardware, config, channels, ir_led_intensity, first_ref_v) as reader:
            _warm_up(reader, context)
            for number in range(repeats):
                context.progress(number, repeats, "reading")
                samples.append(_by_angle(_read(reader), channels))
                stirrer.set_duty_cycle(min(usual_dc * SPEEDS[number % len(SPEEDS)], 100.0))
                context.wait(NEXT_SPEED_S)
            return {"samples": samples, "first_ref_v": reader.first_ref_v}


def _stirrer(hardware: Hardware, config: Config) -> Stirrer:
    return hardware.open_stirrer(config.pwm_assignment(), config.get_float("stirring.config", "pwm_hz"))


def _reach(stirrer: Stirrer, config: Config, rpm: float, context: TaskContext) -> None:
    """Stir at a speed until what has sunk is lifted; a speed that is not reached within a minute is no error."""
    if rpm == 0:
        return
    context.progress(0, 1, f"stirring at {rpm:g} rpm")
    kp, ki, kd = (config.get_float("stirring.pid", gain) for gain in ("Kp", "Ki", "Kd"))
    law = StirringLaw(PID(kp, ki, kd, output_limit=MAX_CORRECTION))
    duty_cycle, state = config.get_float("stirring.config", "initial_duty_cycle"), StirringState()
    stirrer.start(duty_cycle, KICK_S, context.wait)
    for _ in range(round(REACH_S / (SETTLE_S + STIRRING_WINDOW_S))):
        context.wait(SETTLE_S)
        measured_rpm = stirrer.measure_rpm(STIRRING_WINDOW_S, context.wait)
        if measured_rpm > 0 and law.is_near(target_rpm=rpm, measured_rpm=measured_rpm):
            break
        duty_cycle, state = law.next_duty_cycle(duty_cycle, state, target_rpm=rpm, measured_rpm=measured_rpm)
        stirrer.set_duty_cycle(duty_cycle)
    else:
        log.warning("The stirrer did not reach %g rpm within %g s.", rpm, REACH_S)
    context.wait(MIX_S)


def _reader(
    context: TaskContext,
    hardware: Hardware,
    config: Config,
    channels: Mapping[str, str],
    ir_led_intensity: float,
    first_ref_v: float | None,
) -> ODReader:
    """Return what reads as od_reading does, but each reading for itself."""
    return ODReader(
        context,
        hardware,
        config,
        angles=channels,
        interval_s=None,
        intensity=ir_led_intensity,
        first_ref_v=first_ref_v,
    )


def _read(reader: ODReader) -> dict[str, float]:
    """Return channel -> signal of one reading."""
    return {reading.channel: reading.od for reading in reader.read()}


def _warm_up(reader: ODReader, context: TaskContext) -> None:
    reader.start()
    for _ in range(DISCARDED):
        reader.read()
        context.wait(DISCARDED_APART_S)


def _by_angle(signals: Mapping[str, float], channels: Mapping[str, str]) -> dict[str, float]:
    angles = {channels[channel] for channel in signals}
    return {
        angle: _mean([signal for channel, signal in signals.items() if channels[channel] == angle]) for angle in angles
    }


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _supply_voltage_v(hardware: Hardware) -> float | None:
    """Return the supply's voltage in V, None where it cannot be measured: it is a note, and no reason to fail."""
    try:
        return open_aux_voltage(hardware.i2c, hardware.board).read_voltage_v()
    except HardwareFault as ex:
        log.warning("The outputs' supply was not measured: %s", ex)
        return None
