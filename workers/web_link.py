"""The supervisor's line to the web process: answers in order, and what changed since the last word."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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


@dataclass(eq=False)
class _Line:
    """What one web process is still to be told."""

    child: Child
    faults: FaultRecord | None
    plugins: Message | None
    tasks: dict[str, Task]
    jobs: dict[str, RunningJob]
    ended_rows: dict[str, dict[str, Any]]
    answers: deque[Message] = field(default_factory=deque)
    blocked: bool = False


class WebLink:
    """Sends state and answers to the web process there is; keeps what changed while there is none.

    A slow reader costs a bounded amount: a task or job that changes ten times before it is sent is sent once. While a
    web process takes over from another one, the former is told everything, too, but what it would have to write.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._lines: list[_Line] = []  # the newest, which writes, comes last
        self._writer: _Line | None = None
        self._ended_rows: dict[str, dict[str, Any]] = {}  # sent again to the next web process until they are stored
        self._readings = ReadingBuffer()
        self._remembered = RememberBuffer()
        self._plugins: Message | None = None  # what is known of them

    # What happened

    def faults_changed(self, record: FaultRecord) -> None:
        """Send what is latched with the next flush."""
        for line in self._lines:
            line.faults = record

    def plugins_changed(self, message: Message) -> None:
        """Send what is known of the plugins with the next flush."""
        self._plugins = message
        for line in self._lines:
            line.plugins = message

    def readings_came(self, readings: list[Any]) -> None:
        """Send these readings with the next flush, and keep them until they are stored."""
        self._readings.add(readings)

    def remember(self, experiment: str, values: Mapping[str, Any]) -> None:
        """Send what jobs want to be kept with the next flush, and keep it until it is stored."""
        self._remembered.add(experiment, values)

    def task_changed(self, task: Task) -> None:
        """Send this task's record with the next flush."""
        for line in self._lines:
            line.tasks[task.task_id] = task

    def job_changed(self, job: RunningJob) -> None:
        """Send this job's row and settings with the next flush."""
        for line in self._lines:
            line.jobs[job.request.job_id] = job

    def job_gone(self, job: RunningJob) -> None:
        """Send the job's last row with the next flush."""
        job_id = job.request.job_id
        self._ended_rows[job_id] = job.row
        for line in self._lines:
            line.jobs.pop(job_id, None)
            line.ended_rows[job_id] = job.row
        for rows in (self._ended_rows, *(line.ended_rows for line in self._lines)):
            while len(rows) > MAX_UNSTORED_ROWS:
                del rows[next(iter(rows))]

    # Who listens

    def connect(self, child: Child, desk: TaskDesk, jobs: JobDesk, faults: FaultDesk) -> None:
        """Talk to this web process from now on, and tell it everything first."""
        line = _Line(
            child,
            faults.record,
            self._plugins,
            tasks={task.task_id: task for task in desk.tasks()},
            jobs={job.request.job_id: job for job in jobs.jobs()},
            ended_rows=dict(self._ended_rows),
        )
        line.answers.append({"ev": "hello"})
        self._lines.append(line)
        self._writer = line
        self._readings.rewind()
        self._remembered.rewind()

    def disconnect(self, child: Child) -> None:
        """Take note that this web process is gone."""
        self._lines = [line for line in self._lines if line.child is not child]
        if self._writer is not None and self._writer.child is child:
            self._writer = None

    def tell(self, child: Child, message: Message) -> None:
        """Send this web process a message, after what it is to be told before."""
        for line in self._lines:
            if line.child is child:
                line.answers.append(message)

    # Talking

    def handle(self, child: Child, message: Message, desk: TaskDesk) -> None:
        """Carry out one message of a web process."""
        if message["op"] == "submit":
            self.tell(child, {"re": message["seq"], **_answer(desk.submit, message)})
        elif message["op"] == "ping":
            self.tell(child, {"re": message["seq"]})
        elif message["op"] == "stored":
            desk.stored(message["tasks"])
            for job_id in message["jobs"]:
                self._ended_rows.pop(job_id, None)
            self._readings.acknowledged(message.get("readings", 0))
            self._remembered.acknowledged(message.get("remembered", 0))

    def clear_fault(self, child: Child, message: Message, faults: FaultDesk) -> None:
        """Clear a fault for a web process, and answer with what it was."""
        try:
            answer: Message = {"fault": faults.clear(message["fault_id"]).to_dict()}
        except errors.UnitError as error:
            answer = {"error": error.to_dict()}
        self.tell(child, {"re": message["seq"], **answer})

    def replier(self, child: Child, message: Message) -> Callable[[Message], None]:
        """Return what answers this message of a web process, however late, unless that process is gone by then."""
        return lambda answer: self.tell(child, {"re": message["seq"], **answer})

    def flush(self) -> None:
        """Send all there is to say, as far as each web process takes it now."""
        for line in list(self._lines):
            if not line.blocked:
                self._flush_line(line)

    def _flush_line(self, line: _Line) -> None:
        try:
            self._send_all(line)
        except BlockingIOError:
            line.blocked = True
            self._loop.watch_writable(line.child.channel, lambda: self._unblock(line))
        except ChannelClosed:
            self.disconnect(line.child)

    def _unblock(self, line: _Line) -> None:
        line.blocked = False
        if line in self._lines and line.child.listening:
            self._loop.watch_writable(line.child.channel, None)
            self._flush_line(line)

    def _send_all(self, line: _Line) -> None:
        """Send what is remembered, then what is known, then jobs, then tasks, then answers.

        Whoever hears that a stop is complete finds no job, and who hears of a job's end can recall what it left.
        """
        channel = line.child.channel
        while line is self._writer and (remembered := self._remembered.message()) is not None:
            channel.send(remembered)
            self._remembered.sent(remembered)
        if line.faults is not None:
            channel.send({"ev": "faults", **line.faults.to_dict()})
            line.faults = None
        if line.plugins is not None:
            channel.send({"ev": "plugins", **line.plugins})
            line.plugins = None
        while line.jobs:
            job_id, job = next(iter(line.jobs.items()))
            channel.send({"ev": "job", **job.view()})
            del line.jobs[job_id]
        while line.ended_rows:
            job_id, row = next(iter(line.ended_rows.items()))
            channel.send({"ev": "gone", "row": row})
            del line.ended_rows[job_id]
        while line.tasks:
            task_id, task = next(iter(line.tasks.items()))
            channel.send({"ev": "task", "task": task.record()})
            del line.tasks[task_id]
        while line is self._writer and (readings := self._readings.message()) is not None:
            channel.send(readings)
            self._readings.sent(readings)
        while line.answers:
            channel.send(line.answers[0])
            line.answers.popleft()


def _answer(submit: Callable[[Mapping[str, Any]], Message], message: Message) -> Message:
    try:
        return submit(message)
    except errors.UnitError as error:
        return {"error": error.to_dict()}
