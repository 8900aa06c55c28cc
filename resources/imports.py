"""The data folder replaced by an archive: `POST /unit_api/import_zipped_dot_pioreactor`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import falcon

from reactor_unit.archive_check import check_archive
from reactor_unit.errors import InvalidRequest, UnitError, error_body
from reactor_unit.gateway_protocol import IMPORT_LOCK, Accepted, UnitGateway
from reactor_unit.resources.access import AccessMiddleware
from reactor_unit.resources.answers import accepted
from reactor_unit.resources.http_errors import retry_after_s, status_of
from reactor_unit.served_files import ServedFiles
from reactor_unit.strict_json import dumps
from reactor_unit.uploads import UPLOAD, EarlyAnswer
from reactor_unit.zip_reader import ZipReader

PATH = "/unit_api/import_zipped_dot_pioreactor"
FIELD = "archive"
TASK = "import_archive"


class ImportGate:
    """What is said of an import when only its headers are there; see `UploadGate`."""

    def __init__(self, access: AccessMiddleware, gateway: UnitGateway, files: ServedFiles) -> None:
        self._access = access
        self._gateway = gateway
        self._files = files

    def look(self, environ: Mapping[str, Any]) -> EarlyAnswer | None:
        """Refuse whoever may not import; say so while another import is under way."""
        try:
            self._access.check_upload(environ)
            self._files.check_allowed()
        except UnitError as ex:
            return self.refusal(ex)
        if self._gateway.is_under_way(TASK):
            return EarlyAnswer(falcon.HTTP_202, dumps({"status": "in_progress", "lock": IMPORT_LOCK}))
        return None

    def refusal(self, error: UnitError) -> EarlyAnswer:
        """Return an error as an answer."""
        status = status_of(error)
        return EarlyAnswer(falcon.code_to_http_status(status), dumps(error_body(error, status)), retry_after_s(error))


class ImportArchive:
    """Replace the data folder by what is in an archive of it: the form's file `archive`."""

    def __init__(self, gateway: UnitGateway, unit_name: str, files: ServedFiles) -> None:
        self._gateway = gateway
        self._unit_name = unit_name
        self._files = files

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Refuse what is no archive of this unit; hand on the rest. Nothing is unpacked here."""
        self._files.check_allowed()
        upload = req.env.get(UPLOAD)
        if upload is None:
            raise InvalidRequest("No archive came.", remediation=f"Send it as a form, as `curl -F {FIELD}=@FILE` does.")
        try:
            part = upload.part(FIELD)
            check_archive(ZipReader(upload.fileno(), part.start, part.length), self._unit_name)
            args = {"path": str(upload.path), "start": part.start, "length": part.length}
            submitted = self._gateway.submit(TASK, args, lock=IMPORT_LOCK)
            if isinstance(submitted, Accepted):
                upload.keep()
        finally:
            upload.let_go()  # before the answer: who has it may send the next one
        accepted(resp, self._unit_name, submitted)


def add_routes(app: falcon.App[Any, Any], gateway: UnitGateway, unit_name: str, files: ServedFiles) -> None:
    """Route the endpoint of this module."""
    app.add_route(PATH, ImportArchive(gateway, unit_name, files))
