"""Request bodies: read once, bounded, strictly JSON, checked by a schema that names everything that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import falcon
from marshmallow import RAISE, Schema, ValidationError

from reactor_unit.errors import BodyTooLarge, InvalidRequest, UnsupportedContentType
from reactor_unit.job_spec import nearest
from reactor_unit.problems import sentences, shortened
from reactor_unit.strict_json import MAX_BODY_BYTES, BadJson, loads

MAX_LISTED_PROBLEMS = 20
UNKNOWN_FIELD = "is not a known field"


class BaseSchema(Schema):
    """A schema that refuses unknown fields: a misspelt one must not silently run a job with defaults."""

    class Meta:
        """Options of all schemas."""

        unknown = RAISE

    error_messages = {"unknown": UNKNOWN_FIELD, "type": "must be an object"}  # noqa: RUF012 - marshmallow's own name


def raw_body(req: falcon.Request) -> bytes:
    """Return the request's body; the stream is read once and the bytes are kept in `req.context`.

    Raises BodyTooLarge above 1 MiB.
    """
    context = req.context
    try:
        return context.raw_body  # type: ignore[no-any-return]
    except AttributeError:
        pass
    if (req.content_length or 0) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"The body has more than {MAX_BODY_BYTES} bytes.")
    body = req.bounded_stream.read()  # never more than the Content-Length
    context.raw_body = body
    return body


def is_json(content_type: str | None) -> bool:
    """Return whether a body of this type is read as JSON: `application/json`, `+json`, or no type at all."""
    if not content_type or not content_type.strip():
        return True
    media_type, params = falcon.parse_header(content_type)
    media_type = media_type.strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        return False
    charsets = [value for name, value in params.items() if name.lower() == "charset"]
    return all(charset.lower() in ("utf-8", "utf8") for charset in charsets)


def read_object(req: falcon.Request, *, required: bool = False) -> dict[str, Any]:
    """Return the JSON object that the body holds; an empty body is `{}` unless it is `required`.

    Raises InvalidRequest, UnsupportedContentType or BodyTooLarge.
    """
    body = raw_body(req)
    if not body:
        if required:
            raise InvalidRequest("The body is empty.", remediation="Send a JSON object.")
        return {}
    if not is_json(req.content_type):
        raise UnsupportedContentType(
            f"The body's Content-Type is {req.content_type}; this endpoint takes JSON in UTF-8."
        )
    try:
        value = loads(body)
    except BadJson as ex:
        raise InvalidRequest(f"The body is not JSON: {ex}.", remediation="Send a JSON object in UTF-8.") from ex
    if not isinstance(value, dict):
        raise InvalidRequest(
            f"The body is {_kind(value)}, not an object.",
            remediation="Send a JSON object, such as {} or one with fields.",
        )
    return value


def load(req: falcon.Request, schema: Schema, *, required: bool = False) -> dict[str, Any]:
    """Return the body as `schema` reads it. Raises InvalidRequest that lists every invalid field."""
    try:
        return schema.load(read_object(req, required=required))  # type: ignore[no-any-return]
    except ValidationError as ex:
        known = [field.data_key or name for name, field in schema.fields.items()]
        raise invalid_request(ex, known) from ex


def invalid_request(ex: ValidationError, known: Iterable[str] = ()) -> InvalidRequest:
    """Return marshmallow's messages as one error; `known` are the fields there are."""
    messages = ex.messages if isinstance(ex.messages, dict) else {"_schema": ex.messages}
    known = sorted(known)
    problems = list(_problems(messages, known))
    shown = problems[:MAX_LISTED_PROBLEMS]
    if len(problems) > len(shown):
        shown.append(f"And {len(problems) - len(shown)} more.")
    remediation = f"The fields are: {', '.join(known)}." if known else None
    return InvalidRequest(" ".join(shown), remediation=remediation)


def _problems(messages: Mapping[Any, Any], known: list[str]) -> Iterator[str]:
    suggestions = 0
    for name, content in messages.items():
        if content == [UNKNOWN_FIELD]:
            suggestions += 1  # a search for a similar name is slow; a body may have many thousand unknown ones
            hint = nearest(name, known) if suggestions <= MAX_LISTED_PROBLEMS else ""
            yield f"{shortened(repr(name))} {UNKNOWN_FIELD}.{hint}"
        else:
            yield from sentences("" if name == "_schema" else shortened(str(name)), content)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    return "text" if isinstance(value, str) else "a list"
