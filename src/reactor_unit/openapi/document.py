"""The whole description, put together from the tables."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable
from typing import Any, Final

from apispec import APISpec

from reactor_unit import __version__
from reactor_unit.openapi import culture_table, jobs_table, records_table, unit_table
from reactor_unit.openapi.json_schemas import FIELDS, Schemas
from reactor_unit.openapi.operation import JSON, Answer, Body, Operation
from reactor_unit.resources import response_schemas, schemas
from reactor_unit.workers.jobs import JOBS

DESCRIPTION: Final = """\
One small bioreactor over HTTP. Requests and answers are JSON unless something else is said.

- What takes longer than a moment is answered with 202 and a task; ask for its result at `result_url_path`.
- Every error has the same form: what happened, why, and what to do. Besides those that are named at an operation, every
  path answers 404 to what is not there, 405 with `Allow` to a method it does not have, and the server 408 to what does
  not arrive, 431 to headers that are too large, and 500 to a fault of the program.
- HEAD is taken wherever GET is, and OPTIONS everywhere.
- Some formats of texts are the unit's own. `printable`: no control characters and nothing else that cannot be printed.
  `file-name`: that, in 250 bytes at most, without slashes, and with neither a dot nor a dash first. `json`: JSON.
  `file-on-unit`: the absolute path of a file there.
  `utc-time`: as 2026-01-31T12:45:00Z, with up to six decimals, from 2020 to 2099. `calibration`: YAML as in
  `docs/calibrations.md`.
"""

ERRORS: Final[dict[int, tuple[str, str, tuple[str, str, str]]]] = {
    400: (
        "BadRequest",
        "The request itself is wrong; nothing was done.",
        ("'targt_rpm' is not a known field.", "The request has it.", "The fields are: args, config_overrides, env."),
    ),
    403: (
        "Forbidden",
        "Whoever asks may not have this, or nobody.",
        ("A page of another site sent this request.", "Its Sec-Fetch-Site is 'cross-site'.", "Send it to the unit."),
    ),
    404: (
        "NotFound",
        "There is no such thing.",
        ("There is no job named 'stiring'.", "This unit has no job named 'stiring'.", "The jobs are: stirring."),
    ),
    409: (
        "Conflict",
        "It does not fit what the unit is doing now.",
        ("stirring does not run.", "Only running jobs have settings.", "Start the job first."),
    ),
    412: (
        "PreconditionFailed",
        "What the request is for is not as it says.",
        ("config.ini is another version.", "It has changed.", "Read it again, then decide anew."),
    ),
    413: (
        "TooLarge",
        "The body is larger than a mebibyte.",
        ("The body has more than 1048576 bytes.", "It has more.", "Send a smaller body."),
    ),
    415: (
        "UnsupportedContentType",
        "The body is declared to be something other than JSON.",
        ("The body's Content-Type is text/xml.", "This endpoint takes JSON.", "Send it as application/json."),
    ),
    416: (
        "RangeNotSatisfiable",
        "The part that was asked for does not exist.",
        ("The file has 10 bytes.", "The range begins behind its end.", "Ask for the whole."),
    ),
    422: (
        "KeyReused",
        "The Idempotency-Key came back with a different request.",
        ("The key was used for another request.", "The bodies differ.", "Use a new key for a new request."),
    ),
    429: (
        "TooSoon",
        "The same request came too soon after the last one, or as many are under way as the unit takes at once.",
        ("stirring was started 0.2 s ago.", "A job is started once a second.", "Wait, then try again."),
    ),
    507: (
        "NoRoom",
        "The unit's disk has too little room for what was sent.",
        ("There is no room for 2000000000 bytes.", "The disk has 1000000.", "Make room, then send it again."),
    ),
    503: (
        "Unavailable",
        "The unit cannot do it now: a full disk, too many tasks, a part of the reactor that does not answer.",
        ("1000 tasks wait.", "That is as many as the unit keeps.", "Wait until some have ended, then try again."),
    ),
}
WAITS: Final = (429, 503)  # that may say when to come back
HEADERS: Final = {
    "Location": ("Where the task's result is.", {"type": "string"}, True),
    "LocationOfTask": ("Where the task's result is.", {"type": "string"}, False),
    "RetryAfter": ("When to ask again, in seconds.", {"type": "integer", "minimum": 1}, True),
    "RetryAfterSometimes": ("When to ask again, in seconds.", {"type": "integer", "minimum": 1}, False),
    "PreferenceApplied": ("That the answer was held.", {"type": "string"}, False),
    "ETag": ("Which version this is.", {"type": "string"}, True),
    "Vary": ("On what the answer depends.", {"type": "string"}, False),
}
HEADER_NAMES: Final = {
    "LocationOfTask": "Location",
    "RetryAfter": "Retry-After",
    "RetryAfterSometimes": "Retry-After",
    "PreferenceApplied": "Preference-Applied",
}
IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A text of the client's own for each request: one that is sent again with it gets its first answer.",
    "schema": {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
    "example": "4b1c7c1e-6c0f-4a83-8a2c-0e4d4a6f8f3b",
}
IF_NONE_MATCH: Final = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The ETag of what the client has; 304 if it is still the same.",
    "schema": {"type": "string"},
}


def operations() -> list[Operation]:
    """Return all operations: those of the tables, and of each built-in job."""
    tables = [unit_table, jobs_table, culture_table, records_table]
    found = [operation for table in tables for operation in table.OPERATIONS]
    return found + [one for name in sorted(JOBS) for one in jobs_table.job_operations(JOBS[name].spec)]


def document() -> dict[str, Any]:
    """Return the description as an OpenAPI object."""
    known = Schemas()
    spec = APISpec(
        title="reactor-unit",
        version=__version__,
        openapi_version="3.1.0",
        info={"description": DESCRIPTION, "license": {"name": "MIT", "identifier": "MIT"}},
        servers=[{"url": "/"}],
        plugins=[known.plugin],
    )
    known.learn_fields()
    return _Writer(spec, known).written(operations())


class _Writer:
    """Puts components and paths into one description."""

    def __init__(self, spec: APISpec, known: Schemas) -> None:
        self._spec = spec
        self._schemas = known
        self._paths: dict[str, dict[str, Any]] = {}
        self._bodies: dict[str, Any] = {}

    def written(self, described: Iterable[Operation]) -> dict[str, Any]:
        """Return the description."""
        described = list(described)
        components = self._spec.components
        components.schema("Environment", FIELDS[schemas.Env])
        components.schema(
            "ConfigOverrides", {"type": "array", "items": FIELDS[schemas.ConfigOverride], "maxItems": 100}
        )
        components.security_scheme(
            "token", {"type": "http", "scheme": "bearer", "description": "What `reactor-unit token create` makes."}
        )
        components.parameter("IdempotencyKey", "header", IDEMPOTENCY_KEY)
        components.parameter("IfNoneMatch", "header", IF_NONE_MATCH)
        for name, (description, schema, required) in HEADERS.items():
            components.header(name, {"description": description, "schema": schema, "required": required})
        for status in ERRORS:
            self._error(status)
        for operation in described:
            self._operation(operation)
        found = self._spec.to_dict()
        found["paths"] = self._paths
        found["components"]["requestBodies"] = self._bodies
        found["tags"] = [{"name": tag} for tag in dict.fromkeys(one.tag for one in described)]
        self._describe(found["components"]["schemas"])
        return json.loads(json.dumps(found))  # type: ignore[no-any-return]

    def _error(self, status: int) -> None:
        name, description, (error, cause, remediation) = ERRORS[status]
        info = {"cause": cause, "remediation": remediation, "status": status}
        content = {
            "schema": self._schemas.resolved(response_schemas.ErrorAnswer),
            "example": {"error": error, "error_info": info},
        }
        body: dict[str, Any] = {"description": description, "content": {JSON: content}}
        if status in WAITS:
            body["headers"] = {"Retry-After": _reference("headers", "RetryAfterSometimes")}
        self._spec.components.response(name, body)

    def _operation(self, one: Operation) -> None:
        methods = self._paths.setdefault(one.path, {})
        if one.body is not None:
            self._body(one.body)
        methods[one.method.lower()] = self._object(one, one.method)
        if one.patch_too:
            methods["patch"] = {**self._object(one, "PATCH"), "summary": f"{one.summary} (the same as POST)"}

    def _body(self, body: Body) -> None:
        examples = {
            re.sub(r"\W+", "_", words).strip("_"): {"summary": words, "value": value}
            for words, value in body.examples.items()
        }
        content = {"schema": self._schemas.resolved(body.schema)}
        if examples:
            content["examples"] = examples
        self._bodies[body.name] = {"required": body.required, "content": {body.media_type: content}}

    def _object(self, one: Operation, method: str) -> dict[str, Any]:
        found: dict[str, Any] = {
            "operationId": operation_id(method, one.path),
            "tags": [one.tag],
            "summary": one.summary,
        }
        if one.description:
            found["description"] = one.description
        parameters = [parameter.as_object() for parameter in one.parameters]
        if one.takes_key:
            parameters.append(_reference("parameters", "IdempotencyKey"))
        if one.conditional:
            parameters.append(_reference("parameters", "IfNoneMatch"))
        if parameters:
            found["parameters"] = parameters
        if one.body is not None:
            found["requestBody"] = _reference("requestBodies", one.body.name)
        found["responses"] = self._responses(one)
        if one.runs_code:
            found["security"] = [{"token": []}, {}]
        return found

    def _responses(self, one: Operation) -> dict[str, Any]:
        found = {str(each.status): self._answer(each, one) for each in one.answers}
        if one.conditional:
            found["304"] = {"description": "The client has it already."}
        for status in error_statuses(one):
            found.setdefault(str(status), _reference("responses", ERRORS[status][0]))
        return dict(sorted(found.items()))

    def _answer(self, one: Answer, operation: Operation) -> dict[str, Any]:
        found: dict[str, Any] = {"description": one.description}
        headers = [*one.headers, *(["ETag"] if operation.conditional and one.status == 200 else [])]
        if headers:
            found["headers"] = {HEADER_NAMES.get(name, name): _reference("headers", name) for name in headers}
        for content in one.contents:
            shown: dict[str, Any] = {"schema": self._schemas.resolved(content.schema)}
            if content.example is not None:
                shown["example"] = content.example
            found.setdefault("content", {})[content.media_type] = shown
        return found

    def _describe(self, found: dict[str, Any]) -> None:
        """Give each schema that is a class's the first line of its docstring."""
        for name, schema in found.items():
            if name in self._schemas.classes:
                schema["description"] = (inspect.getdoc(self._schemas.classes[name]) or "").partition("\n")[0]


def error_statuses(one: Operation) -> list[int]:
    """Return the statuses of an operation's errors: its own, and those that follow from what kind it is."""
    found = {400, 503, *one.errors}
    if any(parameter.where == "path" for parameter in one.parameters):
        found.add(404)
    if one.method != "GET":
        found |= {403}
    if one.method in ("POST", "PATCH"):
        found |= {409, 413}
    if one.takes_key:
        found |= {422}
    if one.body is not None:
        found |= {413, 415}
    if one.answers and one.answers[0].status == 202:
        found.add(429)
    return sorted(found)


def operation_id(method: str, path: str) -> str:
    """Return a name for program code, such as `post_jobs_stop_all`."""
    words = re.sub(r"\W+", "_", path.removeprefix("/unit_api")).strip("_")
    return f"{method.lower()}_{words}"


def _reference(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}
