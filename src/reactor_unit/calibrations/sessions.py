"""Guided calibration sessions: begun, shown, taken a step further, aborted. See docs/calibrations.md."""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from reactor_unit import errors
from reactor_unit.calibrations.library import Library
from reactor_unit.calibrations.protocols import PROTOCOLS, Protocol
from reactor_unit.calibrations.session_store import (
    ABORTED,
    COMPLETE,
    IN_PROGRESS,
    HardwareStep,
    Session,
    new_session,
)
from reactor_unit.calibrations.steps import RESULT, Inputs, Step
from reactor_unit.calibrations.walk import Visit, Walk
from reactor_unit.errors import Json
from reactor_unit.gateway_protocol import LockHeld, UnitGateway
from reactor_unit.strict_json import loads

log = logging.getLogger(__name__)

MAX_WAITERS = 2  # requests that wait for a hardware step: each keeps one of the web server's few threads
HARDWARE_STEP_S = 360.0  # longer than any pool task of a protocol may take
ABORT_WITHIN_S = 5.0
ABORTED_BY_USER = "Aborted by the user."


class UnknownProtocol(errors.InvalidRequest):
    """There is no such protocol, or not for this device."""

    default_remediation = "Choose one of GET /unit_api/calibration_protocols."


class StepTaken(errors.Conflict):
    """The step that the request answers is not the one that the session is at."""

    default_remediation = "Get the session and answer the step that it is at."


class DeviceBusy(errors.Conflict):
    """Another session's hardware step has the device."""

    default_remediation = "Wait until its step is done, or abort it."


class SessionAborted(errors.Conflict):
    """The session was aborted meanwhile."""

    default_remediation = "Start a new one."


@dataclass
class _Turn:
    """A request that takes a session a step further; `task_id` is what it waits for."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    task_id: str | None = None
    aborted: bool = False


class Sessions:
    """The sessions of one unit, for its web process. Safe to call from several threads.

    One request at a time takes a session a step further. A session is written after each step, and before a hardware
    step begins; one that a killed web process did not see end is waited for, or its result is used, when the step is
    answered again with the same inputs. Nothing is measured twice, nothing that was measured is lost.
    """

    def __init__(self, gateway: UnitGateway, library: Library, unit_name: str, model_name: str = "") -> None:
        self._gateway = gateway
        self._library = library
        self._store = library.sessions
        self._unit_name = unit_name
        self._model_name = model_name
        self._turns: dict[str, _Turn] = {}
        self._turns_lock = threading.Lock()
        self._waiters = threading.BoundedSemaphore(MAX_WAITERS)

    def start(self, target_device: str, protocol_name: str) -> Json:
        """Begin a session and return it with its first step.

        Raises UnknownProtocol, NotPossible, Conflict while a job runs that must not.
        """
        protocol = PROTOCOLS.get(protocol_name)
        config = self._library.load_config()
        if protocol is None or protocol.walk is None or target_device not in protocol.target_devices(config):
            raise UnknownProtocol(f"There is no protocol {protocol_name!r} for the device {target_device!r}.")
        session = new_session(protocol_name, target_device, protocol.walk.first)
        visit = self._visit(session)
        protocol.walk.check(visit)
        self._check_jobs(protocol.walk)
        self._store.make_room(self._is_busy)
        self._store.put(session)
        log.info("Calibration session %s: %s of %s.", session.session_id, protocol_name, target_device)
        return self._view(session)

    def get(self, session_id: str) -> Json:
        """Return a session and the step it is at. Raises NoSuchSession."""
        return self._view(self._store.get(session_id))

    def advance(self, session_id: str, inputs: Inputs, *, revision: int | None = None) -> Json:
        """Answer the step that a session is at, wait until it is carried out, and return session and next step.

        `revision` is that of the session which the answer is for; an older one is refused. Raises NoSuchSession,
        StepTaken, InvalidInput, DeviceBusy, SessionAborted, Unavailable when too many requests wait already, and what
        the step itself raises; then the session is as it was.
        """
        self._store.get(session_id)
        with self._turn(session_id) as turn:
            session = self._store.get(session_id)
            if revision is not None and revision != session.revision:
                raise StepTaken(
                    f"Step {revision} of the session was answered already; it is at step {session.revision}."
                )
            if session.status == IN_PROGRESS:
                session = self._answered(session, inputs, turn)
                self._save(session, turn)
            return self._view(session)

    def abort(self, session_id: str) -> Json:
        """End a session and what its hardware does; returns when the outputs are off. Raises NoSuchSession."""
        self._store.get(session_id)
        with self._turns_lock:
            turn = self._turns.setdefault(session_id, _Turn())
            turn.aborted, task_id = True, turn.task_id
        try:
            failed = self._cancel(task_id)
            if not turn.lock.acquire(timeout=ABORT_WITHIN_S):
                raise errors.Unavailable("The session's step does not end.", retry_after_s=ABORT_WITHIN_S)
            try:
                session = self._store.get(session_id)
                if session.hardware_step is not None and session.hardware_step.task_id != task_id:
                    failed = failed or self._cancel(session.hardware_step.task_id)  # of a web process that died
                session = replace(session.touched(), hardware_step=None)
                if session.status == IN_PROGRESS:
                    session.status, session.error = ABORTED, " ".join(filter(None, (ABORTED_BY_USER, failed)))
                self._store.put(session)
            finally:
                turn.lock.release()
        finally:
            with self._turns_lock:
                turn.aborted = False
                self._forget(session_id)
        return self._view(session)

    # A step

    def _answered(self, session: Session, inputs: Inputs, turn: _Turn) -> Session:
        """Return the session a step further."""
        walk = self._walk(session)
        before, session = session, deepcopy(session)
        visit = self._visit(session, turn, walk)
        stage = walk.stages[session.step_id]
        values = stage.show(visit).read(inputs)
        try:
            session.step_id = stage.answer(visit, values)
        except errors.UnitError as ex:
            if not isinstance(ex, errors.StorageFault):
                self._begin_anew(before)
            if turn.aborted:
                raise SessionAborted(f"The session {session.session_id} was aborted.") from ex
            raise
        session.revision += 1
        session.hardware_step = None
        return session.touched()

    def _begin_anew(self, session: Session) -> None:
        """Forget the hardware step of an answer that failed: the next one is to measure again."""
        with contextlib.suppress(errors.StorageFault):
            if self._store.get(session.session_id).hardware_step is not None:
                self._store.put(replace(session, hardware_step=None))

    def _save(self, session: Session, turn: _Turn) -> None:
        if turn.aborted:
            raise SessionAborted(f"The session {session.session_id} was aborted.")
        self._store.put(session)

    # Hardware

    def _measure(self, turn: _Turn, walk: Walk, session: Session, name: str, args: Json) -> Any:
        """Have the pool carry out a task and return its result."""
        if not self._waiters.acquire(blocking=False):
            raise errors.Unavailable(
                f"{MAX_WAITERS} calibration sessions use the hardware already.",
                remediation="Try again when one of their steps is done.",
                retry_after_s=5,
            )
        try:
            known = session.hardware_step
            if known is not None and (known.name, known.args) == (name, args):
                with contextlib.suppress(errors.UnitError):
                    return self._result(turn, known)
            self._check_jobs(walk)
            step = HardwareStep(str(uuid.uuid4()), name, args)
            with self._turns_lock:
                turn.task_id = step.task_id
            self._store.put(replace(self._store.get(session.session_id), hardware_step=step))
            lock = f"calibration of {walk.output(session.target_device)}"
            if isinstance(self._gateway.submit(name, args, task_id=step.task_id, lock=lock), LockHeld):
                raise self._busy(session, walk)
            return self._result(turn, step)
        finally:
            turn.task_id = None
            self._waiters.release()

    def _result(self, turn: _Turn, step: HardwareStep) -> Any:
        with self._turns_lock:
            turn.task_id, aborted = step.task_id, turn.aborted
        if aborted:  # the request to cancel it came before the task itself
            self._gateway.cancel(step.task_id)
        return self._gateway.result_of(step.task_id, HARDWARE_STEP_S)

    def _cancel(self, task_id: str | None) -> str | None:
        """End a task; return why that failed."""
        if task_id is None:
            return None
        try:
            self._gateway.cancel(task_id)
        except errors.UnitError as ex:
            log.error("The hardware step of an aborted session was not ended: %s", ex)
            return ex.message
        return None

    def _busy(self, session: Session, walk: Walk) -> DeviceBusy:
        """Return the refusal that names the session whose step runs."""
        output = walk.output(session.target_device)
        for other in self._store.all():
            if other.session_id != session.session_id and other.hardware_step is not None:
                protocol = PROTOCOLS.get(other.protocol_name)
                if protocol and protocol.walk and protocol.walk.output(other.target_device) == output:
                    return DeviceBusy(
                        f"The session {other.session_id} uses the {output} for its step {other.step_id}.",
                        cause=f"It calibrates {other.target_device} ({other.protocol_name}).",
                    )
        return DeviceBusy(f"An earlier step still uses the {output}.")

    def _check_jobs(self, walk: Walk) -> None:
        """Raise Conflict while a job runs that the protocol cannot share the hardware with."""
        running = {row["job_name"] for row in loads(self._gateway.running_jobs())}
        for name in walk.unlike:
            if name in running:
                raise errors.Conflict(
                    f"The job {name} is running, and needs what is to be calibrated.",
                    remediation=f"Stop it: `reactor-unit jobs stop {name}`.",
                )

    # Turns

    @contextlib.contextmanager
    def _turn(self, session_id: str) -> Iterator[_Turn]:
        """Be the one who takes this session further. Raises StepTaken."""
        with self._turns_lock:
            turn = self._turns.setdefault(session_id, _Turn())
            taken = turn.aborted or not turn.lock.acquire(blocking=False)
        if taken:
            raise StepTaken(
                "Another request is answering this step now.", remediation="Wait for it, then get the session."
            )
        try:
            yield turn
        finally:
            with self._turns_lock:
                turn.lock.release()
                self._forget(session_id)

    def _forget(self, session_id: str) -> None:
        """Drop a turn that nobody has; the lock of all turns is held."""
        turn = self._turns.get(session_id)
        if turn is not None and not turn.aborted and not turn.lock.locked():
            del self._turns[session_id]

    def _is_busy(self, session_id: str) -> bool:
        turn = self._turns.get(session_id)
        return turn is not None and turn.lock.locked()

    # What is shown

    def _walk(self, session: Session) -> Walk:
        protocol: Protocol | None = PROTOCOLS.get(session.protocol_name)
        if protocol is None or protocol.walk is None or session.step_id not in (*protocol.walk.stages, COMPLETE):
            raise UnknownProtocol(
                f"The session {session.session_id} cannot go on: this unit has no protocol "
                f"{session.protocol_name!r} with a step {session.step_id!r}.",
                remediation="Start a new session; a plugin or version of the unit may be missing.",
            )
        return protocol.walk

    def _visit(self, session: Session, turn: _Turn | None = None, walk: Walk | None = None) -> Visit:
        measure = partial(self._measure, turn or _Turn(), walk or self._walk(session), session)
        config = self._library.load_config()
        return Visit(session, config, self._library, self._unit_name, self._model_name, measure)

    def _view(self, session: Session) -> Json:
        return {"session": session.as_json(), "step": self._step(session)}

    def _step(self, session: Session) -> Json | None:
        if session.status == ABORTED:
            return None
        if session.status == COMPLETE:
            result = session.result or {}
            title = str(result.get("title") or "Calibration complete")
            return Step(COMPLETE, RESULT, title, "", metadata={"result": result}).as_json()
        visit = self._visit(session)
        return self._walk(session).stages[session.step_id].show(visit).as_json()
