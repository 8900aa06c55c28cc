"""Latched faults of the reactor: list them, and clear one."""

from __future__ import annotations

import falcon

from reactor_unit.gateway_protocol import UnitGateway
from reactor_unit.strict_json import dumps


class Faults:
    """List the latched faults, oldest first: `GET /unit_api/faults`."""

    def __init__(self, gateway: UnitGateway) -> None:
        self._gateway = gateway

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with all of them."""
        resp.data = dumps({"faults": [fault.to_dict() for fault in self._gateway.faults()]})


class OneFault:
    """Clear a latched fault: `DELETE /unit_api/faults/{fault_id}`."""

    def __init__(self, gateway: UnitGateway) -> None:
        self._gateway = gateway

    def on_delete(self, req: falcon.Request, resp: falcon.Response, fault_id: str) -> None:
        """Clear it, and answer with what it was."""
        resp.data = dumps({"cleared": self._gateway.clear_fault(fault_id).to_dict()})
