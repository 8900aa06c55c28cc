"""The connection to one unit: requests, time-outs, retries, and what its answers mean."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import httpx

from reactor_unit.client.addresses import DEFAULT_URL, base_url, shown_url
from reactor_unit.client.errors import ClientError, UnitAnswerError, UnitUnreachable, answer_error
from reactor_unit.client.records import Accepted, BytesProgress, Json, Take

CONNECT_TIMEOUT_S = 3.0
DOWNLOAD_PAUSE_S = 120.0  # while a large database is copied, nothing comes of an archive
LONGEST_ANSWER_S = 120.0  # from the first byte to the last of what is no download
LARGEST_ANSWER = 64 * 1024 * 1024  # bytes; 100000 readings are 8 MB
OUTAGE_S = 5.0  # a unit replaces a dead web process within a second; a poll that meets the gap is no reason to give up
PAUSES_S = (0.1, 0.2)  # at most, before the second try and the third
REPEATABLE = frozenset({"GET", "PUT"})  # the same once or twice; a POST is when it has a key
BUSY_STATUSES = frozenset({429, 503})
WITH_TOKEN = ("/system/update", "/plugins/install", "/plugins/uninstall", "/import_zipped_dot_pioreactor")


@dataclass(frozen=True)
class Answer:
    """A whole answer of a unit."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def is_success(self) -> bool:
        """Whether the unit did what it was asked for."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Return the JSON of the body. Raises ValueError when it is none."""
        try:
            return json.loads(self.content)
        except RecursionError as ex:
            raise ValueError("the JSON is nested too deeply") from ex

    def json_object(self) -> Json | None:
        """Return the body as a JSON object, None when it is none."""
        try:
            body = self.json()
        except ValueError:
            return None
        return body if isinstance(body, dict) else None


class Connection:
    """What all parts of a UnitClient share: one pool of connections to the unit at `url`.

    A request whose connection broke is made again, up to three times with short random pauses, where that is safe: a
    GET, a PUT, and a POST with an Idempotency-Key, which the unit carries out once. A unit that never answered this
    client is given one try, and a time-out is never repeated: who waited once has waited long enough.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        timeout: float = 10.0,
        *,
        token: str | None = None,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        base = base_url(url)
        self.url = shown_url(base)
        self._base = str(base).rstrip("/")
        self._timeout_s = timeout
        self._token = token
        self._clock = clock
        self._sleep = sleep
        self._answered_at: float | None = None
        self._http = httpx.Client(
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT_S)),
            verify=base.scheme == "https",  # loading certificates takes longer than the rest of a command
            trust_env=False,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, ex: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. May be called twice."""
        self._http.close()

    # Requests

    def _send(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        timeout_s: float | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        once: bool = False,
    ) -> Answer:
        """Return the unit's answer, whatever its status. With `once` a key keeps repetitions from doing it twice."""
        given = {**self._authorization(path), **(headers or {})}
        if once:
            given["Idempotency-Key"] = str(uuid.uuid4())
        with self._network_errors(method):
            for pause_s in PAUSES_S:
                try:
                    return self._sent(method, path, body, timeout_s, given)
                except (httpx.NetworkError, httpx.RemoteProtocolError) as ex:
                    if not (once or method in REPEATABLE) or not self._may_come_back(ex):
                        raise
                self._sleep(random.uniform(0.5, 1.0) * pause_s)
            return self._sent(method, path, body, timeout_s, given)

    def _may_come_back(self, ex: Exception) -> bool:
        return self._answered_at is not None or not isinstance(ex, httpx.ConnectError)

    def _sent(
        self, method: str, path: str, body: Json | None, timeout_s: float | None, headers: Mapping[str, str]
    ) -> Answer:
        timeout = httpx.Timeout(timeout_s or self._timeout_s, connect=min(self._timeout_s, CONNECT_TIMEOUT_S))
        url = f"{self._base}/unit_api{path}"
        with self._http.stream(method, url, json=body, headers=dict(headers), timeout=timeout) as response:
            return Answer(response.status_code, response.headers, self._content(response))

    def _content(self, response: httpx.Response) -> bytes:
        """Return the body, which has neither to be endless nor to come for ever."""
        deadline = self._clock() + LONGEST_ANSWER_S
        content = bytearray()
        for piece in response.iter_bytes():
            content += piece
            if len(content) > LARGEST_ANSWER or self._clock() > deadline:
                raise self._unreadable(response.status_code)
        return bytes(content)

    def _authorization(self, path: str) -> dict[str, str]:
        needs_token = self._token is not None and path.startswith(WITH_TOKEN)
        return {"Authorization": f"Bearer {self._token}"} if needs_token else {}

    def _submit(self, path: str, body: Json) -> Accepted:
        """Ask for a task; the unit begins it once, however often the request has to be sent."""
        return self._accepted(self._send("POST", path, body, once=True))

    def _upload(self, path: str, field: str, name: str, file: BinaryIO, progress: BytesProgress) -> Accepted:
        """Ask for a task with a file as a form's field."""
        reader = cast(BinaryIO, _CountingReader(file, progress))  # as much of a file as an upload needs
        url = f"{self._base}/unit_api{path}"
        timeout = httpx.Timeout(DOWNLOAD_PAUSE_S, connect=min(self._timeout_s, CONNECT_TIMEOUT_S))
        with self._network_errors("POST"):
            response = self._http.post(
                url, files={field: (name, reader)}, headers=self._authorization(path), timeout=timeout
            )
        return self._accepted(Answer(response.status_code, response.headers, response.content))

    def _download(self, path: str, take: Take, progress: BytesProgress) -> None:
        """Give the answer's body to `take`, piece by piece."""
        timeout = httpx.Timeout(DOWNLOAD_PAUSE_S, connect=min(self._timeout_s, CONNECT_TIMEOUT_S))
        url = f"{self._base}/unit_api{path}"
        with self._network_errors("GET"), self._http.stream("GET", url, timeout=timeout) as response:
            if not response.is_success:
                raise self._refusal(Answer(response.status_code, response.headers, self._content(response)))
            if response.headers.get("content-type") == "application/json":
                raise ClientError(f"{path} is a folder.", remediation="Name one of its files.")
            length = response.headers.get("content-length", "")
            total, done = int(length) if length.isdecimal() else None, 0
            for piece in response.iter_bytes():
                take(piece)
                done += len(piece)
                progress(done, total)

    @contextmanager
    def _network_errors(self, method: str) -> Iterator[None]:
        """Turn what can go wrong on the network into a UnitUnreachable."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as ex:
            raise UnitUnreachable(
                f"No unit answers at {self.url}.",
                cause=str(ex),
                remediation="Is the unit running? Start it with `reactor-unit serve`, "
                "or name another one with --url or REACTOR_UNIT_URL.",
            ) from ex
        except httpx.RequestError as ex:
            cause = f"No answer within {self._timeout_s:g} s." if isinstance(ex, httpx.TimeoutException) else str(ex)
            raise UnitUnreachable(
                f"The connection to {self.url} gave no answer.",
                cause=cause,
                remediation="Try again."
                if method == "GET"
                else "The unit may have carried it out: look with `reactor-unit jobs list` before you repeat it.",
            ) from ex

    # Answers

    def _get_object(self, path: str, *, needs: str | None = None) -> Json:
        """Return a JSON object that has the field `needs`."""
        return self._object(self._send("GET", path), needs=needs)

    def _get_objects(self, path: str, *, needs: str) -> list[Any]:
        """Return a list of JSON objects that all have the field `needs`."""
        answer = self._send("GET", path)
        found = self._checked(answer)
        if not isinstance(found, list) or not all(isinstance(one, dict) and needs in one for one in found):
            raise self._unreadable(answer.status)
        return found

    def _object(self, answer: Answer, *, needs: str | None = None) -> Json:
        found = self._checked(answer)
        if not isinstance(found, dict) or (needs is not None and needs not in found):
            raise self._unreadable(answer.status)
        return found

    def _accepted(self, answer: Answer) -> Accepted:
        body = self._object(answer)
        if isinstance(body.get("task_id"), str):
            return cast(Accepted, body)
        if "lock" in body:
            raise UnitAnswerError(
                f"The unit is busy with the same kind of work ({body['lock']}).",
                remediation="Wait until it is done, then try again.",
                status=answer.status,
                body=body,
            )
        raise self._unreadable(answer.status)

    def _checked(self, answer: Answer) -> Any:
        """Return the JSON of a good answer. Raises UnitAnswerError for any other."""
        content = self._good(answer)
        try:
            found = content.json()
        except ValueError as ex:
            raise self._unreadable(answer.status) from ex
        self._answered_at = self._clock()
        return found

    def _good(self, answer: Answer) -> Answer:
        """Return a good answer. Raises UnitAnswerError for any other."""
        if not answer.is_success:
            raise self._refusal(answer)
        return answer

    def _refusal(self, answer: Answer) -> UnitAnswerError:
        body = answer.json_object()
        if body is None or not isinstance(body.get("error"), str):
            return self._unreadable(answer.status)
        return answer_error(UnitAnswerError, body, answer.status)

    def _unreadable(self, status: int) -> UnitAnswerError:
        return UnitAnswerError(
            f"What answers at {self.url} does not answer like a unit (HTTP status {status}).",
            remediation="Check the address: is this a reactor-unit, and of a version that knows this request?",
            status=status,
        )


class _CountingReader:
    """A file that is read piece by piece, and tells how far it is."""

    def __init__(self, file: BinaryIO, progress: BytesProgress) -> None:
        self._file = file
        self._progress = progress
        self._size = file.seek(0, 2)
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        """Return the next piece."""
        piece = self._file.read(size)
        self._progress(self._file.tell(), self._size)
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to another place; the size of the upload is found in this way."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()
