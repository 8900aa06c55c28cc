"""Where the parts of a `multipart/form-data` body lie in the file that it is spooled into (RFC 7578)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from reactor_unit.errors import InvalidRequest, UnsupportedContentType

MAX_PARTS = 8
MAX_PART_HEADER_BYTES = 4096
_BOUNDARY = re.compile(
    r"""multipart/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))\s*(?:;.*)?""", re.I
)
_PARAMETER = re.compile(r';\s*(name|filename)\*?="?([^";]*)"?', re.I)


@dataclass(frozen=True)
class Part:
    """One field: its name, its file's name ("" where it is none), and where its content lies."""

    name: str
    file_name: str
    start: int
    length: int


def boundary_of(content_type: str) -> bytes:
    """Return what separates the parts. Raises UnsupportedContentType for another kind of body."""
    found = _BOUNDARY.fullmatch(content_type.strip())
    if found is None:
        raise UnsupportedContentType(
            f"The body is {content_type[:100]!r}, and this endpoint takes multipart/form-data with a boundary.",
            remediation='Send a form with the file in the field "archive", as `curl -F archive=@FILE` does.',
        )
    return (found[1] or found[2]).encode("latin-1")


class PartFinder:
    """Notes where the boundary comes while a body goes by; nothing of the body is kept."""

    def __init__(self, boundary: bytes) -> None:
        self._mark = b"\r\n--" + boundary
        self._tail = b"\r\n"  # the first boundary begins the body, as if a line had ended before
        self._at = -len(self._tail)
        self._found: list[int] = []

    def feed(self, data: bytes) -> None:
        """Look at the next bytes."""
        text, begin = self._tail + data, 0
        while (index := text.find(self._mark, begin)) >= 0:
            if len(self._found) <= MAX_PARTS + 1:
                self._found.append(self._at + index)
            begin = index + len(self._mark)
        keep_from = max(begin, len(text) - len(self._mark) + 1)
        self._tail = text[keep_from:]
        self._at += keep_from

    def parts(self, descriptor: int) -> list[Part]:
        """Return the parts of the body that lies in this file. Raises InvalidRequest for one that is cut or broken."""
        if len(self._found) > MAX_PARTS + 1:
            raise InvalidRequest(f"The form has more than {MAX_PARTS} fields.")
        if not self._found or self._found[0] != -2 or not self._is_last(descriptor, self._found[-1]):
            raise InvalidRequest("The form is cut: its boundary does not begin and end it.")
        between = zip(self._found, self._found[1:], strict=False)
        return [self._part(descriptor, begin + len(self._mark), end) for begin, end in between]

    def _is_last(self, descriptor: int, at: int) -> bool:
        return os.pread(descriptor, 2, at + len(self._mark)) == b"--"

    def _part(self, descriptor: int, begin: int, end: int) -> Part:
        head = os.pread(descriptor, min(MAX_PART_HEADER_BYTES, end - begin), begin)
        line, _, rest = head.lstrip(b" \t").partition(b"\r\n")
        length = rest.find(b"\r\n\r\n")
        if line or length < 0:
            raise InvalidRequest("A field of the form has no headers that can be read.")
        headers = rest[:length].decode("utf-8", "replace").split("\r\n")
        given = next((text for text in headers if text.lower().startswith("content-disposition:")), "")
        parameters = {name.lower(): value for name, value in _PARAMETER.findall(given)}
        start = begin + len(head) - len(rest) + length + 4
        return Part(parameters.get("name", ""), parameters.get("filename", ""), start, end - start)
