"""What a unit can do, as its leader and people are told: made from the jobs' descriptions, nothing written twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reactor_unit.job_spec import (
    AUTOMATION_NAME,
    STATE,
    Automation,
    Command,
    JobSpec,
    Option,
    Setting,
)

COMMAND_LINE = "reactor-unit jobs run"

Entry = dict[str, Any]


def capabilities(catalogue: Mapping[str, JobSpec]) -> dict[str, list[Entry]]:
    """Return `jobs`, the reference system's entries, and `settings`: all that jobs publish, with their limits.

    A job with automations has an entry for each of them and none for itself; a command has one of its own, named
    `JOB COMMAND`.
    """
    specs = [catalogue[name] for name in sorted(catalogue)]
    jobs = [entry for spec in specs for entry in _entries(spec)]
    jobs.sort(key=lambda entry: (entry["job_name"], entry.get(AUTOMATION_NAME, "")))
    return {"jobs": jobs, "settings": [entry for spec in specs for entry in _setting_entries(spec)]}


def _entries(spec: JobSpec) -> Iterable[Entry]:
    if spec.automations:
        for automation in spec.automations:
            yield _automation_entry(spec, automation)
    else:
        yield _entry(
            spec.name, spec.help, _arguments(spec), spec.options, _published((*spec.settings, STATE)), spec.name
        )
    for command in spec.commands:
        yield _command_entry(spec, command)


def _automation_entry(spec: JobSpec, automation: Automation) -> Entry:
    """Return the entry of a job with one automation: what can be set while it runs is offered as an option too."""
    options = [option for option in spec.options_with(automation.name) if option.name != AUTOMATION_NAME]
    settings = spec.settings_with(automation.name)
    named = {option.name for option in options}
    options += [Option(one.name, one.datatype) for one in settings if one.settable and one.name not in named]
    words = f"{spec.name} --automation-name {automation.name}"
    entry = _entry(spec.name, automation.help, [], options, _published((*settings, STATE)), words)
    return {"job_name": entry.pop("job_name"), AUTOMATION_NAME: automation.name, **entry}


def _command_entry(spec: JobSpec, command: Command) -> Entry:
    name = f"{spec.name} {command.name}"
    return _entry(name, command.help, [], command.options, {}, name)


def _entry(
    name: str,
    help_text: str,
    arguments: list[Entry],
    options: Iterable[Option],
    published: Entry,
    words: str,
) -> Entry:
    places = "".join(f" {argument['name'].upper()}" for argument in arguments)
    return {
        "job_name": name,
        "help": help_text,
        "arguments": arguments,
        "options": [_option(option) for option in options],
        "published_settings": published,
        "cli_example": f"{COMMAND_LINE} {words}{places} [OPTIONS]",
    }


def _arguments(spec: JobSpec) -> list[Entry]:
    """Return what stands for the steps of a job: any number of words, two for each."""
    return [{"name": "steps", "nargs": -1, "required": True, "type": "text"}] if spec.steps else []


def _option(option: Option) -> Entry:
    is_flag = option.datatype == "flag"
    return {
        "name": option.name,
        "long_flag": option.name.replace("_", "-"),
        "help": option.help,
        "required": option.required,
        "multiple": False,
        "default": False if is_flag and option.default is None else option.default,
        "type": option.datatype,
    }


def _published(settings: Iterable[Setting]) -> Entry:
    return {setting.name: _about(setting) for setting in settings}


def _about(setting: Setting) -> Entry:
    entry: Entry = {"datatype": setting.datatype, "settable": setting.settable}
    if setting.unit:
        entry["unit"] = setting.unit
    if setting.persist:
        entry["persist"] = True
    return entry


def _setting_entries(spec: JobSpec) -> Iterable[Entry]:
    """Return the job's own settings, then those of each automation."""
    for setting in spec.settings:
        yield {"job_name": spec.name, "setting": setting.name, **_about(setting), **_limits(setting)}
    for automation in spec.automations:
        whose = {"job_name": spec.name, AUTOMATION_NAME: automation.name}
        for setting in automation.settings:
            yield {**whose, "setting": setting.name, **_about(setting), **_limits(setting)}


def _limits(setting: Setting) -> Entry:
    """Return what there is to say about the values, beyond what the reference's entries have room for."""
    limits: Entry = {}
    if setting.minimum is not None:
        limits["minimum"] = setting.minimum
    if setting.maximum is not None:
        limits["maximum"] = setting.maximum
    if setting.choices:
        limits["choices"] = list(setting.choices)
    return limits
