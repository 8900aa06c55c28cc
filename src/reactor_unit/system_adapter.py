"""Power of the machine: what a job wants done to it when the reactor cannot be made safe otherwise."""

from __future__ import annotations

import logging
from pathlib import Path

from reactor_unit import strict_json
from reactor_unit.clock import utc_timestamp

log = logging.getLogger(__name__)

ACTIONS_FILE = "system_actions.jsonl"
MAX_BYTES = 64 * 1024  # of recorded actions; the log has all of them


class SystemAdapter:
    """Takes such wishes. It is dry: it writes them down in `record`, one JSON object a line, and does nothing.

    Without `record` they are in the log alone.
    """

    def __init__(self, record: Path | None = None) -> None:
        self._record = record

    def shut_down(self, reason: str) -> None:
        """Want the machine's power off, because of `reason`."""
        self._note("shut_down", reason)

    def reboot(self, reason: str) -> None:
        """Want the machine started anew, because of `reason`."""
        self._note("reboot", reason)

    def _note(self, action: str, reason: str) -> None:
        log.critical("Wanted: %s, because: %s This unit only writes that down.", action, reason)
        if self._record is None:
            return
        line = strict_json.dumps({"at": utc_timestamp(), "action": action, "reason": reason, "done": False})
        try:
            if not self._record.exists() or self._record.stat().st_size < MAX_BYTES:
                with open(self._record, "ab") as file:
                    file.write(line + b"\n")
        except OSError as ex:
            log.error("The action cannot be written down in %s: %s.", self._record, ex.strerror)
