"""The jobs that may be run: those the unit is made with, and those that plugins add while it serves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from reactor_unit.job_spec import JobSpec
from reactor_unit.plugins import Plugin, Report


class Catalogue(Mapping[str, JobSpec]):
    """Descriptions by job name. Whoever reads, in whichever thread, sees the jobs before a change or after it."""

    def __init__(self, built_in: Mapping[str, JobSpec]) -> None:
        self.built_in = dict(built_in)
        self.specs: Mapping[str, JobSpec] = self.built_in  # another object whenever something has changed
        self._plugins: Mapping[tuple[str, str], Plugin] = {}

    def __getitem__(self, name: str) -> JobSpec:
        return self.specs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)

    def add(self, reports: Iterable[Report]) -> None:
        """Have what these plugins add, without clashes, in the place of all that was added before."""
        specs, plugins = dict(self.built_in), {}
        for report in reports:
            for spec in report.jobs:
                specs[spec.name] = spec
                plugins[spec.name, ""] = report.plugin
            for job_name, automation in report.automations:
                spec = specs[job_name]
                specs[job_name] = replace(spec, automations=(*spec.automations, automation))
                plugins[job_name, automation.name] = report.plugin
        if specs != self.specs:
            self.specs = specs
        self._plugins = plugins

    def is_built_in(self, job_name: str, automation_name: str | None = None) -> bool:
        """Whether the unit is made with this job and, if one is named, with this automation of it."""
        spec = self.built_in.get(job_name)
        if spec is None:
            return False
        return not spec.automations or automation_name is None or spec.automation(automation_name) is not None

    def plugin_of(self, job_name: str, automation_name: str = "") -> Plugin | None:
        """Return the plugin that has the job, or the automation of a job; None for what is built in."""
        return self._plugins.get((job_name, "")) or self._plugins.get((job_name, automation_name))
