"""What the unit can do."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import falcon

from reactor_unit.capabilities import capabilities
from reactor_unit.catalogue import Catalogue
from reactor_unit.gateway_protocol import UnitGateway
from reactor_unit.job_spec import JobSpec
from reactor_unit.resources.etags import is_known
from reactor_unit.strict_json import dumps


class Capabilities:
    """Tell all jobs, automations and settings: `GET /unit_api/capabilities`.

    The answer is made once for each state of the catalogue, and its ETag tells whether it is still the same.
    """

    def __init__(self, gateway: UnitGateway, catalogue: Catalogue) -> None:
        self._gateway = gateway
        self._catalogue = catalogue
        self._ready: tuple[Mapping[str, JobSpec] | None, bytes, str] = (None, b"", "")

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with ready bytes, or 304 to who has them already."""
        self._gateway.look_at_plugins()
        specs, body, etag = self._ready
        if specs is not self._catalogue.specs:
            specs = self._catalogue.specs
            body = dumps(capabilities(specs))
            etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            self._ready = (specs, body, etag)
        resp.set_headers((("etag", etag), ("cache-control", "no-cache")))
        if is_known(etag, req.get_header("If-None-Match")):
            resp.status = falcon.HTTP_304
            return
        resp.data = body
