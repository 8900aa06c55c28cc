"""Guided calibration sessions: start, show, answer a step, abort."""

from __future__ import annotations

from typing import Any

import falcon
from marshmallow import ValidationError, fields, validate

from reactor_unit.calibrations.sessions import Sessions
from reactor_unit.resources.bodies import BaseSchema, load
from reactor_unit.resources.schemas import Name, Object, whole
from reactor_unit.strict_json import dumps


class Revision(fields.Field[int]):
    """The number of a session's step: a whole number, nothing that may be meant for it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        number = whole(value)
        if number is None or number < 0:
            raise ValidationError("must be a whole number, the session's revision")
        return number


class StartSessionRequest(BaseSchema):
    """The body that starts a session."""

    target_device = Name(required=True)
    protocol_name = Name(required=True)


class AdvanceSessionRequest(BaseSchema):
    """The body that answers a step; `revision` says which one."""

    inputs = Object(
        keys=fields.String(),
        load_default=dict,
        validate=validate.Length(max=20, error="has more than {max} entries"),
    )
    revision = Revision(load_default=None)


START_SESSION_REQUEST = StartSessionRequest()
ADVANCE_SESSION_REQUEST = AdvanceSessionRequest()


class CalibrationSessions:
    """Start a session: `POST /unit_api/calibrations/sessions`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the session and its first step."""
        request = load(req, START_SESSION_REQUEST)
        resp.data = dumps(self._sessions.start(request["target_device"], request["protocol_name"]))
        resp.status = falcon.HTTP_201


class CalibrationSession:
    """Show a session: `GET /unit_api/calibrations/sessions/{session_id}`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def on_get(self, req: falcon.Request, resp: falcon.Response, session_id: str) -> None:
        """Answer with the session and the step it is at."""
        resp.data = dumps(self._sessions.get(session_id))


class CalibrationSessionInputs:
    """Answer a step: `POST /unit_api/calibrations/sessions/{session_id}/inputs`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def on_post(self, req: falcon.Request, resp: falcon.Response, session_id: str) -> None:
        """Answer with the session and its next step, when what the step does with the hardware is done."""
        self._sessions.get(session_id)  # an unknown one is that, whatever the body is
        request = load(req, ADVANCE_SESSION_REQUEST)
        resp.data = dumps(self._sessions.advance(session_id, request["inputs"], revision=request["revision"]))


class CalibrationSessionAbort:
    """Abort a session: `POST /unit_api/calibrations/sessions/{session_id}/abort`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def on_post(self, req: falcon.Request, resp: falcon.Response, session_id: str) -> None:
        """Answer when the hardware is off."""
        resp.data = dumps(self._sessions.abort(session_id))


def add_routes(app: falcon.App[Any, Any], sessions: Sessions) -> None:
    """Route the endpoints of calibration sessions."""
    path = "/unit_api/calibrations/sessions"
    app.add_route(path, CalibrationSessions(sessions))
    app.add_route(f"{path}/{{session_id:name}}", CalibrationSession(sessions))
    app.add_route(f"{path}/{{session_id:name}}/inputs", CalibrationSessionInputs(sessions))
    app.add_route(f"{path}/{{session_id:name}}/abort", CalibrationSessionAbort(sessions))
