"""The machine under the unit: its power, its clock, and the web server of the unit."""

from __future__ import annotations

from typing import Any

import falcon

from reactor_unit.clock import utc_timestamp
from reactor_unit.errors import NotTheLeader
from reactor_unit.gateway_protocol import CLOCK_LOCK, POWER_LOCK, WEB_RESTART_LOCK, UnitGateway
from reactor_unit.resources.answers import accepted
from reactor_unit.resources.bodies import load
from reactor_unit.resources.jobs import requested_task_id
from reactor_unit.resources.schemas import SET_CLOCK_REQUEST
from reactor_unit.strict_json import dumps

BY_REQUEST = "asked for over HTTP"
SERVICES = ("web", "supervisor")


class Power:
    """Reboot the machine or turn it off: `POST /unit_api/system/reboot` and `/unit_api/system/shutdown`.

    `task` is `reboot` or `shut_down`. Whatever the body is, it has no meaning.
    """

    def __init__(self, gateway: UnitGateway, unit_name: str, task: str) -> None:
        self._gateway = gateway
        self._unit_name = unit_name
        self._task = task

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Hand on the wish."""
        submitted = self._gateway.submit(
            self._task, {"reason": BY_REQUEST}, task_id=requested_task_id(req), lock=POWER_LOCK
        )
        accepted(resp, self._unit_name, submitted)

    on_patch = on_post


class UtcClock:
    """The machine's clock: `GET` and `POST /unit_api/system/utc_clock`.

    The leader of a cluster is told the time, every other unit has chrony fetch it.
    """

    def __init__(self, gateway: UnitGateway, unit_name: str, *, is_leader: bool) -> None:
        self._gateway = gateway
        self._unit_name = unit_name
        self._is_leader = is_leader

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the time."""
        resp.data = dumps({"status": "success", "clock_time": utc_timestamp()})

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Hand on the time to set, or the wish to fetch it."""
        task, args = "sync_clock", {"reason": BY_REQUEST}
        if self._is_leader:
            task, args = "set_clock", {**args, **load(req, SET_CLOCK_REQUEST, required=True)}
        submitted = self._gateway.submit(task, args, task_id=requested_task_id(req), lock=CLOCK_LOCK)
        accepted(resp, self._unit_name, submitted)

    on_patch = on_post


class _LeaderOnly:
    def __init__(self, gateway: UnitGateway, unit_name: str, *, is_leader: bool) -> None:
        self._gateway = gateway
        self._unit_name = unit_name
        self._is_leader = is_leader

    def _check(self, req: falcon.Request) -> None:
        if not self._is_leader:
            raise NotTheLeader(
                f"{req.path} is for the leader of the cluster, and {self._unit_name} is not the leader.",
                cause="[cluster.topology] leader_hostname names another one.",
            )


class WebServerStatus(_LeaderOnly):
    """Say whether the unit's processes answer: `GET /unit_api/system/web_server/status`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the state of the web process, which is the one that answers, and of the supervisor."""
        self._check(req)
        is_active = {"web": True, "supervisor": self._gateway.is_supervised()}
        answer: dict[str, Any] = {
            "service": ",".join(SERVICES),
            "state": "ready" if all(is_active.values()) else "disconnected",
            "raw_status": ", ".join(f"{name}={'active' if is_active[name] else 'inactive'}" for name in SERVICES),
        }
        resp.data = dumps(answer)


class WebServerRestart(_LeaderOnly):
    """Replace the web process by a new one, without a gap: `POST /unit_api/system/web_server/restart`."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Hand on the wish."""
        self._check(req)
        submitted = self._gateway.submit("restart_web", {}, task_id=requested_task_id(req), lock=WEB_RESTART_LOCK)
        accepted(resp, self._unit_name, submitted)

    on_patch = on_post


def add_routes(app: falcon.App[Any, Any], gateway: UnitGateway, unit_name: str, *, is_leader: bool) -> None:
    """Route the endpoints of this module."""
    app.add_route("/unit_api/system/reboot", Power(gateway, unit_name, "reboot"))
    app.add_route("/unit_api/system/shutdown", Power(gateway, unit_name, "shut_down"))
    app.add_route("/unit_api/system/utc_clock", UtcClock(gateway, unit_name, is_leader=is_leader))
    app.add_route("/unit_api/system/web_server/status", WebServerStatus(gateway, unit_name, is_leader=is_leader))
    app.add_route("/unit_api/system/web_server/restart", WebServerRestart(gateway, unit_name, is_leader=is_leader))
