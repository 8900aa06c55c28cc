"""The endpoints of the contract that answer 501 until they are built; whoever builds one takes it off the list."""

from __future__ import annotations

from typing import Any, NoReturn

import falcon

from reactor_unit.errors import NotBuilt

NOT_BUILT: dict[str, tuple[str, ...]] = {
    "/unit_api/plugins/install": ("PATCH", "POST"),
    "/unit_api/plugins/uninstall": ("PATCH", "POST"),
    "/unit_api/system/update": ("PATCH", "POST"),
    "/unit_api/system/update/{target:name}": ("PATCH", "POST"),
}


class NotBuiltYet:
    """An endpoint that says that it is not built yet, to the methods it will have."""

    def __init__(self, path: str, methods: tuple[str, ...]) -> None:
        self._path = path
        for method in methods:
            setattr(self, f"on_{method.lower()}", self._refuse)

    def _refuse(self, req: falcon.Request, resp: falcon.Response, **params: Any) -> NoReturn:
        raise NotBuilt(f"{req.method} {self._path} is not available in this version of reactor-unit.")


def add_routes(app: falcon.App[Any, Any]) -> None:
    """Route every endpoint of the list."""
    for template, methods in NOT_BUILT.items():
        path = template.replace(":name}", "}").replace(":path}", "}")
        app.add_route(template, NotBuiltYet(path, methods))
