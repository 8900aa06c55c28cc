"""Task functions: what the pool can do, by name. JSON in, JSON out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Json = Any
MAX_PROGRESS_TEXT = 200  # characters

Report = Callable[[dict[str, Any]], None]


class TaskContext:
    """What a task function is given besides its arguments."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def progress(self, done: float, total: float, message: str = "") -> None:
        """Tell those who wait how far this task is; shown in its record while it is in progress."""
        self._report({"done": done, "total": total, "message": message[:MAX_PROGRESS_TEXT]})


@dataclass(frozen=True)
class TaskFunction:
    """A function the pool can run: `function(context, **args)` returns JSON.

    A task that is not done after `timeout_s` seconds is killed and failed.
    """

    name: str
    function: Callable[..., Json]
    timeout_s: float = 60.0


TaskFunctions = Mapping[str, TaskFunction]
