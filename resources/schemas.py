"""Schemas of the request bodies."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from marshmallow import ValidationError, fields, post_load, validates_schema
from marshmallow.validate import Length

from reactor_unit.resources.bodies import BaseSchema

HONOURED_ENV = ("EXPERIMENT", "JOB_SOURCE", "MODEL_NAME", "MODEL_VERSION", "ACTIVE")
STOP_FILTERS = ("job_name", "experiment", "job_source", "job_id")
MAX_ENTRIES = 100
MAX_TEXT = 255  # names of experiments and jobs; longer ones have no place in a job's row

EARLIEST_YEAR, LATEST_YEAR = 2020, 2099  # a clock outside of them is a mistake
_UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)

_FEW = Length(max=MAX_ENTRIES, error="has more than {max} entries")


def printable(value: str) -> None:
    """Refuse control characters, which have no place in names, settings or configuration lines."""
    if not value.isprintable():
        raise ValidationError("has a control character")


def short(value: str) -> None:
    """Refuse text that is too long for a name."""
    if len(value) > MAX_TEXT:
        raise ValidationError(f"is longer than {MAX_TEXT} characters")


def whole(value: Any) -> int | None:
    """Return a number of JSON without fraction, `2` or `2.0`, as an integer; None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        return None
    return int(value)


class Text(fields.String):
    """Text, not a number that looks like it."""

    default_error_messages = {"invalid": "must be text", "null": "must be text, not null", "required": "is required"}  # noqa: RUF012


class Name(Text):
    """Short text without control characters."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validate=[printable, short], **kwargs)


class Object(fields.Dict):
    """An object with any keys."""

    default_error_messages = {"invalid": "must be an object", "null": "must be an object, not null"}  # noqa: RUF012


class Array(fields.List[Any]):
    """A list."""

    default_error_messages = {  # noqa: RUF012
        "invalid": "must be a list",
        "null": "must be a list, not null",
        "required": "is required",
    }


class OptionValue(fields.Field[Any]):
    """An option's value as JSON has it; null is an option that stands alone, as a flag does."""

    default_error_messages = {"invalid": "must be text, a number, a boolean or null"}  # noqa: RUF012

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_none=True, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, str | int | float):
            raise self.make_error("invalid")
        return value


class ConfigOverride(fields.Field[list[str]]):
    """Three texts: section, option, value."""

    default_error_messages = {  # noqa: RUF012
        "invalid": "must be a list of three texts: section, option, value",
        "null": "must be a list of three texts: section, option, value",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[str]:
        if not isinstance(value, list) or len(value) != 3 or not all(isinstance(text, str) for text in value):
            raise self.make_error("invalid")
        section, option, _ = value
        if not section.strip() or not option.strip():
            raise ValidationError("needs a section and an option")
        for text in value:
            printable(text)
        return value


class JobId(fields.Field[str]):
    """A job's id as text or whole number; read as text, and 0 as none."""

    default_error_messages = {"invalid": "must be text or a whole number"}  # noqa: RUF012

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        number = whole(value)
        if number is None and not isinstance(value, str):
            raise self.make_error("invalid")
        text = str((value if number is None else number) or "")
        printable(text)
        short(text)
        return text


class Env(fields.Field[dict[str, str]]):
    """The open field `env`, read as the entries that the unit honours and that say something.

    Any other entry is dropped, whatever it holds; empty text and the text `None` count as not given.
    """

    default_error_messages = {"invalid": "must be an object", "null": "must be an object, not null"}  # noqa: RUF012
    _honoured = Object(keys=Text(), values=Name())

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        env = self._honoured.deserialize({name: value[name] for name in HONOURED_ENV if name in value})
        if env.get("JOB_SOURCE", "").strip().lower() == "system":
            raise ValidationError({"JOB_SOURCE": ["'system' is reserved for what the unit starts by itself"]})
        return {name: text for name, text in env.items() if text not in ("", "None")}


class StrictBody(BaseSchema):
    """The body of endpoints that run something: options, environment, arguments."""

    options = Object(keys=Text(), values=OptionValue(), load_default=dict, validate=_FEW)
    env = Env(load_default=dict)
    args = Array(Text(), load_default=list, validate=_FEW)


class RunJobRequest(StrictBody):
    """The body of `jobs/run`."""

    config_overrides = Array(ConfigOverride(), load_default=list, validate=_FEW)


class StopJobsRequest(BaseSchema):
    """The body of `jobs/stop`: at least one filter; jobs must fit all that are given."""

    job_name = Name(allow_none=True)
    experiment = Name(allow_none=True)
    job_source = Name(allow_none=True)
    job_id = JobId(allow_none=True)

    @validates_schema
    def _has_filter(self, data: dict[str, Any], **kwargs: Any) -> None:
        if not any(data.values()):
            raise ValidationError(f"At least one of {', '.join(STOP_FILTERS)} must say which jobs to stop")

    @post_load
    def _keep_given(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {name: value for name, value in data.items() if value}


class Boolean(fields.Boolean):
    """A JSON boolean, not a text or number that looks like one."""

    default_error_messages = {"invalid": "must be true or false", "null": "must be true or false, not null"}  # noqa: RUF012

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class HardwareCheckRequest(BaseSchema):
    """The body of `hardware/check`: which model's chips to look for, and whether liquid may be moved."""

    model_name = Name()
    model_version = Name()
    pumps = Boolean()

    @validates_schema
    def _names_a_whole_model(self, data: dict[str, Any], **kwargs: Any) -> None:
        if bool(data.get("model_name")) != bool(data.get("model_version")):
            raise ValidationError("model_name and model_version belong together; leave out both for the unit's own")


HARDWARE_CHECK_REQUEST = HardwareCheckRequest()


class UtcTime(Text):
    """A time such as `2026-01-31T12:45:00Z`, with up to six decimals, in a year a clock may sensibly be set to."""

    default_error_messages = {"form": "must be a UTC time such as 2026-01-31T12:45:00Z"}  # noqa: RUF012

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if not _UTC_TIME.fullmatch(text):
            raise self.make_error("form")
        try:
            at = datetime.fromisoformat(text)
        except ValueError as ex:
            raise ValidationError(f"is no time: {ex}") from ex
        if not EARLIEST_YEAR <= at.year <= LATEST_YEAR:
            raise ValidationError(f"is not within the years {EARLIEST_YEAR} to {LATEST_YEAR}")
        return text


class SetClockRequest(BaseSchema):
    """The body that sets the clock."""

    utc_clock_time = UtcTime(required=True)


SET_CLOCK_REQUEST = SetClockRequest()


class OnePluginRequest(BaseSchema):
    """The body that installs or uninstalls one plugin."""

    args = Array(Text(), required=True, validate=Length(equal=1, error="must be the name of one plugin"))
    options = Object(load_default=dict)
    env = Object(load_default=dict)

    @validates_schema
    def check_options(self, data: dict[str, Any], **_kwargs: Any) -> None:
        """Refuse options that would be ignored."""
        if set(data.get("options", ())) - {"source"}:
            raise ValidationError("has only the option source", "options")


class UpdateRequest(BaseSchema):
    """The body that updates the unit."""

    args = Array(Text(), load_default=list, validate=Length(max=0, error="must be empty"))
    options = Object(load_default=dict)
    env = Object(load_default=dict)


ONE_PLUGIN_REQUEST = OnePluginRequest()
UPDATE_REQUEST = UpdateRequest()


class SetSettingRequest(BaseSchema):
    """The body that changes a setting of a running job."""

    value = fields.Raw(required=True, allow_none=True, error_messages={"required": "is required"})


RUN_JOB_REQUEST = RunJobRequest()
STOP_JOBS_REQUEST = StopJobsRequest()
SET_SETTING_REQUEST = SetSettingRequest()
