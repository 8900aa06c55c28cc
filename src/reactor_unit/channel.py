"""Messages between the unit's processes: JSON objects over a Unix socket that keeps their borders."""

from __future__ import annotations

import errno
import json
import os
import socket
from typing import Any

INLINE_LIMIT = 64 * 1024  # bytes; longer messages travel in a memory file
_RECEIVE_SIZE = INLINE_LIMIT + 1
_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EBADF})  # the last: we closed our end
_IN_MEMORY_FILE = b"@"

Message = dict[str, Any]


class ChannelClosed(Exception):
    """The other end is gone."""


class NoMessage(Exception):
    """What came is no message, or one whose file was lost."""


class Channel:
    """One end of a two-way, ordered message channel.

    `send` and `receive` raise ChannelClosed when the peer is gone. With `blocking=False` they raise BlockingIOError
    instead of waiting. `close` may be called twice.
    """

    def __init__(self, sock: socket.socket, *, blocking: bool = True) -> None:
        sock.setblocking(blocking)
        self._socket = sock

    def fileno(self) -> int:
        """Return the descriptor, for a selector; -1 once closed."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Send one message whole, or raise and send nothing of it."""
        data = json.dumps(message, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        try:
            if len(data) <= INLINE_LIMIT:
                self._socket.send(data)
            else:
                self._send_in_memory_file(data)
        except OSError as ex:
            if ex.errno in _GONE:
                raise ChannelClosed from ex
            raise

    def _send_in_memory_file(self, data: bytes) -> None:
        descriptor = os.memfd_create("reactor-unit-message", os.MFD_CLOEXEC)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(data)
            socket.send_fds(self._socket, [_IN_MEMORY_FILE], [descriptor])
        finally:
            os.close(descriptor)

    def receive(self) -> Message:
        """Return the next message. Raises NoMessage for what is none."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, _RECEIVE_SIZE, 1, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError as ex:
            raise ChannelClosed from ex
        if descriptors:
            with open(descriptors[0], "rb") as file:
                file.seek(0)
                data = file.read()
        elif data == _IN_MEMORY_FILE:  # the kernel drops a descriptor that this process has no room for
            raise NoMessage("A message was lost: this process has too many open files.")
        if not data:
            raise ChannelClosed
        try:
            message = json.loads(data)
        except (ValueError, RecursionError) as ex:
            raise NoMessage(f"What came is no JSON: {ex}.") from ex
        if not isinstance(message, dict):
            raise NoMessage("What came is no JSON object.")
        return message

    def close(self) -> None:
        """Close this end; the peer sees ChannelClosed."""
        self._socket.close()


def channel_pair(*, first_blocking: bool = False) -> tuple[Channel, Channel]:
    """Return the supervisor's end (not blocking unless asked for) and the child's end (blocking)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours, blocking=first_blocking), Channel(theirs)
