"""The supervisor's line to the web process: answers in order, and what changed since the last word."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from reactor_unit import errors
from reactor_unit.channel import ChannelClosed, Message
from reactor_unit.faults import FaultRecord
from reactor_unit.workers.children import Child
from reactor_unit.workers.fault_desk import FaultDesk
from reactor_unit.workers.job_desk import JobDesk, RunningJob
from reactor_unit.workers.loop import Loop
from reactor_unit.workers.reading_buffer import ReadingBuffer
from reactor_unit.workers.remember_buffer import RememberBuffer
from reactor_unit.workers.task_desk import Task, TaskDesk

MAX_UNSTORED_ROWS = 1024


class WebLink:
    """Sends state and answers to the web process there is; keeps what changed while there is none.

    A slow reader costs a bounded amount: a task or job that changes ten times before it is sent is sent once.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._child: Child | None = None
        self._answers: deque[Message] = deque()
        self._tasks: dict[str, Task] = {}
        self._jobs: dict[str, RunningJob] = {}
        self._ended_rows: dict[str, dict[str, Any]] = {}  # sent again to the next web process until they are stored
        self._unsent_rows: set[str] = set()
        self._readings = ReadingBuffer()
        self._remembered = RememberBuffer()
        self._faults: FaultRecord | None = None  # that is to be sent
        self._plugins: Message | None = None  # what is known of them
        self._plugins_unsent = False
        self._blocked = False

    # What happened

    def faults_changed(self, record: FaultRecord) -> None:
        """Send what is latched with the next flush."""
        self._faults = record

    def plugins_changed(self, message: Message) -> None:
        """Send what is known of the plugins with the next flush."""
        self._plugins, self._plugins_unsent = message, True

    def readings_came(self, readings: list[Any]) -> None:
        """Send these readings with the next flush, and keep them until they are stored."""
        self._readings.add(readings)

    def remember(self, experiment: str, values: Mapping[str, Any]) -> None:
        """Send what jobs want to be kept with the next flush, and keep it until it is stored."""
        self._remembered.add(experiment, values)

    def task_changed(self, task: Task) -> None:
        """Send this task's record with the next flush."""
        self._tasks[task.task_id] = task

    def job_changed(self, job: RunningJob) -> None:
        """Send this job's row and settings with the next flush."""
        self._jobs[job.request.job_id] = job

    def job_gone(self, job: RunningJob) -> None:
        """Send the job's last row with the next flush."""
        job_id = job.request.job_id
        self._jobs.pop(job_id, None)
        self._ended_rows[job_id] = job.row
        self._unsent_rows.add(job_id)
        while len(self._ended_rows) > MAX_UNSTORED_ROWS:
            oldest = next(iter(self._ended_rows))
            del self._ended_rows[oldest]
            self._unsent_rows.discard(oldest)

    # Who listens

    def connect(self, child: Child, desk: TaskDesk, jobs: JobDesk, faults: FaultDesk) -> None:
        """Talk to this web process from now on, and tell it everything first."""
        self._child, self._blocked = child, False
        self._answers.clear()
        self._tasks = {task.task_id: task for task in desk.tasks()}
        self._jobs = {job.request.job_id: job for job in jobs.jobs()}
        self._unsent_rows = set(self._ended_rows)
        self._readings.rewind()
        self._remembered.rewind()
        self._faults = faults.record
        self._plugins_unsent = True
        self._answers.append({"ev": "hello"})

    def disconnect(self) -> None:
        """Take note that the web process is gone."""
        self._child = None

    # Talking

    def handle(self, message: Message, desk: TaskDesk) -> None:
        """Carry out one message of the web process."""
        if message["op"] == "submit":
            self._answers.append({"re": message["seq"], **_answer(desk.submit, message)})
        elif message["op"] == "stored":
            desk.stored(message["tasks"])
            for job_id in message["jobs"]:
                self._ended_rows.pop(job_id, None)
            self._readings.acknowledged(message.get("readings", 0))
            self._remembered.acknowledged(message.get("remembered", 0))

    def clear_fault(self, message: Message, faults: FaultDesk) -> None:
        """Clear a fault for the web process, and answer with what it was."""
        try:
            answer: Message = {"fault": faults.clear(message["fault_id"]).to_dict()}
        except errors.UnitError as error:
            answer = {"error": error.to_dict()}
        self._answers.append({"re": message["seq"], **answer})

    def replier(self, message: Message) -> Callable[[Message], None]:
        """Return what answers this message of the web process, however late, unless that process is gone by then."""
        asked_by = self._child

        def reply(answer: Message) -> None:
            if self._child is asked_by:
                self._answers.append({"re": message["seq"], **answer})

        return reply

    def flush(self) -> None:
        """Send all there is to say, as far as the web process takes it now."""
        if self._child is None or self._blocked:
            return
        try:
            self._send_all(self._child)
        except BlockingIOError:
            self._blocked = True
            self._loop.watch_writable(self._child.channel, self._unblock)
        except ChannelClosed:
            self._child = None

    def _unblock(self) -> None:
        self._blocked = False
        if self._child is not None and self._child.listening:
            self._loop.watch_writable(self._child.channel, None)
            self.flush()

    def _send_all(self, child: Child) -> None:
        """Send what is remembered, then what is known, then jobs, then tasks, then answers.

        Whoever hears that a stop is complete finds no job, and who hears of a job's end can recall what it left.
        """
        while (remembered := self._remembered.message()) is not None:
            child.channel.send(remembered)
            self._remembered.sent(remembered)
        if self._faults is not None:
            child.channel.send({"ev": "faults", **self._faults.to_dict()})
            self._faults = None
        if self._plugins is not None and self._plugins_unsent:
            child.channel.send({"ev": "plugins", **self._plugins})
            self._plugins_unsent = False
        while self._jobs:
            job_id, job = next(iter(self._jobs.items()))
            child.channel.send({"ev": "job", **job.view()})
            del self._jobs[job_id]
        while self._unsent_rows:
            job_id = next(iter(self._unsent_rows))
            child.channel.send({"ev": "gone", "row": self._ended_rows[job_id]})
            self._unsent_rows.discard(job_id)
        while self._tasks:
            task_id, task = next(iter(self._tasks.items()))
            child.channel.send({"ev": "task", "task": task.record()})
            del self._tasks[task_id]
        while (readings := self._readings.message()) is not None:
            child.channel.send(readings)
            self._readings.sent(readings)
        while self._answers:
            child.channel.send(self._answers[0])
            self._answers.popleft()


def _answer(submit: Callable[[Mapping[str, Any]], Message], message: Message) -> Message:
    try:
        return submit(message)
    except errors.UnitError as error:
        return {"error": error.to_dict()}
