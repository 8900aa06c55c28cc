"""The supervisor's side of plugins: has children look at them, and keeps the catalogue as they say."""

from __future__ import annotations

import logging
import signal
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reactor_unit.catalogue import Catalogue
from reactor_unit.channel import Channel, Message
from reactor_unit.plugins import (
    BadPlugin,
    Plugin,
    Report,
    problems,
    report_from_dict,
    state_of_plugins,
    without_clashes,
)
from reactor_unit.spec_json import decode
from reactor_unit.workers.children import Child, Exit, Nursery
from reactor_unit.workers.loop import Loop

log = logging.getLogger(__name__)

LIST_WITHIN_S = 30.0
PROBE_WITHIN_S = 10.0  # an import of numpy takes seconds on a Pi Zero
AT_A_TIME = 2  # so that one that hangs does not hold up the others

Done = Callable[[], None]


class PluginDesk:
    """Looks at the plugins when asked: one child lists them, then each that is new or changed is imported in its own.

    Nothing of a plugin is run in this process. `on_change` is called when a look is over; then `reports` say what was
    found and `catalogue` has what the good ones add. `folder` is `plugins/`, None for a unit without plugins.
    """

    def __init__(
        self,
        loop: Loop,
        nursery: Nursery,
        catalogue: Catalogue,
        folder: Path | None,
        on_change: Done,
        *,
        probe_within_s: float = PROBE_WITHIN_S,
    ) -> None:
        self._loop = loop
        self._nursery = nursery
        self._catalogue = catalogue
        self._folder = folder
        self._on_change = on_change
        self._probe_within_s = probe_within_s
        self.reports: list[Report] = []
        self._state = ""
        self._seen: dict[str, Report] = {}  # by source, before clashes: as the plugins themselves are
        self._listed: list[Plugin] = []
        self._to_probe: deque[Plugin] = deque()
        self._children: set[Child] = set()
        self._asking: list[Done] = []  # who waits for the look that is under way
        self._asking_next: list[Done] = []  # who asked after it had begun
        self._looking = False
        self._ended = False

    def message(self) -> dict[str, Any]:
        """Return what the web process is to know."""
        return {"state": self._state, "reports": [report.to_dict() for report in self.reports]}

    def look(self, done: Done) -> None:
        """Look at the plugins as they are from now on, and call `done` when that is over."""
        if self._folder is None or self._ended:
            done()
            return
        self._asking_next.append(done)
        if not self._looking:
            self._begin(self._folder)

    def stop(self) -> None:
        """End what looks at plugins, and look no more."""
        self._ended = True
        self._to_probe.clear()
        for child in self._children:
            child.signal(signal.SIGKILL)

    def _begin(self, folder: Path) -> None:
        self._looking = True
        self._asking, self._asking_next = self._asking_next, []
        answers: list[Message] = []

        def over(why: str | None) -> None:
            if why is not None or not answers:
                log.error("The plugins could not be listed: %s", why)
                self._end()
                return
            self._listed = [decode(Plugin, plugin) for plugin in answers[0]["plugins"]]
            self._state = answers[0]["state"]
            self._probe_those_that_changed()

        self._fork("plugins", lambda channel: _tell_plugins(channel, folder), LIST_WITHIN_S, answers, over)

    def _probe_those_that_changed(self) -> None:
        seen, self._seen = self._seen, {}
        for plugin in self._listed:
            known = seen.get(plugin.source)
            if known is not None and known.plugin.stamp == plugin.stamp:
                self._seen[plugin.source] = known
            elif plugin.runs:
                self._to_probe.append(plugin)
            else:
                self._seen[plugin.source] = Report(plugin)
        self._probe_next()

    def _probe_next(self) -> None:
        while self._to_probe and len(self._children) < AT_A_TIME:
            self._probe(self._to_probe.popleft())
        if not self._children and self._looking:
            self._settle()

    def _probe(self, plugin: Plugin) -> None:
        answers: list[Message] = []

        def over(why: str | None) -> None:
            self._seen[plugin.source] = _verdict(plugin, answers, why)
            self._probe_next()

        self._fork("plugin", lambda channel: _probe_child(channel, plugin), self._probe_within_s, answers, over)

    def _settle(self) -> None:
        """Have what the plugins add, and say which cannot be used; what was said once is not said again."""
        if self._ended:
            self._end()
            return
        before = {(report.plugin, report.error) for report in self.reports}
        in_order = [self._seen[plugin.source] for plugin in self._listed if plugin.source in self._seen]
        self.reports = without_clashes(in_order, self._catalogue.built_in)
        self._catalogue.add(self.reports)
        _log([report for report in self.reports if (report.plugin, report.error) not in before])
        self._end()

    def _end(self) -> None:
        self._looking = False
        self._on_change()
        for done in self._asking:
            done()
        self._asking = []
        if self._asking_next and self._folder is not None and not self._ended:
            self._begin(self._folder)

    def _fork(
        self,
        name: str,
        main: Callable[[Channel], None],
        within_s: float,
        answers: list[Message],
        over: Callable[[str | None], None],
    ) -> None:
        """Fork a child that answers; then call `over` with None, or with why it did not end as it should."""
        late: list[bool] = []

        def give_up() -> None:
            late.append(True)
            child.signal(signal.SIGKILL)

        def on_exit(_child: Child, how: Exit) -> None:
            deadline.cancel()
            self._children.discard(child)
            over(f"it took longer than {within_s:g} s" if late else None if how.code == 0 else f"its process {how}")

        try:
            child = self._nursery.fork(name, main, on_exit, lambda _child, message: answers.append(message))
        except OSError as ex:
            over(f"no process could be started: {ex}")
            return
        self._children.add(child)
        deadline = self._loop.call_later(within_s, give_up)


def _tell_plugins(channel: Channel, folder: Path) -> None:
    """Be the child that lists plugins; the state is taken first, so that a change meanwhile is seen the next time."""
    from reactor_unit.workers.plugin_listing import list_plugins  # with what it imports, for this child alone

    state = state_of_plugins(folder)
    channel.send({"state": state, "plugins": [asdict(plugin) for plugin in list_plugins(folder)]})


def _probe_child(channel: Channel, plugin: Plugin) -> None:
    from reactor_unit.workers.plugin_code import probe

    probe(channel, plugin)


def _verdict(plugin: Plugin, answers: Iterable[Message], why: str | None) -> Report:
    """Return what came of a probe: its last word, unless it ended in another way than by saying it."""
    report, words = Report(plugin), 0
    try:
        for answer in answers:
            report, words = report_from_dict(answer["report"]), words + 1
            if (report.plugin.source, report.plugin.stamp) != (plugin.source, plugin.stamp):
                raise BadPlugin("It speaks of another plugin.")
    except (BadPlugin, KeyError, TypeError) as ex:
        return Report(plugin).failed(str(ex))
    if report.error is None and (why is not None or words < (2 if plugin.path else 1)):
        why = why or "its process ended"
        return report.failed(f"It could not be imported: {why}.")
    return report


def _log(reports: Sequence[Report]) -> None:
    """Say what is new, in one line each for what is good and what is broken: of many lines the log leaves some out."""
    added = [spec.name for report in reports for spec in report.jobs]
    added += [f"{job} {automation.name}" for report in reports for job, automation in report.automations]
    if added:
        log.info("Plugins add: %s.", ", ".join(added))
    broken = problems(reports)
    if broken:
        log.error("Plugins that cannot be used: %s", " ".join(broken))
