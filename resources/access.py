"""Who may have the unit do what: the one table, and the one middleware that holds requests to it.

Reading is free. Whatever changes state must not come from a page of another site in somebody's browser, under whatever
name that page reaches the unit. What runs other people's code is open to this machine, the leader, and who has the
token.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import falcon

from reactor_unit.errors import ForeignRequest, NotAdministrator, StorageFault
from reactor_unit.network_names import NamedAddress, is_loopback, is_own_address, own_names, packed, split_host
from reactor_unit.token_file import TokenFile

log = logging.getLogger(__name__)

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

ADMINISTRATION: Final = "administration"  # of the machine: what any state-changing request has to fulfil
RUNS_CODE: Final = "runs code"  # of other people: loopback, leader or token besides

# Everything that is not here, and changes state, is held to the same rules as ADMINISTRATION.
WHO_MAY: Mapping[str, str] = {
    "/unit_api/system/reboot": ADMINISTRATION,
    "/unit_api/system/shutdown": ADMINISTRATION,
    "/unit_api/system/utc_clock": ADMINISTRATION,
    "/unit_api/system/web_server/restart": ADMINISTRATION,
    "/unit_api/system/remove_file": ADMINISTRATION,
    "/unit_api/system/update": RUNS_CODE,
    "/unit_api/system/update/{target}": RUNS_CODE,
    "/unit_api/plugins/install": RUNS_CODE,
    "/unit_api/plugins/uninstall": RUNS_CODE,
    "/unit_api/import_zipped_dot_pioreactor": RUNS_CODE,
}

_FORWARDED = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP")
_X_FORWARDED = "HTTP_X_FORWARDED"
_DEFAULT_PORTS = {"http": "80", "https": "443"}

OWN_PLACES = (
    "Send it to one of the unit's own names or addresses, from a program or from a page of the unit itself; behind a "
    "proxy, name the host in [http] allowed_hosts."
)


@dataclass(frozen=True)
class Access:
    """What the unit knows of itself and of those it trusts.

    `names` are its own, in lower case; `allowed_hosts` are further ones, as in a Host header, for a proxy before it.
    """

    names: Collection[str]
    allowed_hosts: Collection[str] = ()
    leader: NamedAddress = field(default_factory=lambda: NamedAddress(""))
    token: TokenFile | None = None

    @classmethod
    def of(
        cls,
        unit_name: str,
        host_name: str = "",
        *,
        allowed_hosts: str = "",
        leader_address: str = "",
        token: TokenFile | None = None,
    ) -> Access:
        """Return the access to a unit; `allowed_hosts` are divided by commas or spaces."""
        allowed = frozenset(filter(None, re.split(r"[\s,]+", allowed_hosts.lower())))
        return cls(own_names(unit_name, host_name), allowed, NamedAddress(leader_address), token)


class AccessMiddleware:
    """Refuses what `Access` does not allow, before anything else is looked at."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Refuse a state-changing request that a page of another site may have sent. Raises ForeignRequest."""
        if req.method not in SAFE_METHODS:
            self._check_source(req.env)

    def check_upload(self, environ: Mapping[str, Any]) -> None:
        """Hold a request of which only the headers are there to the rules of what runs other people's code.

        Raises ForeignRequest, NotAdministrator.
        """
        self._check_source(environ)
        self._check_administrator(environ)

    def _check_source(self, environ: Mapping[str, Any]) -> None:
        host = environ.get("HTTP_HOST", "")
        self._check_host(host)
        self._check_origin(environ.get("HTTP_ORIGIN"), host)
        site = environ.get("HTTP_SEC_FETCH_SITE")
        if site is not None and site.strip().lower() not in ("none", "same-origin"):
            raise ForeignRequest(
                "A page of another site sent this request.",
                cause=f"Its Sec-Fetch-Site is {site[:100]!r}; none and same-origin are taken.",
                remediation=OWN_PLACES,
            )

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, params: dict[str, Any]
    ) -> None:
        """Refuse to run other people's code for whoever may not have that. Raises NotAdministrator."""
        if req.method not in SAFE_METHODS and WHO_MAY.get(_plain(req.uri_template or "")) == RUNS_CODE:
            self._check_administrator(req.env)

    # Where from

    def _check_host(self, host: str) -> None:
        name, _ = split_host(host)
        if name in self._access.names or self._is_allowed(host):
            return
        if packed(name) is not None and (is_loopback(name) or is_own_address(name)):
            return
        raise ForeignRequest(
            f"{host[:255]!r} is not this unit's name." if host else "The request does not say which host it is for.",
            cause="Its Host header is none of the unit's own names and addresses, so a page of another site may have "
            "sent it.",
            remediation=OWN_PLACES,
        )

    def _is_allowed(self, host: str) -> bool:
        host = host.strip().lower()
        return host in self._access.allowed_hosts or split_host(host)[0] in self._access.allowed_hosts

    def _check_origin(self, origin: str | None, host: str) -> None:
        if origin is None:
            return
        scheme, _, origin_host = origin.strip().lower().partition("://")
        if scheme in _DEFAULT_PORTS and split_host(origin_host)[0]:
            port = _DEFAULT_PORTS[scheme]
            if _with_port(origin_host, port) == _with_port(host, port) or self._is_allowed(origin_host):
                return
        raise ForeignRequest(
            f"A page of {origin[:255]!r} sent this request.",
            cause=f"That is not the place the request went to, {host[:255]!r}.",
            remediation=OWN_PLACES,
        )

    # Who

    def _check_administrator(self, environ: Mapping[str, Any]) -> None:
        peer = environ.get("REMOTE_ADDR", "")
        is_direct = not is_forwarded(environ)
        if is_direct and is_loopback(peer):
            return
        refusal = self._token_refusal(environ.get("HTTP_AUTHORIZATION"))
        if refusal is None:
            return
        leader = self._access.leader
        if is_direct and leader.has(peer):
            return
        what = f"{environ.get('REQUEST_METHOD')} {environ.get('PATH_INFO')}"
        came = f"It came from {peer}" if is_direct else f"A proxy at {peer} forwarded it"
        raise NotAdministrator(
            f"{what} runs other people's code, which is not open to everybody.",
            cause=f"{came}, and {refusal}",
            remediation=f"One of these would do: send it on the unit's own machine; {_from_leader(leader.host)}; or "
            "send `Authorization: Bearer TOKEN` with the token that `reactor-unit token create` makes there.",
        )

    def _token_refusal(self, authorization: str | None) -> str | None:
        """Return why the token that came does not do, None when it does."""
        scheme, _, sent = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not sent.strip():
            return "it brought no bearer token."
        if self._access.token is None:
            return "this unit has no place for tokens."
        try:
            token = self._access.token.read()
        except StorageFault as ex:
            log.error("%s %s", ex.message, ex.remediation)
            return f"no token can be right: {ex.message}"
        if token is None:
            return "the unit has no token."
        if hmac.compare_digest(sent.strip().encode("utf-8", "replace"), token.encode()):
            return None
        return "its token is not the unit's."


def is_forwarded(environ: Mapping[str, Any]) -> bool:
    """Return whether a proxy says that it forwarded the request: then its peer is not who asks."""
    return any(name in environ for name in _FORWARDED) or any(name.startswith(_X_FORWARDED) for name in environ)


def _with_port(host: str, default_port: str) -> tuple[str, str]:
    name, port = split_host(host)
    return name, port or default_port


def _from_leader(leader: str) -> str:
    if leader:
        return f"send it from the leader ({leader}), without a proxy"
    return "name the leader's address in [cluster.topology] leader_address, and send it from there"


@lru_cache(maxsize=256)
def _plain(template: str) -> str:
    """Return a route's template without the kinds of its parameters."""
    return re.sub(r":\w+(\([^)]*\))?}", "}", template)
