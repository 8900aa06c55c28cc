"""Conditional and partial requests (RFC 9110, 13 and 14): what was asked for, as plain values."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import falcon

FRESH_S = 2.0  # a file of this age may change again without its time showing it

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True)
class Version:
    """Which content a file has: its entity tag, and when it changed."""

    tag: str
    is_weak: bool
    modified_at: datetime

    @property
    def etag(self) -> str:
        """The tag as the header ETag has it."""
        return f'W/"{self.tag}"' if self.is_weak else f'"{self.tag}"'


def version_of(status: os.stat_result, now: float | None = None) -> Version:
    """Return the version of a file as its inode, size and times tell it.

    While these may not tell all it is weak, and another one than that with the same times later.
    """
    tag = f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ctime_ns:x}"
    is_fresh = (time.time() if now is None else now) - status.st_ctime < FRESH_S
    modified_at = datetime.fromtimestamp(int(status.st_mtime), UTC)
    return Version(f"{tag}-fresh" if is_fresh else tag, is_fresh, modified_at)


def condition_fails(req: falcon.Request, version: Version) -> bool:
    """Return whether the client wants an answer only for another version than this one (412)."""
    if (tags := req.get_header("If-Match")) is not None:
        return not (tags.strip() == "*" or (not version.is_weak and version.etag in _tags(tags)))
    since = _date(req.get_header("If-Unmodified-Since"))
    return since is not None and version.modified_at > since


def is_known(req: falcon.Request, version: Version) -> bool:
    """Return whether the client has this version already (304)."""
    if (tags := req.get_header("If-None-Match")) is not None:
        return tags.strip() == "*" or f'"{version.tag}"' in [tag.removeprefix("W/") for tag in _tags(tags)]
    since = _date(req.get_header("If-Modified-Since"))
    return since is not None and version.modified_at <= since


def wanted_range(req: falcon.Request, version: Version, size: int) -> tuple[int, int] | None:
    """Return first and last byte that are asked for; None for all.

    A range that begins behind the end comes back with its first byte above its last: it cannot be satisfied (416).
    Several ranges, other units and malformed ones count as none, and so does a range of another version (If-Range).
    """
    found = _RANGE.fullmatch((req.get_header("Range") or "").replace(" ", ""))
    if found is None or found.group() == "bytes=-" or not _may_continue(req.get_header("If-Range"), version):
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size - 1
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last or size), size - 1)


def _may_continue(condition: str | None, version: Version) -> bool:
    """Return whether what the client has of the file belongs to this version; only what is certain counts."""
    if condition is None:
        return True
    if condition.startswith(('"', "W/")):
        return not version.is_weak and condition.strip() == version.etag
    return not version.is_weak and _date(condition) == version.modified_at


def _tags(header: str) -> list[str]:
    return re.findall(r'(?:W/)?"[^"]*"', header)


def _date(header: str | None) -> datetime | None:
    if header is None:
        return None
    try:
        return falcon.http_date_to_dt(header.strip()).replace(tzinfo=UTC)
    except ValueError:
        return None
