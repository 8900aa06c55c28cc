"""The web process's side of the supervisor: requests that are answered in order, events, and the writing of records."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from reactor_unit import errors
from reactor_unit.catalogue import Catalogue
from reactor_unit.channel import Channel, ChannelClosed, Message
from reactor_unit.clock import boot_clock
from reactor_unit.faults import Fault, FaultRecord, fault_from_dict, record_from_dict, write_faults
from reactor_unit.gateway_protocol import Accepted, LockHeld, SavedAnswer, TaskAnswer
from reactor_unit.job_history import JobHistory
from reactor_unit.metrics import UnitCounts
from reactor_unit.mirror import JobMirror, TaskMirror, is_final, task_answer
from reactor_unit.persistent_cache import PersistentCache
from reactor_unit.plugin_watch import PluginWatch
from reactor_unit.plugins import Report
from reactor_unit.reading_history import ReadingHistory
from reactor_unit.reading_store import ReadingStore
from reactor_unit.remembered import Remembered
from reactor_unit.series import Reading
from reactor_unit.task_store import TaskStore

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 5.0  # the supervisor answers in a fraction of a millisecond
HELLO_WITHIN_S = 5.0
PLUGINS_WITHIN_S = 20.0  # two that hang are given up one after the other
STORE_AGAIN_AFTER_S = 5.0
MAX_UNWRITTEN = 1024
MAX_HOLDERS = 4  # of requests that wait for the end of a task: each keeps a thread meanwhile
MAX_CHANGES = 2  # of settings at a time: each keeps one of the web server's few threads until the job has answered
CLOSE_WITHIN_S = 1.0


class _Call:
    """One request to the supervisor whose answer is awaited."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.answer: Message = {}


class Gateway:
    """What resources ask for; safe to use from many threads.

    Tasks and jobs are answered from memory. A record is written when it is accepted and when it ended; a disk that
    cannot be written delays that and is logged, but stops neither requests nor, above all, stop requests.
    """

    def __init__(
        self,
        on_supervisor_gone: Callable[[], None] = lambda: os._exit(0),
        plugins: PluginWatch | None = None,
    ) -> None:
        self._on_supervisor_gone = on_supervisor_gone
        self.counts = UnitCounts()
        self._plugins = plugins or PluginWatch(Catalogue({}))
        self._tasks = TaskMirror()
        self._jobs = JobMirror()
        self._calls: dict[int, _Call] = {}
        self._outcomes: dict[str, list[_Call]] = {}  # by task: who waits for its end
        self._sequence = itertools.count(1)
        self._hello = threading.Event()
        self._to_write = threading.Condition()
        self._unwritten_tasks: dict[str, Message] = {}
        self._unwritten_rows: dict[str, Message] = {}
        self._holders = threading.BoundedSemaphore(MAX_HOLDERS)
        self._is_ending = False
        self._changes = threading.BoundedSemaphore(MAX_CHANGES)
        self._readings = ReadingHistory(self._readings_stored)
        self._remembered = Remembered(self._remembered_stored)
        self._faults = FaultRecord()
        self._faults_unwritten = False
        self._fault_file: Path | None = None
        self._has_retired = False
        self.on_retire: Callable[[], None] = lambda: None  # called when another web process is to take over

    def start(
        self,
        channel: Channel,
        store: TaskStore,
        history: JobHistory | None,
        readings: ReadingStore | None = None,
        cache: PersistentCache | None = None,
        fault_file: Path | None = None,
    ) -> None:
        """Begin to listen and to write; returns once the supervisor has told everything it knows."""
        self._channel = channel
        self._store = store
        self._history = history
        self._fault_file = fault_file
        self._readings.use(readings)
        self._remembered.use(cache)
        threads = (
            ("supervisor", self._listen),
            ("store", self._write),
            ("readings", self._readings.write_for_ever),
            ("remembered", self._remembered.write_for_ever),
        )
        for name, work in threads:
            threading.Thread(target=_or_end_process, args=(work,), name=name, daemon=True).start()
        if not self._hello.wait(HELLO_WITHIN_S):
            raise errors.Unavailable("The supervisor did not say hello.")
        self.look_at_plugins()
        try:
            self._clean_store()
        except errors.StorageFault as ex:
            log.error("The unit serves without its store of tasks: %s", ex)

    def close(self) -> None:
        """Write what waits to be written, then close the databases."""
        with self._to_write:
            self._to_write.wait_for(lambda: not self._is_anything_unwritten(), CLOSE_WITHIN_S)
        self._store.close()
        if self._history is not None:
            self._history.close()
        self._readings.close()
        self._remembered.close()

    def say_serving(self) -> None:
        """Tell the supervisor that requests are answered now."""
        self._channel.send({"op": "serving"})

    def retire(self) -> None:
        """Write what waits to be written, and leave all that comes to another web process, which may start then.

        Requests are still answered; `close` comes when there are none any more.
        """
        with self._to_write:
            self._to_write.wait_for(lambda: not self._is_anything_unwritten(), CLOSE_WITHIN_S)
            self._has_retired = True
            self._unwritten_tasks.clear()
            self._unwritten_rows.clear()
            self._faults_unwritten = False
        self._readings.write()
        self._remembered.hand_over()
        with contextlib.suppress(ChannelClosed):  # the unit is ending
            self._channel.send({"op": "retired"})

    def _clean_store(self) -> None:
        """Fail the tasks of a killed unit: what the store has as unfinished and the supervisor does not know.

        The store is asked first: a web process that retires may still add to it, and the supervisor knows of a task
        before it is stored.
        """
        records = self._store.unfinished()
        if records:
            self._ask({"op": "ping"})  # all that was admitted before has been told when this is answered
        with self._to_write:
            live = self._tasks.live_ids() | set(self._unwritten_tasks)
        for record in records:
            ended = record["task_id"] not in live and self._store.get(record["task_id"])
            if ended and not is_final(ended):  # else it was stored since
                lost = errors.ProcessDied("The unit was ended before this task was done.")
                self._store.put({**record, "status": "failed", "error": lost.to_dict()})

    # What resources ask for

    def submit(
        self, name: str, args: dict[str, Any], *, task_id: str | None = None, lock: str | None = None
    ) -> Accepted | LockHeld:
        """Ask the supervisor to admit a task; when this returns `Accepted`, its record is written.

        Raises the UnitError with which the supervisor refuses it.
        """
        if task_id is not None and self._known(task_id):
            return Accepted(task_id)
        answer = self._ask({"op": "submit", "name": name, "args": args, "task_id": task_id, "lock": lock})
        if "error" in answer:
            raise errors.from_dict(answer["error"])
        if "lock" in answer:
            return LockHeld(answer["lock"])
        record = answer["task"]
        self._put_record(record)
        return Accepted(record["task_id"])

    def _known(self, task_id: str) -> bool:
        if self._tasks.get(task_id) is not None:
            return True
        try:
            return self._store.get(task_id) is not None
        except errors.StorageFault:
            return False  # the supervisor knows those that are not stored yet

    def is_under_way(self, name: str) -> bool:
        """See `UnitGateway`."""
        return self._tasks.is_live(name)

    def task(self, task_id: str) -> TaskAnswer:
        """Return what to tell about a task. Raises NoSuchTask."""
        answer = self._tasks.get(task_id)
        if answer is not None:
            return answer
        record = self._unwritten_tasks.get(task_id) or self._store.get(task_id)
        if record is None:
            raise errors.NoSuchTask(f"There is no task {task_id!r}.")
        return task_answer(record)

    def result_of(self, task_id: str, within_s: float) -> Any:
        """See `UnitGateway`."""
        with self._outcome(task_id) as call:
            record = self._final_record(task_id)
            if record is None:
                if not call.arrived.wait(within_s) or not call.answer:
                    raise errors.Unavailable(f"The task {task_id} has not ended within {within_s:g} s.")
                record = call.answer
        if record["status"] == "failed":
            raise errors.from_dict(record["error"])
        return record["result"]

    def wait_for_end(self, task_id: str, within_s: float) -> bool:
        """See `UnitGateway`."""
        if not self._holders.acquire(blocking=False):
            return False
        try:
            with self._outcome(task_id) as call:
                if self._final_record(task_id) is None and not self._is_ending:
                    call.arrived.wait(within_s)
        finally:
            self._holders.release()
        return True

    def let_holders_go(self) -> None:
        """Have everybody who waits for the end of a task answer now, whatever it is: this process is about to end."""
        self._is_ending = True
        with self._to_write:
            waiting = [call for calls in self._outcomes.values() for call in calls]
        for call in waiting:
            call.arrived.set()

    @contextlib.contextmanager
    def _outcome(self, task_id: str) -> Iterator[_Call]:
        """Yield what will be told when the task ends."""
        call = _Call()
        with self._to_write:
            self._outcomes.setdefault(task_id, []).append(call)
        try:
            yield call
        finally:
            with self._to_write:
                self._outcomes[task_id].remove(call)
                if not self._outcomes[task_id]:
                    del self._outcomes[task_id]

    def _final_record(self, task_id: str) -> Message | None:
        """Return the record of a task that ended, None while it is on its way. Raises NoSuchTask."""
        record = self._unwritten_tasks.get(task_id)
        with contextlib.suppress(errors.StorageFault):  # then its end comes from the supervisor, or not at all
            record = record or self._store.get(task_id)
        if record is not None and is_final(record):
            return record
        if self._tasks.get(task_id) is None:
            raise errors.NoSuchTask(f"There is no task {task_id!r}.")
        return None

    def cancel(self, task_id: str) -> None:
        """See `UnitGateway`."""
        answer = self._ask({"op": "cancel", "task_id": task_id})
        if "error" in answer:
            raise errors.from_dict(answer["error"])

    def running_jobs(
        self, *, job_name: str | None = None, experiment: str | None = None, long_running_only: bool = False
    ) -> bytes:
        """Return the rows of the running jobs that match as a JSON list."""
        return self._jobs.running_json(job_name, experiment, long_running_only)

    def running_jobs_with_settings(
        self, *, job_name: str | None = None, experiment: str | None = None, long_running_only: bool = False
    ) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Return the same rows, each with what its job publishes, typed."""
        return self._jobs.running(job_name, experiment, long_running_only)

    def settings(self, job_name: str) -> dict[str, Any]:
        """Return the settings of a running job, typed. Raises NoSuchJob."""
        return self._jobs.settings(job_name)

    def job_history(self, limit: int) -> list[dict[str, Any]]:
        """Return the newest `limit` jobs, running ones included, newest first. Raises StorageFault."""
        if self._history is None:
            raise errors.StorageFault("The history of jobs could not be opened when the unit started.")
        rows = {row["job_id"]: row for row in self._history.recent(limit)}
        with self._to_write:
            rows.update(self._unwritten_rows)
        rows.update({row["job_id"]: row for row in self._jobs.rows()})
        return sorted(rows.values(), key=lambda row: int(row["job_id"]), reverse=True)[:limit]

    def set_setting(self, job_name: str, setting: str, value: Any) -> Any:
        """Let a running job change a setting, and return the value that is then in force, typed.

        Raises JobNotRunning, Unavailable when the job does not answer in time, and the job's own error.
        """
        if not self._changes.acquire(blocking=False):
            raise errors.Unavailable(f"{MAX_CHANGES} settings are being changed already.", retry_after_s=1)
        try:
            answer = self._ask({"op": "set", "job_name": job_name, "setting": setting, "value": value})
        finally:
            self._changes.release()
        if "error" in answer:
            raise errors.from_dict(answer["error"])
        return answer["value"]

    def recall(self, tables: Collection[str], experiment: str) -> dict[str, Any]:
        """Return what jobs of an experiment had remembered last, by table. Raises StorageFault."""
        return self._remembered.recall(tables, experiment)

    def plugins(self) -> Sequence[Report]:
        """Return what is known of the plugins."""
        return self._plugins.reports

    def look_at_plugins(self, *, wait: bool = False) -> None:
        """See `UnitGateway`."""
        if wait:
            self._plugins.look_and_wait(lambda: self._ask({"op": "look_at_plugins"}, PLUGINS_WITHIN_S))
        else:
            self._plugins.look(self._have_plugins_looked_at)

    def _have_plugins_looked_at(self) -> None:
        with contextlib.suppress(ChannelClosed):  # the unit is ending
            self._channel.send({"op": "look_at_plugins", "seq": 0})

    def faults(self) -> list[Fault]:
        """Return all latched faults, oldest first."""
        return list(self._faults.faults)

    def clear_fault(self, fault_id: str) -> Fault:
        """Clear a latched fault, and return it. Raises NoSuchFault."""
        answer = self._ask({"op": "clear_fault", "fault_id": fault_id})
        if "error" in answer:
            raise errors.from_dict(answer["error"])
        return fault_from_dict(answer["fault"])

    def is_supervised(self) -> bool:
        """Return whether the supervisor answers."""
        try:
            self._ask({"op": "ping"})
        except errors.Unavailable:
            return False
        return True

    def reading_names(self) -> list[str]:
        """Return the names of all series of readings. Raises StorageFault."""
        return self._readings.names()

    def readings(
        self, patterns: Collection[str], since: float | None, until: float | None, limit: int
    ) -> Iterator[Reading]:
        """See `ReadingHistory.read`."""
        return self._readings.read(patterns, since, until, limit)

    # First answers of requests with an Idempotency-Key

    def begin_answer(self, key: str, fingerprint: str) -> SavedAnswer | None:
        """See `AnswerStore`."""
        return self._store.begin_answer(key, fingerprint)

    def finish_answer(self, key: str, fingerprint: str, answer: SavedAnswer) -> None:
        """See `AnswerStore`."""
        self._store.finish_answer(key, fingerprint, answer)

    def abandon_answer(self, key: str) -> None:
        """See `AnswerStore`."""
        self._store.abandon_answer(key)

    # Talking to the supervisor

    def _ask(self, request: Message, within_s: float = ANSWER_WITHIN_S) -> Message:
        sequence, call = next(self._sequence), _Call()
        self._calls[sequence] = call
        try:
            self._channel.send({**request, "seq": sequence})
            if not call.arrived.wait(within_s):
                raise errors.Unavailable("The supervisor does not answer.", retry_after_s=ANSWER_WITHIN_S)
        except ChannelClosed as ex:
            raise errors.Unavailable("The unit is ending.", retry_after_s=5) from ex
        finally:
            del self._calls[sequence]
        return call.answer

    def _listen(self) -> None:
        try:
            while True:
                self._hear(self._channel.receive())
        except ChannelClosed:
            self._readings.close()  # nobody else has what is not written yet
            self._remembered.close()
            self._on_supervisor_gone()

    def _hear(self, message: Message) -> None:
        if "re" in message:
            self._hear_answer(message)
            return
        match message["ev"]:
            case "task":
                self._hear_task(message["task"])
            case "job":
                self._hear_job(message["row"], message["settings"])
            case "gone":
                self._jobs.remove(message["row"]["job_id"])
                self._write_later(row=message["row"])
            case "readings":
                self._readings.add(message["first"], [Reading(*reading) for reading in message["readings"]])
            case "remember":
                self._remembered.add(message["number"], message["values"])
            case "faults":
                self._hear_faults(record_from_dict(message))
            case "plugins":
                self._plugins.hear(message)
            case "hello":
                self._hello.set()
            case demand:
                self._hear_demand(demand)

    def _hear_demand(self, demand: str) -> None:
        if demand == "alive":
            self._channel.send({"op": "alive"})
        elif demand == "retire":
            self.on_retire()

    def _hear_answer(self, message: Message) -> None:
        if "task" in message:
            self._tasks.put(message["task"])
        call = self._calls.get(message["re"])
        if call is not None:
            call.answer = message
            call.arrived.set()

    def _hear_faults(self, record: FaultRecord) -> None:
        with self._to_write:
            self._faults = record
            self._faults_unwritten = not self._has_retired
            self._to_write.notify_all()

    def _hear_task(self, record: Message) -> None:
        ended_now = self._tasks.put(record)
        if is_final(record):
            self._write_later(record=record)
            if ended_now:
                self._count(record)
            with self._to_write:
                waiting = list(self._outcomes.get(record["task_id"], ()))
            for call in waiting:  # after it was noted: who asks from now on finds it
                call.answer = record
                call.arrived.set()

    def _count(self, record: Message) -> None:
        name = ("name", record["name"])
        self.counts.tasks.add((name, ("status", record["status"])))
        self.counts.task_s.add((name,), max(0.0, boot_clock() - record["accepted_stamp"]))

    def _hear_job(self, row: Message, settings: Message) -> None:
        known = next((old for old in self._jobs.rows() if old["job_id"] == row["job_id"]), None)
        self._jobs.put(row, settings)
        if known != row:
            self._write_later(row=row)

    # Writing

    def _readings_stored(self, number: int) -> None:
        with contextlib.suppress(ChannelClosed):  # who would send them again is gone
            self._channel.send({"op": "stored", "tasks": [], "jobs": [], "readings": number})

    def _remembered_stored(self, number: int) -> None:
        with contextlib.suppress(ChannelClosed):
            self._channel.send({"op": "stored", "tasks": [], "jobs": [], "remembered": number})

    def _put_record(self, record: Message) -> None:
        try:
            self._store.put(record)
        except errors.StorageFault as ex:
            log.error("The record of task %s is kept in memory only: %s", record["task_id"], ex)

    def _write_later(self, record: Message | None = None, row: Message | None = None) -> None:
        with self._to_write:
            if self._has_retired:
                return
            if record is not None:
                self._unwritten_tasks[record["task_id"]] = record
            if row is not None:
                self._unwritten_rows[row["job_id"]] = row
            for unwritten in (self._unwritten_tasks, self._unwritten_rows):
                if len(unwritten) > MAX_UNWRITTEN:  # a disk that has been full for days
                    log.error("A record is given up: it could not be written for too long.")
                    del unwritten[next(iter(unwritten))]
            self._to_write.notify_all()

    def _write(self) -> None:
        """Write what ended, and tell the supervisor that it need not remember it; for ever."""
        while True:
            with self._to_write:
                while not self._is_anything_unwritten():
                    self._to_write.wait()
                tasks, rows = dict(self._unwritten_tasks), dict(self._unwritten_rows)
            try:
                self._write_faults()
                self._write_now(tasks, rows)
            except errors.StorageFault as ex:
                log.error("Cannot write; trying again in %g s. %s", STORE_AGAIN_AFTER_S, ex)
                time.sleep(STORE_AGAIN_AFTER_S)
            except ChannelClosed:
                return

    def _is_anything_unwritten(self) -> bool:
        return bool(self._unwritten_tasks or self._unwritten_rows or self._faults_unwritten)

    def _write_faults(self) -> None:
        """Write what is latched, if it changed."""
        with self._to_write:
            record, unwritten = self._faults, self._faults_unwritten
        if unwritten and self._fault_file is not None:
            write_faults(self._fault_file, record)
        with self._to_write:
            if record is self._faults:
                self._faults_unwritten = False
            self._to_write.notify_all()

    def _write_now(self, tasks: dict[str, Message], rows: dict[str, Message]) -> None:
        """Write tasks and rows and acknowledge each kind by itself, so that trouble with one holds up only that one."""
        for record in tasks.values():
            self._store.put(record)
        self._written(self._unwritten_tasks, tasks)
        self._channel.send({"op": "stored", "tasks": list(tasks), "jobs": []})
        if self._history is not None and rows:
            self._history.put(list(rows.values()))
        self._written(self._unwritten_rows, rows)
        ended = [job_id for job_id, row in rows.items() if not row["is_running"]]
        self._channel.send({"op": "stored", "tasks": [], "jobs": ended})

    def _written(self, unwritten: dict[str, Message], written: dict[str, Message]) -> None:
        with self._to_write:
            for name, message in written.items():
                if unwritten.get(name) is message:  # else it changed meanwhile, and is written again
                    del unwritten[name]
            self._to_write.notify_all()


def _or_end_process(work: Callable[[], None]) -> None:
    """Do the work of a thread without which this process is deaf or forgetful; the supervisor forks another one."""
    try:
        work()
    except Exception:
        log.exception("The web process met an unexpected error and ends.")
        os._exit(1)
