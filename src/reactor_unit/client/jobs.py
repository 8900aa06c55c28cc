"""Jobs, their settings, and the faults that keep them from starting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from reactor_unit.client.addresses import query, segment
from reactor_unit.client.connection import Connection
from reactor_unit.client.records import Accepted, Fault, JobRow, Json


class Jobs(Connection):
    """Start, stop and list jobs; see and change what they publish."""

    def run_job(
        self,
        job_name: str,
        *,
        options: Mapping[str, Any] | None = None,
        args: Sequence[str] = (),
        experiment: str | None = None,
        job_source: str | None = None,
        config_overrides: Sequence[Sequence[str]] = (),
    ) -> Accepted:
        """Ask for a start of `job_name`.

        Its options come as `options`, or as words of a command line in `args`. Each of `config_overrides` is a
        section, an option and a value. The task's result is `{"job_id", "job_name", "state"}`.
        """
        env = {"EXPERIMENT": experiment, "JOB_SOURCE": job_source}
        return self._submit(
            f"/jobs/run/job_name/{segment(job_name)}",
            {
                "options": dict(options or {}),
                "args": list(args),
                "env": {name: value for name, value in env.items() if value is not None},
                "config_overrides": [list(override) for override in config_overrides],
            },
        )

    def stop_jobs(
        self,
        *,
        job_name: str | None = None,
        experiment: str | None = None,
        job_source: str | None = None,
        job_id: str | None = None,
    ) -> Accepted:
        """Ask for a stop of the jobs that match everything given; the task's result is `{"stopped": [...]}`.

        Raises ValueError when nothing is given, or an empty text: neither says which jobs are meant.
        """
        filters = {"job_name": job_name, "experiment": experiment, "job_source": job_source, "job_id": job_id}
        given = {name: value for name, value in filters.items() if value is not None}
        if not given or not all(given.values()):
            raise ValueError("A stop needs a job name, experiment, job source or job id, and none of them empty.")
        return self._submit("/jobs/stop", given)

    def stop_all_jobs(self) -> Accepted:
        """Ask for a stop of every job; the task's result is `{"stopped": [...]}`."""
        return self._submit("/jobs/stop/all", {})

    def running_jobs(
        self, job_name: str | None = None, experiment: str | None = None, *, settings: bool = False
    ) -> list[JobRow]:
        """Return the running jobs, all or those of a name, of an experiment, or of both.

        With `settings` each row has what its job publishes, in JSON types, as `settings`.
        """
        which = query({"settings": "true", "typed": "true"} if settings else {})
        if experiment is not None:
            rows = self._rows(f"/jobs/running/experiments/{segment(experiment)}{which}")
            return [row for row in rows if job_name in (None, row["job_name"])]
        if job_name is not None:
            return self._rows(f"/jobs/running/{segment(job_name)}{which}")
        return self._rows(f"/jobs/running{which}")

    def long_running_jobs(self) -> list[JobRow]:
        """Return the running jobs that are meant to run all the time."""
        return self._rows("/long_running_jobs/running")

    def job_history(self, limit: int | None = None) -> list[JobRow]:
        """Return the jobs that ran or run, newest first: 100, or up to `limit`, 1000 at most."""
        return self._rows(f"/jobs{query({'limit': limit})}")

    def settings(self, job_name: str, *, typed: bool = False) -> Json:
        """Return what a running job publishes, name to value: texts, or JSON types with `typed`."""
        path = f"/jobs/settings/job_name/{segment(job_name)}{_typed(typed)}"
        settings = self._get_object(path, needs="settings")["settings"]
        if not isinstance(settings, dict):
            raise self._unreadable(200)
        return settings

    def setting(self, job_name: str, setting: str, *, typed: bool = False) -> Any:
        """Return one published setting of a running job: a text, or its JSON type with `typed`."""
        path = f"/jobs/settings/job_name/{segment(job_name)}/setting/{segment(setting)}{_typed(typed)}"
        return self._get_object(path, needs=setting)[setting]

    def set_setting(self, job_name: str, setting: str, value: Any) -> Any:
        """Let a running job change a setting; return the value that is then in force, in its JSON type."""
        path = f"/jobs/settings/job_name/{segment(job_name)}/setting/{segment(setting)}"
        return self._object(self._send("PUT", path, {"value": value}), needs="value")["value"]

    def faults(self) -> list[Fault]:
        """Return the latched faults, oldest first."""
        return cast(list[Fault], self._get_object("/faults", needs="faults")["faults"])

    def clear_fault(self, fault_id: str) -> Fault:
        """Clear a latched fault and return what it was."""
        answer = self._send("DELETE", f"/faults/{segment(fault_id)}")
        return cast(Fault, self._object(answer, needs="cleared")["cleared"])

    def vial(self) -> Json:
        """Return what the unit counts of the liquid in the vial; volumes in ml."""
        return self._get_object("/vial")

    def set_vial(self, said: Json) -> Json:
        """Say what is in the vial: any of `current_volume_ml`, `max_working_volume_ml`, `alt_media_fraction`."""
        return self._object(self._send("PUT", "/vial", said))

    def _rows(self, path: str) -> list[JobRow]:
        return self._get_objects(path, needs="job_name")


def _typed(typed: bool) -> str:
    return query({"typed": "true" if typed else None})
