"""Schemas of the answers: what tests hold the unit to. They are not run on the answers of a serving unit."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields
from marshmallow.validate import Equal, OneOf, Range, Regexp

from reactor_unit.resources.bodies import BaseSchema
from reactor_unit.resources.schemas import Object, Text

TIMESTAMP = Regexp(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


def _not_blank(value: str) -> None:
    if not value.strip():
        raise ValidationError("is blank")


class WholeNumber(fields.Integer):
    """An integer in JSON, not a text or boolean that could be read as one."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValidationError("must be a whole number")
        return value


class ErrorInfo(BaseSchema):
    """The inner object of an error."""

    cause = Text(required=True, validate=_not_blank)
    remediation = Text(required=True, validate=_not_blank)
    status = WholeNumber(required=True, validate=Range(400, 599))


class ErrorAnswer(BaseSchema):
    """The contract's error object."""

    error = Text(required=True, validate=_not_blank)
    error_info = fields.Nested(ErrorInfo, required=True)


class HealthAnswer(BaseSchema):
    """The answer of `health`."""

    status = Text(required=True, validate=Equal("ok"))
    pioreactor_unit = Text(required=True)
    utc_time = Text(required=True, validate=TIMESTAMP)


class VersionAnswer(BaseSchema):
    """The answer of `versions/app`."""

    version = Text(required=True, validate=Regexp(r"^v\d+\.\d+\.\d+"))


class AcceptedAnswer(BaseSchema):
    """The 202 answer of an endpoint that handed on a task."""

    unit = Text(required=True)
    task_id = Text(required=True)
    result_url_path = Text(required=True, validate=Regexp(r"^/unit_api/task_results/[^/]+$"))


class LockHeldAnswer(BaseSchema):
    """The 202 answer of an endpoint whose lock another task holds."""

    status = Text(required=True, validate=Equal("in_progress"))
    lock = Text(required=True)


class HistoryRow(BaseSchema):
    """One job that runs or ran."""

    job_id = Text(required=True)
    job_name = Text(required=True)
    experiment = Text(required=True)
    job_source = Text(required=True)
    unit = Text(required=True)
    started_at = Text(required=True, validate=TIMESTAMP)
    ended_at = Text(required=True, allow_none=True, validate=TIMESTAMP)


class RunningJobRow(HistoryRow):
    """One running job."""

    is_running = WholeNumber(required=True, validate=Equal(1))
    leader = Text(required=True)
    pid = WholeNumber(required=True)
    is_long_running_job = WholeNumber(required=True, validate=OneOf((0, 1)))


class SettingsAnswer(BaseSchema):
    """All settings of a job, as text; one that has no value yet is null."""

    settings = Object(keys=Text(), values=Text(allow_none=True), required=True)


class TaskAnswerBody(BaseSchema):
    """A task that waits, runs or is done; one that failed is `FailedTaskBody`."""

    task_id = Text(required=True)
    result_url_path = Text(required=True)
    status = Text(required=True, validate=OneOf(("pending", "in_progress", "complete")))
    result = fields.Raw(allow_none=True)
    progress = Object()


class FailedTaskBody(ErrorAnswer):
    """A task that failed."""

    task_id = Text(required=True)
    result_url_path = Text(required=True)
    status = Text(required=True, validate=Equal("failed"))
