"""What one poller takes for a round of 50 real units, without and with a dead and a hanging one among them."""

from __future__ import annotations

import contextlib
import socket
import statistics
import time
from collections.abc import Iterator, Sequence

from benchmarks.figures import Figure, spread
from reactor_unit.client.poll import Poller, UnitState
from reactor_unit.testing import SimulatedUnit, running_fleet, wait_until

UNITS = 50
EVERY_S = 1.0
JOBS: dict[str, dict[str, object]] = {
    "stirring": {},
    "led_automation": {
        "automation_name": "light_dark_cycle",
        "duration": 1,
        "light_intensity": 5,
        "light_duration_minutes": 960,
        "dark_duration_minutes": 480,
    },
}


def poller_figures(quick: bool) -> list[Figure]:
    """Measure rounds: from the first request to the last answer of all 50, each with two running jobs."""
    blocks, rounds = (2, 3) if quick else (6, 8)
    first_s: list[float] = []
    alone_s: list[float] = []
    troubled_s: list[float] = []
    with running_fleet(UNITS) as fleet:
        for unit in fleet:
            _run_jobs(unit)
        urls = [unit.url for unit in fleet]
        with _dead_and_hanging() as others:
            for _ in range(blocks):  # in turn, since other programs run on the machine too
                alone, troubled = _rounds_s(urls, (), rounds), _rounds_s(urls, others, rounds)
                first_s += [alone[0], troubled[0]]
                alone_s += alone[1:]
                troubled_s += troubled[1:]
    alone_median, troubled_median = statistics.median(alone_s), statistics.median(troubled_s)
    return [
        Figure(f"poller, first round of {UNITS} units", statistics.median(first_s), "s", "<=", 1, spread(first_s)),
        Figure(f"poller, a further round of {UNITS} units", alone_median, "s", "<=", 1, spread(alone_s)),
        Figure(
            "... with a dead and a hanging one among them, against without",
            troubled_median / alone_median,
            "",
            "<=",
            1.05,
            f"median {troubled_median:.3f} s; {spread(troubled_s)}",
        ),
    ]


def _run_jobs(unit: SimulatedUnit) -> None:
    for name, options in JOBS.items():
        unit.run_job(name, **options)
    unit.close()


@contextlib.contextmanager
def _dead_and_hanging() -> Iterator[tuple[str, str]]:
    """Yield the address of nobody, and that of a server that accepts and never answers."""
    with contextlib.ExitStack() as stack:
        dead = stack.enter_context(socket.socket())
        dead.bind(("127.0.0.1", 0))  # nobody else gets this port, and nobody listens at it
        hanging = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        yield f"http://127.0.0.1:{dead.getsockname()[1]}", f"http://127.0.0.1:{hanging.getsockname()[1]}"


def _rounds_s(urls: Sequence[str], others: Sequence[str], rounds: int) -> list[float]:
    """Return how long each of so many rounds took, the first one included."""
    taken = []
    with Poller([*urls, *others], every_s=EVERY_S, timeout_s=EVERY_S) as poller:
        begin = time.monotonic()
        for number in range(rounds):
            due = begin + number * EVERY_S  # units that answer are all asked at this moment

            def of_this_round(due: float = due) -> list[UnitState]:
                states = poller.table()[: len(urls)]
                return states if all((state.answered_at or 0.0) >= due for state in states) else []

            states = wait_until(of_this_round, 15.0, "a round")
            taken.append(max(_answered_at(state) for state in states) - min(map(_asked_at, states)))
    return taken


def _answered_at(state: UnitState) -> float:
    assert state.answered_at is not None
    return state.answered_at


def _asked_at(state: UnitState) -> float:
    assert state.took_s is not None
    return _answered_at(state) - state.took_s
