"""Temperature: how warm the liquid is, from a thermometer on the heater board; and the thermostat.

The heater board, the liquid above it and the room exchange heat (rates in 1/s, power in degC/s of the board):

    d board  / dt = power x duty cycle / 100 - board_to_liquid x (board - liquid) - board_to_room x (board - room)
    d liquid / dt = liquid_from_board x (board - liquid) - liquid_to_room x (liquid - room)

Only the board is measured. What its curve tells of the rest is collected by a Kalman filter over (board, liquid,
room, power): room and power are estimated as well, since neither is known and each would shift the liquid by degrees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from reactor_unit.workers.laws.matrix import Matrix, apply, diagonal, product, symmetric, total, transposed
from reactor_unit.workers.laws.pid import PID, PIDState, clamp

SAMPLE_INTERVAL_S = 5.0
SAMPLES = 21
"""Readings of the board that one published temperature and one check of the thermometer rest on."""


@dataclass(frozen=True)
class Cycle:
    """One round of heating and resting, after which a temperature is published and the thermostat acts.

    The heater rests at the end of each round. That shows that the board obeys it, and helps to tell room and power.
    """

    heating_s: float
    resting_s: float

    @property
    def period_s(self) -> float:
        """Seconds of one round."""
        return self.heating_s + self.resting_s

    @property
    def heating_share(self) -> float:
        """The share of the round with the heater on, 0..1."""
        return self.heating_s / self.period_s

    def is_heating(self, since_start_s: float) -> bool:
        """Whether the heater is on at this time after the first round's start.

        >>> STEADY_CYCLE.is_heating(189.9), STEADY_CYCLE.is_heating(190.0), STEADY_CYCLE.is_heating(200.0)
        (True, False, True)
        """
        return since_start_s % self.period_s < self.heating_s


REFERENCE_CYCLE = Cycle(heating_s=95.0, resting_s=105.0)
"""The reference system's. The liquid cools by degrees while the heater rests for so long."""

STEADY_CYCLE = Cycle(heating_s=190.0, resting_s=10.0)
"""The same period, with as short a rest as the estimate needs."""


@dataclass(frozen=True)
class HeatExchange:
    """How fast board, liquid and room exchange heat, in 1/s; the defaults are for 14 ml of liquid.

    They are a fit to what is known of real boards: on the cooling curve that follows from them, the reference system's
    regression, which was trained on measured liquids, finds the liquid's temperature within 0.65 degC. One of them
    that is 10 % off shifts the estimate by less than 0.1 degC, since room and power are fitted along.
    """

    board_to_liquid: float = 0.0306
    board_to_room: float = 0.0113
    liquid_from_board: float = 0.0117
    liquid_to_room: float = 0.00041

    def for_volume(self, volume_ml: float) -> HeatExchange:
        """Return the rates with so much liquid: more has more to warm, the surfaces stay about the same.

        >>> HeatExchange().for_volume(28.0).liquid_from_board
        0.00585
        """
        if volume_ml <= 0:
            raise ValueError(f"A volume of {volume_ml:g} ml has no temperature.")
        share = 14.0 / volume_ml
        return replace(
            self, liquid_from_board=share * self.liquid_from_board, liquid_to_room=share * self.liquid_to_room
        )

    def holding_duty_cycle(self, liquid_c: float, room_c: float, power_c_per_s: float) -> float:
        """Return the duty cycle in %, 0..100, that keeps the liquid as warm as it is.

        >>> round(HeatExchange().holding_duty_cycle(37.0, room_c=22.0, power_c_per_s=1.39), 1)
        13.8
        """
        board_c = liquid_c + self.liquid_to_room / self.liquid_from_board * (liquid_c - room_c)
        loss_c_per_s = self.board_to_liquid * (board_c - liquid_c) + self.board_to_room * (board_c - room_c)
        return clamp(100.0 * loss_c_per_s / max(power_c_per_s, 0.1), 0.0, 100.0)

    def transition(self, seconds: float, duty_cycle: float) -> Matrix:
        """Return how (board, liquid, room, power) go on for `seconds` at a duty cycle: the exact solution."""
        a, b = -(self.board_to_liquid + self.board_to_room), self.board_to_liquid
        c, d = self.liquid_from_board, -(self.liquid_from_board + self.liquid_to_room)
        mean, split = (a + d) / 2.0, math.sqrt(((a - d) / 2.0) ** 2 + b * c)
        # Both exponents are negative; written so, nothing overflows however long the time is.
        fast, slow = math.exp((mean - split) * seconds), math.exp((mean + split) * seconds)
        even, odd = (slow + fast) / 2.0, (slow - fast) / (2.0 * split)
        to_board = (even + odd * (a - mean), odd * b)
        to_liquid = (odd * c, even + odd * (d - mean))
        scale = duty_cycle / 100.0 / (a * d - b * c)
        return (
            (*to_board, 1.0 - sum(to_board), scale * (d * (to_board[0] - 1.0) - b * to_liquid[0])),
            (*to_liquid, 1.0 - sum(to_liquid), scale * (a * to_liquid[0] - c * (to_board[0] - 1.0))),
            (0.0, 0.0, 1.0, 0.0),
            (0.0, 0.0, 0.0, 1.0),
        )


USUAL_POWER_C_PER_S = 1.39
"""degC/s. How fast a sound heater at 100 % would warm a board that loses nothing; from the same fit."""


@dataclass(frozen=True)
class TemperatureState:
    """What is known of the heat at one moment, with the covariance of (board, liquid, room, power)."""

    at_s: float
    board_c: float
    liquid_c: float
    room_c: float
    power_c_per_s: float  # how fast the heater at 100 % would warm a board that loses nothing
    covariance: Matrix = field(repr=False)

    @property
    def liquid_sd_c(self) -> float:
        """Standard deviation of the liquid's temperature: some degC at first, hundredths after a few minutes."""
        return math.sqrt(max(0.0, self.covariance[1][1]))

    @property
    def vector(self) -> tuple[float, float, float, float]:
        """Board, liquid, room and power, in the order of the covariance."""
        return self.board_c, self.liquid_c, self.room_c, self.power_c_per_s


@dataclass(frozen=True)
class LiquidThermometer:
    """Estimate the liquid's temperature from the board's: step it with each reading, every 5 s or so.

    For the job: `begin` with the first reading, then at each reading `next` with the duty cycle that the heater had
    since the last one. When the heater changes in between, call `elapsed` at the change. Publish `state.liquid_c`.

    >>> thermometer = LiquidThermometer(HeatExchange())
    >>> state = thermometer.begin(22.0, at_s=0.0)
    >>> state = thermometer.next(state, 22.6, duty_cycle=12.0, at_s=5.0)
    >>> round(state.board_c, 1), state.liquid_sd_c > 1.0
    (22.6, True)
    """

    exchange: HeatExchange = field(default_factory=HeatExchange)
    usual_room_c: float = 22.0
    usual_power_c_per_s: float = USUAL_POWER_C_PER_S
    reading_sd_c: float = 0.03  # of a mean of six readings in steps of 0.0625 degC
    initial_sd: tuple[float, float, float, float] = (0.05, 5.0, 4.0, 0.3)
    # Growth of the standard deviations in sqrt(s): doors, lids and doses disturb, the room changes within hours, the
    # supply hardly.
    drift: tuple[float, float, float, float] = (0.003, 0.0005, 0.002, 0.0002)

    def begin(self, board_c: float, *, at_s: float) -> TemperatureState:
        """Return the first state; the liquid may be as warm as the board, or not."""
        covariance = diagonal([sd * sd for sd in self.initial_sd])
        return TemperatureState(at_s, board_c, board_c, self.usual_room_c, self.usual_power_c_per_s, covariance)

    def elapsed(self, state: TemperatureState, *, duty_cycle: float, at_s: float) -> TemperatureState:
        """Return what is to be expected at `at_s`, with the heater at `duty_cycle` % since the state's moment."""
        seconds = at_s - state.at_s
        if seconds < 0:
            raise ValueError(f"Time goes back by {-seconds:g} s.")
        transition = self.exchange.transition(seconds, duty_cycle)
        drift = diagonal([sd * sd * seconds for sd in self.drift])
        covariance = total(product(product(transition, state.covariance), transposed(transition)), drift)
        board_c, liquid_c, room_c, power = apply(transition, state.vector)
        return TemperatureState(at_s, board_c, liquid_c, room_c, power, symmetric(covariance))

    def next(self, state: TemperatureState, board_c: float, *, duty_cycle: float, at_s: float) -> TemperatureState:
        """Return the state with one more reading, made at `at_s` with the heater at `duty_cycle` % until then."""
        expected = self.elapsed(state, duty_cycle=duty_cycle, at_s=at_s)
        to_board = expected.covariance[0]
        variance = to_board[0] + self.reading_sd_c**2
        gain = tuple(value / variance for value in to_board)
        surprise_c = board_c - expected.board_c
        board, liquid_c, room_c, power = (
            value + g * surprise_c for value, g in zip(expected.vector, gain, strict=True)
        )
        covariance = tuple(
            tuple(value - g * other for value, other in zip(row, to_board, strict=True))
            for row, g in zip(expected.covariance, gain, strict=True)
        )
        # A heater does not cool.
        return TemperatureState(at_s, board, liquid_c, room_c, max(power, 0.0), symmetric(covariance))


@dataclass(frozen=True)
class Thermostat:
    """Correct the heater's duty cycle once a cycle: the PID's output is added to it.

    So the duty cycle itself is the integral. It is limited to 0..100 %, and the PID's own integral stands still while a
    limit holds, so nothing winds up. The gains are meant for the reference's cycle, whose heater is on for 47.5 % of
    the time; in a cycle with more heating the same correction is made with a smaller change.

    For the job, at the end of each cycle:

    >>> thermostat = Thermostat(PID(kp=2.6, ki=0.0, kd=4.6, output_limit=25.0), REFERENCE_CYCLE)
    >>> duty_cycle, state = thermostat.next_duty_cycle(0.0, PIDState(), target_c=37.0, liquid_c=32.0)
    >>> duty_cycle
    13.0
    >>> thermostat.next_duty_cycle(duty_cycle, state, target_c=37.0, liquid_c=36.0)[0]
    0.0
    """

    pid: PID
    cycle: Cycle = STEADY_CYCLE

    def next_duty_cycle(
        self, duty_cycle: float, state: PIDState, *, target_c: float, liquid_c: float
    ) -> tuple[float, PIDState]:
        """Return the next duty cycle in %, within 0..100 and 2 decimals, and the state for the next cycle."""
        output, after = self.pid.next(state, target=target_c, measured=liquid_c)
        wanted = duty_cycle + output * REFERENCE_CYCLE.heating_share / self.cycle.heating_share
        limited = round(clamp(wanted, 0.0, 100.0), 2)
        if abs(limited - wanted) > 0.01:
            after = replace(after, integral=state.integral)
        return limited, after


def limited_target_c(target_c: float, max_target_c: float) -> float:
    """Return the target temperature within 0 degC and the model's first limit (max_temp_to_reduce_heating)."""
    return clamp(target_c, 0.0, max_target_c)
