"""The web process's view of the plugins: it notices changes, and has the supervisor look at what has changed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reactor_unit.catalogue import Catalogue
from reactor_unit.errors import Unavailable
from reactor_unit.plugins import Report, report_from_dict, state_of_plugins

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0  # at most, by those who do not wait
MAX_WAITING = 2  # of the web server's few threads: stop requests need some

Ask = Callable[[], object]


class PluginWatch:
    """Keeps a catalogue as the plugins are, from `watch` on. Safe to use from several threads."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._folder: Path | None = None
        self.reports: tuple[Report, ...] = ()
        self._known = ""  # the state in which the reports found the plugins
        self._asked = ""  # the state about which the supervisor has been asked
        self._next_look = 0.0
        self._waiting = threading.BoundedSemaphore(MAX_WAITING)

    def watch(self, folder: Path) -> None:
        """Watch this folder of plugins, and what is installed."""
        self._folder = folder

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take what the supervisor has found."""
        self.reports = tuple(report_from_dict(report) for report in message["reports"])
        self._catalogue.add(self.reports)
        self._known = message["state"]

    def look(self, ask: Ask) -> None:
        """Call `ask`, which does not wait, if something has changed since it was called last."""
        now = time.monotonic()
        if self._folder is None or now < self._next_look:
            return
        self._next_look = now + LOOK_EVERY_S
        state = state_of_plugins(self._folder)
        if state not in (self._known, self._asked):
            self._asked = state
            ask()

    def look_and_wait(self, ask: Ask) -> None:
        """Call `ask`, which waits until the plugins are known as they are now, unless they are.

        Raises Unavailable when others wait already, and whatever `ask` raises.
        """
        if self._folder is None or state_of_plugins(self._folder) == self._known:
            return
        if not self._waiting.acquire(blocking=False):
            raise Unavailable("The plugins have changed and are being looked at.", retry_after_s=1)
        try:
            ask()
        finally:
            self._waiting.release()
