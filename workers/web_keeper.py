"""Keeps a web process serving: starts it, starts another one when it dies, and replaces it without a gap."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable

from reactor_unit.channel import Channel, Message
from reactor_unit.workers.children import Child, Exit, Nursery
from reactor_unit.workers.loop import Loop, Timer
from reactor_unit.workers.task_desk import Task, TaskDesk
from reactor_unit.workers.web_link import WebLink

log = logging.getLogger(__name__)

GRACE_S = 2.0
RESTART_PAUSES_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)  # after so many deaths in a row
PROVEN_S = 10.0  # a web process that lived this long starts the row anew
RETIRED_WITHIN_S = 3.0  # a web process that does not answer a request to retire is killed
LIFE_EVERY_S = 10.0  # a web process that answers none of two demands in a row hangs, and is killed
FINISHED_WITHIN_S = 600.0  # and so is one that goes on for longer than any request takes

WebMain = Callable[[Channel, socket.socket], None]
Connect = Callable[[Child], None]
OnMessage = Callable[[Child, Message], None]


class WebKeeper:
    """Keeps a web process serving on `listener`, which stays open whatever becomes of its processes.

    `connect(child)` tells a new one everything, `on_message` hears all but what is between it and this one. The task
    `restart_web` replaces it: the old one stops to accept connections, hands over what it was to write and says so; the
    new one serves; the old one answers what it has, tells its clients not to reuse their connections, and ends. One
    that hangs is killed, and replaced like one that died.
    """

    def __init__(
        self,
        loop: Loop,
        nursery: Nursery,
        desk: TaskDesk,
        link: WebLink,
        web_main: WebMain,
        listener: socket.socket,
        connect: Connect,
        on_message: OnMessage,
    ) -> None:
        self._loop = loop
        self._nursery = nursery
        self._desk = desk
        self._link = link
        self._web_main = web_main
        self._listener = listener
        self._connect = connect
        self._on_message = on_message
        self._web: Child | None = None
        self._retiring: set[Child] = set()
        self._deaths = 0
        self._proven: Timer | None = None
        self._retry: Timer | None = None
        self._restart: Task | None = None
        self._previous_pid: int | None = None
        self._retire_timer: Timer | None = None
        self._life_timer: Timer | None = None
        self._is_silent = False  # since life was demanded
        self._on_ended: Callable[[], None] | None = None
        desk.carry("restart_web", self._on_restart)

    @property
    def children(self) -> frozenset[Child]:
        """The web process there is, and those that finish what they have."""
        return frozenset(self._retiring if self._web is None else {*self._retiring, self._web})

    def start_once(self) -> None:
        """Start the first web process; does nothing when that was done before."""
        if self._deaths == 0 and self._retry is None:
            self._start()

    def end(self, on_ended: Callable[[], None]) -> None:
        """End all web processes, then call `on_ended`."""
        self._on_ended = on_ended
        self._link.flush()
        for child in self.children:
            child.end(self._loop, GRACE_S)
        self._check_ended()

    def _start(self) -> None:
        self._retry = None
        if self._on_ended is not None or self._web is not None:
            return
        try:
            self._web = self._nursery.fork(
                "web",
                lambda channel: self._web_main(channel, self._listener),
                self._on_exit,
                self._hear,
                keep=[self._listener.fileno()],
            )
        except OSError as ex:
            log.error("The web process could not be started: %s", ex)
            self._retry = self._loop.call_later(1.0, self._start)
            return
        self._connect(self._web)
        self._proven = self._loop.call_later(PROVEN_S, self._is_proven)
        self._is_silent = False
        self._life_timer = self._loop.call_later(LIFE_EVERY_S, self._demand_life)

    def _is_proven(self) -> None:
        self._deaths = 0

    def _demand_life(self) -> None:
        """Ask the web process to show that it lives; end one that did not the last time."""
        if self._web is None:
            return
        if self._is_silent:
            log.error("The web process gave no sign of life for %g s; it is killed.", LIFE_EVERY_S)
            self._web.signal(signal.SIGKILL)
            return
        self._is_silent = True
        self._link.tell(self._web, {"ev": "alive"})
        self._life_timer = self._loop.call_later(LIFE_EVERY_S, self._demand_life)

    def _hear(self, child: Child, message: Message) -> None:
        if message["op"] == "retired":
            self._on_retired(child)
        elif message["op"] == "alive":
            self._is_silent = self._is_silent and child is not self._web
        elif message["op"] == "serving":
            self._on_serving(child)
        else:
            self._on_message(child, message)

    def _on_exit(self, child: Child, how: Exit) -> None:
        self._link.disconnect(child)
        self._retiring.discard(child)
        if child is self._web:
            self._web = None
            self._cancel(self._proven)
            self._cancel(self._life_timer)
            if self._on_ended is None:
                self._start_after_death(child, how)
        self._check_ended()

    def _start_after_death(self, child: Child, how: Exit) -> None:
        if child.pid == self._previous_pid:  # it was told to retire, and ended in another way
            log.warning("The web process %s when it was to be replaced; starting another one.", how)
            self._start()
            return
        self._deaths += 1
        pause_s = RESTART_PAUSES_S[min(self._deaths, len(RESTART_PAUSES_S)) - 1]
        log.error("The web process %s; starting another one.", how)
        self._retry = self._loop.call_later(pause_s, self._start)

    def _check_ended(self) -> None:
        if self._on_ended is not None and not self.children:
            self._on_ended()

    # Replacing

    def _on_restart(self, task: Task) -> None:
        self._restart = task
        self._desk.start(task)
        if self._web is not None:
            web = self._web
            self._previous_pid = web.pid
            self._link.tell(web, {"ev": "retire"})
            self._retire_timer = self._loop.call_later(RETIRED_WITHIN_S, lambda: web.signal(signal.SIGKILL))

    def _on_retired(self, child: Child) -> None:
        """Let a new web process take over; the old one may finish what it has."""
        if child is not self._web:
            return
        self._cancel(self._retire_timer)
        self._cancel(self._proven)
        self._cancel(self._life_timer)
        self._web = None
        self._retiring.add(child)
        self._loop.call_later(FINISHED_WITHIN_S, lambda: child.signal(signal.SIGKILL))
        self._start()

    def _on_serving(self, child: Child) -> None:
        task, previous_pid = self._restart, self._previous_pid
        if task is not None and child.pid != previous_pid:
            self._cancel(self._retire_timer)
            self._restart = self._previous_pid = None
            self._desk.finish(task, {"pid": child.pid, "previous_pid": previous_pid})

    @staticmethod
    def _cancel(timer: Timer | None) -> None:
        if timer is not None:
            timer.cancel()
