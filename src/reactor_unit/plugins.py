"""Plugins as data: where one is found, what it says of itself, what it adds, and whether anything has changed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reactor_unit import strict_json
from reactor_unit.job_spec import Automation, JobSpec
from reactor_unit.spec_json import check_automation, check_spec, decode

GROUP = "reactor_unit.plugins"  # of the entry points that are run
REFERENCE_GROUP = "pioreactor.plugins"  # of the reference system's: listed, not run
SUFFIX = ".py"
UNKNOWN = "Unknown"
PACE = "duration"  # what an automation may have in the place of its job's own: some have a pace of their own
MAX_PLUGINS = 64
MAX_FILE_BYTES = 1024 * 1024  # a longer file is no plugin
MAX_REPORT_BYTES = 48 * 1024  # of one plugin: it travels in one message
MAX_TEXT = 500  # characters of what a plugin says of itself
# Names that the reference system keeps for itself, and words of this API where a job's name would stand.
RESERVED = frozenset({"run", "dosing_events", "leds", "led_change_events", "unit_label", "pwm", "all", "experiments"})


class BadPlugin(Exception):
    """A plugin that cannot be used; the message says why."""


@dataclass(frozen=True)
class Plugin:
    """One plugin as it is found: nothing of it has been run.

    `source` is `plugins/NAME.py` for a file, and the name of an installed distribution; `stamp` changes with what is
    there. `path` is the file, `targets` are the entry points, each `module` or `module:Class`. A distribution that has
    only entry points of the reference system has neither: it is listed, not run.
    """

    source: str
    stamp: str
    path: str = ""
    targets: tuple[str, ...] = ()
    name: str = ""
    version: str = UNKNOWN
    description: str | None = UNKNOWN
    homepage: str | None = None
    author: str | None = UNKNOWN

    @property
    def runs(self) -> bool:
        """Whether there is something of it to run."""
        return bool(self.path or self.targets)


@dataclass(frozen=True)
class Report:
    """A plugin and what came of looking at it: what it adds, or the error that keeps it from that."""

    plugin: Plugin
    jobs: tuple[JobSpec, ...] = ()
    automations: tuple[tuple[str, Automation], ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON from which `report_from_dict` makes the same report."""
        return asdict(self)

    def failed(self, error: str) -> Report:
        """Return the report of the same plugin that adds nothing because of this error."""
        return Report(self.plugin, error=error[:MAX_TEXT])


def report_from_dict(data: Mapping[str, Any]) -> Report:
    """Return the report that a probe made. Raises BadPlugin for anything that is none, or is too large."""
    try:
        if len(strict_json.dumps(data)) > MAX_REPORT_BYTES:
            raise BadPlugin(f"It describes its jobs in more than {MAX_REPORT_BYTES} bytes.")
        report: Report = decode(Report, data)
        for spec in report.jobs:
            check_spec(spec)
        for job_name, automation in report.automations:
            check_automation(automation, job_name)
    except ValueError as ex:
        raise BadPlugin(f"Its description cannot be used: {ex}.") from ex
    return report


def without_clashes(reports: Iterable[Report], built_in: Mapping[str, JobSpec]) -> list[Report]:
    """Return the reports; one that adds a name that is taken, reserved or unknown has failed instead."""
    taken = set(built_in) | RESERVED
    chosen = {(spec.name, one.name) for spec in built_in.values() for one in spec.automations}
    checked = []
    for report in reports:
        problem = _clash(report, built_in, taken, chosen)
        checked.append(report.failed(problem) if problem else report)
        if not problem:
            taken |= {spec.name for spec in report.jobs}
            chosen |= {(job_name, one.name) for job_name, one in report.automations}
    return checked


def _clash(
    report: Report, built_in: Mapping[str, JobSpec], taken: set[str], chosen: set[tuple[str, str]]
) -> str | None:
    names = [spec.name for spec in report.jobs]
    for name in names:
        if name in taken or names.count(name) > 1:
            return f"The job name {name!r} is taken."
    pairs = [(job_name, one.name) for job_name, one in report.automations]
    for pair in pairs:
        if pair[0] not in built_in or not built_in[pair[0]].automations:
            return f"There is no job {pair[0]!r} that has automations."
        if pair in chosen or pairs.count(pair) > 1:
            return f"The automation name {pair[1]!r} of {pair[0]} is taken."
    for job_name, automation in report.automations:
        both = (_names(built_in[job_name]) & _names(automation)) - {PACE}
        if both:
            return f"{min(both)!r} of {automation.name} is an option or a setting of {job_name} itself."
    return None


def _names(one: JobSpec | Automation) -> set[str]:
    return {option.name for option in one.options} | {setting.name for setting in one.settings}


def problems(reports: Iterable[Report]) -> list[str]:
    """Return a line about each plugin that cannot be used."""
    return [f"{report.plugin.source}: {report.error}" for report in reports if report.error is not None]


def stamp_of(path: str | Path) -> str:
    """Return what changes with a file or folder: its time, size and inode. Raises OSError."""
    found = os.stat(path)
    return f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}"


def plugin_files(folder: Path) -> list[Path]:
    """Return the files of `plugins/` that are plugins, in the order of their names; none where there is no folder."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(one.name for one in entries if one.name.endswith(SUFFIX) and not one.name.startswith("."))
    except OSError:
        return []
    return [folder / name for name in names if name.isprintable()]  # else it is no text, and in no message


def state_of_plugins(folder: Path) -> str:
    """Return a text that changes when a file of `plugins/` does, or when a distribution is installed or removed."""
    stamps = []
    for path in (*map(str, plugin_files(folder)), *sys.path):
        with suppress(OSError):
            stamps.append(f"{path} {stamp_of(path)}")
    return "\n".join(stamps)


def are_skipped(environ: Mapping[str, str]) -> bool:
    """Whether the unit is to do without plugins: SKIP_PLUGINS is set."""
    return bool(environ.get("SKIP_PLUGINS"))
