"""What a task function is given: time as the reactor has it."""

from __future__ import annotations

import itertools

from reactor_unit.clock import UnitClock
from reactor_unit.workers.tasks import TaskContext

LONGER_THAN_A_TEST_S = 3600.0


def test_a_task_waits_in_the_reactors_seconds_and_renews_its_leases_in_real_ones() -> None:
    renewed: list[float] = []
    clock = UnitClock(speed=100_000.0)

    def renew() -> float:
        renewed.append(clock.monotonic())
        return 0.01

    context = TaskContext(lambda _progress: None, renew, lambda: None, clock)  # type: ignore[arg-type,return-value]
    began_s = context.clock()
    context.wait(LONGER_THAN_A_TEST_S)  # 36 ms
    assert context.clock() - began_s >= LONGER_THAN_A_TEST_S
    assert len(renewed) >= 3
    assert max(after - before for before, after in itertools.pairwise(renewed)) > 500.0  # 10 ms of it
