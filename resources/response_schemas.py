"""Schemas of the answers: what tests hold the unit to. They are not run on the answers of a serving unit."""

from __future__ import annotations

from typing import Any

from marshmallow import INCLUDE, ValidationError, fields, validates_schema
from marshmallow.validate import Equal, OneOf, Range, Regexp

from reactor_unit.resources.bodies import BaseSchema
from reactor_unit.resources.schemas import Object, Text

TIMESTAMP = Regexp(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

TASK_PATH = Regexp(r"^/unit_api/task_results/[^/]+$")


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
    result_url_path = Text(required=True, validate=TASK_PATH)


class LockHeldAnswer(BaseSchema):
    """The 202 answer of an endpoint whose lock another task holds."""

    status = Text(required=True, validate=Equal("in_progress"))
    lock = Text(required=True)


class ClockAnswer(BaseSchema):
    """The answer of `system/utc_clock`."""

    status = Text(required=True, validate=Equal("success"))
    clock_time = Text(required=True, validate=TIMESTAMP)


class WebServerAnswer(BaseSchema):
    """The answer of `system/web_server/status`."""

    service = Text(required=True, validate=_not_blank)
    state = Text(required=True, validate=OneOf(("ready", "disconnected")))
    raw_status = Text(required=True, validate=Regexp(r"^\w+=\w+(, \w+=\w+)*$"))


class JobRow(BaseSchema):
    """The columns that every row of a job has, as in the reference system."""

    job_id = Text(required=True)
    unit = Text(required=True)
    experiment = Text(required=True)
    job_name = Text(required=True)
    job_source = Text(required=True)
    started_at = Text(required=True, validate=TIMESTAMP)
    is_running = WholeNumber(required=True, validate=OneOf((0, 1)))
    leader = Text(required=True)
    pid = WholeNumber(required=True)
    is_long_running_job = WholeNumber(required=True, validate=OneOf((0, 1)))
    ended_at = Text(required=True, allow_none=True, validate=TIMESTAMP)

    @validates_schema
    def _runs_or_has_ended(self, data: dict[str, Any], **kwargs: Any) -> None:
        if (data["ended_at"] is None) != bool(data["is_running"]):
            raise ValidationError("runs and has ended, or neither")


class RunningJobRow(JobRow):
    """One running job."""

    is_running = WholeNumber(required=True, validate=Equal(1))


class HistoryRow(JobRow):
    """One job that runs or ran."""

    state = Text(required=True, validate=OneOf(("init", "ready", "sleeping", "disconnected", "lost")))
    cause = Text(required=True, allow_none=True, validate=_not_blank)
    options = Object(keys=Text(), required=True)


class SettingsAnswer(BaseSchema):
    """All settings of a job, as text; one that has no value yet is null."""

    settings = Object(keys=Text(), values=Text(allow_none=True), required=True)


class SettingInForce(BaseSchema):
    """The answer to a change of a setting."""

    setting = Text(required=True)
    value = fields.Raw(required=True, allow_none=True)


class OneFault(BaseSchema):
    """One latched fault."""

    id = Text(required=True, validate=_not_blank)
    kind = Text(required=True, validate=_not_blank)
    message = Text(required=True, validate=_not_blank)
    cause = Text(required=True, validate=_not_blank)
    remediation = Text(required=True, validate=_not_blank)
    jobs = fields.List(Text(), required=True)
    job_name = Text(required=True)
    experiment = Text(required=True)
    at = Text(required=True, validate=TIMESTAMP)


class FaultsAnswer(BaseSchema):
    """All latched faults."""

    faults = fields.List(fields.Nested(OneFault), required=True)


class OneSelfTestResult(BaseSchema):
    """The last result of one self-test."""

    name = Text(required=True)
    status = Text(required=True, validate=OneOf(("ok", "fail")))
    what = Text(required=True)
    remedy = Text(required=True)
    timestamp = Text(required=True)
    job_id = Text(required=True)


class SelfTestResultsAnswer(BaseSchema):
    """The newest run of the self-tests, and the last result of each."""

    job_id = Text(required=True, allow_none=True)
    planned = fields.List(Text(), required=True)
    results = fields.List(fields.Nested(OneSelfTestResult), required=True)


class ClearedFault(BaseSchema):
    """The answer to the clearing of a fault."""

    cleared = fields.Nested(OneFault, required=True)


class PumpInFlight(BaseSchema):
    """A pump that runs, and the most that it may move."""

    pump = Text(required=True, validate=OneOf(["media", "alt_media", "waste"]))
    at_most_ml = fields.Float(required=True, validate=Range(0))


class VialAnswer(BaseSchema):
    """What is known of the liquid in the vial; volumes in ml."""

    current_volume_ml = fields.Float(required=True, validate=Range(0))
    max_working_volume_ml = fields.Float(required=True)
    maximum_volume_ml = fields.Float(required=True, allow_none=True)
    alt_media_fraction = fields.Float(required=True, validate=Range(0, 1))
    in_flight = fields.List(fields.Nested(PumpInFlight), required=True)
    experiment = Text(required=True)
    media_throughput = fields.Float(required=True)
    alt_media_throughput = fields.Float(required=True)


class OneReading(BaseSchema):
    """One number of one series."""

    timestamp = Text(required=True, validate=TIMESTAMP)
    name = Text(required=True, validate=_not_blank)
    value = fields.Float(required=True)


class ReadingsAnswer(BaseSchema):
    """Readings in the order of time."""

    readings = fields.List(fields.Nested(OneReading), required=True)


class Progress(BaseSchema):
    """How far a running task is."""

    done = fields.Float(required=True)
    total = fields.Float(required=True)
    message = Text(required=True)


class TaskAnswerBody(BaseSchema):
    """A task that waits, runs or is done; one that failed is `FailedTaskBody`."""

    task_id = Text(required=True)
    result_url_path = Text(required=True, validate=TASK_PATH)
    status = Text(required=True, validate=OneOf(("pending", "in_progress", "complete")))
    result = fields.Raw(allow_none=True)
    progress = fields.Nested(Progress)

    @validates_schema
    def _has_a_result_when_complete(self, data: dict[str, Any], **kwargs: Any) -> None:
        if ("result" in data) != (data["status"] == "complete"):
            raise ValidationError("has a result and is not complete, or the other way round")


class FailedTaskBody(ErrorAnswer):
    """A task that failed."""

    task_id = Text(required=True)
    result_url_path = Text(required=True, validate=TASK_PATH)
    status = Text(required=True, validate=Equal("failed"))


class Finding(BaseSchema):
    """What one check of the hardware found."""

    name = Text(required=True, validate=_not_blank)
    status = Text(required=True, validate=OneOf(("ok", "fail", "skipped")))
    what = Text(required=True, validate=_not_blank)
    remedy = Text(required=True)


class HardwareCheckResult(BaseSchema):
    """The result of the task of `hardware/check`."""

    ok = fields.Boolean(required=True)
    findings = fields.List(fields.Nested(Finding), required=True)


class RecordAnswer(BaseSchema):
    """What a calibration and an estimator share in answers; each type has further fields."""

    class Meta:
        """A type's own fields are checked when its file is read."""

        unknown = INCLUDE

    is_active = fields.Raw(required=True, validate=OneOf((True, False)))
    pioreactor_unit = Text(required=True)
    calibrated_on_pioreactor_unit = Text(required=True)
    created_at = Text(required=True, validate=Regexp(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z$"))


class CalibrationAnswer(RecordAnswer):
    """One calibration."""

    calibration_type = Text(required=True)
    calibration_name = Text(required=True)
    curve_data_ = Object(required=True)
    x = Text(required=True)
    y = Text(required=True)
    recorded_data = Object(required=True)


class EstimatorAnswer(RecordAnswer):
    """One estimator."""

    estimator_type = Text(required=True)
    estimator_name = Text(required=True)
    device = Text(required=True)


class ProtocolAnswer(BaseSchema):
    """One guided way to calibrate a device."""

    id = Text(required=True)
    target_device = Text(required=True)
    protocol_name = Text(required=True)
    priority = WholeNumber(required=True)
    title = Text(required=True, validate=_not_blank)
    description = Text(required=True, validate=_not_blank)
    requirements = fields.List(Text(), required=True)


class SessionStepField(BaseSchema):
    """What a step of a calibration session asks for."""

    name = Text(required=True)
    label = Text(required=True)
    field_type = Text(required=True, validate=OneOf(("string", "float", "int", "bool", "float_list", "choice")))
    required = fields.Boolean(required=True)
    default = fields.Raw(required=True, allow_none=True)
    options = fields.List(Text(), required=True, allow_none=True)
    minimum = fields.Float(required=True, allow_none=True)
    maximum = fields.Float(required=True, allow_none=True)
    min_error_msg = Text(required=True, allow_none=True)
    max_error_msg = Text(required=True, allow_none=True)
    help_text = Text(required=True, allow_none=True)


class SessionStep(BaseSchema):
    """One step of a calibration session, in the reference's shape."""

    step_id = Text(required=True)
    step_type = Text(required=True, validate=OneOf(("info", "form", "action", "result")))
    title = Text(required=True)
    body = Text(required=True)
    fields_ = fields.List(fields.Nested(SessionStepField), required=True, data_key="fields")
    metadata = Object(required=True)


class CalibrationSession(BaseSchema):
    """A calibration session."""

    session_id = Text(required=True)
    protocol_name = Text(required=True)
    target_device = Text(required=True)
    status = Text(required=True, validate=OneOf(("in_progress", "complete", "aborted")))
    step_id = Text(required=True)
    data = Object(required=True)
    created_at = Text(required=True, validate=TIMESTAMP)
    updated_at = Text(required=True, validate=TIMESTAMP)
    result = Object(required=True, allow_none=True)
    error = Text(required=True, allow_none=True)
    revision = WholeNumber(required=True)
    task_id = Text(required=True, allow_none=True)


class SessionAnswer(BaseSchema):
    """The answer of all endpoints of calibration sessions."""

    session = fields.Nested(CalibrationSession, required=True)
    step = fields.Nested(SessionStep, required=True, allow_none=True)


class CapabilityArgument(BaseSchema):
    """Words without a name that a job takes."""

    name = Text(required=True)
    nargs = WholeNumber(required=True)
    required = fields.Boolean(required=True, truthy={True}, falsy={False})
    type = Text(required=True)


class CapabilityOption(BaseSchema):
    """An option of a job, in the reference's shape."""

    name = Text(required=True, validate=Regexp(r"^[A-Za-z][A-Za-z0-9_]*$"))
    long_flag = Text(required=True, validate=Regexp(r"^[A-Za-z][A-Za-z0-9-]*$"))
    help = Text(required=True)
    required = fields.Boolean(required=True, truthy={True}, falsy={False})
    multiple = fields.Boolean(required=True, truthy={True}, falsy={False})
    default = fields.Raw(required=True, allow_none=True)
    type = Text(required=True)


class CapabilitySetting(BaseSchema):
    """What a job publishes under one name."""

    datatype = Text(required=True)
    settable = fields.Boolean(required=True, truthy={True}, falsy={False})
    unit = Text()
    persist = fields.Boolean(truthy={True}, falsy={False})


class Capability(BaseSchema):
    """A job, an automation or a command, in the reference's shape."""

    job_name = Text(required=True)
    automation_name = Text()
    help = Text(required=True)
    arguments = fields.List(fields.Nested(CapabilityArgument), required=True)
    options = fields.List(fields.Nested(CapabilityOption), required=True)
    published_settings = fields.Dict(keys=Text(), values=fields.Nested(CapabilitySetting), required=True)
    cli_example = Text(required=True)


class SettingCapability(CapabilitySetting):
    """A setting with its limits."""

    job_name = Text(required=True)
    automation_name = Text()
    setting = Text(required=True)
    minimum = fields.Float()
    maximum = fields.Float()
    choices = fields.List(Text())


class CapabilitiesAnswer(BaseSchema):
    """The answer of `capabilities`."""

    jobs = fields.List(fields.Nested(Capability), required=True)
    settings = fields.List(fields.Nested(SettingCapability), required=True)


class InstalledPlugin(BaseSchema):
    """An entry of the list of plugins."""

    name = Text(required=True, validate=_not_blank)
    version = Text(required=True, validate=_not_blank)
    description = Text(required=True, allow_none=True)
    homepage = Text(required=True, allow_none=True)
    source = Text(required=True, validate=Regexp(r"^(entry_points|plugins/[^/]+\.py)$"))
    author = Text(required=True, allow_none=True)
    error = Text(required=True, allow_none=True)


class RunningJobRowShown(RunningJobRow):
    """One running job, with what it publishes if that was asked for."""

    settings = Object(keys=Text())


class ReadingNamesAnswer(BaseSchema):
    """The answer of `readings/names`."""

    names = fields.List(Text(), required=True)


class StatusAnswer(BaseSchema):
    """The answer to what is done at once."""

    status = Text(required=True, validate=Equal("success"))


class MessageAnswer(BaseSchema):
    """The answer that says what was done."""

    msg = Text(required=True, validate=_not_blank)


class CreatedAnswer(MessageAnswer):
    """The answer to the upload of a calibration."""

    path = Text(required=True, validate=_not_blank)


class ListingAnswer(BaseSchema):
    """What a folder of the data folder holds."""

    current = Text(required=True)
    dirs = fields.List(Text(), required=True)
    files = fields.List(Text(), required=True)
