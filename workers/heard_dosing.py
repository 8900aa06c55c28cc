"""What a job hears of pumps: whether the liquid in the vial is, or was, changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reactor_unit.workers.job_desk import INIT, READY

AUTOMATION = "dosing_automation"
INFLOW_ACTIONS = ("add_media", "add_alt_media", "circulate_media", "circulate_alt_media", "pumps")
SUBSCRIBED = (
    (AUTOMATION, "latest_event"),
    (AUTOMATION, "dosing_event"),
    *((action, "dosing_event") for action in INFLOW_ACTIONS),
)
STARTED = "DosingStarted"


class HeardDosing:
    """Takes note of what adds liquid: the actions for as long as they run, the automation while it doses.

    A dose is told when its pump has stopped, so readings that were made meanwhile are known by the pump's run alone.
    """

    def __init__(self) -> None:
        self._pouring: set[str] = set()  # jobs that may have a pump on
        self._was_dosed = False

    def hear(self, job_name: str, setting: str, value: Any) -> bool:
        """Take note of one value; return whether it was about dosing."""
        if job_name not in INFLOW_ACTIONS and job_name != AUTOMATION:
            return False
        if setting == "dosing_event":
            self._was_dosed = self._was_dosed or _adds(value)
        elif setting == "latest_event" and isinstance(value, Mapping):
            self._note(job_name, value.get("event_name") == STARTED)
        elif setting == "$state" and (job_name != AUTOMATION or value != READY):
            self._note(job_name, job_name != AUTOMATION and value in (INIT, READY))
        return True

    def take(self) -> bool:
        """Return whether something was added since the last call, or is being added."""
        was_dosed, self._was_dosed = self._was_dosed, False
        return was_dosed or bool(self._pouring)

    def _note(self, job_name: str, pours: bool) -> None:
        if pours:
            self._pouring.add(job_name)
        elif job_name in self._pouring:
            self._pouring.remove(job_name)
            self._was_dosed = True


def _adds(event: Any) -> bool:
    return isinstance(event, Mapping) and str(event.get("event", "")).startswith("add_")
