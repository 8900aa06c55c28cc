"""Which plugins there are, and the text of those that are files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import falcon

from reactor_unit.errors import NotFound, Unavailable
from reactor_unit.gateway_protocol import UnitGateway
from reactor_unit.home import open_regular
from reactor_unit.plugins import MAX_FILE_BYTES, SUFFIX, Report
from reactor_unit.strict_json import dumps


class InstalledPlugins:
    """List the plugins: `GET /unit_api/plugins/installed`."""

    def __init__(self, gateway: UnitGateway) -> None:
        self._gateway = gateway

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the plugins as they are now; if that takes too long, as they were."""
        try:
            self._gateway.look_at_plugins(wait=True)
        except Unavailable as ex:
            if not self._gateway.plugins():
                raise ex
        resp.data = dumps([_entry(report, f"{req.prefix}{req.path}") for report in self._gateway.plugins()])


def _entry(report: Report, url: str) -> dict[str, Any]:
    """Return the reference system's fields, with `error`: null, or why the plugin cannot be used."""
    plugin = report.plugin
    is_file = bool(plugin.path)
    return {
        "name": plugin.name,
        "version": plugin.version,
        "description": plugin.description,
        "homepage": plugin.homepage or (f"{url}/{Path(plugin.path).name}" if is_file else None),
        "source": plugin.source if is_file else "entry_points",
        "author": plugin.author,
        "error": report.error,
    }


class PluginFile:
    """Tell the text of a plugin: `GET /unit_api/plugins/installed/{filename}`.

    Only files that lie in `plugins/` themselves, also when links are followed, and end in `.py`.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def on_get(self, req: falcon.Request, resp: falcon.Response, filename: str) -> None:
        """Answer with the file as it is, as plain text."""
        try:
            path = self._path(filename)
            if path is None:
                raise FileNotFoundError(filename)
            with open_regular(path) as file:
                text = file.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError, RuntimeError) as ex:
            raise NotFound(
                f"There is no plugin file {filename!r}.",
                cause=f"plugins/ has no file of this name that ends in {SUFFIX}.",
                remediation="See `GET /unit_api/plugins/installed`.",
            ) from ex
        if len(text) > MAX_FILE_BYTES:
            raise NotFound(f"{filename} is no plugin: it has more than {MAX_FILE_BYTES} bytes.")
        resp.content_type = "text/plain; charset=utf-8"
        resp.data = text

    def _path(self, filename: str) -> Path | None:
        """Return the file, None for what is no file of the folder."""
        if self._folder is None or not filename.endswith(SUFFIX) or "/" in filename or "\\" in filename:
            return None
        path = (self._folder / filename).resolve()
        return path if path.parent == self._folder.resolve() else None
