"""Interlocks of the heater: what must not be believed, and what must not go on.

Each function looks at one danger and returns a `HeatFault`, or None while all is well. None of them heats, logs or
remembers; whoever asks does what the fault says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from reactor_unit.workers.laws.temperature import USUAL_POWER_C_PER_S, HeatExchange, TemperatureState

TELLING_DUTY_CYCLE = 5.0
"""%. From here on the board has to answer the heater."""

RISE_MARGIN_C = 1.5
"""degC. What doses, drafts and the model's errors may add to or take from a board's curve within WINDOW_S."""

POWER_SHARES = (0.4, 1.7)
"""How weak and how strong a sound heater may be, relative to the usual one: supplies and resistors differ."""

WINDOW_S = 105.0
"""s. How far back `rise_fault` looks: in less, a weak heater at TELLING_DUTY_CYCLE shows too little."""


class HeatDanger(StrEnum):
    """What is wrong, by the names that faults are known by."""

    WARM = "heater_warm"
    HOT = "heater_hot"
    TOO_HOT = "heater_too_hot"
    STALE_READING = "temperature_reading_stale"
    STUCK_SENSOR = "temperature_sensor_stuck"
    STUCK_HEATER = "heater_stuck_on"
    NO_RISE = "temperature_sensor_not_on_heater"


@dataclass(frozen=True)
class HeatFault:
    """One danger: which, in a sentence with numbers, and what the heater's duty cycle is to be multiplied with."""

    danger: HeatDanger
    message: str
    duty_cycle_factor: float = 0.0
    shut_down: bool = False  # the heater cannot be trusted to be off: take the power away


@dataclass(frozen=True)
class BoardReading:
    """One reading of the heater board, and the duty cycle in force from it to the next one, in %."""

    at_s: float
    board_c: float
    duty_cycle: float


@dataclass(frozen=True)
class HeatingLimits:
    """A model's three limits for the heater board, in degC, rising.

    >>> limits = HeatingLimits(reduce_c=63.0, disable_c=65.0, shutdown_c=66.0)
    >>> limits.fault(60.0)
    >>> limits.fault(64.0).duty_cycle_factor
    0.9
    >>> limits.fault(66.5).shut_down
    True
    """

    reduce_c: float
    disable_c: float
    shutdown_c: float

    def fault(self, board_c: float) -> HeatFault | None:
        """Return the highest limit that the board is above, as a fault. A temperature that is no number is above all.

        WARM is the everyday one: heat less and go on. HOT and TOO_HOT mean that something is wrong.
        """
        is_hot = f"The heater board is at {board_c:.1f} degC, above the limit of"
        if not board_c <= self.shutdown_c:
            return HeatFault(
                HeatDanger.TOO_HOT, f"{is_hot} {self.shutdown_c:g} degC for switching the unit off.", shut_down=True
            )
        if board_c > self.disable_c:
            return HeatFault(HeatDanger.HOT, f"{is_hot} {self.disable_c:g} degC; the heater is off.")
        if board_c > self.reduce_c:
            return HeatFault(HeatDanger.WARM, f"{is_hot} {self.reduce_c:g} degC; heating less.", duty_cycle_factor=0.9)
        return None


def stale_fault(age_s: float, bound_s: float) -> HeatFault | None:
    """Return a fault when the last reading is older than its bound: nobody knows how warm it is.

    >>> stale_fault(12.0, 10.0).message
    'The last reading of the heater board is 12 s old; 10 s is the most to heat with.'
    """
    if age_s <= bound_s:
        return None
    message = f"The last reading of the heater board is {age_s:.0f} s old; {bound_s:g} s is the most to heat with."
    return HeatFault(HeatDanger.STALE_READING, message)


def stuck_sensor_fault(readings_c: Sequence[float], duty_cycle_before: float) -> HeatFault | None:
    """Return a fault when all of at least three readings are identical although the heater was on before or in them.

    Only for readings among which the heater was switched on or off, such as the last 21 of a cycle: a board that is
    heated evenly may read the same for long.
    """
    if duty_cycle_before < TELLING_DUTY_CYCLE or len(readings_c) < 3 or len(set(readings_c)) > 1:
        return None
    return HeatFault(
        HeatDanger.STUCK_SENSOR,
        f"All {len(readings_c)} readings of the heater board are {readings_c[0]:.4f} degC, although the heater was at "
        f"{duty_cycle_before:.1f} %. The thermometer is stuck.",
    )


def rise_fault(start: TemperatureState, readings: Sequence[BoardReading], exchange: HeatExchange) -> HeatFault | None:
    """Return a fault when the board went where no sound heater and thermometer go.

    `start` is what was known at the first reading, the readings are in order and span up to WINDOW_S. The board must
    end between what the weakest and what the strongest heater (POWER_SHARES) would give with the duty cycles it had.
    Above: the heater heats by itself. Below, when it was on for at least half the time: the thermometer is not on it.
    """
    if len(readings) < 2:
        return None
    first, last = readings[0], readings[-1]
    seconds = last.at_s - first.at_s
    mean_duty_cycle = _heat_given(readings) / seconds
    lowest_c = _board_after(start, readings, exchange, POWER_SHARES[0], sds=-3.0) - RISE_MARGIN_C
    highest_c = _board_after(start, readings, exchange, POWER_SHARES[1], sds=3.0) + RISE_MARGIN_C
    went = (
        f"The heater board went from {first.board_c:.1f} to {last.board_c:.1f} degC in {seconds:.0f} s at a mean duty "
        f"cycle of {mean_duty_cycle:.1f} %"
    )
    if last.board_c > highest_c:
        message = f"{went}; a sound heater takes it to {highest_c:.1f} degC at most. The heater is stuck on."
        return HeatFault(HeatDanger.STUCK_HEATER, message, shut_down=True)
    if last.board_c < lowest_c and mean_duty_cycle >= TELLING_DUTY_CYCLE:
        message = f"{went}; it should be at {lowest_c:.1f} degC at least. The thermometer may be off the heater."
        return HeatFault(HeatDanger.NO_RISE, message)
    return None


def _heat_given(readings: Sequence[BoardReading]) -> float:
    """Return the integral of the duty cycle in % x s."""
    return sum(before.duty_cycle * (after.at_s - before.at_s) for before, after in pairwise(readings))


def _board_after(
    start: TemperatureState, readings: Sequence[BoardReading], exchange: HeatExchange, power_share: float, sds: float
) -> float:
    """Return the board's temperature at the last reading, with a heater of that share of the usual power.

    The liquid is taken as `sds` standard deviations warmer than estimated, the room as the estimate has it.
    """
    board_c, liquid_c = readings[0].board_c, start.liquid_c + sds * start.liquid_sd_c
    for before, after in pairwise(readings):
        to_board, to_liquid, _, _ = exchange.transition(after.at_s - before.at_s, before.duty_cycle)
        vector = (board_c, liquid_c, start.room_c, power_share * USUAL_POWER_C_PER_S)
        board_c, liquid_c = (sum(x * y for x, y in zip(row, vector, strict=True)) for row in (to_board, to_liquid))
    return board_c
