"""`Prefer: wait=N` (RFC 7240): how long a client is willing to wait for an answer."""

from __future__ import annotations

import falcon

LONGEST_WAIT_S = 25  # proxies and clients give up after 30


def wait_s(req: falcon.Request) -> int | None:
    """Return the seconds of the first `wait` in Prefer, at most LONGEST_WAIT_S; None without one that is a number."""
    for preference in req.env.get("HTTP_PREFER", "").split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            seconds = _whole_number(value.strip().strip('"'))
            return None if seconds is None else min(seconds, LONGEST_WAIT_S)
    return None


def _whole_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
