"""Which names of calibrations, estimators and devices are accepted; each becomes part of a path."""

from __future__ import annotations

import re

from reactor_unit.errors import InvalidRequest

MAX_BYTES = 250  # with `.yaml` what file systems take

_NEW_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?: [A-Za-z0-9._-]+)*")


class InvalidName(InvalidRequest):
    """A name that cannot be a file's or folder's."""


def check_new_name(name: str, what: str) -> str:
    """Return a name that is to be given. `what` says of what, as in "calibration_name". Raises InvalidName.

    >>> check_new_name("od-cal 2", "calibration_name")
    'od-cal 2'
    """
    if not _NEW_NAME.fullmatch(name) or len(name) > MAX_BYTES:
        raise _refused(
            name,
            what,
            f"Use 1 to {MAX_BYTES} of the characters A-Z, a-z, 0-9, '.', '_', '-' and single spaces between them; "
            "not '.', '-' or a space first.",
        )
    return name


def check_existing_name(name: str, what: str) -> str:
    """Return a name by which somebody looks for a file: anything that stays in its folder. Raises InvalidName."""
    size = len(name.encode("utf-8", "surrogatepass"))
    if not name.isprintable() or "\ufffd" in name or "/" in name or name[:1] in ("", ".", "-") or size > MAX_BYTES:
        raise _refused(
            name,
            what,
            f"Names have 1 to {MAX_BYTES} bytes, no '/', no control characters, and begin with neither '.' nor '-'.",
        )
    return name


def _refused(name: str, what: str, remediation: str) -> InvalidName:
    shown = repr(name) if len(name) <= 80 else repr(name[:77]) + "..."
    return InvalidName(f"{what} {shown} is not a name that is accepted.", remediation=remediation)
