"""Settings as a request wants to see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import falcon

from reactor_unit.job_spec import to_text


def shown(req: falcon.Request, value: Any) -> Any:
    """Return a setting's value: text, or its JSON type with `?typed=true`; null is null."""
    if value is None or req.get_param_as_bool("typed", default=False):
        return value
    return to_text(value)


def all_shown(req: falcon.Request, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings by name, each as `shown` has it."""
    return {name: shown(req, value) for name, value in settings.items()}
