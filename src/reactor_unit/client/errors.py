"""What can go wrong between a client and its unit; each says what happened, why, and what to do."""

from __future__ import annotations

from typing import cast

from reactor_unit.client.records import Json, TaskRecord


class ClientError(Exception):
    """A request did not do what it was made for: what happened, why, and what to do."""

    def __init__(self, error: str, *, cause: str | None = None, remediation: str) -> None:
        super().__init__(error)
        self.error = error
        self.cause = cause or error
        self.remediation = remediation


class UnitUnreachable(ClientError):
    """No unit answered in time."""


class UnitAnswerError(ClientError):
    """The unit answered with an error, or with something this client cannot read.

    `status` is the HTTP status; `body` is the answer's JSON object, None when it was not one.
    """

    def __init__(
        self, error: str, *, cause: str | None = None, remediation: str, status: int, body: Json | None = None
    ) -> None:
        super().__init__(error, cause=cause, remediation=remediation)
        self.status = status
        self.body = body


class UnitTaskFailed(UnitAnswerError):
    """The task that was waited for ended as `failed`; `body` is its record."""


class TaskNotDone(ClientError):
    """The task that was waited for was not done in time; it goes on."""


def completed(record: TaskRecord) -> TaskRecord:
    """Return `record`. Raises UnitTaskFailed, with the task's own error, when it is that of a failed task."""
    if record["status"] == "failed":
        raise answer_error(UnitTaskFailed, cast(Json, record), 500)
    return record


def answer_error(kind: type[UnitAnswerError], body: Json, status: int) -> UnitAnswerError:
    """Return the error that an answer's body tells."""
    info = body.get("error_info")
    info = info if isinstance(info, dict) else {}
    return kind(
        str(body.get("error") or "The task failed without saying why."),
        cause=info.get("cause"),
        remediation=info.get("remediation") or "See the unit's log for details.",
        status=status,
        body=body,
    )
