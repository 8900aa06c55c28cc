"""What is said of one operation: the form of the tables that the description is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JSON = "application/json"
TEXT = "text/plain"
BYTES = "application/octet-stream"
ZIP = "application/zip"

Schema = Any  # a JSON Schema, or a marshmallow schema class; the latter may stand anywhere in the former


@dataclass(frozen=True)
class Content:
    """One form that a body may have."""

    schema: Schema
    example: Any = None
    media_type: str = JSON


@dataclass(frozen=True)
class Answer:
    """An answer that is no error. `headers` are names of components."""

    status: int
    description: str
    contents: tuple[Content, ...] = ()
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Body:
    """A request's body; `name` is that of the component that describes it."""

    name: str
    schema: Schema
    examples: Mapping[str, Any]  # by a few words about each
    required: bool = False
    media_type: str = JSON


@dataclass(frozen=True)
class Parameter:
    """What a request says in its path, query or headers."""

    name: str
    where: str
    description: str
    schema: Schema
    example: Any = None
    required: bool = False

    def as_object(self) -> dict[str, Any]:
        """Return OpenAPI's parameter object."""
        found: dict[str, Any] = {"name": self.name, "in": self.where, "description": self.description}
        if self.required or self.where == "path":
            found["required"] = True
        if isinstance(self.schema, dict) and self.schema.get("type") == "array":
            found |= {"style": "form", "explode": False}
        found["schema"] = self.schema
        if self.example is not None:
            found["example"] = self.example
        return found


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    `errors` are statuses besides those that follow from the method: see `document.error_statuses`. With `patch_too`
    PATCH does the same; with `conditional` the answer has an ETag. What `runs_code` of other people wants a token from
    whoever is neither on the unit's machine nor its leader.
    """

    method: str
    path: str
    tag: str
    summary: str
    answers: tuple[Answer, ...]
    description: str = ""
    body: Body | None = None
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()
    patch_too: bool = False
    conditional: bool = False
    runs_code: bool = False
    path_examples: Mapping[str, str] = field(default_factory=dict)

    @property
    def takes_key(self) -> bool:
        """Whether a request that is sent again with its Idempotency-Key gets its first answer; forms do not."""
        return self.method in ("POST", "PATCH") and (self.body is None or self.body.media_type == JSON)


def answer(schema: Schema, example: Any, description: str, status: int = 200) -> Answer:
    """Return an answer in JSON."""
    return Answer(status, description, (Content(schema, example),))


def list_of(schema: Schema) -> dict[str, Any]:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


def object_of(schema: Schema) -> dict[str, Any]:
    """Return the schema of an object with any keys."""
    return {"type": "object", "additionalProperties": schema}
