"""One polled unit: its one connection, and the conditional requests on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx

from reactor_unit.client.addresses import base_url, shown_url
from reactor_unit.client.unit_state import UnitState, faults_of, jobs_of

LARGEST_ANSWER = 1024 * 1024  # bytes; a unit with a hundred settings sends 5 kB
CLOSE_WITHIN_S = 1.0
JOBS = "/jobs/running?settings=true&typed=true"
FAULTS = "/faults"
HEALTH = "/health"
NOT_FOUND = 404


class Unreadable(Exception):
    """What answers does not answer like a unit."""


@dataclass(frozen=True)
class _Known:
    """An answer that is still good while its ETag is."""

    etag: str
    value: Any


class UnitWatch:
    """Asks one unit, over one connection, again and again; `state` is what is known of it.

    A poll ends within `timeout_s` whatever the other side does, and keeps at most LARGEST_ANSWER bytes of an answer.
    Belongs to one event loop. Raises ValueError for a URL that cannot be one.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        base = base_url(url)
        self.state = UnitState(shown_url(base))
        self._base = str(base).rstrip("/")
        self._is_secure = base.scheme == "https"
        self._timeout_s = timeout_s
        self._transport = transport
        self._clock = clock
        self._http: httpx.AsyncClient | None = None
        self._known: dict[str, _Known] = {}

    async def poll(self) -> UnitState:
        """Ask the unit once; return what is known of it then."""
        began = self._clock()
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._look()
        except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, Unreadable) as ex:
            await self.close()
            problem = self._problem(ex)
            self.state = replace(
                self.state, is_reachable=False, problem=problem, failures=self.state.failures + 1, took_s=None
            )
        else:
            now = self._clock()
            self.state = replace(found, answered_at=now, took_s=now - began)
        return self.state

    async def close(self) -> None:
        """Close the connection; the next poll makes a new one."""
        http, self._http = self._http, None
        if http is not None:
            with contextlib.suppress(Exception):  # nothing is wanted of it any more
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await http.aclose()

    async def _look(self) -> UnitState:
        """Return the unit's state; a kept connection that broke is replaced once, since units end idle ones."""
        if self._http is not None:
            try:
                return await self._asked()
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                await self.close()
        return await self._asked()

    async def _asked(self) -> UnitState:
        if self._http is None:
            self._http = httpx.AsyncClient(
                verify=self._is_secure,
                trust_env=False,
                timeout=self._timeout_s,
                limits=httpx.Limits(max_connections=1),
                headers={"Accept-Encoding": "identity"},  # no small answer that becomes a large one
                transport=self._transport,
            )
        name = self.state.name
        if not self.state.is_reachable:  # it may be another unit than before
            health = await self._get(HEALTH)
            name = str(health.get("pioreactor_unit", "")) if isinstance(health, dict) else ""
        jobs = await self._get_as(JOBS, jobs_of)
        faults = await self._get_as(FAULTS, faults_of, when_missing={})
        return UnitState(self.state.url, name, True, jobs=jobs, faults=faults)

    async def _get(self, path: str) -> Any:
        return await self._get_as(path, lambda value: value)

    async def _get_as(self, path: str, read: Callable[[Any], Any], when_missing: Any = None) -> Any:
        """Return what `read` makes of the answer, or what it made of the same answer before."""
        known = self._known.get(path)
        headers = {"If-None-Match": known.etag} if known is not None else {}
        assert self._http is not None
        async with self._http.stream("GET", f"{self._base}/unit_api{path}", headers=headers) as response:
            self._http.cookies.clear()  # units set none; what others set would be kept for ever
            content = await _content(response)  # to its end, or the connection could not be used again
        if response.status_code == httpx.codes.NOT_MODIFIED and known is not None:
            return known.value
        if response.status_code == NOT_FOUND and when_missing is not None:
            return when_missing
        if response.status_code != httpx.codes.OK:
            raise Unreadable(f"HTTP status {response.status_code}{_error_in(content)}")
        try:
            value = read(json.loads(content))
        except (ValueError, RecursionError) as ex:
            raise Unreadable(f"The answer to {path.partition('?')[0]} is not a unit's.") from ex
        self._known.pop(path, None)
        if etag := response.headers.get("etag"):
            self._known[path] = _Known(etag, value)
        return value

    def _problem(self, ex: Exception) -> str:
        if isinstance(ex, TimeoutError | httpx.TimeoutException):
            return f"No answer within {self._timeout_s:g} s."
        return str(ex) or type(ex).__name__


async def _content(response: httpx.Response) -> bytes:
    content = bytearray()
    async for piece in response.aiter_raw():
        content += piece
        if len(content) > LARGEST_ANSWER:
            raise Unreadable(f"The answer is longer than {LARGEST_ANSWER} bytes.")
    return bytes(content)


def _error_in(content: bytes) -> str:
    """Return `: ` and the error that an answer tells, or nothing."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    error = body.get("error") if isinstance(body, dict) else None
    return f": {error[:200]}" if isinstance(error, str) else ""
