"""Every endpoint of the contract (unit-api.md), in its order: method and path; and those that the description has."""

from __future__ import annotations

import re
from typing import Any

from reactor_unit.workers.jobs import JOBS

ENDPOINTS = [
    ("GET", "/unit_api/health"),
    ("POST", "/unit_api/hardware/check"),
    ("GET", "/unit_api/task_results/{task_id}"),
    ("POST", "/unit_api/system/update/{target}"),
    ("POST", "/unit_api/system/update"),
    ("POST", "/unit_api/system/reboot"),
    ("POST", "/unit_api/system/shutdown"),
    ("GET", "/unit_api/system/web_server/status"),
    ("POST", "/unit_api/system/web_server/restart"),
    ("POST", "/unit_api/system/remove_file"),
    ("GET", "/unit_api/system/utc_clock"),
    ("POST", "/unit_api/system/utc_clock"),
    ("GET", "/unit_api/system/path/{req_path}"),
    ("POST", "/unit_api/jobs/run/job_name/{job_name}"),
    ("POST", "/unit_api/jobs/stop/all"),
    ("POST", "/unit_api/jobs/stop"),
    ("GET", "/unit_api/jobs/running/experiments/{experiment}"),
    ("GET", "/unit_api/jobs/running"),
    ("GET", "/unit_api/jobs/running/{job_name}"),
    ("GET", "/unit_api/long_running_jobs/running"),
    ("GET", "/unit_api/jobs/settings/job_name/{job_name}"),
    ("GET", "/unit_api/jobs/settings/job_name/{job_name}/setting/{setting}"),
    ("PATCH", "/unit_api/jobs/settings/job_name/{job_name}"),
    ("GET", "/unit_api/capabilities"),
    ("GET", "/unit_api/plugins/installed"),
    ("GET", "/unit_api/plugins/installed/{filename}"),
    ("POST", "/unit_api/plugins/install"),
    ("POST", "/unit_api/plugins/uninstall"),
    ("GET", "/unit_api/versions/app"),
    ("GET", "/unit_api/calibration_protocols"),
    ("POST", "/unit_api/calibrations/{device}"),
    ("DELETE", "/unit_api/calibrations/{device}/{calibration_name}"),
    ("GET", "/unit_api/calibrations"),
    ("GET", "/unit_api/active_calibrations"),
    ("GET", "/unit_api/active_estimators"),
    ("GET", "/unit_api/estimators"),
    ("GET", "/unit_api/zipped_calibrations"),
    ("GET", "/unit_api/zipped_dot_pioreactor"),
    ("POST", "/unit_api/import_zipped_dot_pioreactor"),
    ("GET", "/unit_api/calibrations/{device}"),
    ("GET", "/unit_api/calibrations/{device}/{cal_name}"),
    ("GET", "/unit_api/estimators/{device}"),
    ("GET", "/unit_api/estimators/{device}/{estimator_name}"),
    ("PATCH", "/unit_api/active_calibrations/{device}/{cal_name}"),
    ("DELETE", "/unit_api/active_calibrations/{device}"),
    ("PATCH", "/unit_api/active_estimators/{device}/{estimator_name}"),
    ("DELETE", "/unit_api/active_estimators/{device}"),
    ("DELETE", "/unit_api/estimators/{device}/{estimator_name}"),
    ("POST", "/unit_api/calibrations/sessions"),
    ("GET", "/unit_api/calibrations/sessions/{session_id}"),
    ("POST", "/unit_api/calibrations/sessions/{session_id}/inputs"),
    ("POST", "/unit_api/calibrations/sessions/{session_id}/abort"),
]


def shape(template: str) -> str:
    """Return a path's template without the names of its parameters."""
    return re.sub(r"{.*?}", "{}", template)


def general_operations(described: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the methods and shapes of what the API's description has, but for the paths that are one job's own."""
    of_a_job = re.compile(rf"/job_name/({'|'.join(JOBS)})(/|$)")
    return {
        (method.upper(), shape(path))
        for path, methods in described["paths"].items()
        for method in methods
        if not of_a_job.search(path)
    }
