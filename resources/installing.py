"""Installing on request: plugins, and new versions of the unit itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import falcon

from reactor_unit.errors import NotFound
from reactor_unit.gateway_protocol import PLUGINS_LOCK, UPDATE_LOCK, UnitGateway
from reactor_unit.install_requests import check_allowed, wanted_plugin, wanted_to_remove, wanted_update
from reactor_unit.resources.answers import accepted
from reactor_unit.resources.bodies import load
from reactor_unit.resources.jobs import requested_task_id
from reactor_unit.resources.schemas import ONE_PLUGIN_REQUEST, UPDATE_REQUEST

TARGET = "app"


class _Installs:
    def __init__(self, gateway: UnitGateway, unit_name: str, plugins: Path | None) -> None:
        self._gateway = gateway
        self._unit_name = unit_name
        self._plugins = plugins

    def _submit(self, req: falcon.Request, resp: falcon.Response, task: str, args: dict[str, Any], lock: str) -> None:
        submitted = self._gateway.submit(task, args, task_id=requested_task_id(req), lock=lock)
        accepted(resp, self._unit_name, submitted)


class InstallPlugin(_Installs):
    """Install a plugin: `POST /unit_api/plugins/install`."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Hand on what is wanted, if it may be."""
        request = load(req, ONE_PLUGIN_REQUEST, required=True)
        plugin = wanted_plugin(request["args"][0], request["options"].get("source"))
        check_allowed(self._plugins, plugin.name)
        self._submit(req, resp, "install_plugin", plugin.to_dict(), PLUGINS_LOCK)

    on_patch = on_post


class UninstallPlugin(_Installs):
    """Uninstall a plugin: `POST /unit_api/plugins/uninstall`."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Hand on which one."""
        request = load(req, ONE_PLUGIN_REQUEST, required=True)
        name = wanted_to_remove(request["args"][0])
        self._submit(req, resp, "uninstall_plugin", {"name": name}, PLUGINS_LOCK)

    on_patch = on_post


class Update(_Installs):
    """Update the unit: `POST /unit_api/system/update` and `/unit_api/system/update/{target}`."""

    def on_post(self, req: falcon.Request, resp: falcon.Response, target: str = TARGET) -> None:
        """Hand on which version is wanted, if any may be."""
        if target != TARGET:
            raise NotFound(
                f"There is no update target {target!r}.", remediation=f"The one target of a unit is {TARGET!r}."
            )
        wanted = wanted_update(load(req, UPDATE_REQUEST, required=True)["options"])
        check_allowed(self._plugins)
        self._submit(req, resp, "update", wanted.to_dict(), UPDATE_LOCK)

    on_patch = on_post


def add_routes(app: falcon.App[Any, Any], gateway: UnitGateway, unit_name: str, plugins: Path | None) -> None:
    """Route the endpoints of this module; `plugins` is the folder of plugins, where the allow-list is."""
    update = Update(gateway, unit_name, plugins)
    app.add_route("/unit_api/plugins/install", InstallPlugin(gateway, unit_name, plugins))
    app.add_route("/unit_api/plugins/uninstall", UninstallPlugin(gateway, unit_name, plugins))
    app.add_route("/unit_api/system/update", update)
    app.add_route("/unit_api/system/update/{target:name}", update)
