"""Whether the unit is there, and which version it is."""

from __future__ import annotations

import falcon

from reactor_unit.clock import utc_timestamp
from reactor_unit.strict_json import dumps


class Health:
    """Say that the unit serves: `GET /unit_api/health`. Leaders poll it, so it is put together from ready bytes."""

    changes_each_time = True

    def __init__(self, unit_name: str) -> None:
        self._start = dumps({"status": "ok", "pioreactor_unit": unit_name})[:-1] + b',"utc_time":"'

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the unit's name and time."""
        resp.data = self._start + utc_timestamp().encode("ascii") + b'"}'


class AppVersion:
    """Tell the version of this program: `GET /unit_api/versions/app`."""

    def __init__(self, version: str) -> None:
        self._body = dumps({"version": f"v{version.removeprefix('v')}"})

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the version, such as `v1.2.3`."""
        resp.data = self._body
