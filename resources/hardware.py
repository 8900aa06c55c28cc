"""Check the hardware."""

from __future__ import annotations

from collections.abc import Collection

import falcon

from reactor_unit.errors import InvalidRequest
from reactor_unit.gateway_protocol import UnitGateway
from reactor_unit.plugins import problems
from reactor_unit.resources.answers import accepted
from reactor_unit.resources.bodies import load
from reactor_unit.resources.jobs import requested_task_id
from reactor_unit.resources.schemas import HARDWARE_CHECK_REQUEST

LOCK = "hardware_check"


class HardwareCheck:
    """Check the reactor part by part: `POST /unit_api/hardware/check`; one check at a time."""

    def __init__(self, gateway: UnitGateway, unit_name: str, models: Collection[tuple[str, str]]) -> None:
        self._gateway = gateway
        self._unit_name = unit_name
        self._models = models

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Hand on which model is meant, and whether pumps may run."""
        request = load(req, HARDWARE_CHECK_REQUEST)
        model = (request.get("model_name"), request.get("model_version"))
        if any(model) and model not in self._models:
            known = ", ".join(f"{name} {version}" for name, version in sorted(self._models)) or "none"
            raise InvalidRequest(
                f"There is no model {model[0]!r}, version {model[1]!r}.", remediation=f"The models are: {known}."
            )
        broken = problems(self._gateway.plugins())
        if broken:
            request["broken_plugins"] = broken
        submitted = self._gateway.submit("hardware_check", request, task_id=requested_task_id(req), lock=LOCK)
        accepted(resp, self._unit_name, submitted)

    on_patch = on_post
