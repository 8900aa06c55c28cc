"""The page `docs/jobs.md`, from the jobs' descriptions: `python -m reactor_unit.workers.jobs_page > docs/jobs.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

from reactor_unit.job_spec import Automation, JobSpec, Option, Setting, to_text
from reactor_unit.workers.jobs import JOBS

INTRODUCTION = """\
# Jobs

What each job is called, takes, publishes and does when something is wrong. Written from the code by
`python -m reactor_unit.workers.jobs_page > docs/jobs.md`; a test says when it is out of date.

Start one with `reactor-unit jobs run NAME --option value`, or `POST /unit_api/jobs/run/job_name/NAME` with
`{"options": {"option": value}}`. Where no default is given, the
[configuration](operation.md#configuration) or the job decides. A setting that can be set is changed while the job runs:
`reactor-unit settings set NAME SETTING VALUE`. Every job has the setting `$state` as well, which can be set to `ready`,
`sleeping` and `disconnected`. What "history" names is kept among the [readings](readings.md).
"""


def page(catalogue: Mapping[str, JobSpec]) -> str:
    """Return the page about these jobs as Markdown, in alphabetical order."""
    return "\n".join([INTRODUCTION, *(_job(catalogue[name]) for name in sorted(catalogue))])


def _job(spec: JobSpec) -> str:
    """Return what there is to say about one job, each part only if it has one."""
    parts = [f"## {spec.name}", spec.help, *_sentences(spec)]
    options = spec.options_with(None)
    if options:
        parts.append(_options(options))
    if spec.steps:
        parts.append(_options(spec.steps).replace("| option |", "| step |", 1))
    for command in spec.commands:
        parts.append(f"`{spec.name} {command.name}`: {command.help}")
        if command.options:
            parts.append(_options(command.options))
    if spec.settings:
        parts.append(_settings(spec.settings))
    if spec.interlocks:
        parts.append("Interlocks:\n\n" + "\n".join(f"- {sentence}" for sentence in spec.interlocks))
    for automation in spec.automations:
        parts.append(f"### {spec.name}: {automation.name}")
        parts += _automation(automation)
    return "\n\n".join(parts) + "\n"


def _automation(automation: Automation) -> Iterable[str]:
    """Return what an automation has beside, or in place of, what the job has."""
    yield automation.help
    if automation.options:
        yield _options(automation.options)
    if automation.settings:
        yield _settings(automation.settings)


def _settings(settings: Sequence[Setting]) -> str:
    rows = [[_code(s.name), s.datatype, _range(s), "yes" if s.settable else "", _history(s)] for s in settings]
    return _table(["setting", "type", "range", "can be set", "history"], rows)


def _options(options: Sequence[Option]) -> str:
    rows = [[_code(o.name), o.datatype, _range(o), _default(o), o.help] for o in options]
    return _table(["option", "type", "range", "default", "meaning"], rows)


def _sentences(spec: JobSpec) -> Iterable[str]:
    """Return what a reader has to know besides options and settings."""
    if spec.is_long_running:
        yield "A long-running job: it starts on an inactive unit too."
    if spec.needs:
        yield f"It is not started without {_names(spec.needs)}."
    if spec.excludes:
        yield f"It is not started beside {_names(spec.excludes)}."
    if spec.one_of:
        yield f"Exactly one of {_names(spec.one_of)} is given."
    for option, other in spec.requires:
        yield f"{_code(option)} needs {_code(other)}."
    if spec.steps:
        yield "It takes pairs of a step's name and its value, any number of them, and carries them out in their order."
    if spec.joins:
        yield "A further run request while it runs changes its options."
    if spec.subscribes:
        heard = {job: [setting for name, setting in spec.subscribes if name == job] for job, _ in spec.subscribes}
        yield f"It hears {'; '.join(f'of {_code(job)}: {_names(settings)}' for job, settings in heard.items())}."


def _names(names: Sequence[str]) -> str:
    return ", ".join(_code(name) for name in names)


def _range(one: Option | Setting) -> str:
    """Return limits with their unit, or the values there are."""
    if one.choices:
        return _names(one.choices)
    low, high = ("" if limit is None else f"{limit:g}" for limit in (one.minimum, one.maximum))
    limits = f"{low}..{high}" if low or high else ""
    return f"{limits} {one.unit}".strip()


def _default(option: Option) -> str:
    if option.required:
        return "required"
    return "" if option.default is None else _code(to_text(option.default))


def _history(setting: Setting) -> str:
    return "" if setting.series is None else _code(setting.series.name)


def _code(text: str) -> str:
    return f"`{text}`"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(page({name: job.spec for name, job in JOBS.items()}))
