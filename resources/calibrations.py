"""Calibrations and estimators: list, show, upload, delete, make active, download."""

from __future__ import annotations

from typing import Any

import falcon
from marshmallow import ValidationError, fields

from reactor_unit.calibrations.library import Library
from reactor_unit.calibrations.store import Found, NoSuchCalibration, RecordStore
from reactor_unit.errors import Json
from reactor_unit.resources.bodies import BaseSchema, load
from reactor_unit.resources.schemas import Text
from reactor_unit.strict_json import dumps
from reactor_unit.transfers import MAX_ARCHIVES, NO_PIECES, Transfers
from reactor_unit.zip_stream import opened, stream_zip

SUCCESS = dumps({"status": "success"})


class Flag(fields.Field[bool]):
    """True or false, and nothing that may be meant for it."""

    default_error_messages = {"null": "must be true or false, not null"}  # noqa: RUF012

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("must be true or false")
        return value


class CreateCalibrationRequest(BaseSchema):
    """The body that uploads a calibration: the text of its file."""

    calibration_data = Text(required=True)
    set_as_active = Flag(load_default=False)
    overwrite = Flag(load_default=False)


CREATE_CALIBRATION_REQUEST = CreateCalibrationRequest()


class Shown:
    """How files appear in answers: their content, whether they are active, the unit's name and maybe their device.

    The content is ready JSON, so that hundreds of files cost little more than putting them together.
    """

    def __init__(self, store: RecordStore, unit_name: str, *, with_device: bool = False) -> None:
        self.store = store
        self._unit = dumps(unit_name)
        self._with_device = with_device

    def one(self, found: Found, active_name: str | None) -> bytes:
        """Return one file as a JSON object; it is active when its own name is the active one."""
        return found.reading.json[:-1] + self._end(found.device, found.name == active_name)

    def several(self, device: str, active_name: str | None) -> bytes:
        """Return the device's usable files as a JSON list."""
        ends = (self._end(device, False), self._end(device, True))
        files = self.store.usable(device)
        return b"[" + b",".join([one.reading.json[:-1] + ends[one.name == active_name] for one in files]) + b"]"

    def _end(self, device: str, is_active: bool) -> bytes:
        last = b',"device":' + dumps(device) if self._with_device else b""
        return b',"is_active":' + dumps(is_active) + b',"pioreactor_unit":' + self._unit + last + b"}"


class AllRecords:
    """List all: `GET /unit_api/calibrations` and `/unit_api/estimators`."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a list for each device that has any."""
        active = self._shown.store.active()
        lists = {device: self._shown.several(device, active.get(device)) for device in self._shown.store.devices()}
        members = (dumps(device) + b":" + files for device, files in lists.items() if files != b"[]")
        resp.data = b"{" + b",".join(members) + b"}"


class DeviceEstimators:
    """List those of a device: `GET /unit_api/estimators/{device}`."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    def on_get(self, req: falcon.Request, resp: falcon.Response, device: str) -> None:
        """Answer with a list, which may be empty."""
        resp.data = self._shown.several(device, self._shown.store.active().get(device))


class DeviceCalibrations(DeviceEstimators):
    """List those of a device, or add one: `/unit_api/calibrations/{device}`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, device: str) -> None:
        """Answer with a list; a device that never had a calibration is not found."""
        if not self._shown.store.has_device(device):
            raise NoSuchCalibration(f"There are no calibrations of a device named {device!r}.")
        super().on_get(req, resp, device)

    def on_post(self, req: falcon.Request, resp: falcon.Response, device: str) -> None:
        """Write the file, then answer with its path."""
        request = load(req, CREATE_CALIBRATION_REQUEST)
        path = self._shown.store.create(
            device,
            request["calibration_data"].encode(),
            overwrite=request["overwrite"],
            set_as_active=request["set_as_active"],
        )
        resp.status = falcon.HTTP_201
        resp.data = dumps({"msg": "Calibration created successfully.", "path": str(path)})


class OneRecord:
    """Show or delete one: `/unit_api/calibrations/{device}/{name}`, `/unit_api/estimators/{device}/{name}`."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._store = shown.store

    def on_get(self, req: falcon.Request, resp: falcon.Response, device: str, name: str) -> None:
        """Answer with it."""
        found = self._store.find(device, name)
        resp.data = self._shown.one(found, self._store.active().get(device))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, device: str, name: str) -> None:
        """Delete its file."""
        self._store.delete(device, name)
        word = self._store.kind.word.capitalize()
        resp.data = dumps({"msg": f"{word} '{name}' for device '{device}' deleted successfully."})


class ActiveRecords:
    """Show the active ones: `GET /unit_api/active_calibrations` and `/unit_api/active_estimators`."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the active one of each device that has one."""
        files = self._shown.store.active_files()
        members = (dumps(found.device) + b":" + self._shown.one(found, found.name) for found in files)
        resp.data = b"{" + b",".join(members) + b"}"


class ActiveRecord:
    """Choose the active one of a device, or none: `/unit_api/active_calibrations/{device}` and further."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    def on_patch_one(self, req: falcon.Request, resp: falcon.Response, device: str, name: str) -> None:
        """Make it the active one."""
        self._store.activate(device, name)
        resp.data = SUCCESS

    def on_delete(self, req: falcon.Request, resp: falcon.Response, device: str) -> None:
        """Let the device have none."""
        self._store.deactivate(device)
        resp.data = SUCCESS


class CalibrationProtocols:
    """List the guided ways to calibrate: `GET /unit_api/calibration_protocols`."""

    def __init__(self, protocols: list[Json]) -> None:
        self._body = dumps(protocols)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with an entry for each protocol and device."""
        resp.data = self._body


class ZippedCalibrations:
    """Download the files of all calibrations: `GET /unit_api/zipped_calibrations`."""

    def __init__(self, store: RecordStore, unit_name: str) -> None:
        self._store = store
        self._unit_name = unit_name
        self._archives = Transfers("archive", MAX_ARCHIVES)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with an archive that is made while it is sent."""
        resp.content_type = "application/zip"
        resp.downloadable_as = f"{self._unit_name}_calibrations.zip"
        is_head = req.method == "HEAD"
        resp.stream = NO_PIECES if is_head else self._archives.begin(stream_zip(opened(self._store.files())))


def add_routes(app: falcon.App[Any, Any], library: Library, unit_name: str) -> None:
    """Route the endpoints of calibrations and estimators; names in paths are checked by the store."""
    calibrations = Shown(library.calibrations, unit_name)
    estimators = Shown(library.estimators, unit_name, with_device=True)
    for word, shown in (("calibrations", calibrations), ("estimators", estimators)):
        app.add_route(f"/unit_api/{word}", AllRecords(shown))
        app.add_route(f"/unit_api/{word}/{{device:segment}}/{{name:segment}}", OneRecord(shown))
        active = ActiveRecord(shown.store)
        app.add_route(f"/unit_api/active_{word}/{{device:segment}}", active)
        app.add_route(f"/unit_api/active_{word}/{{device:segment}}/{{name:segment}}", active, suffix="one")
    app.add_route("/unit_api/calibrations/{device:segment}", DeviceCalibrations(calibrations))
    app.add_route("/unit_api/estimators/{device:segment}", DeviceEstimators(estimators))
    app.add_route("/unit_api/active_calibrations", ActiveRecords(calibrations))
    app.add_route("/unit_api/active_estimators", ActiveRecords(Shown(library.estimators, unit_name)))
    app.add_route("/unit_api/calibration_protocols", CalibrationProtocols(library.protocols))
    app.add_route("/unit_api/zipped_calibrations", ZippedCalibrations(library.calibrations, unit_name))
