"""What jobs want to be kept, on its way to the web process: kept by the supervisor until it is on the disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reactor_unit.channel import Message

IN_A_MESSAGE = 100


class RememberBuffer:
    """The newest value of each table and experiment, numbered in the order in which they came.

    Of a value that changes before it is stored only the newest one is sent, so it is bounded by what there is to keep.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[int, Any]] = {}  # in the order of their numbers
        self._newest = 0
        self._sent = 0  # up to this number the web process has them

    def add(self, experiment: str, values: Mapping[str, Any]) -> None:
        """Keep a value of each table; None forgets what is stored there."""
        for table, value in values.items():
            self._newest += 1
            self._kept.pop((table, experiment), None)
            self._kept[(table, experiment)] = (self._newest, value)

    def acknowledged(self, number: int) -> None:
        """Forget all values up to this number."""
        self._kept = {key: entry for key, entry in self._kept.items() if entry[0] > number}

    def rewind(self) -> None:
        """Send everything again: there is a new web process."""
        self._sent = 0

    def message(self) -> Message | None:
        """Return the next message for the web process, None when all is sent; `sent` says that it has gone."""
        unsent = [(number, [*key, value]) for key, (number, value) in self._kept.items() if number > self._sent]
        if not unsent:
            return None
        batch = unsent[:IN_A_MESSAGE]
        return {"ev": "remember", "number": batch[-1][0], "values": [entry for _, entry in batch]}

    def sent(self, message: Message) -> None:
        """Take note that the web process has this message."""
        self._sent = message["number"]
