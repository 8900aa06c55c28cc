"""What running jobs publish."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import falcon

from reactor_unit.errors import NoSuchJob, NoSuchSetting, Unavailable
from reactor_unit.gateway_protocol import UnitGateway
from reactor_unit.job_spec import AUTOMATION_NAME, JobSpec, nearest
from reactor_unit.resources.bodies import load
from reactor_unit.resources.jobs import spec_of
from reactor_unit.resources.schemas import SET_SETTING_REQUEST
from reactor_unit.resources.setting_values import all_shown, shown, wants_typed
from reactor_unit.strict_json import dumps


class JobSettings:
    """Tell all settings of a running job: `GET /unit_api/jobs/settings/job_name/{job_name}`."""

    def __init__(self, gateway: UnitGateway) -> None:
        self._gateway = gateway

    def on_get(self, req: falcon.Request, resp: falcon.Response, job_name: str) -> None:
        """Answer with every published setting."""
        typed = wants_typed(req)
        resp.data = dumps({"settings": all_shown(self._gateway.settings(job_name), typed=typed)})

    def on_patch(self, req: falcon.Request, resp: falcon.Response, job_name: str) -> None:
        """Refuse: the contract has no way to change settings here; `JobSetting` has."""
        raise Unavailable(
            f"Settings of {job_name} cannot be changed through the unit's API.",
            cause="The contract leaves this endpoint without function on a unit.",
            remediation=f"Set one at a time: PUT /unit_api/jobs/settings/job_name/{job_name}/setting/NAME.",
        )


class JobSetting:
    """Tell or change a setting of a running job: `/unit_api/jobs/settings/job_name/{job_name}/setting/{setting}`."""

    def __init__(self, gateway: UnitGateway, catalogue: Mapping[str, JobSpec]) -> None:
        self._gateway = gateway
        self._catalogue = catalogue

    def on_get(self, req: falcon.Request, resp: falcon.Response, job_name: str, setting: str) -> None:
        """Answer with the setting's name and value."""
        typed = wants_typed(req)
        settings = self._gateway.settings(job_name)
        if setting not in settings:
            raise NoSuchSetting(
                f"{job_name} publishes no setting named {setting!r}.{nearest(setting, settings)}",
                remediation=f"The settings of {job_name} are: {', '.join(settings) or 'none'}.",
            )
        resp.data = dumps({setting: shown(settings[setting], typed=typed)})

    def on_put(self, req: falcon.Request, resp: falcon.Response, job_name: str, setting: str) -> None:
        """Check the value against the job's description, let the job change it, answer with the value in force."""
        spec = spec_of(job_name, self._catalogue)
        request = load(req, SET_SETTING_REQUEST, required=True)
        value = spec.parse_setting(setting, request["value"], self._automation_of(spec))
        value = self._gateway.set_setting(job_name, setting, value)
        resp.data = dumps({"setting": setting, "value": value})

    def _automation_of(self, spec: JobSpec) -> Any:
        """Return the name of the automation that a job runs; None without automations, or when it does not run."""
        if not spec.automations:
            return None
        with contextlib.suppress(NoSuchJob):
            return self._gateway.settings(spec.name).get(AUTOMATION_NAME)
        return None
