"""Every error a client can see: what happened, why, and what to do."""

from __future__ import annotations

from typing import Any, ClassVar

Json = dict[str, Any]

MAX_TEXT = 4000  # characters of each text of an error; what other programs say may have any length


class UnitError(Exception):
    """Something the unit could not or would not do.

    `message` says what, with numbers, limits and units; `cause` says why (the message when not given);
    `remediation` says what to do (the class's default when not given). `retry_after_s` is set where trying
    again later makes sense. Texts may come from anywhere: each is cut to MAX_TEXT characters, and half characters,
    which no socket or file takes, are written as escapes.
    """

    default_remediation: ClassVar[str] = "See the unit's log for details."

    def __init__(
        self,
        message: str,
        *,
        cause: str | None = None,
        remediation: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.message = _presentable(message)
        self.cause = _presentable(cause or message)
        self.remediation = _presentable(remediation or self.default_remediation)
        super().__init__(self.message)
        self.retry_after_s = retry_after_s

    def to_dict(self) -> Json:
        """Return a JSON object that `from_dict` turns back into this error in another process."""
        return {
            "type": type(self).__name__,
            "message": self.message,
            "cause": self.cause,
            "remediation": self.remediation,
            "retry_after_s": self.retry_after_s,
        }


def _presentable(text: object) -> str:
    whole = str(text)[: MAX_TEXT + 1].encode("utf-8", "backslashreplace").decode()
    return whole if len(whole) <= MAX_TEXT else whole[: MAX_TEXT - 3] + "..."


class InvalidRequest(UnitError):
    """The request itself is wrong; nothing was done."""

    default_remediation = "Check the request's fields and format."


class UnsupportedContentType(InvalidRequest):
    """The body is declared to be something other than what the endpoint takes."""

    default_remediation = "Send the body as application/json, or leave out the Content-Type header."


class BodyTooLarge(InvalidRequest):
    """The body is larger than the endpoint accepts."""

    default_remediation = "Send a smaller body."


class IdempotencyKeyReused(InvalidRequest):
    """An Idempotency-Key came back with a different request."""

    default_remediation = "Use a new Idempotency-Key for a new request."


class PreconditionFailed(UnitError):
    """What the request is for is not as the request says."""

    default_remediation = "Read it again, then decide anew."


class RangeNotSatisfiable(UnitError):
    """The part that was asked for does not exist."""

    default_remediation = "Ask for the whole."


class NotFound(UnitError):
    """What was asked for does not exist."""

    default_remediation = "Check that it exists."


class NoSuchTask(NotFound):
    """No task has this id, or it expired."""

    default_remediation = "Check the task id; results are kept for 24 hours."


class NoSuchJob(NotFound):
    """No job has this name, or it is not running."""

    default_remediation = "Check the job's name, and that it is running."


class NoSuchFault(NotFound):
    """No fault of this number is latched."""

    default_remediation = "List the latched faults; this one may have been cleared."


class NoSuchSetting(NotFound):
    """The job has no such setting."""

    default_remediation = "Check the setting's name."


class NotSettable(UnitError):
    """The setting can be read and not set."""

    default_remediation = "Leave it to the job."


class Forbidden(UnitError):
    """Whoever asks may not have this done."""

    default_remediation = "Check who may do this, and how the unit is configured."


class ForeignRequest(Forbidden):
    """The request was made by a page of another site, or for another host."""


class NotAdministrator(Forbidden):
    """The request does not come from where, or with what, administration is allowed."""


class NotTheLeader(Forbidden):
    """Only the leader of the cluster does this."""

    default_remediation = "Ask the leader, or correct [cluster.topology] leader_hostname."


class Conflict(UnitError):
    """The request does not fit what the unit is doing now."""

    default_remediation = "Resolve the conflict, then try again."


class JobAlreadyRunning(Conflict):
    """A job that may run once runs already."""

    default_remediation = "Stop it first, or change its settings."


class JobNotRunning(Conflict):
    """The job that the request is for does not run."""

    default_remediation = "Start the job first."


class JobNeeded(Conflict):
    """A job cannot do its work without another one, which does not run."""

    default_remediation = "Start the other job first."


class FaultLatched(Conflict):
    """A fault at the reactor keeps the job from starting until a person clears it."""

    default_remediation = "Look at the reactor, then clear the fault."


class UnitInactive(Conflict):
    """The request says that this unit takes no part now."""

    default_remediation = "Set the unit active, or leave ACTIVE out of the request's env."


class RequestInFlight(Conflict):
    """The first request with this Idempotency-Key has not been answered yet."""

    default_remediation = "Wait a moment and repeat the request."


class RateLimited(UnitError):
    """The same request came too soon after the last one."""

    default_remediation = "Wait, then try again."


class Unavailable(UnitError):
    """The unit cannot do it now."""

    default_remediation = "Try again later."


class QueueFull(Unavailable):
    """More tasks wait than the unit keeps."""

    default_remediation = "Wait until some tasks have ended, then try again."


class HardwareFault(Unavailable):
    """A part of the reactor does not answer or does not do what it is told."""

    default_remediation = "Check the wiring and power of the part named."


class InterlockTripped(Unavailable):
    """A rule that protects the reactor ended what was going on, and left its outputs off."""

    default_remediation = "Find the cause before you start it again."


class StorageFault(Unavailable):
    """A file or database could not be read or written."""

    default_remediation = "Check that the disk has room and is writable."


class NoRoom(StorageFault):
    """What is to be stored is larger than what the disk has free."""

    default_remediation = "Free some of the unit's disk, then try again."


class InternalError(UnitError):
    """A fault of the program itself."""

    default_remediation = "Look into the unit's log; please report this with the lines around it."


class TaskFailed(UnitError):
    """A task ended without a result."""


class TaskTimedOut(TaskFailed):
    """A task took longer than it may."""

    default_remediation = "Try again; if it takes as long again, look into the unit's log."


class ProcessDied(TaskFailed):
    """The process that carried out a task or job ended unexpectedly."""

    default_remediation = "Try again; if it happens again, look into the unit's log."


class ProcessHung(ProcessDied):
    """The process that carried out a task or job gave no sign of life, and was ended."""


class CommandFailed(TaskFailed):
    """A command of the machine could not be run, failed, or did not end in time."""

    default_remediation = "See what the command said, and the unit's log."


class InstallFailed(TaskFailed):
    """Something could not be installed or did not work as it should; what was there is there."""


class Stopped(TaskFailed):
    """A task was ended by a stop request before it was done."""

    default_remediation = "Start it again if the stop was not meant for it."


class ConfigError(UnitError):
    """A configuration file cannot be used. The message names file and line."""

    default_remediation = "Correct the file, then start again."


class AlreadyServing(UnitError):
    """Another process serves this data folder or board."""

    default_remediation = "Stop the other one first, or use another data folder with --dot."


def _all_errors(base: type[UnitError]) -> dict[str, type[UnitError]]:
    found = {base.__name__: base}
    for child in base.__subclasses__():
        found.update(_all_errors(child))
    return found


def from_dict(data: Json) -> UnitError:
    """Return the error that `to_dict` described; an unknown type becomes a plain `UnitError`."""
    kind = _all_errors(UnitError).get(data.get("type", ""), UnitError)
    return kind(
        data["message"],
        cause=data.get("cause"),
        remediation=data.get("remediation"),
        retry_after_s=data.get("retry_after_s"),
    )


def from_exception(ex: BaseException) -> UnitError:
    """Return `ex` as an error for a client.

    An exception that carries `cause` and `remediation` of its own, as those of the drivers do, is a hardware fault;
    anything else is a fault of the program and keeps its type's name in the cause.
    """
    if isinstance(ex, UnitError):
        return ex
    if hasattr(ex, "cause") and hasattr(ex, "remediation"):
        return HardwareFault(str(ex), cause=ex.cause, remediation=ex.remediation)
    if isinstance(ex, OSError):
        return StorageFault(str(ex))
    return InternalError("The unit met an unexpected error.", cause=f"{type(ex).__name__}: {ex}")


def error_body(error: UnitError, status: int) -> Json:
    """Return the contract's error object, the only shape in which an error leaves the unit."""
    return {
        "error": error.message,
        "error_info": {"cause": error.cause, "remediation": error.remediation, "status": status},
    }
