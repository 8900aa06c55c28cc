"""Task records and answers to idempotent requests, in a diskcache that only the web process opens."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import diskcache

from reactor_unit import clock, strict_json
from reactor_unit.errors import IdempotencyKeyReused, Json, RequestInFlight, StorageFault
from reactor_unit.gateway_protocol import SavedAnswer
from reactor_unit.sqlite_faults import LOCK_TIMEOUT_S, Damaged, fault, first_error, is_corrupt, move_aside

MAX_AGE_S = 24 * 3600.0
MAX_RECORDS = 1000  # of tasks, and again of answers
MAX_BYTES = 32 * 1024 * 1024  # of all values together; the run directory is memory on most machines
FINAL = frozenset({"complete", "failed"})

_TASK = "task:"
_ANSWER = "answer:"
_BOOT = "boot"

_SETTINGS = {
    "statistics": 0,
    "tag_index": 0,
    "eviction_policy": "none",
    "cull_limit": 0,  # rows go by boot-clock age and number, which diskcache does not know
    "size_limit": MAX_BYTES,
    "sqlite_journal_mode": "wal",
    "sqlite_wal_autocheckpoint": 64,  # pages: the log stays near 256 KiB instead of 4 MiB
    "sqlite_cache_size": 64,  # pages of 4 KiB
    "sqlite_mmap_size": 0,
    "sqlite_synchronous": 1,
}


class JsonDisk(diskcache.Disk):  # type: ignore[misc]
    """Keys as text, values as compact JSON text in the row; nothing is ever pickled, unpickled or compressed.

    What is not JSON raises TypeError on the way in; what was written in another form raises Damaged on the way out.
    """

    def put(self, key: Any) -> tuple[str, bool]:
        """Return `key` for its column."""
        if not isinstance(key, str):
            raise TypeError(f"a key is text, not {type(key).__name__}")
        return key, True

    def get(self, key: Any, raw: Any) -> str:
        """Return the key from its column."""
        if not raw or not isinstance(key, str):
            raise Damaged("a key in the store is not text")
        return key

    def store(self, value: Any, read: bool, key: Any = None) -> tuple[int, int, None, str]:
        """Return size, mode, no file and JSON text of `value` for their columns."""
        try:
            text = strict_json.dumps(value).decode()
        except (ValueError, RecursionError) as ex:
            raise TypeError(f"not JSON: {ex}") from ex
        return len(text), diskcache.core.MODE_RAW, None, text

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        """Return the value from its column."""
        if mode != diskcache.core.MODE_RAW or not isinstance(value, str):
            raise Damaged("a value in the store is not JSON text")
        try:
            return json.loads(value)
        except RecursionError as ex:  # the writer had a shorter call stack; the row is as it should be
            raise StorageFault("A record is nested too deep to be read.") from ex
        except ValueError as ex:
            raise Damaged(f"a value in the store is not JSON: {ex}") from ex


class _Cache(diskcache.Cache):  # type: ignore[misc]
    """A diskcache with one connection for all threads, which the store lets in one at a time.

    diskcache opens a connection for each thread and leaves it to the garbage collector. It also waits 60 s for a lock
    while it opens, whatever its `timeout`; here every wait ends after LOCK_TIMEOUT_S.
    """

    _connection: sqlite3.Connection | None = None

    def __init__(self, directory: Path) -> None:
        try:
            super().__init__(directory, timeout=LOCK_TIMEOUT_S, disk=JsonDisk, **_SETTINGS)
        except BaseException:
            self.close()
            raise

    @property
    def _con(self) -> sqlite3.Connection:
        if self._connection is None:
            path = os.path.join(self._directory, diskcache.core.DBNAME)
            connection = sqlite3.connect(path, timeout=LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            self._connection = connection
            for key, value in _SETTINGS.items():
                if key.startswith("sqlite_"):
                    connection.execute(f"PRAGMA {key.removeprefix('sqlite_')} = {value}").fetchall()
        return self._connection

    @property
    def _sql_retry(self) -> Callable[..., sqlite3.Cursor]:
        return self._con.execute

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def rows(self) -> list[tuple[Any, Any, Any]]:
        """Return key, raw and tag of every row, oldest row first. SQLite reads no value for that: it comes later."""
        return self._con.execute("SELECT key, raw, tag FROM Cache ORDER BY rowid").fetchall()

    def end_failed_transaction(self) -> None:
        """Roll back what is still open after a COMMIT that failed; diskcache would wait for itself for ever."""
        if self._connection is not None and self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")


class _Held(NamedTuple):
    """What the index knows about a row; it stands in the row's tag as well, so that opening reads no value."""

    stamp: float  # boot clock, s
    is_final: bool

    def tag(self) -> str:
        """Return the text that `from_tag` reads."""
        return f"{self.stamp!r} {'final' if self.is_final else 'open'}"

    @classmethod
    def from_tag(cls, tag: object) -> _Held:
        """Return what `tag` says. Raises Damaged."""
        words = tag.split(" ") if isinstance(tag, str) else []
        try:
            stamp, state = words
            return cls(float(stamp), {"final": True, "open": False}[state])
        except (ValueError, KeyError):
            raise Damaged("a row in the store has a wrong tag") from None


class _Claim(NamedTuple):
    """A request with an Idempotency-Key that is being answered."""

    fingerprint: str
    stamp: float  # boot clock, s


class TaskStore:
    """Task records and saved answers, kept for 24 hours of boot-clock time and bounded in number and size.

    One object serves all threads of one process. Every method is atomic, waits at most about half a second, and raises
    StorageFault when the disk or database does not do what it should. A database that cannot be read is moved aside and
    replaced by an empty one: its content is worth less than a unit that answers.

    The directory is made with the first row: diskcache and SQLite take 3 MB, which a unit without tasks saves. One
    that cannot be used raises at the calls, not here, and is tried again by each: the unit serves without
    it until it is there. Unfinished rows are bounded by those who write them. After `close`, which may be called twice,
    everything is a StorageFault.

    Requests that are being answered are known to this object only: they end with its process.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_records: int = MAX_RECORDS,
        max_bytes: int = MAX_BYTES,
        boot_clock: Callable[[], float] = clock.boot_clock,
        boot_id: str | None = None,
    ) -> None:
        self._directory = Path(directory)
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._now = boot_clock
        self._boot_id = clock.boot_id() if boot_id is None else boot_id
        self._what = f"The task store {self._directory}"
        self._lock = threading.RLock()
        self._claims: dict[str, _Claim] = {}  # by Idempotency-Key; bounded by the requests at work
        self._held: dict[str, dict[str, _Held]] = {_TASK: {}, _ANSWER: {}}
        self._undo: list[tuple[str, str, _Held | None]] = []
        self._closed = False
        self._cache: _Cache | None = None
        if not self._is_new():
            with contextlib.suppress(StorageFault), self._session():
                pass  # opened now if that is possible

    # Task records

    def put(self, record: Json) -> bool:
        """Write a task's record; return False when a final record is there already, which stays: the first one wins.

        `task_id` and `status` are required; `accepted_stamp` is the boot-clock time from which its age counts.
        """
        task_id = record["task_id"]
        with self._transaction() as cache:
            before = cache.get(_TASK + task_id)
            if before is not None and before["status"] in FINAL and not self._is_expired(_stamp(before)):
                return False
            self._write(cache, _TASK, task_id, record, _Held(_stamp(record), record["status"] in FINAL))
            return True

    def get(self, task_id: str) -> Json | None:
        """Return a task's record; None when there is none, or it is older than 24 hours."""
        if self._is_new():
            return None
        with self._session() as cache:
            record: Json | None = cache.get(_TASK + task_id)
        return None if record is None or self._is_expired(_stamp(record)) else record

    def unfinished(self) -> list[Json]:
        """Return every record that is not final, oldest first."""
        if self._is_new():
            return []
        with self._session() as cache:
            records = [cache.get(_TASK + task_id) for task_id, held in self._held[_TASK].items() if not held.is_final]
        return [record for record in records if record is not None and not self._is_expired(_stamp(record))]

    # Answers to requests with an Idempotency-Key

    def begin_answer(self, key: str, fingerprint: str) -> SavedAnswer | None:
        """Claim `key` for a request, or return the answer that its first request got.

        None means: carry the request out, then call `finish_answer` or `abandon_answer`. Raises IdempotencyKeyReused
        when the key belongs to a request with another fingerprint, RequestInFlight while the first one is at work.
        """
        with self._session() as cache:
            claim = self._claims.get(key)
            if claim is not None and not self._is_expired(claim.stamp):
                _check_fingerprint(claim.fingerprint, fingerprint)
                raise RequestInFlight("The first request with this Idempotency-Key is still being answered.")
            row = self._answer(cache, key)
            if row is None:
                self._claims[key] = _Claim(fingerprint, self._now())
                return None
        _check_fingerprint(row["fingerprint"], fingerprint)
        return SavedAnswer(**row["answer"])

    def finish_answer(self, key: str, fingerprint: str, answer: SavedAnswer) -> None:
        """Save the answer; one that is there stays, and so does the claim of a request with another fingerprint."""
        with self._lock:
            claim = self._claims.get(key, _Claim(fingerprint, self._now()))
            if claim.fingerprint != fingerprint:
                return
            with self._transaction() as cache:
                if self._answer(cache, key) is None:
                    saved = {"fingerprint": fingerprint, "stamp": claim.stamp, "answer": asdict(answer)}
                    self._write(cache, _ANSWER, key, saved, _Held(claim.stamp, True))
            self._claims.pop(key, None)

    def abandon_answer(self, key: str) -> None:
        """Free a key whose request had no answer worth keeping; a saved answer stays."""
        with self._lock:
            self._claims.pop(key, None)

    def _answer(self, cache: _Cache, key: str) -> Json | None:
        row: Json | None = cache.get(_ANSWER + key)
        return None if row is None or self._is_expired(row["stamp"]) else row

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._closed = True
            if self._cache is not None:
                self._cache.close()
                self._cache = None

    # Rows

    def _write(self, cache: _Cache, kind: str, name: str, value: Json, held: _Held) -> None:
        cache.set(kind + name, value, tag=held.tag())
        self._note(kind, name, held)
        self._cull(cache, kind, keep=name)

    def _delete(self, cache: _Cache, kind: str, name: str) -> None:
        cache.delete(kind + name)
        self._note(kind, name, None)

    def _note(self, kind: str, name: str, held: _Held | None) -> None:
        """Change the index, and remember how to take it back should the transaction fail."""
        rows = self._held[kind]
        self._undo.append((kind, name, rows.get(name)))
        if held is None:
            rows.pop(name, None)
        else:
            rows[name] = held

    def _cull(self, cache: _Cache, kind: str, keep: str) -> None:
        """Delete what is too old; then the oldest finished rows, until number and size are within bounds."""
        rows = self._held[kind]
        while (oldest := next(iter(rows))) != keep and self._is_expired(rows[oldest].stamp):
            self._delete(cache, kind, oldest)
        while len(rows) > self._max_records and self._delete_oldest(cache, [kind], keep):
            pass
        while cache.reset("size") > self._max_bytes and self._delete_oldest(cache, [_TASK, _ANSWER], keep):
            pass

    def _delete_oldest(self, cache: _Cache, kinds: Sequence[str], keep: str) -> bool:
        """Delete the oldest finished row of these kinds; return False when there is none but `keep`."""
        oldest: tuple[float, str, str] | None = None
        for kind in kinds:
            for name, held in self._held[kind].items():
                if held.is_final and name != keep:
                    oldest = min(oldest or (held.stamp, kind, name), (held.stamp, kind, name))
                    break
        if oldest is None:
            return False
        self._delete(cache, *oldest[1:])
        return True

    def _is_expired(self, stamp: float) -> bool:
        return self._now() - stamp > MAX_AGE_S

    # Opening, and what can go wrong

    def _is_new(self) -> bool:
        """Return whether nothing is there yet."""
        return self._cache is None and not self._closed and not os.path.lexists(self._directory)

    def _open(self) -> _Cache:
        try:
            return self._open_once()
        except (TypeError, ValueError, KeyError) as ex:  # diskcache's own settings were not written by this class
            return self._replace(ex)
        except (sqlite3.Error, diskcache.Timeout) as ex:
            if not is_corrupt(ex):
                raise self._fault(ex) from ex
            return self._replace(ex)
        except OSError as ex:
            raise StorageFault(f"{self._what} cannot be opened: {ex.strerror}.") from ex

    def _open_once(self) -> _Cache:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        cache = _Cache(self._directory)
        try:
            self._index(cache)
        except BaseException:
            cache.close()
            raise
        self._cache = cache
        return cache

    def _index(self, cache: _Cache) -> None:
        """Read every row's key and tag, so that later decisions about age and number need no reading."""
        if cache.get(_BOOT) != self._boot_id:
            cache.clear()
            cache.set(_BOOT, self._boot_id)
        held: dict[str, dict[str, _Held]] = {_TASK: {}, _ANSWER: {}}
        for key, raw, tag in cache.rows():
            kind, colon, name = cache.disk.get(key, raw).partition(":")
            if colon:
                held[kind + colon][name] = _Held.from_tag(tag)
        self._held = held

    def _replace(self, reason: Exception) -> _Cache:
        aside = self._directory.with_name(f"{self._directory.name}.corrupt")
        shutil.rmtree(aside, ignore_errors=True)
        move_aside(self._directory, aside, self._what, reason)
        try:
            return self._open_once()
        except OSError as ex:
            raise StorageFault(f"{self._what} cannot be replaced: {ex.strerror}.") from ex
        except (sqlite3.Error, diskcache.Timeout) as ex:
            raise self._fault(ex) from ex

    def _fault(self, ex: Exception) -> StorageFault:
        return fault(self._what, "it is locked" if isinstance(ex, diskcache.Timeout) else ex)

    @contextlib.contextmanager
    def _session(self) -> Iterator[_Cache]:
        """Give the cache to one thread; turn what the database says into a StorageFault."""
        with self._lock:
            if self._closed:
                raise StorageFault("The task store is closed.")
            cache = self._open() if self._cache is None else self._cache  # an empty one is false
            try:
                yield cache
            except (sqlite3.Error, diskcache.Timeout) as ex:
                cache.end_failed_transaction()
                first = first_error(ex)
                if is_corrupt(first):
                    cache.close()
                    self._cache = None
                    self._replace(first)
                raise self._fault(first) from ex

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[_Cache]:
        with self._session() as cache:
            self._undo.clear()
            try:
                with cache.transact():
                    yield cache
            except BaseException:
                for kind, name, held in reversed(self._undo):
                    if held is None:
                        self._held[kind].pop(name, None)
                    else:
                        self._held[kind][name] = held
                raise


def _stamp(record: Json) -> float:
    return float(record["accepted_stamp"])


def _check_fingerprint(first: str, now: str) -> None:
    if first != now:
        raise IdempotencyKeyReused("This Idempotency-Key was used for a different request.")
