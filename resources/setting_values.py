"""Settings as a request wants to see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import falcon

from reactor_unit.job_spec import to_text


def wants_typed(req: falcon.Request) -> bool:
    """Return whether values are to be as JSON has them: `?typed=true`."""
    return yes_or_no(req, "typed")


def yes_or_no(req: falcon.Request, name: str) -> bool:
    """Return a yes or no of the query; what is not there is no, and without a value it is a mistake."""
    if req.get_param(name) == "":
        raise falcon.HTTPInvalidParam("It has no value; give true or false.", name)
    return bool(req.get_param_as_bool(name, default=False))


def shown(value: Any, *, typed: bool) -> Any:
    """Return a setting's value: text, or its JSON type with `typed`; null is null."""
    return value if value is None or typed else to_text(value)


def all_shown(settings: Mapping[str, Any], *, typed: bool) -> dict[str, Any]:
    """Return all settings by name, each as `shown` has it."""
    return {name: shown(value, typed=typed) for name, value in settings.items()}
