"""Routes that match exactly what was asked: strict slashes, clean names, HEAD wherever there is GET."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import falcon
from falcon.routing import BaseConverter, CompiledRouter

MAX_NAME = 255


class NameConverter(BaseConverter):
    """A path parameter that is a name: `{job_name:name}` matches no empty, endless or unprintable segment."""

    def convert(self, value: str) -> str | None:
        """Return `value`, or None (which Falcon takes as no match) when it cannot be a name."""
        if not value or len(value) > MAX_NAME or not value.isprintable() or "\ufffd" in value:
            return None  # U+FFFD stands for bytes that were not UTF-8
        return value


class SegmentConverter(BaseConverter):
    """A path parameter that is checked by whoever uses it: `{device:segment}` matches all but the empty one."""

    def convert(self, value: str) -> str | None:
        """Return `value`, or None, which is no match."""
        return value or None


class UnitRouter(CompiledRouter):
    """Falcon's router; a GET responder also answers HEAD, and OPTIONS tells the methods."""

    def __init__(self) -> None:
        super().__init__()
        self.options.converters["name"] = NameConverter
        self.options.converters["segment"] = SegmentConverter

    def map_http_methods(self, resource: object, **kwargs: Any) -> dict[str, Any]:
        """Return the responder of each method that `resource` has."""
        methods: dict[str, Any] = super().map_http_methods(resource, **kwargs)
        if "GET" in methods:
            methods.setdefault("HEAD", methods["GET"])
        methods.setdefault("OPTIONS", _options_responder(", ".join(sorted({*methods, "OPTIONS"}))))
        return methods

    def find(self, uri: str, req: falcon.Request | None = None) -> Any:
        """Return what Falcon's router finds, or None when the path as it was sent has other segments than `uri`.

        An encoded slash ends no segment, a doubled one is no single one; both are gone from `uri`, since servers
        decode the path before they hand it on.
        """
        if req is not None:
            sent = req.env.get("REQUEST_URI") or req.env.get("RAW_URI") or uri
            if sent != uri and not _has_plain_slashes(sent):
                return None
        if "//" in uri:
            return None
        return super().find(uri, req)


def _has_plain_slashes(sent: str) -> bool:
    path = sent.partition("?")[0]
    if "://" in path and not path.startswith("/"):  # the absolute form: http://host/path
        path = "/" + path.partition("://")[2].partition("/")[2]
    return "//" not in path and "%2f" not in path.lower()


def _options_responder(allowed: str) -> Callable[..., None]:
    def on_options(req: falcon.Request, resp: falcon.Response, **params: Any) -> None:
        resp.status = falcon.HTTP_204
        resp.set_header("Allow", allowed)

    return on_options
