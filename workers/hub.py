"""The unit's local hub: what jobs publish goes to the jobs that subscribe to it. And the line to each job."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from reactor_unit.channel import ChannelClosed, Message
from reactor_unit.job_spec import JobSpec
from reactor_unit.workers.children import Child
from reactor_unit.workers.loop import Loop

STATE = "$state"
MAX_REQUESTS = 16  # that wait for a job which does not listen; more than anybody still waits for an answer to


class JobLine:
    """What the supervisor says to one job, sent as far as the job takes it now.

    A job that does not listen costs a bounded amount: of the values it is to hear only the newest of each setting
    waits, and of requests the newest few.
    """

    def __init__(self, loop: Loop, child: Child) -> None:
        self._loop = loop
        self._child = child
        self._requests: deque[Message] = deque(maxlen=MAX_REQUESTS)
        self._values: dict[tuple[str, str], Any] = {}
        self._blocked = False

    def request(self, message: Message) -> None:
        """Send this message, after the requests before it."""
        self._requests.append(message)
        self._flush()

    def value(self, job_name: str, setting: str, value: Any) -> None:
        """Let the job hear a value; a newer one takes the place of one that has not been sent."""
        self._values.pop((job_name, setting), None)  # so that it comes after what was published before it
        self._values[(job_name, setting)] = value
        self._flush()

    def _flush(self) -> None:
        if self._blocked or not self._child.listening:
            return
        try:
            while self._requests:
                self._child.channel.send(self._requests[0])
                self._requests.popleft()
            while self._values:
                (job_name, setting), value = next(iter(self._values.items()))
                self._child.channel.send({"heard": {"job": job_name, "setting": setting, "value": value}})
                del self._values[(job_name, setting)]
        except BlockingIOError:
            self._blocked = True
            self._loop.watch_writable(self._child.channel, self._unblock)
        except ChannelClosed:
            self._requests.clear()
            self._values.clear()

    def _unblock(self) -> None:
        self._blocked = False
        if self._child.listening:
            self._loop.watch_writable(self._child.channel, None)
            self._flush()


class Hub:
    """Forwards the values that jobs publish, by job name and setting.

    Who subscribes to a setting also hears the job's `$state`, the last of them `disconnected` or `lost`.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._lines: dict[str, JobLine] = {}
        self._specs: dict[str, JobSpec] = {}
        self._current: dict[str, dict[str, Any]] = {}

    def join(self, spec: JobSpec, child: Child) -> JobLine:
        """Take in a job that starts, and tell it the values there are; return the line to it."""
        line = self._lines[spec.name] = JobLine(self._loop, child)
        self._specs[spec.name] = spec
        self._current[spec.name] = {}
        for publisher in {name: None for name, _ in spec.subscribes}:
            for setting, value in self._current.get(publisher, {}).items():
                if _wants(spec, publisher, setting):
                    line.value(publisher, setting, value)
        return line

    def publish(self, job_name: str, values: Mapping[str, Any]) -> None:
        """Forward values to every subscriber; None takes a setting away."""
        current = self._current[job_name]
        for setting, value in values.items():
            if value is None:
                current.pop(setting, None)
            else:
                current[setting] = value
            for name, line in self._lines.items():
                if _wants(self._specs[name], job_name, setting):
                    line.value(job_name, setting, value)

    def leave(self, job_name: str, state: str) -> None:
        """Take note that a job is gone, and how it ended."""
        self._lines.pop(job_name, None)
        self._specs.pop(job_name, None)
        if job_name in self._current:
            self.publish(job_name, {STATE: state})
            del self._current[job_name]


def _wants(spec: JobSpec, publisher: str, setting: str) -> bool:
    return (publisher, setting) in spec.subscribes or (
        setting == STATE and any(name == publisher for name, _ in spec.subscribes)
    )
