"""Calibration sessions as they are kept: in the persistent cache, so that no restart loses one."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from reactor_unit.clock import boot_clock, boot_id, unix_seconds, utc_timestamp
from reactor_unit.errors import Json, NotFound
from reactor_unit.persistent_cache import PersistentCache, Value
from reactor_unit.strict_json import dumps

CACHE = "calibration_sessions"
IN_PROGRESS, COMPLETE, ABORTED = "in_progress", "complete", "aborted"
KEPT_FOR = timedelta(days=7)  # after the last step: nobody comes back to the standards of last week
MOST = 50  # kept; above this the ones that were left longest ago go

log = logging.getLogger(__name__)


class NoSuchSession(NotFound):
    """There is no calibration session of this id, or no more."""

    default_remediation = f"Start a new one; a session is kept for {KEPT_FOR.days} days after its last step."


@dataclass(frozen=True)
class HardwareStep:
    """The pool task that carries out a session's step. With the same name and arguments it is the same step."""

    task_id: str
    name: str
    args: Json


@dataclass
class Session:
    """One session. `data` is its protocol's own; `revision` counts the steps taken."""

    session_id: str
    protocol_name: str
    target_device: str
    step_id: str
    status: str = IN_PROGRESS
    data: Json = field(default_factory=dict)
    created_at: str = field(default_factory=utc_timestamp)
    updated_at: str = field(default_factory=utc_timestamp)
    result: Json | None = None
    error: str | None = None
    revision: int = 0
    hardware_step: HardwareStep | None = None  # that was begun and whose result is not part of `data` yet
    boot: str = field(default_factory=boot_id)
    boot_stamp: float = field(default_factory=boot_clock)

    def as_json(self) -> Json:
        """Return the session as the API has it; `task_id` is that of the hardware step that is under way."""
        shown = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in _UNSEEN}
        return {**shown, "task_id": None if self.hardware_step is None else self.hardware_step.task_id}

    def touched(self) -> Session:
        """Return the session as changed now."""
        return replace(self, updated_at=utc_timestamp(), boot=boot_id(), boot_stamp=boot_clock())

    def age_s(self) -> float:
        """Return the seconds since the last change; a clock that was set meanwhile counts only across a restart."""
        if self.boot == boot_id():
            return boot_clock() - self.boot_stamp
        return datetime.now(UTC).timestamp() - unix_seconds(self.updated_at)


_UNSEEN = frozenset({"hardware_step", "boot", "boot_stamp"})


class SessionStore:
    """The sessions in the persistent cache. What `put` returns from is on the disk.

    Entries that are not this program's, such as those of the reference system, are left alone.
    """

    def __init__(self, cache: PersistentCache) -> None:
        self._cache = cache

    def get(self, session_id: str) -> Session:
        """Return a session. Raises NoSuchSession, StorageFault."""
        value = self._cache.get(CACHE, session_id)
        session = None if value is None else _read(value)
        if session is None:
            raise NoSuchSession(f"There is no calibration session {session_id!r}.")
        return session

    def all(self) -> list[Session]:
        """Return every session, the one changed last first."""
        found = [_read(value) for value in self._cache.items(CACHE).values()]
        return sorted((one for one in found if one is not None), key=Session.age_s)

    def put(self, session: Session) -> None:
        """Write a session."""
        self._cache.put(CACHE, session.session_id, dumps(asdict(session)))

    def make_room(self, is_busy: Callable[[str], bool]) -> None:
        """Forget sessions that were left too long ago, and the longest left of too many; never a busy one."""
        for place, session in enumerate(self.all()):
            too_old = session.age_s() > KEPT_FOR.total_seconds()
            if (too_old or place >= MOST - 1) and not is_busy(session.session_id):
                self._cache.delete(CACHE, session.session_id)
                log.info("The calibration session %s of %s expired.", session.session_id, session.target_device)


def new_session(protocol_name: str, target_device: str, step_id: str) -> Session:
    """Return a session that begins."""
    return Session(str(uuid.uuid4()), protocol_name, target_device, step_id)


def _read(value: Value) -> Session | None:
    """Return the session that an entry holds, None when it is not one of this program's."""
    try:
        content: dict[str, Any] = json.loads(value if isinstance(value, bytes) else str(value))
        step = content["hardware_step"]
        return Session(**{**content, "hardware_step": None if step is None else HardwareStep(**step)})
    except (ValueError, TypeError, KeyError):
        return None
