"""Descriptions of jobs from JSON, strictly: those of plugins come from processes that ran other people's code."""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any

from reactor_unit.job_spec import AUTOMATION_NAME, STATE, Automation, JobSpec, Option, Setting

OPTION_TYPES = ("float", "float range", "integer", "boolean", "flag", "text")
SETTABLE_TYPES = ("float", "integer", "boolean", "string", "text", "json")
MAX_TEXT = 2000  # characters of each text
MAX_ENTRIES = 100  # of each list
_JOB_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")


def decode(kind: Any, value: Any, where: str = "it") -> Any:
    """Return `value`, JSON, as this type: a dataclass, tuple, plain type, or one of them or None.

    Raises ValueError that names the place, for anything that is not exactly of that type.
    """
    if kind is Any:
        return _plain(value, where)
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        (other,) = (one for one in typing.get_args(kind) if one is not type(None))
        return None if value is None else decode(other, value, where)
    if typing.get_origin(kind) is tuple:
        return _tuple(typing.get_args(kind), value, where)
    if dataclasses.is_dataclass(kind):
        return _object(kind, value, where)
    if kind is float and type(value) is int:
        return value
    if type(value) is not kind:
        raise ValueError(f"{where} is not of the type {kind.__name__}")
    return _plain(value, where)


def _plain(value: Any, where: str) -> Any:
    if value is None or type(value) in (bool, int):
        return value
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is str and len(value) <= MAX_TEXT:
        return value
    raise ValueError(f"{where} is no number, or no text of up to {MAX_TEXT} characters")


def _tuple(kinds: Sequence[Any], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or len(value) > MAX_ENTRIES:
        raise ValueError(f"{where} is no list of up to {MAX_ENTRIES} entries")
    if kinds[-1] is Ellipsis:
        kinds = [kinds[0]] * len(value)
    if len(kinds) != len(value):
        raise ValueError(f"{where} has not {len(kinds)} entries")
    return tuple(decode(kind, one, f"{where}[{n}]") for n, (kind, one) in enumerate(zip(kinds, value, strict=True)))


def _object(kind: Any, value: Any, where: str) -> Any:
    hints = typing.get_type_hints(kind)
    if not isinstance(value, dict) or not value.keys() <= hints.keys():
        raise ValueError(f"{where} is no {kind.__name__}")
    try:
        return kind(**{name: decode(hints[name], one, f"{where}.{name}") for name, one in value.items()})
    except TypeError as ex:
        raise ValueError(f"{where} lacks something") from ex


def check_spec(spec: JobSpec) -> None:
    """Raise ValueError for the description of a job that does not hold together."""
    _check_name(spec.name, _JOB_NAME)
    if spec.name.endswith("_calibration"):
        raise ValueError(f"{spec.name} is the name of a calibration session")
    _check_options(spec.options)
    _check_options(spec.steps)
    _check_settings(spec.settings, spec.name)
    for command in spec.commands:
        _check_name(command.name, _NAME)
        _check_options(command.options)
    for automation in spec.automations:
        check_automation(automation, spec.name)
    for names in (spec.commands, spec.automations):
        _check_different(one.name for one in names)
    for table in (*spec.recalls, *spec.calibrations, *spec.estimators):
        _check_name(table, _NAME)


def check_automation(automation: Automation, job_name: str) -> None:
    """Raise ValueError for the description of an automation of this job that does not hold together."""
    _check_name(automation.name, _JOB_NAME)
    _check_options(automation.options)
    _check_settings(automation.settings, job_name)


def _check_options(options: Sequence[Option]) -> None:
    _check_different(option.name for option in options)
    for option in options:
        _check_name(option.name, _NAME)
        if option.name == AUTOMATION_NAME:
            raise ValueError(f"the option {AUTOMATION_NAME} is made from the automations")
        if option.datatype not in OPTION_TYPES:
            raise ValueError(f"the option {option.name} has the type {option.datatype!r}, none of {OPTION_TYPES}")
        _check_limits(option)
        if option.default is not None:
            try:
                option.parse(option.default)
            except ValueError as ex:
                raise ValueError(f"the default of the option {option.name} {ex}") from ex


def _check_settings(settings: Sequence[Setting], job_name: str) -> None:
    """Check settings; readings have the job's name before theirs, so that no two jobs' are mixed up."""
    _check_different(setting.name for setting in settings)
    for setting in settings:
        _check_name(setting.name, _NAME)
        if setting.name == STATE.name or not _NAME.fullmatch(setting.datatype.replace(" ", "_")):
            raise ValueError(f"the setting {setting.name} has no name or type of its own")
        if setting.settable and setting.datatype not in SETTABLE_TYPES:
            raise ValueError(f"the setting {setting.name} can be set, so its type is one of {SETTABLE_TYPES}")
        _check_limits(setting)
        if setting.series is not None and not setting.series.name.startswith(f"{job_name}."):
            raise ValueError(f"the readings {setting.series.name!r} do not begin with {job_name + '.'!r}")


def _check_limits(one: Option | Setting) -> None:
    if one.minimum is not None and one.maximum is not None and one.minimum > one.maximum:
        raise ValueError(f"{one.name} has a minimum above its maximum")


def _check_name(name: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(name):
        raise ValueError(f"the name {name!r} is not of the form {pattern.pattern}")


def _check_different(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"the name {name!r} is there twice")
        seen.add(name)
