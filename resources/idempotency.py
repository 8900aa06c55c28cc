"""`Idempotency-Key`: a request that is sent again gets its first answer again, and nothing happens twice."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import uuid
from typing import Any

import falcon

from reactor_unit.errors import InvalidRequest, StorageFault
from reactor_unit.gateway_protocol import AnswerStore, SavedAnswer
from reactor_unit.resources.bodies import is_json, raw_body

logger = logging.getLogger(__name__)

MAX_KEY = 255
NAMESPACE = uuid.UUID("8f1d6a3e-5c0b-4a57-9a0e-2f4b6c1d7e90")


class IdempotencyMiddleware:
    """Keep and repeat the answers of POST and PATCH requests with JSON (or empty) bodies that carry a key.

    `req.context.task_id` becomes the id that the request's task is to have. It follows from key and request alone, so
    a request that is repeated after a crash of this process, when its answer was not kept, still means the same task.
    That is also why a request is let through when the answers cannot be read or written: a full disk must not keep
    a reactor running.
    """

    def __init__(self, answers: AnswerStore) -> None:
        self._answers = answers

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, params: dict[str, Any]
    ) -> None:
        """Answer from what is kept, or note that this request is being answered."""
        key = req.env.get("HTTP_IDEMPOTENCY_KEY")
        if key is None or req.method not in ("POST", "PATCH") or not is_json(req.content_type):
            return
        if not 1 <= len(key) <= MAX_KEY or not (key.isascii() and key.isprintable()):
            raise InvalidRequest(
                f"The Idempotency-Key has {len(key)} characters; it must be 1 to {MAX_KEY} printable ASCII ones.",
                remediation="Send a UUID, for example, as the Idempotency-Key.",
            )
        print_of_request = fingerprint(req)
        req.context.task_id = str(uuid.uuid5(NAMESPACE, f"{key}\n{print_of_request}"))
        try:
            saved = self._answers.begin_answer(key, print_of_request)
        except StorageFault as ex:
            logger.error("The answer for Idempotency-Key %r will not be kept: %s", key, ex)
            return
        if saved is not None:
            _replay(resp, saved)
            return
        req.context.idempotency = (key, print_of_request)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool
    ) -> None:
        """Keep the answer, unless the client does well to try again."""
        begun = getattr(req.context, "idempotency", None)
        if begun is None:
            return
        key, print_of_request = begun
        try:
            if not _is_worth_keeping(resp):
                self._answers.abandon_answer(key)
                return
            body = (resp.render_body() or b"").decode("utf-8")
            headers = [[name, value] for name, value in resp.headers.items()]
            status = falcon.code_to_http_status(resp.status)
            self._answers.finish_answer(key, print_of_request, SavedAnswer(status, headers, body))
        except Exception as ex:
            # What was asked for is done; an error now would tell the client otherwise. A repeated request is still
            # harmless, because its task has the same id.
            unexpected = not isinstance(ex, StorageFault)
            logger.error("The answer for Idempotency-Key %r could not be kept: %s", key, ex, exc_info=unexpected)
            with contextlib.suppress(Exception):
                self._answers.abandon_answer(key)


def _is_worth_keeping(resp: falcon.Response) -> bool:
    """Return whether a repeated request is to get this answer again; not when trying again may change it."""
    passing = resp.status_code >= 500 or resp.status_code == 429
    return not passing and resp.stream is None and getattr(resp.context, "keep", True)


def fingerprint(req: falcon.Request) -> str:
    """Return a digest of what `req` asks: method, path, query and body."""
    digest = hashlib.sha256()
    for part in (req.method.encode(), req.path.encode(), req.query_string.encode(), raw_body(req)):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()


def _replay(resp: falcon.Response, saved: SavedAnswer) -> None:
    resp.status = saved.status
    resp.set_headers([(name, value) for name, value in saved.headers])
    resp.set_header("Idempotency-Replayed", "true")
    resp.data = saved.body.encode("utf-8")
    resp.complete = True
