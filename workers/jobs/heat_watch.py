"""Looks at each reading of the heater board for what must not go on: the interlocks of the temperature job."""

from __future__ import annotations

from collections import deque

from reactor_unit.drivers.models import DEFAULT_MODEL, Model, load_models
from reactor_unit.workers.laws.heat_interlock import (
    WINDOW_S,
    BoardReading,
    HeatFault,
    HeatingLimits,
    rise_fault,
    stuck_sensor_fault,
)
from reactor_unit.workers.laws.temperature import SAMPLE_INTERVAL_S, SAMPLES, HeatExchange, TemperatureState


def limits_of(model: Model | None) -> HeatingLimits:
    """Return a model's limits; where nobody knows the model, the lowest that any model has."""
    models = [model] if model is not None else list(load_models().values())
    lowest = min(models, key=lambda known: (known.max_temp_to_shutdown, known.key != DEFAULT_MODEL))
    return HeatingLimits(
        reduce_c=lowest.max_temp_to_reduce_heating,
        disable_c=lowest.max_temp_to_disable_heating,
        shutdown_c=lowest.max_temp_to_shutdown,
    )


class HeatWatch:
    """The readings that the interlocks look back on, and what they find in them."""

    def __init__(self, limits: HeatingLimits, exchange: HeatExchange) -> None:
        self.limits = limits
        self._exchange = exchange
        self._intervals: deque[tuple[TemperatureState, BoardReading]] = deque(
            maxlen=round(WINDOW_S / SAMPLE_INTERVAL_S)
        )
        self._latest: TemperatureState | None = None
        self._latest_board_c = 0.0
        self._samples_c: deque[float] = deque(maxlen=SAMPLES)

    def fault(self, board_c: float, estimate: TemperatureState, duty_cycle: float) -> HeatFault | None:
        """Take a reading, and the estimate with it, after an interval at `duty_cycle` %; return what is wrong."""
        if self._latest is not None:
            began = BoardReading(self._latest.at_s, self._latest_board_c, duty_cycle)
            self._intervals.append((self._latest, began))
        self._latest, self._latest_board_c = estimate, board_c
        self._samples_c.append(board_c)
        return self.limits.fault(board_c) or self._rise_fault(BoardReading(estimate.at_s, board_c, 0.0))

    def _rise_fault(self, now: BoardReading) -> HeatFault | None:
        if not self._intervals:
            return None
        window = [reading for _, reading in self._intervals]
        return rise_fault(self._intervals[0][0], [*window, now], self._exchange)

    def cycle_fault(self, duty_cycle: float) -> HeatFault | None:
        """Return what is wrong with the readings of a cycle that ends, in which the heater was at `duty_cycle` %."""
        return stuck_sensor_fault(self._samples_c, duty_cycle) if len(self._samples_c) == SAMPLES else None

    def forget(self) -> None:
        """Begin anew after a gap: nobody knows what happened in it."""
        self._intervals.clear()
        self._samples_c.clear()
        self._latest = None
