"""Start, stop and list jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import falcon

from reactor_unit.calibrations.library import Library
from reactor_unit.catalogue import Catalogue
from reactor_unit.errors import NoSuchJob
from reactor_unit.gateway_protocol import UnitGateway
from reactor_unit.job_spec import AUTOMATION_NAME, NO_EXPERIMENT, JobSpec, nearest
from reactor_unit.plugins import problems
from reactor_unit.resources.answers import accepted
from reactor_unit.resources.bodies import load
from reactor_unit.resources.schemas import RUN_JOB_REQUEST, STOP_JOBS_REQUEST
from reactor_unit.resources.setting_values import all_shown, wants_typed, yes_or_no
from reactor_unit.strict_json import dumps

DEFAULT_HISTORY = 100
MAX_HISTORY = 1000


def requested_task_id(req: falcon.Request) -> str | None:
    """Return the id that an Idempotency-Key gives to the request's task; None without a key."""
    return getattr(req.context, "task_id", None)


def spec_of(job_name: str, catalogue: Mapping[str, JobSpec]) -> JobSpec:
    """Return the description of the job of this name. Raises NoSuchJob."""
    spec = catalogue.get(job_name)
    if spec is None:
        raise NoSuchJob(
            f"There is no job named {job_name!r}.{nearest(job_name, catalogue)}",
            cause=f"This unit has no job named {job_name!r}.",
            remediation=f"The jobs are: {', '.join(sorted(catalogue)) or 'none'}.",
        )
    return spec


class RunJob:
    """Start one job: `POST /unit_api/jobs/run/job_name/{job_name}`."""

    def __init__(self, gateway: UnitGateway, unit_name: str, catalogue: Catalogue, library: Library) -> None:
        self._gateway = gateway
        self._unit_name = unit_name
        self._catalogue = catalogue
        self._library = library

    def on_post(self, req: falcon.Request, resp: falcon.Response, job_name: str) -> None:
        """Check the request against the job's description, then hand it on."""
        request = load(req, RUN_JOB_REQUEST)
        if not self._is_built_in(job_name, request):
            self._gateway.look_at_plugins(wait=True)
        spec = self._spec_of(job_name)
        env = request["env"] if spec.experiment is None else {**request["env"], "EXPERIMENT": spec.experiment}
        args: dict[str, Any] = {
            "job_name": job_name,
            "options": spec.parse_options(request["options"], request["args"]),
            "env": env,
            "config_overrides": request["config_overrides"],
        }
        command = spec.command(request["args"])
        if command is not None:
            args["command"] = command.name
        if spec.recalls:  # here, since the job's process opens no database
            args["recalled"] = self._gateway.recall(spec.recalls, env.get("EXPERIMENT", NO_EXPERIMENT))
        if spec.calibrations or spec.estimators:
            args["calibrations"] = self._library.in_use(spec.calibrations, spec.estimators)
        accepted(resp, self._unit_name, self._gateway.submit("run_job", args, task_id=requested_task_id(req)))

    def _spec_of(self, job_name: str) -> JobSpec:
        try:
            return spec_of(job_name, self._catalogue)
        except NoSuchJob as ex:
            broken = problems(self._gateway.plugins())
            if not broken:
                raise
            said = f"{ex.cause} Plugins that cannot be used: {'; '.join(broken)}"
            raise NoSuchJob(ex.message, cause=said, remediation=ex.remediation) from ex

    def _is_built_in(self, job_name: str, request: Mapping[str, Any]) -> bool:
        """Whether no plugin has to do with this request: those who want the unit's own jobs wait for nothing."""
        spec = self._catalogue.built_in.get(job_name)
        if spec is None or not spec.automations:
            return spec is not None
        words = {name.replace("-", "_"): value for name, value in request["options"].items()}
        named = AUTOMATION_NAME not in words or spec.automation(words[AUTOMATION_NAME]) is not None
        return named and not request["args"]

    on_patch = on_post


class StopJobs:
    """Stop the jobs that fit a filter: `POST /unit_api/jobs/stop`."""

    def __init__(self, gateway: UnitGateway, unit_name: str) -> None:
        self._gateway = gateway
        self._unit_name = unit_name

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Hand on the filters that were given."""
        filters = load(req, STOP_JOBS_REQUEST)
        accepted(resp, self._unit_name, self._gateway.submit("stop_jobs", filters, task_id=requested_task_id(req)))

    on_patch = on_post


class StopAllJobs:
    """Stop every job: `POST /unit_api/jobs/stop/all`. Whatever the body is, it must not keep a reactor running."""

    def __init__(self, gateway: UnitGateway, unit_name: str) -> None:
        self._gateway = gateway
        self._unit_name = unit_name

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Hand on the wish."""
        submitted = self._gateway.submit("stop_jobs", {"all": True}, task_id=requested_task_id(req))
        accepted(resp, self._unit_name, submitted)

    on_patch = on_post


class RunningJobs:
    """List running jobs: `GET /unit_api/jobs/running`, all or by name or experiment, or the long-running ones."""

    def __init__(self, gateway: UnitGateway, *, long_running_only: bool = False) -> None:
        self._gateway = gateway
        self._long_running_only = long_running_only

    def on_get(
        self, req: falcon.Request, resp: falcon.Response, job_name: str | None = None, experiment: str | None = None
    ) -> None:
        """Answer with their rows; with `?settings=true` each row has what its job publishes as `settings`."""
        which: Any = {"job_name": job_name, "experiment": experiment, "long_running_only": self._long_running_only}
        typed = wants_typed(req)  # a wrong word is refused, whatever runs
        if not yes_or_no(req, "settings"):
            resp.data = self._gateway.running_jobs(**which)
            return
        found = self._gateway.running_jobs_with_settings(**which)
        resp.data = dumps([{**row, "settings": all_shown(settings, typed=typed)} for row, settings in found])


class JobHistory:
    """List jobs that run or ran, newest first: `GET /unit_api/jobs`."""

    def __init__(self, gateway: UnitGateway) -> None:
        self._gateway = gateway

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with up to `limit` rows."""
        limit = req.get_param_as_int("limit", min_value=1, max_value=MAX_HISTORY, default=DEFAULT_HISTORY)
        resp.data = dumps(self._gateway.job_history(limit))
