"""What a job takes, as JSON Schema: its options, its commands, and the values of its settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from reactor_unit.job_spec import (
    AUTOMATION_NAME,
    FALSE_WORDS,
    MAX_TEXT_VALUE,
    STATE,
    TRUE_WORDS,
    Command,
    JobSpec,
    Option,
    Setting,
)
from reactor_unit.openapi.numbers import text_of_numbers

JsonSchema = dict[str, Any]
ENVIRONMENT = {"$ref": "#/components/schemas/Environment"}
OVERRIDES = {"$ref": "#/components/schemas/ConfigOverrides"}
NUMBERS = ("float", "float range", "integer")
TEXTS = ("text", "string")


def run_schema(spec: JobSpec) -> JsonSchema:
    """Return the schema of the body that runs this job, or one of its commands."""
    bodies = [_body(_options(spec), {"maxItems": 0})]
    bodies += [_body(_object(command.options), _only(command)) for command in spec.commands]
    return bodies[0] if len(bodies) == 1 else {"anyOf": bodies}


def _body(options: JsonSchema, args: JsonSchema) -> JsonSchema:
    properties = {
        "options": options,
        "args": {"type": "array", "items": {"type": "string"}, **args},
        "env": ENVIRONMENT,
        "config_overrides": OVERRIDES,
    }
    required = ["args"] if "minItems" in args else []
    if "anyOf" in options or options.get("required") or options.get("minProperties"):
        required.append("options")
    return _closed(properties, required)


def _only(command: Command) -> JsonSchema:
    return {"items": {"enum": [command.name]}, "minItems": 1, "maxItems": 1}


def _options(spec: JobSpec) -> JsonSchema:
    if spec.steps:
        return {**_object(spec.steps, nullable=False), "minProperties": 1}
    if spec.automations:
        variants = [_with_automation(spec, automation.name) for automation in spec.automations]
    else:
        variants = list(_variants(spec))
    return variants[0] if len(variants) == 1 else {"anyOf": variants}


def _with_automation(spec: JobSpec, name: str) -> JsonSchema:
    found = _object(spec.options_with(name))
    found["properties"][AUTOMATION_NAME] = {"const": name}
    return found


def _variants(spec: JobSpec) -> Iterator[JsonSchema]:
    """Yield what may be given together: one each for the options of which exactly one is to be given."""
    for chosen in spec.one_of or (None,):
        rest = [one for one in spec.options if one.name == chosen or one.name not in spec.one_of]
        there = {one.name for one in rest}
        left = [one for one in rest if all(other in there for name, other in spec.requires if name == one.name)]
        found = _object(left)
        if chosen is not None:
            (option,) = [one for one in left if one.name == chosen]
            found["properties"][chosen] = given_option(option)
            found["required"] = [chosen]
        yield found


def _object(options: Sequence[Option], *, nullable: bool = True) -> JsonSchema:
    properties = {one.name: option_schema(one, nullable=nullable) for one in options}
    return _closed(properties, [one.name for one in options if one.required])


def _closed(properties: JsonSchema, required: Iterable[str]) -> JsonSchema:
    found: JsonSchema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required := list(required):
        found["required"] = required
    return found


def given_option(option: Option) -> JsonSchema:
    """Return the schema of an option that has to say something: a flag is on."""
    if option.datatype == "flag":
        return {"enum": [True, None], "description": option.help}
    return option_schema(option, nullable=False)


def option_schema(option: Option, *, nullable: bool = True) -> JsonSchema:
    """Return the schema of an option's value; null is one that is not given, or a flag that stands alone."""
    nullable = nullable and (not option.required or option.datatype == "flag")
    found = _schema(option.datatype, option, nullable=nullable)
    found["description"] = _description(option.help, option.unit)
    if option.default is not None:
        found["default"] = option.default
    return found


def setting_schema(setting: Setting) -> JsonSchema:
    """Return the schema of a value to which a setting can be set."""
    found = _schema(setting.datatype, setting, nullable=False)
    if setting.datatype in TEXTS and not setting.choices:
        found = {"type": "string", "format": "printable", "maxLength": MAX_TEXT_VALUE}
    if setting.unit:
        found["description"] = _description("", setting.unit)
    return found


def settable(spec: JobSpec) -> list[Setting]:
    """Return the settings that can be set while the job runs, with any of its automations."""
    return [one for one in (*spec.every_setting(), STATE) if one.settable]


def _schema(datatype: str, one: Option | Setting, *, nullable: bool) -> JsonSchema:
    null = ["null"] if nullable else []
    if datatype in NUMBERS:
        whole = datatype == "integer"
        limits = {"minimum": one.minimum, "maximum": one.maximum}
        return {
            "type": ["integer" if whole else "number", "string", *null],
            **{name: limit for name, limit in limits.items() if limit is not None},
            "pattern": text_of_numbers(one.minimum, one.maximum, whole=whole),
        }
    if datatype in ("boolean", "flag"):
        words = {"type": "string", "pattern": _any_case(sorted(TRUE_WORDS | FALSE_WORDS))}
        return {"anyOf": [{"type": ["boolean", *null]}, {"enum": [0, 1]}, words]}
    if datatype == "json":
        return {"type": ["object", "array", "number", "boolean", "string"], "format": "json"}
    if one.choices:
        return {"enum": [*one.choices, *([None] if nullable else [])]}
    return {"type": ["string", "number", "boolean", *null]}


def _any_case(words: Iterable[str]) -> str:
    """Return a pattern of words that may be written with capitals.

    >>> _any_case(["on", "1"])
    '^([oO][nN]|1)$'
    """
    spelt = ("".join(f"[{one}{one.upper()}]" if one.isalpha() else one for one in word) for word in words)
    return f"^({'|'.join(spelt)})$"


def _description(text: str, unit: str) -> str:
    return f"{text} In {unit}.".strip() if unit else text
