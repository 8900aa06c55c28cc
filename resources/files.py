"""The data folder over HTTP: listings, contents, removal, and the archive of all of it."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import falcon

from reactor_unit.errors import InvalidRequest, PreconditionFailed, RangeNotSatisfiable
from reactor_unit.export import Export
from reactor_unit.gateway_protocol import UnitGateway
from reactor_unit.resources.answers import accepted
from reactor_unit.resources.bodies import BaseSchema, load
from reactor_unit.resources.conditional import Version, condition_fails, is_known, version_of, wanted_range
from reactor_unit.resources.jobs import requested_task_id
from reactor_unit.resources.schemas import Text
from reactor_unit.served_files import Listing, ServedFiles
from reactor_unit.strict_json import dumps
from reactor_unit.transfers import MAX_ARCHIVES, MAX_DOWNLOADS, NO_PIECES, PIECE_BYTES, Transfers, pieces_of

SNIFFED_BYTES = 4096
# Whatever a file holds, a browser shall only show it, and nothing in it may ask for anything.
HARMLESS = (("content-security-policy", "default-src 'none'; sandbox"), ("cache-control", "no-cache"))


class RemoveFileRequest(BaseSchema):
    """The body of `system/remove_file`."""

    filepath = Text(required=True)


REMOVE_FILE_REQUEST = RemoveFileRequest()


class FilePath:
    """Look into the data folder: `GET /unit_api/system/path/{req_path}`."""

    def __init__(self, files: ServedFiles) -> None:
        self._files = files
        self._downloads = Transfers("downloads", MAX_DOWNLOADS)

    def on_get(self, req: falcon.Request, resp: falcon.Response, req_path: str = "") -> None:
        """Answer with a folder's listing or a file's content."""
        self._files.check_allowed()
        found = self._files.look(req_path)
        if isinstance(found, Listing):
            resp.data = dumps({"current": found.current, "dirs": found.dirs, "files": found.files})
            return
        try:
            self._send(req, resp, found, req_path.rpartition("/")[2])
        except BaseException:
            found.close()
            raise

    def _send(self, req: falcon.Request, resp: falcon.Response, file: BinaryIO, name: str) -> None:
        """Answer with a file; closes it, or leaves that to the end of the answer."""
        status = os.fstat(file.fileno())
        version, size = version_of(status), status.st_size
        resp.set_headers(HARMLESS)
        resp.set_header("ETag", version.etag)
        resp.last_modified = version.modified_at
        resp.set_header("Accept-Ranges", "bytes")
        if condition_fails(req, version):
            raise PreconditionFailed(f"{name} is another version of it than the request is for.")
        if is_known(req, version):
            resp.status = falcon.HTTP_304
            file.close()
            return
        first, last = self._range(req, resp, version, size)
        resp.content_type = content_type(file)
        resp.viewable_as = name.replace('"', r"\"") if name.isascii() else name  # Falcon quotes the others alone
        self._send_bytes(req, resp, file, first, last + 1 - first)

    def _range(self, req: falcon.Request, resp: falcon.Response, version: Version, size: int) -> tuple[int, int]:
        wanted = wanted_range(req, version, size) if req.method == "GET" else None
        if wanted is None:
            return 0, size - 1
        first, last = wanted
        if first > last:
            resp.set_header("Content-Range", f"bytes */{size}")
            raise RangeNotSatisfiable(f"The file has {size} bytes; the range begins behind its end.")
        resp.status = falcon.HTTP_206
        resp.set_header("Content-Range", f"bytes {first}-{last}/{size}")
        return first, last

    def _send_bytes(self, req: falcon.Request, resp: falcon.Response, file: BinaryIO, first: int, length: int) -> None:
        file.seek(first)
        if req.method == "HEAD":
            resp.content_length = length
            file.close()
        elif length <= PIECE_BYTES:
            resp.data = b"".join(pieces_of(file, length))
            file.close()
        else:
            resp.content_length = length
            resp.stream = self._downloads.begin(pieces_of(file, length), file.close)


def content_type(file: BinaryIO) -> str:
    """Return plain text for what begins as text in UTF-8, else bytes: nothing that a browser would run."""
    head = os.pread(file.fileno(), SNIFFED_BYTES, 0)
    try:
        text = head.decode()
    except UnicodeDecodeError as ex:
        if ex.start < len(head) - 3 or len(head) < SNIFFED_BYTES:  # else a character is cut
            return "application/octet-stream"
        text = head[: ex.start].decode()
    return "application/octet-stream" if "\0" in text else "text/plain; charset=utf-8"


class RemoveFile:
    """Delete a file of the data folder: `POST /unit_api/system/remove_file`."""

    def __init__(self, gateway: UnitGateway, unit_name: str, files: ServedFiles) -> None:
        self._gateway = gateway
        self._unit_name = unit_name
        self._files = files

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Refuse what may not be removed; hand on the rest, whether or not it is there."""
        self._files.check_allowed()
        filepath = load(req, REMOVE_FILE_REQUEST, required=True)["filepath"]
        if not filepath:
            raise InvalidRequest("filepath is empty.", remediation="Name a file below the data folder.")
        self._files.removable(filepath)
        submitted = self._gateway.submit("remove_file", {"filepath": filepath}, task_id=requested_task_id(req))
        accepted(resp, self._unit_name, submitted)

    on_patch = on_post


class ZippedDataFolder:
    """Download everything: `GET /unit_api/zipped_dot_pioreactor`."""

    def __init__(self, export: Export, unit_name: str) -> None:
        self._export = export
        self._unit_name = unit_name
        self._archives = Transfers("archive", MAX_ARCHIVES)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with an archive that is made while it is sent."""
        self._export.check()
        resp.content_type = "application/zip"
        resp.downloadable_as = f"{self._unit_name}_dot_pioreactor.zip"
        resp.stream = NO_PIECES if req.method == "HEAD" else self._archives.begin(self._export.pieces())


def add_routes(
    app: falcon.App[Any, Any], gateway: UnitGateway, unit_name: str, files: ServedFiles, export: Export
) -> None:
    """Route the endpoints of the data folder."""
    path = FilePath(files)
    app.add_route("/unit_api/system/path", path)
    app.add_route("/unit_api/system/path/{req_path:path}", path)
    app.add_route("/unit_api/system/remove_file", RemoveFile(gateway, unit_name, files))
    app.add_route("/unit_api/zipped_dot_pioreactor", ZippedDataFolder(export, unit_name))
