"""What running jobs publish."""

from __future__ import annotations

from typing import Any

import falcon

from reactor_unit.errors import NoSuchSetting, Unavailable
from reactor_unit.gateway_protocol import UnitGateway
from reactor_unit.job_spec import nearest, to_text
from reactor_unit.strict_json import dumps


def shown(req: falcon.Request, value: Any) -> Any:
    """Return a setting's value as the request wants it: text, or its JSON type with `?typed=true`; null is null."""
    if value is None or req.get_param_as_bool("typed", default=False):
        return value
    return to_text(value)


class JobSettings:
    """Tell all settings of a running job: `GET /unit_api/jobs/settings/job_name/{job_name}`."""

    def __init__(self, gateway: UnitGateway) -> None:
        self._gateway = gateway

    def on_get(self, req: falcon.Request, resp: falcon.Response, job_name: str) -> None:
        """Answer with every published setting."""
        settings = self._gateway.settings(job_name)
        resp.data = dumps({"settings": {name: shown(req, value) for name, value in settings.items()}})

    def on_patch(self, req: falcon.Request, resp: falcon.Response, job_name: str) -> None:
        """Refuse: the contract has no way to change settings on a unit."""
        raise Unavailable(
            f"Settings of {job_name} cannot be changed through the unit's API.",
            cause="The contract leaves this endpoint without function on a unit.",
            remediation="Stop the job and run it with other options.",
        )


class JobSetting:
    """Tell one setting of a running job: `GET /unit_api/jobs/settings/job_name/{job_name}/setting/{setting}`."""

    def __init__(self, gateway: UnitGateway) -> None:
        self._gateway = gateway

    def on_get(self, req: falcon.Request, resp: falcon.Response, job_name: str, setting: str) -> None:
        """Answer with the setting's name and value."""
        settings = self._gateway.settings(job_name)
        if setting not in settings:
            raise NoSuchSetting(
                f"{job_name} publishes no setting named {setting!r}.{nearest(setting, settings)}",
                remediation=f"The settings of {job_name} are: {', '.join(settings) or 'none'}.",
            )
        resp.data = dumps({setting: shown(req, settings[setting])})
