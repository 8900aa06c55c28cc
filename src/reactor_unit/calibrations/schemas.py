"""Every type of calibration and estimator, as the schema of its file; open for more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validates_schema
from marshmallow.validate import OneOf, Range

from reactor_unit.calibrations.fields import (
    PIECEWISE_KINDS,
    CurveField,
    Number,
    RecordedXY,
    Text,
    Timestamp,
)
from reactor_unit.calibrations.models import (
    Calibration,
    Estimator,
    FusedOdEstimator,
    OdCalibration,
    PumpCalibration,
    RecordedData,
    StirringCalibration,
)
from reactor_unit.errors import InvalidRequest
from reactor_unit.problems import sentences, shortened

Record = Calibration | Estimator
FileContent = dict[str, Any]

MAX_LISTED_PROBLEMS = 20

_NOT_NEGATIVE = Range(min=0, error="must not be negative")


class InvalidCalibration(InvalidRequest):
    """A calibration or estimator is not what its type says it is."""

    default_remediation = "Correct the fields named."


def _one_of(*choices: str) -> OneOf:
    return OneOf(choices, error="must be one of {choices}, in quotes")


class RecordSchema(Schema):
    """What all files share: fields that nobody knows are left out, and what is read becomes the class `model`."""

    model: type[Any]

    class Meta:
        """Options of all schemas."""

        unknown = EXCLUDE

    error_messages = {"type": "must be a mapping of names to values"}  # noqa: RUF012 - marshmallow's own name

    @post_load
    def _make(self, data: dict[str, Any], **kwargs: Any) -> Any:
        return self.model(**data)


class CalibrationSchema(RecordSchema):
    """What every calibration has, in the order of its file; a type adds its own fields."""

    calibration_type = Text(required=True)
    calibration_name = Text(required=True)
    calibrated_on_pioreactor_unit = Text(required=True)
    created_at = Timestamp(required=True)
    curve = CurveField("poly", *PIECEWISE_KINDS, data_key="curve_data_", required=True)
    x = Text(load_default="x")
    y = Text(load_default="y")
    recorded_data = RecordedXY(required=True)

    @post_load
    def _make(self, data: dict[str, Any], **kwargs: Any) -> Any:
        return self.model(**{**data, "recorded_data": RecordedData(**data["recorded_data"])})


class OdSchema(CalibrationSchema):
    """Type `od`."""

    model = OdCalibration
    x = Text(load_default="OD")
    y = Text(load_default="Voltage")
    ir_led_intensity = Number(required=True)
    angle = Text(required=True, validate=_one_of("45", "90", "135", "180"))
    pd_channel = Text(required=True, validate=_one_of("1", "2", "3", "4"))


class Od600Schema(OdSchema):
    """Type `od600`."""

    x = Text(load_default="OD600")


class PumpSchema(CalibrationSchema):
    """Type `simple_peristaltic_pump`."""

    model = PumpCalibration
    x = Text(load_default="Duration")
    y = Text(load_default="Volume")
    hz = Number(required=True, validate=_NOT_NEGATIVE)
    dc = Number(required=True, validate=_NOT_NEGATIVE)
    voltage = Number(required=True)


class StirringSchema(CalibrationSchema):
    """Type `simple_stirring`."""

    model = StirringCalibration
    x = Text(load_default="DC %")
    y = Text(load_default="RPM")
    pwm_hz = Number(required=True, validate=_NOT_NEGATIVE)
    voltage = Number(required=True)


class EstimatorSchema(RecordSchema):
    """What every estimator has, in the order of its file."""

    estimator_type = Text(required=True)
    estimator_name = Text(required=True)
    calibrated_on_pioreactor_unit = Text(required=True)
    created_at = Timestamp(required=True)


class FusedOdSchema(EstimatorSchema):
    """Type `od_fused_estimator`."""

    model = FusedOdEstimator
    _ANGLE = _one_of("45", "90", "135")
    ir_led_intensity = Number(required=True)
    angles = fields.List(Text(validate=_ANGLE), required=True, error_messages={"invalid": "must be a list of texts"})
    mu_splines = fields.Dict(Text(validate=_ANGLE), CurveField("akima"), required=True)
    sigma_splines_log = fields.Dict(Text(validate=_ANGLE), CurveField("akima"), required=True)
    min_logc = Number(required=True)
    max_logc = Number(required=True)
    sigma_floor = Number(required=True)
    recorded_data = fields.Dict(required=True)
    y = Text(load_default="log(Voltage)")

    @validates_schema
    def _has_both_curves_of_every_angle(self, data: dict[str, Any], **kwargs: Any) -> None:
        for name in ("mu_splines", "sigma_splines_log"):
            missing = [angle for angle in data["angles"] if angle not in data[name]]
            if missing:
                raise ValidationError(f"lacks the angle {', '.join(missing)}", name)

    @post_load
    def _make(self, data: dict[str, Any], **kwargs: Any) -> Any:
        return self.model(**{**data, "angles": tuple(data["angles"])})


CALIBRATION_TYPES: dict[str, CalibrationSchema] = {
    "od": OdSchema(),
    "od600": Od600Schema(),
    "simple_peristaltic_pump": PumpSchema(),
    "simple_stirring": StirringSchema(),
}
ESTIMATOR_TYPES: dict[str, EstimatorSchema] = {"od_fused_estimator": FusedOdSchema()}


def load(content: Any, tag: str, types: Mapping[str, RecordSchema]) -> Any:
    """Return the calibration or estimator that a file's content is; the field `tag` says which of `types`.

    Raises InvalidCalibration that names every wrong field and what it must be.
    """
    if not isinstance(content, Mapping):
        raise InvalidCalibration("It is not a mapping of names to values.")
    kind = content.get(tag)
    schema = types.get(kind) if isinstance(kind, str) else None
    if schema is None:
        raise InvalidCalibration(f"{tag} {shortened(repr(kind))} must be one of {', '.join(types)}.")
    try:
        return schema.load(content)
    except ValidationError as ex:
        problems = list(sentences("", ex.messages))
        shown = problems[:MAX_LISTED_PROBLEMS]
        if len(problems) > len(shown):
            shown.append(f"And {len(problems) - len(shown)} more.")
        raise InvalidCalibration(" ".join(shown)) from ex


def to_file(record: Record) -> FileContent:
    """Return the content of the record's file, fields in their order; times stay times."""
    if isinstance(record, Calibration):
        schema: RecordSchema = CALIBRATION_TYPES[record.calibration_type]
    else:
        schema = ESTIMATOR_TYPES[record.estimator_type]
    content: FileContent = schema.dump(record)
    return content


def to_json(record: Record) -> FileContent:
    """Return the record as answers have it: as its file, with times as RFC 3339 text in UTC."""
    return {name: _json_value(value) for name, value in to_file(record).items()}


def _json_value(value: Any) -> Any:
    """Return what JSON can hold of what YAML can; `recorded_data` of an estimator is anything."""
    if isinstance(value, Mapping):
        return {str(key): _json_value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_json_value(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value
