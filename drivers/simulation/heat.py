"""Heater board and vial, in closed form: two bodies that exchange heat with each other and with the room.

    d board / dt = HEATING_C_PER_S x duty cycle / 100 - BOARD_TO_VIAL x (board - vial) - BOARD_TO_ROOM x (board - room)
    d vial / dt  = VIAL_FROM_BOARD x (board - vial) - VIAL_TO_ROOM x (vial - room)

This is linear: both are their settled values plus a fast and a slow exponential.
"""

import math
from typing import NamedTuple

from .constants import (
    BOARD_TO_ROOM_PER_S,
    BOARD_TO_VIAL_PER_S,
    HEATING_C_PER_S,
    VIAL_FROM_BOARD_PER_S,
    VIAL_TO_ROOM_PER_S,
)

_BOARD = BOARD_TO_VIAL_PER_S + BOARD_TO_ROOM_PER_S
_VIAL = VIAL_FROM_BOARD_PER_S + VIAL_TO_ROOM_PER_S
_MEAN = (_BOARD + _VIAL) / 2.0
_SPLIT = math.sqrt(((_BOARD - _VIAL) / 2.0) ** 2 + BOARD_TO_VIAL_PER_S * VIAL_FROM_BOARD_PER_S)
FAST_PER_S, SLOW_PER_S = _MEAN + _SPLIT, _MEAN - _SPLIT
"""1/s: time constants of about 20 s and 220 s."""

# (board, vial) of each mode: the vial's row of the matrix gives board = vial x (1 - rate / VIAL_FROM_BOARD ...).
_FAST_BOARD = (_VIAL - FAST_PER_S) / VIAL_FROM_BOARD_PER_S
_SLOW_BOARD = (_VIAL - SLOW_PER_S) / VIAL_FROM_BOARD_PER_S
_VIAL_C_AT_100 = HEATING_C_PER_S * VIAL_FROM_BOARD_PER_S / (FAST_PER_S * SLOW_PER_S)
_BOARD_C_AT_100 = _VIAL_C_AT_100 * _VIAL / VIAL_FROM_BOARD_PER_S


class Warming(NamedTuple):
    """How the temperatures go on from one moment, with a constant duty cycle."""

    settled_board_c: float
    settled_vial_c: float
    fast_c: float  # how far the vial is from settled, in each of the two exponentials
    slow_c: float

    def vial_c(self, seconds: float) -> float:
        """Return the vial's temperature after `seconds`."""
        fast_c = self.fast_c * math.exp(-FAST_PER_S * seconds)
        return self.settled_vial_c + fast_c + self.slow_c * math.exp(-SLOW_PER_S * seconds)

    def board_c(self, seconds: float) -> float:
        """Return the heater board's temperature after `seconds`."""
        fast_c = _FAST_BOARD * self.fast_c * math.exp(-FAST_PER_S * seconds)
        return self.settled_board_c + fast_c + _SLOW_BOARD * self.slow_c * math.exp(-SLOW_PER_S * seconds)

    @property
    def steady(self) -> bool:
        """Whether the vial's temperature stays as it is, for all that depends on it."""
        return abs(self.fast_c) < 0.002 and abs(self.slow_c) < 0.002


def warming(board_c: float, vial_c: float, duty_cycle: float, room_c: float) -> Warming:
    """Return how the temperatures go on with a heater at `duty_cycle` %."""
    settled_board_c = room_c + _BOARD_C_AT_100 * duty_cycle / 100.0
    settled_vial_c = room_c + _VIAL_C_AT_100 * duty_cycle / 100.0
    board, vial = board_c - settled_board_c, vial_c - settled_vial_c
    fast_c = (board - _SLOW_BOARD * vial) / (_FAST_BOARD - _SLOW_BOARD)
    return Warming(settled_board_c, settled_vial_c, fast_c, vial - fast_c)
