"""Self-tests of the HAT, the heater, the supply and the stirrer.

Correlations, duty cycles and the supply's limit are the reference system's.
"""

from __future__ import annotations

from contextlib import closing

from reactor_unit.drivers.heater import open_thermometer
from reactor_unit.drivers.photodiodes import open_aux_voltage
from reactor_unit.drivers.tmp1075 import TMP1075
from reactor_unit.workers.laws.correlation import correlation
from reactor_unit.workers.laws.stirring import KICK_S
from reactor_unit.workers.self_tests.bench import Bench, Failed

LEAST_CORRELATION = 0.9

HEATING_DUTY_CYCLES = tuple(float(duty_cycle) for duty_cycle in range(0, 30, 3))  # %
HEATING_STEP_S, IDLE_S = 1.5, 5.0
WARMS_BY_ITSELF_C = 0.5  # in IDLE_S; a heater that is stuck warms a cold board by 7 degC
TOO_WARM_C = 55.0  # a board this warm is not heated
LEAST_WARMING_C = 0.5  # a sound heater warms its board by 2 degC meanwhile

HIGHEST_SUPPLY_V = 18.0

SPEED_FACTORS = tuple(1.2 - 0.4 * step / 7 for step in range(8))  # of the usual duty cycle: 1.2 down to 0.8
SPINS_UP_S, SPEED_WINDOW_S = 3.0, 3.0


def hat_is_present(bench: Bench) -> str:
    """See that the HAT's own chip, which drives the LEDs, answers."""
    board = bench.hardware.board
    said = f"The chip at 0x{board.led_address:02x} of HAT {board.hat_version}"
    if not bench.hardware.i2c.answers(board.led_address):
        raise Failed(
            f"{said} does not answer.",
            "Check that the HAT sits on all pins of the Raspberry Pi; if it does, restart the Pi, which loads its "
            "firmware.",
        )
    return f"{said} answers."


def heater_board_is_present(bench: Bench) -> str:
    """See that the thermometer on the heater's board answers."""
    return f"The heater's board is at {_board_c(bench, _thermometer(bench)):.1f} degC."


def board_warms_with_heating(bench: Bench) -> str:
    """See that the heater's board warms as it is heated more, and not by itself."""
    thermometer = _thermometer(bench)
    with closing(bench.hardware.open_heater()) as heater:
        began_c, began_s = _board_c(bench, thermometer), bench.time.clock()
        bench.time.wait(IDLE_S)
        idle_c, idle_s = _board_c(bench, thermometer), bench.time.clock()
        drift_c_per_s = (idle_c - began_c) / (idle_s - began_s)
        _check_before_heating(began_c, idle_c)
        warming_c: list[float] = []
        for duty_cycle in HEATING_DUTY_CYCLES:
            heater.set_duty_cycle(duty_cycle)
            bench.time.wait(HEATING_STEP_S)
            now_c = _board_c(bench, thermometer)
            warming_c.append(now_c - idle_c - drift_c_per_s * (bench.time.clock() - idle_s))
    found = correlation(list(HEATING_DUTY_CYCLES), warming_c)
    said = (
        f"Heated with 0 to {HEATING_DUTY_CYCLES[-1]:g} %, its board warms by {warming_c[-1]:.1f} degC; the correlation "
        f"is {found:.3f}"
    )
    if found <= LEAST_CORRELATION or warming_c[-1] < LEAST_WARMING_C:
        raise Failed(
            f"{said}; it has to be above {LEAST_CORRELATION:g}, and the warming at least {LEAST_WARMING_C:g} degC.",
            "Check the flat cable between the HAT and the heater's board, that the thermometer sits on the board, and "
            "that PWM channel 5 has its supply.",
        )
    return f"{said}."


def _check_before_heating(began_c: float, idle_c: float) -> None:
    if idle_c - began_c > WARMS_BY_ITSELF_C:
        raise Failed(
            f"With the heater off its board went from {began_c:.1f} to {idle_c:.1f} degC in {IDLE_S:g} s.",
            "Cut the power now: the heater heats whatever the software does, so the HAT needs repair. Only if a much "
            "warmer vial was just put in, wait 10 minutes and test again.",
        )
    if idle_c > TOO_WARM_C:
        raise Failed(
            f"The heater's board is at {idle_c:.1f} degC; it is not heated above {TOO_WARM_C:g} degC.",
            "Wait until it has cooled down, then test again. If it does not cool, cut the power.",
        )


def supply_is_not_too_high(bench: Bench) -> str:
    """See that the supply of the PWM outputs is one that the HAT bears."""
    voltage_v = open_aux_voltage(bench.hardware.i2c, bench.hardware.board).read_voltage_v()
    said = f"The PWM outputs are supplied with {voltage_v:.1f} V"
    if voltage_v > HIGHEST_SUPPLY_V:
        raise Failed(
            f"{said}; the limit is {HIGHEST_SUPPLY_V:g} V.",
            "Unplug the auxiliary supply now: it is not the 12 V one that belongs to the reactor.",
        )
    return f"{said}."


def speed_follows_duty_cycle(bench: Bench) -> str:
    """See that the stirrer turns faster with a higher duty cycle."""
    usual = bench.stirring_duty_cycle
    duty_cycles = [min(usual * factor, 100.0) for factor in SPEED_FACTORS]
    rpms: list[float] = []
    with bench.stirrer() as stirrer:
        stirrer.start(duty_cycles[0], KICK_S, bench.time.wait)
        bench.time.wait(SPINS_UP_S)
        for duty_cycle in duty_cycles:
            stirrer.set_duty_cycle(duty_cycle)
            rpms.append(stirrer.measure_rpm(SPEED_WINDOW_S, bench.time.wait))
    found = correlation(duty_cycles, rpms)
    said = (
        f"From {duty_cycles[-1]:g} to {duty_cycles[0]:g} % the stirrer turns at {min(rpms):.0f} to {max(rpms):.0f} "
        f"rpm; the correlation is {found:.3f}"
    )
    if found <= LEAST_CORRELATION:
        raise Failed(
            f"{said}; it has to be above {LEAST_CORRELATION:g}.",
            "See whether the stirrer turns freely. If it turns, check the hall sensor's plug and the magnets; if it "
            "stands, its plug on its PWM channel, and [PWM] in the configuration.",
        )
    return f"{said}."


def _thermometer(bench: Bench) -> TMP1075:
    return open_thermometer(bench.hardware.i2c, bench.hardware.board)


def _board_c(bench: Bench, thermometer: TMP1075) -> float:
    return thermometer.mean_temperature_c(4, 0.05, bench.time.wait)
