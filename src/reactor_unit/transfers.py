"""Long answers: how many are sent at once, and what is given back when one ends, however it ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, Self

from reactor_unit.errors import RateLimited, StorageFault

PIECE_BYTES = 64 * 1024
AGAIN_AFTER_S = 5.0
MAX_DOWNLOADS = 3  # each kind of its own: five of the web server's twelve threads at most
MAX_ARCHIVES = 1
NO_PIECES: Final[tuple[bytes, ...]] = ()  # for HEAD: a stream, since without one the length would be told as 0

log = logging.getLogger(__name__)


class TransfersBusy(RateLimited):
    """As many long answers are under way as the unit sends at once."""

    default_remediation = "Wait until one of them has ended, then try again."


class Transfers:
    """Places for long answers of one kind: a slow client holds one, and a thread of the web server, to its end."""

    def __init__(self, what: str, most: int) -> None:
        self._what = what
        self._most = most
        self._places = threading.BoundedSemaphore(most)

    def begin(self, pieces: Iterator[bytes], release: Callable[[], object] | None = None) -> Transfer:
        """Return an answer that holds a place until it is closed, and then calls `release`.

        Raises TransfersBusy, having called `release`.
        """
        release = release or _nothing
        places = self._places

        def give_back() -> None:
            places.release()
            release()

        if not self._places.acquire(blocking=False):
            release()
            raise TransfersBusy(
                f"{self._most} {self._what} under way, which is as many as this unit sends at once.",
                retry_after_s=AGAIN_AFTER_S,
            )
        return Transfer(self._what, pieces, give_back)


class Transfer:
    """The pieces of a long answer; a WSGI server closes it at its end and when the client goes away."""

    def __init__(self, what: str, pieces: Iterator[bytes], release: Callable[[], object]) -> None:
        self._what = what
        self._pieces = pieces
        self._release: Callable[[], object] | None = release

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            self.close()
            raise
        except Exception as ex:  # the answer has begun: all that can be done is to break it off
            log.error("An answer (%s) was broken off: %s.", self._what, ex)
            raise

    def close(self) -> None:
        """Give everything back. May be called twice."""
        release, self._release = self._release, None
        if release is None:
            return
        try:
            close = getattr(self._pieces, "close", _nothing)
            close()
        finally:
            release()


def pieces_of(file: BinaryIO, length: int) -> Iterator[bytes]:
    """Yield exactly the next `length` bytes of a file. Raises StorageFault when it has become shorter."""
    while length:
        piece = file.read(min(PIECE_BYTES, length))
        if not piece:
            raise StorageFault("The file became shorter while it was sent")
        length -= len(piece)
        yield piece


def _nothing() -> None:
    return None
