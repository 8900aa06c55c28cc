"""Checks of what moves and warms: stirrer and hall sensor, heater and thermometer, pumps."""

from contextlib import closing

from ..claims import OutputClaimed
from ..errors import HardwareFault
from ..hall_sensor import HallSensor
from ..heater import Heater, open_thermometer
from ..pwm import PWM
from ..tmp1075 import TMP1075
from .bench import FAIL, OK, SKIPPED, Bench, Finding
from .light import STANDS_RATIO, TURNS_RATIO, flicker_ratio

KICK_S, SETTLES_S, WINDOW_S = 0.5, 3.0, 3.0
"""s. Full power against friction at rest, then until the speed is steady, then the measurement."""
IDLE_S, HEATING_S = 5.0, 6.0
HEATING_DUTY_CYCLE = 50.0  # %
WARMS_BY_ITSELF_C = 0.5
"""degC in IDLE_S: a stuck heater warms a board at room temperature by 7 degC, ten times the thermometer's step."""
HOT_C, COOLS_C = 45.0, 0.1
"""degC: a board this hot loses at least that much in IDLE_S to a room of up to 35 degC unless something heats it."""
TOO_WARM_TO_HEAT_C = 55.0
SMALLEST_WARMING_C = 0.5
"""degC in HEATING_S, beyond what the board did by itself; a sound heater gives several."""
PUMPS = ("media", "alt_media", "waste")
PUMP_S, PUMP_DUTY_CYCLE = 1.0, 100.0
SMALLEST_VOLUME_ML = 0.02
"""ml in PUMP_S: a fifth of what the pumps move, and what one reads off a beaker."""


def check_stirrer(bench: Bench) -> Finding:
    """Turn the stirrer at the configured duty cycle and count its turns."""
    name, duty_cycle = "stirrer", bench.stirring_duty_cycle
    with closing(bench.hardware.open_pwm(bench.pin("stirring"), bench.stirring_hz)) as pwm:
        with HallSensor(bench.hardware.gpio, bench.board.hall_sensor_pin, clock=bench.clock) as hall:
            pwm.set_duty_cycle(100.0)
            bench.wait(KICK_S)
            pwm.set_duty_cycle(duty_cycle)
            bench.wait(SETTLES_S)
            rpm = hall.measure_rpm(WINDOW_S, bench.wait)
        if rpm > 0.0:
            return Finding(name, OK, f"At a duty cycle of {duty_cycle:g} % the stirrer turns at {rpm:.0f} rpm.")
        return _why_no_pulses(bench, pwm)


def _why_no_pulses(bench: Bench, pwm: PWM) -> Finding:
    """Tell a stirrer that stands from a sensor that is silent by the light: moving liquid flickers."""
    said = f"No pulse came from the hall sensor in {WINDOW_S:g} s at a duty cycle of {bench.stirring_duty_cycle:g} %"
    stands = "check that it turns freely, its plug on its PWM channel, and [PWM] in the configuration"
    silent = f"check the hall sensor's plug (GPIO {bench.board.hall_sensor_pin}) and the magnets on the stirrer"
    try:
        ratio = flicker_ratio(bench, pwm)
    except HardwareFault:
        ratio = None
    if ratio is not None and ratio >= TURNS_RATIO:
        what = f"{said}, yet the light flickers {ratio:.0f} times as much as at rest: the hall sensor is silent."
        return Finding("stirrer", FAIL, what, f"The stirrer turns: {silent}. Until then set use_rpm=0.")
    if ratio is not None and ratio < STANDS_RATIO:
        what = f"{said}, and the light is as steady as at rest ({ratio:.1f} times): the stirrer is stalled."
        return Finding("stirrer", FAIL, what, f"If it stands, {stands}. If it turns without a vial, {silent}.")
    what = f"{said}: the stirrer is stalled, or the hall sensor is silent; the light does not tell which."
    return Finding("stirrer", FAIL, what, f"Look at the stirrer. If it stands, {stands}. If it turns, {silent}.")


def check_heater(bench: Bench) -> Finding:
    """See that the heater's board stays as it is while the heater is off, and warms while it is on."""
    name = "heater"
    thermometer = open_thermometer(bench.hardware.i2c, bench.board)
    with closing(bench.hardware.open_heater()) as heater:
        first_c = _temperature_c(bench, thermometer)
        bench.wait(IDLE_S)
        idle_c = _temperature_c(bench, thermometer)
        drift_c = idle_c - first_c
        if drift_c > WARMS_BY_ITSELF_C or (idle_c > HOT_C and drift_c > -COOLS_C):
            return Finding(
                name,
                FAIL,
                f"The heater is stuck on: at a duty cycle of 0 % its board went from {first_c:.1f} to {idle_c:.1f} "
                f"degC in {IDLE_S:g} s.",
                "Cut the power now: the heater's transistor conducts whatever the software does, so the HAT needs "
                "repair. Only if a vial much warmer than its holder was just put in, wait 10 minutes and check again.",
            )
        if idle_c > TOO_WARM_TO_HEAT_C:
            what = f"The heater's board is at {idle_c:.1f} degC; it is not heated above {TOO_WARM_TO_HEAT_C:g} degC."
            return Finding(name, SKIPPED, what, "Wait until it has cooled down, then check again.")
        heated_c = _heat(bench, heater, thermometer)
    gained_c = heated_c - idle_c - drift_c * HEATING_S / IDLE_S
    said = f"in {HEATING_S:g} s at {HEATING_DUTY_CYCLE:g} % its board went from {idle_c:.1f} to {heated_c:.1f} degC"
    if gained_c < SMALLEST_WARMING_C:
        remedy = "Check the flat cable between the HAT and the heater board, and that PWM channel 5 has its supply."
        return Finding(name, FAIL, f"The heater does not heat: {said}.", remedy)
    return Finding(name, OK, f"The heater heats: {said}; at 0 % it changed by {drift_c:+.1f} degC in {IDLE_S:g} s.")


def _heat(bench: Bench, heater: Heater, thermometer: TMP1075) -> float:
    """Heat for HEATING_S, stopping where it gets too warm, and return the temperature then; off again afterwards."""
    try:
        heater.set_duty_cycle(HEATING_DUTY_CYCLE)
        for _ in range(round(HEATING_S)):
            bench.wait(HEATING_S / round(HEATING_S))
            if thermometer.read_temperature_c() > TOO_WARM_TO_HEAT_C + 5.0:
                break
        return _temperature_c(bench, thermometer)
    finally:
        heater.set_duty_cycle(0.0)


def _temperature_c(bench: Bench, thermometer: TMP1075) -> float:
    return thermometer.mean_temperature_c(4, 0.05, bench.wait)


def check_pumps(bench: Bench) -> list[Finding]:
    """Run each pump for a moment if liquid may be moved, and have somebody look at what it moved."""
    if not bench.pumps:
        remedy = "Put each pump's tube into a beaker, then check again with --pumps."
        return [Finding("pumps", SKIPPED, "Pumps are run only when that is asked for: it moves liquid.", remedy)]
    roles = [role for role in PUMPS if role in bench.assignment.values()]
    return [_check_pump(bench, role) for role in roles] or [Finding("pumps", SKIPPED, "No pump is assigned in [PWM].")]


def _check_pump(bench: Bench, role: str) -> Finding:
    name = f"pump_{role}"
    try:
        with closing(bench.hardware.open_pump(role, bench.assignment)) as pump:
            before_ml = bench.observe(role)
            ran_s = pump.run_for(PUMP_S, PUMP_DUTY_CYCLE, bench.wait, bench.clock)
            after_ml = bench.observe(role)
    except OutputClaimed as ex:
        return Finding(name, SKIPPED, str(ex), ex.remediation)
    except HardwareFault as ex:
        return Finding(name, FAIL, f"{ex} {ex.cause}", ex.remediation)
    if before_ml is not None and after_ml is not None:
        return judge_volume(role, after_ml - before_ml)
    what = f"The {role} pump ran for {ran_s:.1f} s; software cannot see whether liquid moved."
    return Finding(name, SKIPPED, what, "Look into its beaker: some 0.1 ml have to be there, else its tube is blocked.")


def judge_volume(role: str, volume_ml: float) -> Finding:
    """Return what a volume says, in ml, that somebody read off after a pump ran for PUMP_S."""
    name, said = f"pump_{role}", f"The {role} pump moved {volume_ml:.2f} ml in {PUMP_S:g} s"
    if volume_ml >= SMALLEST_VOLUME_ML:
        return Finding(name, OK, f"{said}.")
    remedy = "Look for a kinked, clamped or clogged tube, an empty bottle, and the pump's plug; feel whether it turns."
    return Finding(name, FAIL, f"{said}: it is blocked, empty or does not run.", remedy)
