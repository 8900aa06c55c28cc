"""What may be asked to be installed, as JSON Schema; the rules are those of `install_requests`."""

from __future__ import annotations

from typing import Any

NAME = "[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?"
VERSION = "[0-9][0-9A-Za-z.+!]{0,63}"
ENDS = r"\.(whl|tar\.gz|zip)"
ITSELF = {"type": "string", "pattern": "^ *[Rr][Ee][Aa][Cc][Tt][Oo][Rr][-_.]+[Uu][Nn][Ii][Tt]"}

FILE: dict[str, Any] = {
    "type": "string",
    "format": "file-on-unit",
    "description": "The absolute path of a wheel or archive on the unit.",
}
URL: dict[str, Any] = {
    "type": "string",
    "pattern": f'^https://[A-Za-z0-9]([A-Za-z0-9.-]{{0,60}}[A-Za-z0-9])?/[!"$-~]{{1,200}}{ENDS}$',
    "description": "Where a wheel or archive is.",
}


def _body(args: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "args": {"type": "array", "items": {"type": "string"}, **args},
            "options": {"type": "object", "properties": options, "additionalProperties": False},
            "env": {"type": "object"},
        },
        "additionalProperties": False,
        **({"required": ["args"]} if "minItems" in args else {}),
    }


def _one(pattern: str) -> dict[str, Any]:
    return {"items": {"type": "string", "pattern": f"^{pattern}$", "not": ITSELF}, "minItems": 1, "maxItems": 1}


INSTALL = {
    "anyOf": [
        _body(_one(f"{NAME}((==|>=|<=|~=|!=|<|>){VERSION})?"), {}),
        _body(_one(NAME), {"source": {"anyOf": [URL, FILE]}}),
    ]
}
UNINSTALL = _body(_one(NAME), {"source": {}})
UPDATE = {
    "anyOf": [
        _body({"maxItems": 0}, {"version": {"type": "string", "pattern": f"^v?{VERSION}$"}}),
        _body({"maxItems": 0}, {"source": FILE}),
    ]
}
