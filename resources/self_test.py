"""What the self-tests found."""

from __future__ import annotations

import falcon

from reactor_unit.gateway_protocol import UnitGateway
from reactor_unit.job_spec import UNIT_EXPERIMENT
from reactor_unit.self_test_report import TABLE, Report
from reactor_unit.strict_json import dumps


class SelfTestResults:
    """Tell the last result of each self-test, also while the job runs: `GET /unit_api/self_test/results`."""

    def __init__(self, gateway: UnitGateway) -> None:
        self._gateway = gateway

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the newest run and all results."""
        remembered = self._gateway.recall((TABLE,), UNIT_EXPERIMENT)
        resp.data = dumps(Report.from_text(remembered.get(TABLE)).as_dict())
