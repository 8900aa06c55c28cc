"""The one path on which an error leaves the application: its status, its headers, its body."""

from __future__ import annotations

import json
import logging
import math
from typing import Any

import falcon
from marshmallow import ValidationError

from reactor_unit import errors
from reactor_unit.calibrations.fits import BadFit
from reactor_unit.calibrations.fused_od import CannotEstimate
from reactor_unit.errors import UnitError
from reactor_unit.resources.bodies import invalid_request

logger = logging.getLogger(__name__)

# Looked up along the error's ancestors, so that every class has an answer.
STATUS_OF: dict[type, int] = {
    UnitError: 500,
    errors.InvalidRequest: 400,
    errors.UnsupportedContentType: 415,
    errors.BodyTooLarge: 413,
    errors.IdempotencyKeyReused: 422,
    errors.NotSettable: 403,
    errors.Forbidden: 403,
    errors.PreconditionFailed: 412,
    errors.RangeNotSatisfiable: 416,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.RateLimited: 429,
    errors.Unavailable: 503,
    errors.NoRoom: 507,
    BadFit: 400,  # of what a person entered
    CannotEstimate: 400,
}

# These always tell when to come back, even where the raiser named no time.
RETRY_AFTER_S: dict[type, float] = {errors.RequestInFlight: 1.0, errors.RateLimited: 1.0, errors.QueueFull: 1.0}

# What to do about the errors that Falcon itself raises.
REMEDIATION_OF = {
    400: "Check the request's fields and format.",
    404: "Check the path; it has no doubled, trailing or encoded slash. GET /unit_api/docs lists all there are.",
    405: "Use one of the methods in the Allow header.",
    413: "Send a smaller body.",
    415: "Send the body as application/json, or leave out the Content-Type header.",
}

MAX_TEXT = 4000  # an error may quote the request, which may be a megabyte


def status_of(error: UnitError) -> int:
    """Return the HTTP status of `error`."""
    return next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)


def retry_after_s(error: UnitError) -> float | None:
    """Return after how many seconds the request of `error` may be repeated; None where that is unknown."""
    if error.retry_after_s is not None:
        return error.retry_after_s
    return next((RETRY_AFTER_S[kind] for kind in type(error).__mro__ if kind in RETRY_AFTER_S), None)


def send_error(resp: falcon.Response, error: UnitError, status: int) -> None:
    """Make `resp` the answer to `error`."""
    resp.status = falcon.code_to_http_status(status)
    wait_s = retry_after_s(error)
    if wait_s is not None:
        resp.set_header("Retry-After", str(max(1, math.ceil(wait_s))))
    resp.content_type = falcon.MEDIA_JSON
    texts = (_cut(error.message), _cut(error.cause), _cut(error.remediation))
    body = errors.error_body(UnitError(texts[0], cause=texts[1], remediation=texts[2]), status)
    # A message may quote a file name that is not text; it must not stop the error from being told.
    resp.data = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "..."


def on_unit_error(req: falcon.Request, resp: falcon.Response, ex: UnitError, params: dict[str, Any]) -> None:
    """Answer an error that the unit raised on purpose."""
    send_error(resp, ex, status_of(ex))


def on_validation_error(
    req: falcon.Request, resp: falcon.Response, ex: ValidationError, params: dict[str, Any]
) -> None:
    """Answer a schema's refusal that did not pass `bodies.load`."""
    send_error(resp, invalid_request(ex), 400)


def on_crash(req: falcon.Request, resp: falcon.Response, ex: Exception, params: dict[str, Any]) -> None:
    """Answer a fault of the program: the traceback goes to the log, never to the client."""
    logger.error("%s %s crashed.", req.method, req.path, exc_info=ex)
    error = errors.InternalError(
        "The unit met an unexpected error.", cause=f"A {type(ex).__name__} that no part of the program expected."
    )
    send_error(resp, error, 500)


def serialize_falcon_error(req: falcon.Request, resp: falcon.Response, ex: falcon.HTTPError) -> None:
    """Answer Falcon's own errors: unknown routes, wrong methods, bad headers and query parameters."""
    status = ex.status_code
    message, cause, remediation = ex.title, ex.description, REMEDIATION_OF.get(status)
    if isinstance(ex, falcon.HTTPRouteNotFound):
        message = f"There is no endpoint at {req.path}."
        if req.path == "/api" or req.path.startswith("/api/"):
            cause = "Only the leader of a cluster has /api; this is a unit."
            remediation = "Ask the leader, or use the unit's own endpoints under /unit_api."
    elif isinstance(ex, falcon.HTTPMethodNotAllowed):
        message = f"{req.method} is not a method of {req.path}."
        cause = f"The methods here are {resp.get_header('Allow')}."
    elif cause:
        message = cause = cause.rstrip(".") + "."
    send_error(resp, UnitError(message, cause=cause, remediation=remediation), status)


def install(app: falcon.App[Any, Any]) -> None:
    """Let every error of `app` leave through this module."""
    app.add_error_handler(UnitError, on_unit_error)
    app.add_error_handler(ValidationError, on_validation_error)
    app.add_error_handler(Exception, on_crash)
    app.set_error_serializer(serialize_falcon_error)
