"""A zip archive as a stream: its size in memory is that of one piece, however large the files are."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from reactor_unit.home import open_regular

PIECE_BYTES = 64 * 1024

log = logging.getLogger(__name__)


class _Sink(io.RawIOBase):
    """Takes what is written until it is taken away; it cannot seek, so the archive is written in one go."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Return what was written since the last time."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


def stream_zip(files: Iterable[tuple[str, Path]]) -> Iterator[bytes]:
    """Yield an archive of `files`, each a name in it and a path, piece by piece.

    What is no regular file, or cannot be read, is left out, and the log names it.
    """
    import zipfile  # here: the web process seldom needs it

    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in files:
            try:
                file = open_regular(path)
            except OSError as ex:
                log.error("%s is left out of the archive: %s.", path, ex.strerror)
                continue
            with file:
                entry = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
                entry.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(entry, "w") as target:
                    while piece := file.read(PIECE_BYTES):
                        target.write(piece)
                        yield sink.take()
            yield sink.take()
    yield sink.take()
