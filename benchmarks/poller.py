"""What one poller takes for a round of 50 real units, without and with a dead and a hanging one among them."""

from __future__ import annotations

import contextlib
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from benchmarks.figures import Figure, spread
from benchmarks.unit import DAY_AND_NIGHT
from reactor_unit.client.poll import Poller, UnitState
from reactor_unit.testing import SimulatedUnit, running_fleet, wait_until

UNITS = 50
EVERY_S = 1.0
JOBS: dict[str, dict[str, object]] = {
    "stirring": {},
    "led_automation": DAY_AND_NIGHT,
}


def poller_figures(quick: bool) -> list[Figure]:
    """Measure rounds: from the first request to the last answer of all 50, each with two running jobs."""
    rounds = 8 if quick else 60
    with running_fleet(UNITS) as fleet:
        for unit in fleet:
            _run_jobs(unit)
        urls = [unit.url for unit in fleet]
        with _dead_and_hanging() as others, ExitStack() as stack:
            # One poller without and one with the others, half a second apart, so that both meet the same noise.
            alone, troubled = _Rounds(), _Rounds()
            alone.begin(stack, urls)
            time.sleep(EVERY_S / 2)
            troubled.begin(stack, [*urls, *others])
            for _ in range(rounds):
                alone.next()
                troubled.next()
    first_s = [alone.taken_s[0], troubled.taken_s[0]]
    medians = [statistics.median(each.taken_s[1:]) for each in (alone, troubled)]
    return [
        Figure(f"poller, first round of {UNITS} units", statistics.median(first_s), "s", "<=", 1, spread(first_s)),
        Figure(f"poller, a further round of {UNITS} units", medians[0], "s", "<=", 1, spread(alone.taken_s[1:])),
        Figure(
            "... with a dead and a hanging one among them, against without",
            medians[1] / medians[0],
            "",
            "<=",
            1.05,
            f"median {medians[1]:.3f} s; {spread(troubled.taken_s[1:])}",
        ),
    ]


def _run_jobs(unit: SimulatedUnit) -> None:
    for name, options in JOBS.items():
        unit.run_job(name, **options)
    unit.close()


@contextlib.contextmanager
def _dead_and_hanging() -> Iterator[tuple[str, str]]:
    """Yield the address of nobody, and that of a server that accepts and never answers."""
    with ExitStack() as stack:
        dead = stack.enter_context(socket.socket())
        dead.bind(("127.0.0.1", 0))  # nobody else gets this port, and nobody listens at it
        hanging = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        yield f"http://127.0.0.1:{dead.getsockname()[1]}", f"http://127.0.0.1:{hanging.getsockname()[1]}"


class _Rounds:
    """The rounds of one poller, of which the first 50 units count."""

    def __init__(self) -> None:
        self.taken_s: list[float] = []

    def begin(self, stack: ExitStack, urls: Sequence[str]) -> None:
        """Start the poller."""
        self._poller = stack.enter_context(Poller(urls, every_s=EVERY_S))
        self._began = time.monotonic()

    def next(self) -> None:
        """Wait for the end of the next round: units that answer are all asked at the same moment."""
        due = self._began + len(self.taken_s) * EVERY_S

        def of_this_round() -> list[UnitState]:
            states = self._poller.table()[:UNITS]
            return states if all((state.answered_at or 0.0) >= due for state in states) else []

        states = wait_until(of_this_round, 15.0, "a round")
        self.taken_s.append(max(map(_answered_at, states)) - min(map(_asked_at, states)))


def _answered_at(state: UnitState) -> float:
    assert state.answered_at is not None
    return state.answered_at


def _asked_at(state: UnitState) -> float:
    assert state.took_s is not None
    return _answered_at(state) - state.took_s
