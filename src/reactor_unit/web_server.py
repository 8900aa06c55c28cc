"""Waitress as this unit needs it: our error bodies, tight limits, a loop that sleeps, an end that finishes answers."""

from __future__ import annotations

import contextlib
import copy
import errno
import fcntl
import json
import logging
import math
import resource
import socket
import sys
import termios
import time
from collections.abc import Callable
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import BadRequest, Error

from reactor_unit.errors import UnitError, error_body
from reactor_unit.strict_json import MAX_BODY_BYTES
from reactor_unit.uploads import UPLOAD, EarlyAnswer, Upload, Uploads

logger = logging.getLogger(__name__)

FIRST_THREADS = 4  # of those that answer requests
MAX_CONNECTIONS = 256
MIN_CONNECTIONS = 8
OTHER_DESCRIPTORS = 40  # what the web process has open beside its connections, with room to spare
MAX_HEADER_BYTES = 32 * 1024
IDLE_LOOP_S = 60.0  # nothing is connected: there is nothing to look after, and each wake-up costs battery and heat
BUSY_LOOP_S = 1.0
FULL_LOOP_S = 0.2
CLEANUP_INTERVAL_S = 1.0
UPLOAD_STEP_BYTES = 256 * 1024  # of an upload have to come within the time of a request
MAX_UNSENT_BYTES = 256 * 1024  # of one answer; what makes it waits until the client has taken some
DRAIN_S = 2.0
PATIENCE_WHEN_FULL_S = 2.0  # with a request that arrives slowly
FIRST_BYTE_WITHIN_S = 0.25  # of a connection accepted when the server is full
ACCEPT_AGAIN_AFTER_S = 0.5
WARNING_INTERVAL_S = 60.0

# What went wrong below the application, and what to do about it.
ANSWERS = {
    400: ("The request is not valid HTTP.", "Check the request line, the headers and the body's length."),
    408: ("The request did not arrive in time.", "Send the whole request without a pause."),
    413: ("The body is larger than this unit accepts.", f"Send at most {MAX_BODY_BYTES} bytes."),
    431: ("The headers are larger than this unit accepts.", f"Send less than {MAX_HEADER_BYTES} bytes of headers."),
    500: (
        "The unit met an unexpected error.",
        "Look into the unit's log for details.",
    ),
    501: ("The request uses a part of HTTP that this unit does not have.", "Send the body plain or chunked."),
}


class RequestTimeout(Error):  # type: ignore[misc]
    """The rest of a request did not come."""

    code = 408
    reason = "Request Timeout"


class AnsweredEarly(Error):  # type: ignore[misc]
    """The answer to a request whose body need not come."""

    def __init__(self, answer: EarlyAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer
        code, _, self.reason = answer.status.partition(" ")
        self.code = int(code)


class UnitRequest(HTTPRequestParser):  # type: ignore[misc]
    """A request as it arrives. Whatever it holds, it becomes complete or an error, never an exception.

    Where its path takes uploads (`uploads`), that is decided as soon as its headers are there, and its body goes to
    the disk; `peer` is where it comes from, `wake` has the server's loop look again.
    """

    command = ""
    path = ""
    adj: Any
    content_length: int
    upload: Upload | None = None

    def __init__(
        self, adj: Any, uploads: Uploads | None = None, peer: str = "", wake: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(adj)
        self.began_at = time.monotonic()  # a parser is made when its first byte is there
        self._uploads = uploads
        self._peer = peer
        self._wake = wake
        self._moved_bytes = 0

    def received(self, data: bytes) -> int:
        """Take in `data` and return how much of it belongs to this request."""
        try:
            consumed: int = super().received(data)
        except Exception as ex:  # such as a Content-Length of 5000 digits, or a broken IPv6 address as the target
            logger.debug("A request could not be parsed.", exc_info=ex)
            self.error = BadRequest("The request line or a header cannot be read.")
            self.completed = True
            consumed = len(data)
        if self.upload is not None:
            self._watch_upload()
        if self.completed:
            self.expect_continue = False  # an answer comes now: a body must not be called for any more
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """Understand the headers, and decide on the body of an upload."""
        super().parse_header(header_plus)
        uploads = self._uploads
        if uploads is None or self.body_rcv is None or self.command != "POST" or self.path != uploads.path:
            return
        self.adj = copy.copy(self.adj)
        self.adj.max_request_body_size = uploads.max_bytes + 1
        environ = self._environ()
        answer = uploads.gate.look(environ)
        if answer is None:
            try:
                self.upload = self.body_rcv.buf = uploads.begin(environ, self.content_length, self._caught_up)
                return
            except UnitError as ex:
                answer = uploads.gate.refusal(ex)
        self.error = AnsweredEarly(answer)
        self.completed = True
        self.content_length = 0  # there is nothing more to say about it

    def _environ(self) -> dict[str, str]:
        """Return what is known of the request, as a WSGI application would get it."""
        environ = {f"HTTP_{name}": value for name, value in self.headers.items()}
        environ.update(REQUEST_METHOD=self.command, PATH_INFO=self.path, REMOTE_ADDR=self._peer)
        environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")
        return environ

    def _watch_upload(self) -> None:
        """Give up an upload that cannot be stored; allow time to one that moves."""
        assert self.upload is not None
        if self.upload.failure is not None and self._uploads is not None and not self.completed:
            self.error = AnsweredEarly(self._uploads.gate.refusal(self.upload.failure))
            self.completed = True
        if self.body_bytes_received - self._moved_bytes >= UPLOAD_STEP_BYTES:
            self._moved_bytes = self.body_bytes_received
            self.began_at = time.monotonic()

    def is_held_up(self) -> bool:
        """Return whether it is this side that keeps an upload waiting."""
        return self.upload is not None and self.upload.is_behind

    def _caught_up(self) -> None:
        """Have the client's time begin anew, now that it may go on; called by the thread that writes."""
        self.began_at = time.monotonic()
        self._wake()


class UnitErrorTask(ErrorTask):  # type: ignore[misc]
    """Answers what never reaches the application, in the contract's error schema."""

    def execute(self) -> None:
        """Write the answer; the connection ends with it."""
        error = self.request.error
        message, remediation = ANSWERS.get(error.code, ANSWERS[500])
        unit_error = UnitError(message, cause=str(error.body)[:200] or None, remediation=remediation)
        body = json.dumps(error_body(unit_error, error.code), separators=(",", ":")).encode("ascii")
        if isinstance(error, AnsweredEarly):
            body = error.answer.body
            if error.answer.retry_after_s is not None:
                self.response_headers.append(("Retry-After", str(math.ceil(error.answer.retry_after_s))))
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [("Cache-Control", "no-store"), ("Content-Type", "application/json")]
        self.response_headers.append(("X-Content-Type-Options", "nosniff"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.channel.drain_at_end = error.code != RequestTimeout.code  # a silent client has nothing to drain
        self.write(b"" if self.request.command == "HEAD" else body)


class UnitTask(WSGITask):  # type: ignore[misc]
    """One request on its way through the application."""

    def get_environment(self) -> dict[str, Any]:
        """Return the WSGI environment, with the upload that came."""
        environ: dict[str, Any] = super().get_environment()
        if self.request.upload is not None:
            environ[UPLOAD] = self.request.upload
        return environ

    def build_response_header(self) -> bytes:
        """Return the answer's head; a server that is about to end tells its clients not to reuse the connection."""
        if self.channel.server.stopping or self.channel.server.retiring:
            self.set_close_on_finish()
        header: bytes = super().build_response_header()
        if self.request.command == "HEAD":
            self.chunked_response = False  # not even an empty body's end follows
        return header


class UnitChannel(HTTPChannel):  # type: ignore[misc]
    """One client's connection."""

    task_class = UnitTask
    error_task_class = UnitErrorTask

    def parser_class(self, adj: Any) -> UnitRequest:
        """Return what takes in the next request."""
        return UnitRequest(adj, self.server.uploads, str(self.addr[0]), self._go_on)

    def _go_on(self) -> None:
        self._last_activity = time.monotonic()
        self.server.pull_trigger()

    request: Any
    drain_at_end = False
    _drain_until: float | None = None
    _last_activity = 0.0
    _answered_at = 0.0
    is_leaving = False  # refused, and gone once the answer is sent
    _standing: tuple[float, int] | None = None  # when something was sent last, and how much of it has not arrived
    _standing_since = 0.0

    @property
    def last_activity(self) -> float:
        """When this connection last moved, in monotonic seconds: a step of the wall clock must close nothing."""
        return self._last_activity

    @last_activity.setter
    def last_activity(self, wall_time: float) -> None:
        self._last_activity = time.monotonic()

    def is_midway(self) -> bool:
        """Return whether a request has begun to arrive and is not complete."""
        request = self.request
        return request is not None and (request.headers_finished or bool(request.header_plus.strip()))

    def waiting_since(self) -> float:
        """Return since when the client keeps the server waiting: for a request's rest, or until it takes an answer.

        Infinite when it does not. While an earlier request is answered nothing is read, so that time does not count.
        """
        if self.requests or self._drain_until is not None or self.is_held_up():
            return math.inf
        if self.request is not None:
            return max(float(self.request.began_at), self._answered_at)
        return self._answered_at if self.total_outbufs_len else math.inf

    def is_held_up(self) -> bool:
        """Return whether it is the disk here that keeps an upload waiting, and not its client."""
        request = self.request
        return request is not None and request.is_held_up()

    def is_idle(self) -> bool:
        """Return whether nothing arrives, is answered, or waits to be sent."""
        return not (self.requests or self.total_outbufs_len or self.is_midway() or self.is_draining())

    def may_go(self, now: float) -> bool:
        """Return whether closing costs nobody an answer; a new connection gets a moment to send its first byte."""
        new = self._answered_at == 0.0 and now - self.last_activity < FIRST_BYTE_WITHIN_S
        return self.is_draining() or (self.is_idle() and not new)

    def is_draining(self) -> bool:
        """Return whether the answer is sent and only the rest of a refused request is still read and dropped."""
        return self._drain_until is not None

    def is_stuck(self, now: float, patience_s: float) -> bool:
        """Return whether the client has taken nothing of an answer for so long; ask again and again.

        Such a client keeps a thread. Only time that was watched counts: an answer that took long to make is not stuck.
        The kernel takes megabytes for a client, and more only when much of that has gone: so what it has counts too.
        """
        standing = (self.last_activity, self._in_the_kernel()) if self.requests and self.total_outbufs_len else None
        if standing is None or standing != self._standing:
            self._standing, self._standing_since = standing, now
        return now - self._standing_since >= patience_s

    def _in_the_kernel(self) -> int:
        """Return how many bytes that were sent have not arrived at the client."""
        try:
            answer = fcntl.ioctl(self.socket.fileno(), termios.TIOCOUTQ, bytes(4))
        except OSError:
            return 0
        return int.from_bytes(answer, sys.byteorder)

    def service(self) -> None:
        """Answer one request; runs in a thread."""
        self._answered_at = math.inf
        super().service()
        self._answered_at = time.monotonic()

    def refuse(self, error: Error) -> None:
        """Answer the request that has begun to arrive with `error`; the connection ends with it."""
        self.is_leaving = True
        with self.requests_lock:
            request, self.request = self.request, None
            request.error = error
            request.completed = True
            self.requests.append(request)
            self.server.add_task(self)

    def readable(self) -> bool:
        """Return whether more may be read."""
        if self.is_held_up():
            return False
        return self._drain_until is not None or bool(super().readable())

    def writable(self) -> bool:
        """Return whether there is something to send, or an end to be made."""
        if self._drain_until is not None:
            return time.monotonic() >= self._drain_until
        return bool(super().writable())

    def handle_read(self) -> None:
        """Take in what the client sent, or learn that it will send no more."""
        try:
            data = self.socket.recv(self.adj.recv_bytes)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if self._drain_until is not None:
            if not data:
                self.handle_close()
        elif data:
            self._last_activity = time.monotonic()
            self.received(data)
        elif self.is_midway():
            self.refuse(BadRequest("The connection ended in the middle of the request."))
        else:
            self.handle_close()

    def handle_write(self) -> None:
        """Send what waits, or make an end."""
        if self._drain_until is not None:
            self.handle_close()
        else:
            super().handle_write()

    def handle_expt(self) -> None:
        """End the connection: urgent data has no meaning in HTTP, and would wake the loop again and again."""
        self.handle_close()

    def end(self, error: Error) -> None:
        """End the connection: with `error` as the answer when a request has begun to arrive, else without a word."""
        if self.is_midway():
            self.refuse(error)
        else:
            self.is_leaving = self.will_close = True

    def close_now(self) -> None:
        """Close the connection without reading what may still come."""
        self.drain_at_end = False
        self.handle_close()

    def handle_close(self) -> None:
        """Close the connection.

        After an answer that came before the whole request was read, only the sending half is closed at first and the
        rest is read and dropped: a socket closed with unread data resets the connection, and the client might lose
        the answer.
        """
        if self.drain_at_end and self._drain_until is None and self.connected:
            self._drain_until = time.monotonic() + DRAIN_S
            self.will_close = False
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            else:
                return
        if self.request is not None:
            self.request.close()  # what came of an upload goes
        super().handle_close()


class _GrowingDispatcher(ThreadedTaskDispatcher):  # type: ignore[misc]
    """Starts a thread when a request finds all of them busy, up to `most`; each that never was takes 30 kB less."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def add_task(self, task: Any) -> None:
        """Have a thread carry out a task as soon as one is free."""
        busy = self.active_count + len(self.queue)
        if len(self.threads) <= busy and len(self.threads) < self._most:
            self.set_thread_count(len(self.threads) + 1)
        super().add_task(task)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:
        """End all threads, and start no more."""
        self._most = 0
        return bool(super().shutdown(cancel_pending, timeout))


class UnitServer(TcpWSGIServer):  # type: ignore[misc]
    """The web server's loop; `run` it in one thread, `stop` it from any thread or signal handler."""

    channel_class = UnitChannel
    next_channel_cleanup = math.inf  # waitress would ask the wall clock; `_look_after` asks the monotonic one
    stopping = False
    retiring = False

    def __init__(
        self,
        app: Any,
        sock: socket.socket,
        adj: Any,
        *,
        idle_timeout_s: float,
        request_timeout_s: float,
        stop_grace_s: float,
        on_stop: Callable[[], None],
        uploads: Uploads | None = None,
    ) -> None:
        self.uploads = uploads
        self._on_stop = on_stop
        self._idle_timeout_s = idle_timeout_s
        self._request_timeout_s = request_timeout_s
        self._stop_grace_s = stop_grace_s
        self._next_cleanup = 0.0
        self._next_warning = 0.0
        self._accept_from = 0.0
        self._ended = False
        dispatcher = _GrowingDispatcher(adj.threads)
        sockinfo = (sock.family, sock.type, sock.proto, sock.getsockname())
        super().__init__(app, {}, True, sock, dispatcher=dispatcher, adj=adj, sockinfo=sockinfo, bind_socket=False)
        dispatcher.set_thread_count(min(FIRST_THREADS, adj.threads))

    def run(self) -> None:
        """Serve until `stop` is called, then finish the answers that are under way and close all connections."""
        try:
            while not self.stopping and not self.retiring:
                wasyncore.poll2(self._loop_s(), self._map)
                self._look_after(time.monotonic())
            self._serve_those_there_are()
            self._finish()
        finally:
            self._end()

    def stop(self) -> None:
        """Let `run` come to its end; returns at once. Takes no lock, so a signal handler may call it."""
        self.stopping = True
        self.pull_trigger()

    def retire(self) -> None:
        """Accept no more connections, and let `run` come to its end when those there are have ended; returns at once.

        Each gets one more answer, which tells the client not to reuse it, or is closed when it is silent for as long as
        it always might have been. So nobody loses a request to a server that is replaced by another one.
        """
        self.retiring = True
        self.pull_trigger()

    def pull_trigger(self) -> None:
        """Wake the loop, if there still is one: a thread that outlived it may come here late."""
        if not self._ended:
            with contextlib.suppress(OSError):
                super().pull_trigger()

    def readable(self) -> bool:
        """Return whether to accept connections."""
        return self.accepting and not self._is_full() and time.monotonic() >= self._accept_from

    def accept(self) -> Any:
        """Return a new connection; when there is no descriptor for it, try again later instead of in a hot loop."""
        try:
            return super().accept()
        except OSError as ex:
            if ex.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            now = time.monotonic()
            self._accept_from = now + ACCEPT_AGAIN_AFTER_S
            self._warn(now, "No connection can be accepted: %s.", ex.strerror)
            return None

    def _is_full(self) -> bool:
        return bool(len(self._map) >= self.adj.connection_limit)

    def _loop_s(self) -> float:
        if self._accept_from > time.monotonic():
            return ACCEPT_AGAIN_AFTER_S
        if self._is_full():
            return FULL_LOOP_S
        return BUSY_LOOP_S if self.active_channels else IDLE_LOOP_S

    def _look_after(self, now: float) -> None:
        if now >= self._next_cleanup:
            self._next_cleanup = now + min(CLEANUP_INTERVAL_S, self._idle_timeout_s, self._request_timeout_s)
            self._end_slow(now)
        if self._is_full():
            self._warn(now, "%d connections are open; slow and idle ones are closed to make room.", len(self._map))
            self._make_room(now)

    def _warn(self, now: float, message: str, value: object) -> None:
        if now >= self._next_warning:
            self._next_warning = now + WARNING_INTERVAL_S
            logger.warning(message, value)

    def _end_slow(self, now: float) -> None:
        """End connections that are silent or stuck, and those whose request has not arrived within its time."""
        for channel in list(self.active_channels.values()):
            if channel.is_stuck(now, self._idle_timeout_s):
                channel.close_now()
            if channel.requests or channel.is_draining() or channel.is_held_up():
                continue
            if channel.request is not None and now - channel.waiting_since() >= self._request_timeout_s:
                channel.end(RequestTimeout(f"It was not complete after {self._request_timeout_s:g} s."))
            elif now - channel.last_activity >= self._idle_timeout_s:
                channel.end(RequestTimeout(f"Nothing more of it came for {self._idle_timeout_s:g} s."))

    def _make_room(self, now: float) -> None:
        """End those that keep the server waiting, the oldest first; when there are none, the least active idle one.

        The former end a few at a time, since each needs a moment for its answer. An idle one costs its client a new
        connection and no answer, so it goes at once, whatever its age.
        """
        channels = list(self.active_channels.values())
        leaving = sum(channel.is_leaving for channel in channels)
        slow = [channel for channel in channels if now - channel.waiting_since() >= PATIENCE_WHEN_FULL_S]
        for channel in slow:
            if channel.is_leaving:  # it does not even take its refusal
                channel.close_now()
        slow = sorted((c for c in slow if not c.is_leaving), key=UnitChannel.waiting_since)
        for channel in slow[: max(0, max(1, len(channels) // 16) - leaving)]:
            channel.end(RequestTimeout(f"It came too slowly while {len(channels)} connections were open."))
        idle = [channel for channel in channels if channel.may_go(now)]
        if idle and not slow and not leaving:
            min(idle, key=lambda channel: channel.last_activity).close_now()

    def _serve_those_there_are(self) -> None:
        if self.stopping:
            return
        self.accepting = False
        self.del_channel()
        self.socket.close()
        while self.active_channels and not self.stopping:
            wasyncore.poll2(BUSY_LOOP_S, self._map)
            self._end_slow(time.monotonic())

    def _finish(self) -> None:
        """Accept no more, answer what has arrived, and let go of each client as it becomes idle."""
        self._on_stop()
        self.accepting = False
        self.del_channel()
        deadline = time.monotonic() + self._stop_grace_s
        wasyncore.poll2(0, self._map)
        while time.monotonic() < deadline:
            for channel in list(self.active_channels.values()):
                if channel.is_idle() and channel.may_go(time.monotonic()):  # what is about to arrive is answered
                    channel.handle_close()
            if not self.active_channels:
                break
            wasyncore.poll2(0.05, self._map)
        self.task_dispatcher.shutdown(timeout=max(0.2, deadline - time.monotonic()))  # idle threads need a moment too

    def _end(self) -> None:
        self._ended = True
        for channel in list(self.active_channels.values()):
            channel.close_now()
        self.trigger.close()
        self.socket.close()


class _Adjustments(Adjustments):  # type: ignore[misc]
    """Waitress's settings without an address by name, which it would look up although the socket is given."""

    listen = ("*:0",)


def make_server(
    app: Any,
    sock: socket.socket,
    *,
    threads: int = 12,
    connection_limit: int = MAX_CONNECTIONS,
    max_body_bytes: int = MAX_BODY_BYTES,
    idle_timeout_s: float = 15.0,
    request_timeout_s: float = 10.0,
    stop_grace_s: float = 1.0,
    on_stop: Callable[[], None] = lambda: None,
    uploads: Uploads | None = None,
) -> UnitServer:
    """Return a server of the WSGI application `app` on `sock`, which is bound and listens already.

    It starts its threads at once, so make it in the process that serves. It closes its `sock` at the end; another
    process that holds the same socket goes on listening. `idle_timeout_s` is how long a connection may be silent,
    `request_timeout_s` how long a request may take to arrive. `connection_limit` is lowered to what the process may
    have open. `on_stop` is called when it is to end: whoever keeps a request waiting lets it be answered then.
    `uploads` takes the bodies that are larger than `max_body_bytes`; one has to go on arriving, however long it takes.
    """
    adj = _Adjustments(
        sockets=[sock],
        ipv6=False,  # of addresses that it would open itself
        threads=threads,
        ident="reactor-unit",
        connection_limit=_fitting(connection_limit),
        max_request_header_size=MAX_HEADER_BYTES,
        max_request_body_size=max_body_bytes + 1,  # waitress refuses what is as large as its limit
        channel_request_lookahead=0,
        outbuf_high_watermark=MAX_UNSENT_BYTES,
        clear_untrusted_proxy_headers=False,  # nothing reads them, and clearing costs a wrapper around each request
        log_socket_errors=False,
        expose_tracebacks=False,
    )
    return UnitServer(
        app,
        sock,
        adj,
        idle_timeout_s=idle_timeout_s,
        request_timeout_s=request_timeout_s,
        stop_grace_s=stop_grace_s,
        on_stop=on_stop,
        uploads=uploads,
    )


def _fitting(connection_limit: int) -> int:
    """Return the number of connections that the process has descriptors for, at most `connection_limit`."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connection_limit
    return min(connection_limit, max(MIN_CONNECTIONS, soft - OTHER_DESCRIPTORS))
