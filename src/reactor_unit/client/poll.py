"""Polls many units at once: what each runs and publishes, whether it answers, and what changes.

    with Poller(["http://pio01:4999", "http://pio02:4999"]) as poller:
        for change in poller.changes():
            print(change.name, change.kind, change.job_name, change.what, change.after)

All units are asked from one thread; each has one connection of its own and a time limit for a whole poll, so a unit
that is dead, hangs, trickles or talks without end delays no other.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from reactor_unit.client.unit_state import MISSED, Change, JobState, UnitState, changes_between
from reactor_unit.client.unit_watch import UnitWatch
from reactor_unit.clock import utc_timestamp

__all__ = ["Change", "JobState", "Poller", "UnitState", "poll_once"]

MOST_UNITS = 1000  # each is a connection, and a process has 1024 files by default
MOST_CHANGES = 10_000  # that wait for who reads them
EVERY_S = 1.0
TIMEOUT_S = 3.0
LONGEST_PAUSE_S = 30.0
END_WITHIN_S = 5.0


class Poller:
    """Polls the units at `urls` every `every_s` seconds until it is closed; a context manager.

    A poll ends after `timeout_s`. The pause before a unit that failed doubles with each failure, up to
    `longest_pause_s`, and is shortened at random by up to a half. Raises ValueError for a URL that cannot be one, and
    for more than 1000 units. A unit that is named twice is polled once.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        every_s: float = EVERY_S,
        timeout_s: float = TIMEOUT_S,
        longest_pause_s: float = LONGEST_PAUSE_S,
    ) -> None:
        if every_s <= 0 or timeout_s <= 0:
            raise ValueError("The time between polls and the time limit of one have to be above 0 s.")
        watches = [UnitWatch(url, timeout_s) for url in urls]
        self._watches = list({watch.state.url: watch for watch in watches}.values())
        if len(self._watches) > MOST_UNITS:
            raise ValueError(f"{len(self._watches)} units are more than one poller takes ({MOST_UNITS}).")
        self._every_s = every_s
        self._longest_pause_s = max(longest_pause_s, every_s)
        self._states = {watch.state.url: watch.state for watch in self._watches}
        self._changes: deque[Change] = deque()
        self._missed = 0
        self._news = threading.Condition()
        self._is_over = False
        self._failure: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, ex: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all polls and close the connections. May be called twice."""
        with self._news:
            if not self._is_over:
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(END_WITHIN_S)

    def table(self) -> list[UnitState]:
        """Return what is known of each unit now, in the order they were given."""
        with self._news:
            return list(self._states.values())

    def changes(self) -> Iterator[Change]:
        """Yield each change as it comes, until the poller is closed.

        At first everything that is there counts as changed. Who reads so slowly that more than 10000 changes wait
        misses the oldest, and is told by a change of the kind `missed`.
        """
        while (batch := self.next_changes()) is not None:
            yield from batch

    def next_changes(self, timeout_s: float | None = None) -> list[Change] | None:
        """Return the changes that wait, at least one; none after `timeout_s`, and None when the poller is closed."""
        with self._news:
            self._news.wait_for(lambda: self._changes or self._is_over, timeout_s)
            if self._failure is not None:
                raise RuntimeError("The poller ended.") from self._failure
            if not self._changes and self._is_over:
                return None
            batch = list(self._changes)
            if self._missed:
                first = batch[0]
                batch.insert(0, Change(first.at, "", "", MISSED, what=str(self._missed)))
            self._changes.clear()
            self._missed = 0
            return batch

    def wait_for_first_answers(self, timeout_s: float | None = None) -> bool:
        """Wait until each unit has answered or failed once; return whether that came about in time."""

        def all_asked() -> bool:
            return self._is_over or all(state.is_reachable is not None for state in self._states.values())

        with self._news:
            return self._news.wait_for(all_asked, timeout_s)

    # In the poller's thread

    def _run(self) -> None:
        self._loop.set_default_executor(_Resolvers())
        try:
            self._loop.run_until_complete(self._poll_all())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        except BaseException as ex:  # who reads the changes shall hear of it
            self._failure = ex
        finally:
            with self._news:
                self._is_over = True
                self._news.notify_all()
            self._loop.close()

    async def _poll_all(self) -> None:
        tasks = [asyncio.create_task(self._poll_again_and_again(watch)) for watch in self._watches]
        stop = asyncio.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
            if stop not in done:
                done.pop().result()  # none of them ends but by an error
        finally:
            for task in (stop, *tasks):
                task.cancel()
            await asyncio.gather(stop, *tasks, return_exceptions=True)
            await asyncio.gather(*(watch.close() for watch in self._watches))

    async def _poll_again_and_again(self, watch: UnitWatch) -> None:
        due = time.monotonic()
        while True:
            before = watch.state
            self._take(before, await watch.poll())
            due = self._next_due(due, time.monotonic(), watch.state.failures)
            await asyncio.sleep(due - time.monotonic())

    def _next_due(self, due: float, now: float, failures: int) -> float:
        """Return when to ask again: without drift and without making up for what was missed; later after failures."""
        if failures == 0:
            return max(due + self._every_s, now)
        longest_s = min(self._every_s * 2.0 ** min(failures, 30), self._longest_pause_s)
        return now + longest_s * random.uniform(0.5, 1.0)

    def _take(self, before: UnitState, after: UnitState) -> None:
        new = list(changes_between(before, after, utc_timestamp()))
        with self._news:
            self._states[after.url] = after
            self._changes.extend(new)
            while len(self._changes) > MOST_CHANGES:
                self._changes.popleft()
                self._missed += 1
            self._news.notify_all()


class _Resolvers(ThreadPoolExecutor):
    """Asks the name service, each question in a thread of its own: no answer waits for another one that does not come.

    Nor does the end of the program. Who asks the same again meanwhile waits for the same answer, so a unit has one such
    thread at most. (It is a ThreadPoolExecutor since asyncio takes nothing else; its own threads are not used.)
    """

    def __init__(self) -> None:
        super().__init__(1)
        self._asked: dict[Any, Future[Any]] = {}

    def submit(self, ask: Callable[..., Any], /, *question: Any, **more: Any) -> Future[Any]:
        """Return what will be the answer. For the event loop's thread alone."""
        key = (ask, question)
        future = self._asked.get(key)
        if future is None or future.done():
            future = self._asked[key] = Future()
            work = (future, ask, question, more)
            threading.Thread(target=_answer, args=work, name="resolve", daemon=True).start()
        return future


def _answer(future: Future[Any], ask: Callable[..., Any], question: tuple[Any, ...], more: dict[str, Any]) -> None:
    future.set_running_or_notify_cancel()
    try:
        future.set_result(ask(*question, **more))
    except BaseException as ex:
        future.set_exception(ex)


def poll_once(urls: Sequence[str], *, timeout_s: float = TIMEOUT_S) -> list[UnitState]:
    """Ask each unit once, all at the same time; return what each answered, after `timeout_s` at the latest."""
    with Poller(urls, every_s=2 * timeout_s, timeout_s=timeout_s) as poller:
        poller.wait_for_first_answers()
        return poller.table()
