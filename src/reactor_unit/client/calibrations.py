"""Calibrations, estimators, and the guided sessions that make them."""

from __future__ import annotations

from reactor_unit.client.addresses import segment
from reactor_unit.client.connection import Connection
from reactor_unit.client.records import Json

HARDWARE_STEP_S = 400.0  # a unit answers a session's step when the hardware has done it


class Calibrations(Connection):
    """List, upload, choose and delete calibrations and estimators; walk through calibration sessions."""

    def calibrations(self, device: str | None = None) -> dict[str, list[Json]]:
        """Return the calibrations of each device, or of one."""
        return self._lists("calibrations", device, needs="calibration_name")

    def active_calibrations(self) -> dict[str, Json]:
        """Return the active calibration of each device that has one."""
        return self._active("calibrations", needs="calibration_name")

    def calibration(self, device: str, name: str) -> Json:
        """Return one calibration."""
        return self._get_object(f"/calibrations/{segment(device)}/{segment(name)}", needs="calibration_name")

    def create_calibration(
        self, device: str, calibration_data: str, *, set_as_active: bool = False, overwrite: bool = False
    ) -> str:
        """Add a calibration, given as the text of its YAML file; return the file's path on the unit."""
        body: Json = {"calibration_data": calibration_data, "set_as_active": set_as_active, "overwrite": overwrite}
        answer = self._send("POST", f"/calibrations/{segment(device)}", body, once=True)
        return str(self._object(answer, needs="path")["path"])

    def activate_calibration(self, device: str, name: str) -> None:
        """Make a calibration the active one of its device."""
        self._checked(self._send("PATCH", f"/active_calibrations/{segment(device)}/{segment(name)}", once=True))

    def deactivate_calibration(self, device: str) -> None:
        """Let a device have no active calibration."""
        self._checked(self._send("DELETE", f"/active_calibrations/{segment(device)}"))

    def delete_calibration(self, device: str, name: str) -> None:
        """Delete a calibration."""
        self._checked(self._send("DELETE", f"/calibrations/{segment(device)}/{segment(name)}"))

    def zipped_calibrations(self) -> bytes:
        """Return an archive of the files of all calibrations."""
        return self._good(self._send("GET", "/zipped_calibrations")).content

    def estimators(self, device: str | None = None) -> dict[str, list[Json]]:
        """Return the estimators of each device, or of one."""
        return self._lists("estimators", device, needs="estimator_name")

    def active_estimators(self) -> dict[str, Json]:
        """Return the active estimator of each device that has one."""
        return self._active("estimators", needs="estimator_name")

    def estimator(self, device: str, name: str) -> Json:
        """Return one estimator."""
        return self._get_object(f"/estimators/{segment(device)}/{segment(name)}", needs="estimator_name")

    def activate_estimator(self, device: str, name: str) -> None:
        """Make an estimator the active one of its device."""
        self._checked(self._send("PATCH", f"/active_estimators/{segment(device)}/{segment(name)}", once=True))

    def deactivate_estimator(self, device: str) -> None:
        """Let a device have no active estimator."""
        self._checked(self._send("DELETE", f"/active_estimators/{segment(device)}"))

    def delete_estimator(self, device: str, name: str) -> None:
        """Delete an estimator."""
        self._checked(self._send("DELETE", f"/estimators/{segment(device)}/{segment(name)}"))

    def calibration_protocols(self) -> list[Json]:
        """Return the guided ways to calibrate, with the device each is for."""
        return self._get_objects("/calibration_protocols", needs="protocol_name")

    def start_session(self, device: str, protocol: str) -> Json:
        """Begin a calibration session; return `{"session", "step"}`."""
        return self._session("POST", "", {"target_device": device, "protocol_name": protocol})

    def session(self, session_id: str) -> Json:
        """Return a calibration session and the step it is at."""
        return self._session("GET", f"/{segment(session_id)}")

    def answer_session(self, session_id: str, inputs: Json, *, revision: int) -> Json:
        """Answer the step of a session that has this `revision`; return the next one, when the hardware has done it."""
        path = f"/{segment(session_id)}/inputs"
        return self._session("POST", path, {"inputs": inputs, "revision": revision}, timeout_s=HARDWARE_STEP_S)

    def abort_session(self, session_id: str) -> Json:
        """Abort a calibration session; when this returns, what it had on is off."""
        return self._session("POST", f"/{segment(session_id)}/abort", {})

    def _session(self, method: str, path: str, body: Json | None = None, timeout_s: float | None = None) -> Json:
        answer = self._send(method, f"/calibrations/sessions{path}", body, timeout_s)
        found = self._object(answer, needs="session")
        if not isinstance(found["session"], dict):
            raise self._unreadable(answer.status)
        return found

    def _lists(self, word: str, device: str | None, *, needs: str) -> dict[str, list[Json]]:
        if device is not None:
            return {device: self._get_objects(f"/{word}/{segment(device)}", needs=needs)}
        lists = self._get_object(f"/{word}")
        if not all(isinstance(found, list) and all(_has(one, needs) for one in found) for found in lists.values()):
            raise self._unreadable(200)
        return lists

    def _active(self, word: str, *, needs: str) -> dict[str, Json]:
        active = self._get_object(f"/active_{word}")
        if not all(_has(one, needs) for one in active.values()):
            raise self._unreadable(200)
        return active


def _has(entry: object, field: str) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get(field), str)
