"""From marshmallow schemas to JSON Schema: what apispec knows, and what the unit's own fields and validators mean.

Three formats are the unit's own. `printable`: no character that Python's `str.isprintable` refuses. `utc-time`: as in
2026-01-31T12:45:00Z, from 2020 to 2099. `calibration`: YAML as in docs/calibrations.md.
"""

from __future__ import annotations

from typing import Any

from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema, fields

from reactor_unit.resources import response_schemas, schemas
from reactor_unit.resources.calibration_sessions import Revision
from reactor_unit.resources.calibrations import Flag

PRINTABLE = {"type": "string", "format": "printable"}
NAME = {**PRINTABLE, "maxLength": schemas.MAX_TEXT}
HEARD_ENV: dict[str, Any] = dict.fromkeys(schemas.HONOURED_ENV, NAME)
HEARD_ENV["JOB_SOURCE"] = {**NAME, "not": {"type": "string", "pattern": r"^\s*[Ss][Yy][Ss][Tt][Ee][Mm]\s*$"}}

FIELDS: dict[type, dict[str, Any]] = {
    schemas.OptionValue: {"type": ["string", "number", "boolean", "null"]},
    schemas.ConfigOverride: {
        "type": "array",
        "description": "Section, option and value, for this run only.",
        "items": PRINTABLE,
        "prefixItems": [{**PRINTABLE, "pattern": r"\S"}, {**PRINTABLE, "pattern": r"\S"}],
        "minItems": 3,
        "maxItems": 3,
    },
    schemas.JobId: {"type": ["string", "integer", "null"], "format": "printable", "maxLength": schemas.MAX_TEXT},
    schemas.Env: {
        "type": "object",
        "description": "What else is in it is taken and has no meaning.",
        "properties": HEARD_ENV,
    },
    schemas.UtcTime: {"format": "utc-time"},
    Revision: {"type": ["integer", "null"], "minimum": 0},
    Flag: {"type": "boolean"},
}
VALIDATORS: dict[Any, dict[str, Any]] = {
    schemas.printable: {"format": "printable"},
    schemas.short: {"maxLength": schemas.MAX_TEXT},
    response_schemas._not_blank: {"pattern": r"\S"},
}


class Schemas:
    """The description's schemas: each is named once, and referred to."""

    def __init__(self) -> None:
        self.plugin = MarshmallowPlugin(schema_name_resolver=self._name)
        self.classes: dict[str, type[Schema]] = {}  # of the schemas that have a name, by that

    def learn_fields(self) -> None:
        """Teach apispec, which knows the plugin by now, the unit's own fields."""
        assert self.plugin.converter is not None
        self.plugin.converter.add_attribute_function(_meaning)  # type: ignore[no-untyped-call]

    def _name(self, schema: Any) -> str:
        found = schema if isinstance(schema, type) else type(schema)
        self.classes[found.__name__] = found
        return found.__name__

    def resolved(self, value: Any) -> Any:
        """Return `value` with a reference in the place of each marshmallow schema in it."""
        if isinstance(value, type) and issubclass(value, Schema):
            return self._reference(value)
        if isinstance(value, dict):
            return {key: self.resolved(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.resolved(inner) for inner in value]
        return value

    def _reference(self, schema: type[Schema]) -> dict[str, str]:
        assert self.plugin.resolver is not None
        reference: dict[str, str] = self.plugin.resolver.resolve_schema_dict(schema)  # type: ignore[no-untyped-call]
        return reference


def _meaning(_converter: Any, field: fields.Field[Any], ret: dict[str, Any], **_kwargs: Any) -> dict[str, Any]:
    """Return what apispec cannot know of a field; called for each, after apispec's own functions."""
    found: dict[str, Any] = {}
    for validator in field.validators:
        found |= VALIDATORS.get(validator, {})
    for kind in type(field).__mro__:
        if kind in FIELDS:
            found |= FIELDS[kind]
            break
    if isinstance(field, fields.Dict):
        found |= {f"{end}Properties": ret.pop(f"{end}Length") for end in ("min", "max") if f"{end}Length" in ret}
    return found
