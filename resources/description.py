"""The description of the API, as it was made when the program was: for tools, and for people."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import falcon

import reactor_unit
from reactor_unit.errors import StorageFault
from reactor_unit.resources.conditional import is_known, version_of
from reactor_unit.transfers import MAX_DOWNLOADS, Transfers, pieces_of

FOLDER = Path(reactor_unit.__file__).parent / "openapi"
NO_SCRIPTS = "default-src 'none'; style-src 'unsafe-inline'"


class Description:
    """Send a file that came with the program: `GET /unit_api/openapi.json` and `/unit_api/docs`.

    It is read while it is sent and never kept, for it is asked for once in a while and has half a megabyte.
    """

    def __init__(self, name: str, content_type: str, transfers: Transfers) -> None:
        self._path = FOLDER / name
        self._content_type = content_type
        self._transfers = transfers

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the file, or 304 to who has it already."""
        try:
            file = self._path.open("rb")
        except OSError as ex:
            raise StorageFault(f"{self._path} cannot be read: {ex.strerror}.") from ex
        try:
            status = os.fstat(file.fileno())
            version = version_of(status)
            resp.set_headers((("etag", version.etag), ("cache-control", "no-cache")))
            if is_known(req, version):
                resp.status = falcon.HTTP_304
                file.close()
                return
            resp.content_type = self._content_type
            resp.set_header("content-security-policy", NO_SCRIPTS)
            resp.content_length = status.st_size
            if req.method == "HEAD":
                file.close()
                return
            resp.stream = self._transfers.begin(pieces_of(file, status.st_size), file.close)
        except BaseException:
            file.close()
            raise


def add_routes(app: falcon.App[Any, Any]) -> None:
    """Route the description in both of its forms."""
    transfers = Transfers("downloads of the description", MAX_DOWNLOADS)
    app.add_route("/unit_api/openapi.json", Description("openapi.json", falcon.MEDIA_JSON, transfers))
    app.add_route("/unit_api/docs", Description("docs.html", "text/html; charset=utf-8", transfers))
