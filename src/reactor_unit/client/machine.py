"""The unit itself: health, hardware, plugins and program, and the machine it runs on."""

from __future__ import annotations

from typing import cast

from reactor_unit.client.addresses import segment
from reactor_unit.client.connection import Connection
from reactor_unit.client.records import Accepted, Health, Json, Plugin


class Machine(Connection):
    """Look after a unit and its machine."""

    def health(self) -> Health:
        """Return the unit's name and clock."""
        return cast(Health, self._get_object("/health"))

    def version(self) -> str:
        """Return the version of the unit's program, such as `v0.1.0`."""
        return str(self._get_object("/versions/app", needs="version")["version"])

    def capabilities(self) -> Json:
        """Return what the unit can do: its jobs, automations and settings."""
        return self._get_object("/capabilities")

    def check_hardware(
        self, *, model_name: str | None = None, model_version: str | None = None, pumps: bool = False
    ) -> Accepted:
        """Ask for a check of the hardware; the task's result is `{"ok", "findings"}`.

        `pumps` has each pump run for a second. Another model than the unit's has its chips looked for.
        """
        body: Json = {"model_name": model_name, "model_version": model_version, "pumps": pumps or None}
        return self._submit("/hardware/check", {name: value for name, value in body.items() if value is not None})

    def plugins(self) -> list[Plugin]:
        """Return what is known of each plugin; `error` says why one cannot be used."""
        return self._get_objects("/plugins/installed", needs="name")

    def plugin_file(self, filename: str) -> str:
        """Return the text of a plugin that is a file, such as `my_plugin.py`."""
        answer = self._good(self._send("GET", f"/plugins/installed/{segment(filename)}"))
        return answer.content.decode("utf-8", "replace")

    def install_plugin(self, name: str, source: str | None = None) -> Accepted:
        """Ask for a plugin to be installed, by name (and version), or from a file on the unit or an https URL.

        Installing, uninstalling and updating need the administrator's token.
        """
        options = {} if source is None else {"source": source}
        return self._submit("/plugins/install", {"args": [name], "options": options})

    def uninstall_plugin(self, name: str) -> Accepted:
        """Ask for a plugin to be uninstalled, or for the file `plugins/NAME.py` to be deleted."""
        return self._submit("/plugins/uninstall", {"args": [name]})

    def update(self, *, source: str | None = None, version: str | None = None) -> Accepted:
        """Ask for another version of the unit's program: a file on the unit, a version, or else the newest."""
        given = {"source": source, "version": version}
        options = {name: value for name, value in given.items() if value is not None}
        return self._submit("/system/update", {"options": options, "args": []})

    def reboot(self) -> Accepted:
        """Ask for a reboot of the unit's machine; its jobs are stopped first."""
        return self._submit("/system/reboot", {})

    def shut_down(self) -> Accepted:
        """Ask for the unit's machine to be powered off; its jobs are stopped first."""
        return self._submit("/system/shutdown", {})

    def clock(self) -> str:
        """Return the time of the unit's machine, such as `2026-01-31T12:45:00.123Z`."""
        return str(self._get_object("/system/utc_clock", needs="clock_time")["clock_time"])

    def set_clock(self, utc_time: str) -> Accepted:
        """Ask for the clock to be set to a time such as `2026-01-31T12:45:00Z`.

        A unit that does not lead its cluster fetches the time from the network instead.
        """
        return self._submit("/system/utc_clock", {"utc_clock_time": utc_time})

    def web_server_status(self) -> Json:
        """Return `{"service", "state", "raw_status"}` of the unit's own processes."""
        return self._get_object("/system/web_server/status", needs="state")

    def restart_web_server(self) -> Accepted:
        """Ask for another web process in the place of the one that answers; no request is refused meanwhile."""
        return self._submit("/system/web_server/restart", {})
