"""Addresses of units, and paths and queries on them."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

import httpx

DEFAULT_URL = "http://127.0.0.1:4999"


def base_url(url: str) -> httpx.URL:
    """Return `url`, with `http://` in front when it names no scheme. Raises ValueError."""
    try:
        base = httpx.URL(url if "://" in url else f"http://{url}")
        base.host.encode("idna")  # what the name service is asked; it takes no label longer than 63 characters
    except (httpx.InvalidURL, ValueError) as ex:
        raise ValueError(f"{url!r} is not a URL: {ex}") from ex
    if base.scheme not in ("http", "https") or not base.host or base.query or base.fragment:
        raise ValueError(f"{url!r} is not the address of a unit, such as {DEFAULT_URL}")
    if base.port is not None and not 0 < base.port < 65536:
        raise ValueError(f"{url!r} has a port outside 1..65535")
    return base


def shown_url(base: httpx.URL) -> str:
    """Return the address as messages show it: without a password."""
    return str(base.copy_with(userinfo=b"")).rstrip("/")


def segment(text: str) -> str:
    """Return `text` as one segment of a path; dots are kept from meaning the folder above."""
    return quote(text, safe="").replace(".", "%2E")


def query(params: Mapping[str, str | float | None]) -> str:
    """Return a query of those that are not None, with its question mark; nothing when there are none."""
    given = {name: value for name, value in params.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""
