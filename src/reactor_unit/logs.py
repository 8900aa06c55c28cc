"""The unit's log: one line a record, to stderr and to a bounded file that all processes of the unit share."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from reactor_unit.clock import utc_timestamp

MAX_BYTES = 1024 * 1024  # of the file; one older file of this size is kept beside it
MAX_MESSAGE = 4096  # characters of a message, and again of a traceback
_STDERR = 2
_PIPE_BUF = 4096  # a pipe that is writable takes this much without waiting, and in one piece (pipe(7))

_LEFT_OUT = "left_out"  # attribute of a record: how many like it were left out before; None: leave it out as well

# Whatever could end or redraw a line (C0, DEL, C1, the Unicode line ends) is written as its escape.
_VISIBLE = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
} | {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t"}


class OneLineFormatter(logging.Formatter):
    r"""`2026-01-31T12:45:00.123Z [web] WARNING message`, whatever the message holds.

    Line ends and control characters become visible escapes, a traceback follows after ` | `. Records of other
    libraries carry their logger's name.
    """

    def __init__(self, process_name: str) -> None:
        super().__init__()
        self.process_name = process_name

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, without its end."""
        name = "" if record.name.startswith("reactor_unit") or record.name == "root" else f"{record.name}: "
        line = f"{_timestamp(record.created)} [{self.process_name}] {record.levelname} {name}{_message(record)}"
        left_out = getattr(record, _LEFT_OUT, 0)
        if left_out:
            line += f" ({left_out} more like this were left out)"
        if record.exc_info and record.exc_info[0] is not None:
            line += " | " + _one_line(self.formatException(record.exc_info))
        return line


def _timestamp(seconds: float) -> str:
    return utc_timestamp(datetime.fromtimestamp(seconds, UTC))


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception as ex:  # a wrong argument must cost neither the record nor a traceback for each
        message = f"{record.msg!s} (arguments {record.args!r} do not fit: {ex})"
    return _bounded(message).translate(_VISIBLE)


def _one_line(traceback: str) -> str:
    lines = (line.strip().translate(_VISIBLE) for line in _bounded(traceback).splitlines())
    return " | ".join(line for line in lines if line)


def _bounded(text: str) -> str:
    """Return `text`, or its start and its end: a traceback says at its end what happened."""
    if len(text) <= MAX_MESSAGE:
        return text
    head = MAX_MESSAGE // 4
    return f"{text[:head]} ...[{len(text) - MAX_MESSAGE} characters left out]... {text[head - MAX_MESSAGE :]}"


class _LineHandler(logging.Handler, ABC):
    """Writes a record's line, all of it in one call, and never raises into the caller."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; called by logging."""
        try:
            line = self.format(record)
        except Exception as ex:
            line = f"{_timestamp(record.created)} a record of {record.name} could not be formatted: {ex!r}"
        self._write(line.encode("utf-8", "backslashreplace") + b"\n")

    @abstractmethod
    def _write(self, line: bytes) -> None: ...


class StderrHandler(_LineHandler):
    """Writes to the process's standard error; one that is closed, or has no room now, loses the line.

    Nobody may read what stderr leads to (a stopped terminal, a `| less`), and no process of the unit waits for that.
    A line is cut to what a writable pipe takes without waiting.
    """

    def _write(self, line: bytes) -> None:
        if len(line) > _PIPE_BUF:
            line = line[: _PIPE_BUF - 4].decode("utf-8", "ignore").encode() + b"...\n"
        poll = select.poll()
        poll.register(_STDERR, select.POLLOUT)
        with contextlib.suppress(OSError):
            if any(found & select.POLLOUT for _, found in poll.poll(0)):
                os.write(_STDERR, line)


class SharedFileHandler(_LineHandler):
    """Appends to a file that any number of processes append to; at `max_bytes` it becomes `<file>.1`.

    The file is opened for each line. So no descriptor has to survive forks and rotations, and a line is one
    `write` with O_APPEND, which the kernel does not mix with another. Whoever finds the file too large renames it
    under a lock that nobody waits for. When the disk refuses, one line on stderr says so; then there is silence until
    it works again, and the file says how many lines it lost.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        super().__init__()
        self._path = os.fspath(path)
        self._max_bytes = max_bytes
        self._lost = 0
        self._torn = False  # the last line in the file has no end

    def _write(self, line: bytes) -> None:
        try:
            if self._lost:
                self._append(b"\n" * self._torn + self._note(f"{self._lost} lines before this one are lost"))
                self._torn = False
            self._append(line)
        except OSError as ex:
            if not self._lost:
                StderrHandler()._write(self._note(f"the log file {self._path} cannot be written: {ex.strerror}"))
            self._lost += 1
        else:
            self._lost = 0

    def _append(self, line: bytes) -> None:
        descriptor = self._open()
        try:
            if os.fstat(descriptor).st_size + len(line) > self._max_bytes and self._rotate(descriptor):
                os.close(descriptor)
                descriptor = self._open()
            if os.write(descriptor, line) < len(line):  # the disk filled up in the middle of the line
                self._torn = True
                raise OSError(None, "No space left on device")
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _rotate(self, descriptor: int) -> bool:
        """Rename the open file if it still is the current one; return whether there is a new current one."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False  # another process is at it
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(self._path)):
                os.replace(self._path, f"{self._path}.1")
        return True

    def _note(self, text: str) -> bytes:
        name = self.formatter.process_name if isinstance(self.formatter, OneLineFormatter) else "log"
        return f"{_timestamp(time.time())} [{name}] WARNING {text}.\n".encode("utf-8", "backslashreplace")


class RateLimit(logging.Filter):
    """Lets a warning or error through `burst` times in `interval_s`, counts the rest, and has the next one say so.

    Records are the same when logger, level and text before the arguments are. The verdict is kept on the record, so
    all handlers with this filter write the same ones and each record counts once.
    """

    _MAX_KEPT = 256

    def __init__(self, burst: int = 5, interval_s: float = 10.0) -> None:
        super().__init__()
        self._burst = burst
        self._interval_s = interval_s
        self.reset()

    def reset(self) -> None:
        """Forget what was counted; a forked child would otherwise tell its parent's numbers, or find the lock held."""
        self._lock = threading.Lock()
        self._windows: dict[tuple[str, int, int], _Window] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be written; called by logging."""
        if record.levelno < logging.WARNING:
            return True
        if not hasattr(record, _LEFT_OUT):
            setattr(record, _LEFT_OUT, self._left_out_before(record))
        return getattr(record, _LEFT_OUT) is not None

    def _left_out_before(self, record: logging.LogRecord) -> int | None:
        """Count the record; return how many before it were left out, None when it is to be left out itself."""
        key = (record.name, record.levelno, hash(_unformatted(record)))
        now = time.monotonic()
        with self._lock:
            window = self._windows.get(key)
            if window is not None and now - window.started < self._interval_s:
                window.count += 1
                return 0 if window.count <= self._burst else None
            self._windows.pop(key, None)
            if len(self._windows) >= self._MAX_KEPT:
                del self._windows[next(iter(self._windows))]  # the oldest: a window that begins goes to the end
            self._windows[key] = _Window(now)
            return max(0, window.count - self._burst) if window is not None else 0


@dataclass
class _Window:
    started: float  # monotonic, s
    count: int = 1


def _unformatted(record: logging.LogRecord) -> str:
    try:
        return str(record.msg)
    except Exception:  # an object that cannot be shown
        return type(record.msg).__name__


_formatter = OneLineFormatter("unit")
_limit = RateLimit()


def configure(level: str | int, log_file: Path | None, process_name: str) -> None:
    """Send every record of `level` and above to stderr and, when given, to `log_file`; forget earlier handlers.

    Raises ValueError for a level that does not exist.
    """
    root = logging.getLogger()
    root.setLevel(level.upper() if isinstance(level, str) else level)
    rename(process_name)
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    handlers: list[logging.Handler] = [StderrHandler()]
    if log_file is not None:
        handlers.append(SharedFileHandler(log_file))
    for handler in handlers:
        handler.setFormatter(_formatter)
        handler.addFilter(_limit)
        root.addHandler(handler)
    logging.getLogger("waitress").setLevel(logging.WARNING)
    # Under load it warns about every queued request: thousands of lines a minute that say nothing new.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)


def rename(process_name: str) -> None:
    """Change the name before each line, and count anew what is left out; a forked child calls this first."""
    _formatter.process_name = process_name
    _limit.reset()
