"""The history of readings, as JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice

import falcon

from reactor_unit.clock import timestamp_of, unix_seconds
from reactor_unit.errors import InvalidRequest, Unavailable
from reactor_unit.gateway_protocol import UnitGateway
from reactor_unit.job_spec import to_number
from reactor_unit.series import Reading
from reactor_unit.strict_json import dumps

DEFAULT_LIMIT = 1000
MAX_LIMIT = 100_000
MAX_NAMES = 100
LARGE = 5000  # readings; more keep one of the web server's few threads busy for seconds ...
MAX_LARGE = 1  # ... and all threads slow: so many such answers at a time, for a stop request must not wait
IN_A_CHUNK = 500  # readings, about 40 KB
CSV = "text/csv"
YEARS_THAT_DATES_HAVE_S = (-62_135_596_800.0, 253_402_300_799.0)  # 0001 to 9999


Wanted = tuple[list[str], float | None, float | None, int]  # names, since, until, limit


class Readings:
    """Tell what was measured: `GET /unit_api/readings?names=&since=&until=&limit=`.

    However many readings are asked for, the answer is made and sent in chunks.
    """

    def __init__(self, gateway: UnitGateway) -> None:
        self._gateway = gateway
        self._large = threading.BoundedSemaphore(MAX_LARGE)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with readings in the order of time."""
        as_csv = _wants_csv(req)
        since, until = _time(req, "since"), _time(req, "until")
        if since is not None and until is not None and since > until:
            raise InvalidRequest("since is later than until.", remediation="Exchange them.")
        limit = req.get_param_as_int("limit", min_value=1, max_value=MAX_LIMIT, default=DEFAULT_LIMIT)
        wanted = (_names(req), since, until, limit)
        resp.set_header("Vary", "Accept")
        if as_csv:
            resp.content_type = f"{CSV}; charset=utf-8; header=present"
        resp.stream = self._answer(wanted, as_csv) if limit <= LARGE else self._large_answer(wanted, as_csv)

    def _answer(self, wanted: Wanted, as_csv: bool) -> Iterator[bytes]:
        readings = _begun(self._gateway.readings(*wanted))
        if as_csv:
            return _chunks(readings, b"timestamp,name,value\r\n", _csv_lines, b"", b"")
        return _chunks(readings, b'{"readings":[', _json_objects, b",", b"]}")

    def _large_answer(self, wanted: Wanted, as_csv: bool) -> _LargeAnswer:
        if not self._large.acquire(blocking=False):
            raise Unavailable(
                f"Another request for more than {LARGE} readings is being answered.",
                remediation=f"Try again in a moment, or ask for {LARGE} at a time.",
                retry_after_s=2,
            )
        try:
            return _LargeAnswer(self._answer(wanted, as_csv), self._large.release)
        except BaseException:
            self._large.release()
            raise


class _LargeAnswer:
    """The pieces of an answer; when it has been sent or was broken off, the server closes it and the next may come."""

    def __init__(self, chunks: Iterator[bytes], release: Callable[[], None]) -> None:
        self._chunks = chunks
        self._on_close: list[Callable[[], None]] = [release]

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        """Let the next one come. May be called twice."""
        while self._on_close:
            self._on_close.pop()()


class ReadingNames:
    """Tell of what there are readings: `GET /unit_api/readings/names`."""

    def __init__(self, gateway: UnitGateway) -> None:
        self._gateway = gateway

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the names of all series."""
        resp.data = dumps({"names": self._gateway.reading_names()})


def _wants_csv(req: falcon.Request) -> bool:
    """Return whether the answer is to be CSV: `format` says, else `Accept`; JSON where both are taken alike."""
    form = req.get_param("format")
    if form is None:
        return req.client_prefers((falcon.MEDIA_JSON, CSV)) == CSV
    if form not in ("json", "csv"):
        raise InvalidRequest(f"format {form!r} is not known.", remediation="Use format=json or format=csv.")
    return form == "csv"


def _names(req: falcon.Request) -> list[str]:
    """Return the patterns in `names`, separated by commas or given several times."""
    given = req.get_param_as_list("names", default=[])
    names = [name.strip() for part in given for name in part.split(",") if name.strip()]
    if len(names) > MAX_NAMES:
        raise InvalidRequest(f"{len(names)} names are more than {MAX_NAMES}.", remediation="Use a pattern, as od.*.")
    for name in names:
        if "*" in name[:-1]:
            raise InvalidRequest(f"The name {name!r} has a * before its end.", remediation="Use * at the end: od.*.")
    return names


def _time(req: falcon.Request, param: str) -> float | None:
    """Return a time as unix seconds; a space in it stands for the plus sign that it was before it came in a URL."""
    text = req.get_param(param)
    if text is None:
        return None
    try:
        at = to_number(text)
    except ValueError:
        try:
            at = unix_seconds(text.strip().replace(" ", "+") if "T" in text else text)
        except (ValueError, OverflowError):
            at = math.nan
    if not YEARS_THAT_DATES_HAVE_S[0] <= at <= YEARS_THAT_DATES_HAVE_S[1]:
        raise InvalidRequest(
            f"{param} {text!r} is not a time.",
            remediation="Use UTC as in 2026-01-31T12:45:00Z, or seconds since 1970.",
        )
    return at


def _begun(readings: Iterator[Reading]) -> Iterator[Reading]:
    """Fetch the first reading, so that what cannot be read is an error and not an answer that breaks off."""
    return chain(list(islice(readings, 1)), readings)


def _chunks(
    readings: Iterator[Reading],
    begin: bytes,
    encode: Callable[[Sequence[Reading]], bytes],
    between: bytes,
    end: bytes,
) -> Iterator[bytes]:
    yield begin
    separator = b""
    while some := list(islice(readings, IN_A_CHUNK)):
        yield separator + encode(some)
        separator = between
    if end:
        yield end


def _json_objects(readings: Sequence[Reading]) -> bytes:
    objects = (
        f'{{"timestamp":"{timestamp_of(one.at)}","name":{json.dumps(one.name)},"value":{json.dumps(one.value)}}}'
        for one in readings
    )
    return ",".join(objects).encode()


def _csv_lines(readings: Sequence[Reading]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows((timestamp_of(one.at), one.name, one.value) for one in readings)
    return text.getvalue().encode()
