"""The Falcon application, put together from what it is given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import falcon

from reactor_unit.calibrations.library import Library
from reactor_unit.calibrations.sessions import Sessions
from reactor_unit.catalogue import Catalogue
from reactor_unit.config import load_config
from reactor_unit.export import Export
from reactor_unit.gateway_protocol import AnswerStore, UnitGateway
from reactor_unit.job_spec import JobSpec
from reactor_unit.metrics import UnitCounts
from reactor_unit.resources import (
    calibration_sessions,
    calibrations,
    description,
    files,
    http_errors,
    imports,
    installing,
    system,
)
from reactor_unit.resources.access import Access, AccessMiddleware
from reactor_unit.resources.answers import UnitResponse
from reactor_unit.resources.capabilities import Capabilities
from reactor_unit.resources.etags import ETagMiddleware
from reactor_unit.resources.faults import Faults, OneFault
from reactor_unit.resources.hardware import HardwareCheck
from reactor_unit.resources.health import AppVersion, Health
from reactor_unit.resources.idempotency import IdempotencyMiddleware
from reactor_unit.resources.job_settings import JobSetting, JobSettings
from reactor_unit.resources.jobs import JobHistory, RunJob, RunningJobs, StopAllJobs, StopJobs
from reactor_unit.resources.metrics import Metrics, RequestCounter
from reactor_unit.resources.plugins import InstalledPlugins, PluginFile
from reactor_unit.resources.readings import ReadingNames, Readings
from reactor_unit.resources.routing import UnitRouter
from reactor_unit.resources.self_test import SelfTestResults
from reactor_unit.resources.task_results import TaskResults
from reactor_unit.resources.vial import VialAccount
from reactor_unit.served_files import ServedFiles
from reactor_unit.vial import Vial

UnitApp = falcon.App[falcon.Request, UnitResponse]
NO_FOLDER = Path("/nonexistent")


def create_app(
    gateway: UnitGateway,
    answers: AnswerStore,
    *,
    unit_name: str,
    version: str,
    catalogue: Mapping[str, JobSpec],
    library: Library,
    data_folder: Path = NO_FOLDER,
    models: Collection[tuple[str, str]] = (),
    model_name: str = "",
    is_leader: bool = True,
    access: Access | None = None,
    counts: UnitCounts | None = None,
    plugins: Path | None = None,
    vial: Vial | None = None,
    extend: Callable[[UnitApp], None] | None = None,
) -> UnitApp:
    """Return the application of the unit `unit_name`; it reads no environment and opens nothing.

    `catalogue` names the jobs that may be run, `library` holds the calibrations, `data_folder` is what may be seen of
    the disk, `models` are the registered models by name and version, `model_name` is that of the unit's own, `vial` the
    account of what is in it, `plugins` the folder of plugins. `is_leader` says whether this unit leads its cluster,
    `access` whose requests are taken (default: those to the unit's name and localhost), `counts` is where tasks and
    requests are counted. `extend` is called last and may add routes.
    """
    counts = UnitCounts() if counts is None else counts
    app = falcon.App(
        request_type=falcon.Request,
        response_type=UnitResponse,
        router=UnitRouter(),
        middleware=[
            RequestCounter(counts),
            AccessMiddleware(access or Access.of(unit_name)),
            IdempotencyMiddleware(answers),
            ETagMiddleware(),
        ],
    )
    http_errors.install(app)
    jobs = catalogue if isinstance(catalogue, Catalogue) else Catalogue(catalogue)
    for template, resource in _routes(gateway, unit_name, version, jobs, library).items():
        app.add_route(template, resource)
    app.add_route("/metrics", Metrics(gateway, counts, jobs, unit_name, version))
    app.add_route("/unit_api/hardware/check", HardwareCheck(gateway, unit_name, models))
    app.add_route("/unit_api/plugins/installed/{filename:name}", PluginFile(plugins))
    calibrations.add_routes(app, library, unit_name)
    calibration_sessions.add_routes(app, Sessions(gateway, library, unit_name, model_name))
    served = ServedFiles(data_folder)
    export = Export(served, unit_name, version.removeprefix("v"), lambda: load_config(data_folder))
    files.add_routes(app, gateway, unit_name, served, export)
    installing.add_routes(app, gateway, unit_name, plugins)
    imports.add_routes(app, gateway, unit_name, served)
    system.add_routes(app, gateway, unit_name, is_leader=is_leader)
    if vial is not None:
        app.add_route("/unit_api/vial", VialAccount(vial))
    description.add_routes(app)
    if extend is not None:
        extend(app)
    return app


def _routes(
    gateway: UnitGateway, unit_name: str, version: str, catalogue: Catalogue, library: Library
) -> dict[str, Any]:
    running = RunningJobs(gateway)
    return {
        "/unit_api/health": Health(unit_name),
        "/unit_api/versions/app": AppVersion(version),
        "/unit_api/capabilities": Capabilities(gateway, catalogue),
        "/unit_api/plugins/installed": InstalledPlugins(gateway),
        "/unit_api/task_results/{task_id:name}": TaskResults(gateway),
        "/unit_api/jobs": JobHistory(gateway),
        "/unit_api/jobs/run/job_name/{job_name:name}": RunJob(gateway, unit_name, catalogue, library),
        "/unit_api/jobs/stop": StopJobs(gateway, unit_name),
        "/unit_api/jobs/stop/all": StopAllJobs(gateway, unit_name),
        "/unit_api/jobs/running": running,
        "/unit_api/jobs/running/{job_name:name}": running,
        "/unit_api/jobs/running/experiments/{experiment:name}": running,
        "/unit_api/long_running_jobs/running": RunningJobs(gateway, long_running_only=True),
        "/unit_api/jobs/settings/job_name/{job_name:name}": JobSettings(gateway),
        "/unit_api/jobs/settings/job_name/{job_name:name}/setting/{setting:name}": JobSetting(gateway, catalogue),
        "/unit_api/faults": Faults(gateway),
        "/unit_api/faults/{fault_id:name}": OneFault(gateway),
        "/unit_api/self_test/results": SelfTestResults(gateway),
        "/unit_api/readings": Readings(gateway),
        "/unit_api/readings/names": ReadingNames(gateway),
    }
