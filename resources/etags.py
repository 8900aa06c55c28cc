"""`ETag` and `If-None-Match` (RFC 9110): who polls is told in few bytes that nothing changed."""

from __future__ import annotations

import hashlib
from typing import Any

import falcon

DIGEST_BYTES = 8  # 2**-64 that a change goes unseen


class ETagMiddleware:
    """Give each 200 to a GET or HEAD with ready bytes an ETag, and answer 304 when the client has these bytes already.

    A resource whose answer is new each time says so with `changes_each_time = True`. One that sets an ETag or a
    Cache-Control of its own is left alone.
    """

    def process_response(self, req: falcon.Request, resp: falcon.Response, resource: Any, req_succeeded: bool) -> None:
        """Add the headers, or take the body away."""
        data = resp.data
        if data is None or req.method not in ("GET", "HEAD") or resp.status != falcon.HTTP_200:
            return
        if getattr(resource, "changes_each_time", False) or resp.get_header("etag") is not None:
            return
        etag = f'"{hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()}"'
        resp.set_header("etag", etag)
        resp.set_header("cache-control", "no-cache")
        if is_known(etag, req.env.get("HTTP_IF_NONE_MATCH")):
            resp.status = falcon.HTTP_304
            resp.data = None
            resp.delete_header("x-content-type-options")  # of a body that is not there


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Return whether the header If-None-Match names this strong ETag, or any with `*`; weak ones compare as strong."""
    if if_none_match is None:
        return False
    given = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return etag in given or given == ["*"]
