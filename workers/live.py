"""What reaches a running job from outside: values of other jobs, changes of its settings, sleep and waking."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from reactor_unit import errors
from reactor_unit.channel import Message
from reactor_unit.clock import boot_clock
from reactor_unit.job_spec import to_text

if TYPE_CHECKING:
    from reactor_unit.workers.job import Job

log = logging.getLogger(__name__)

MAX_SHOWN = 40  # characters of a value in the log


class Asleep(BaseException):
    """The job is to sleep; not an Exception, so that it leaves a tick as a stop does. `number` is to be answered.

    A job that raises it in a tick puts itself to sleep.
    """

    def __init__(self, number: int | None = None) -> None:
        super().__init__()
        self.number = number


class Awake(BaseException):
    """The sleeping job is to go on."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Finished(Exception):
    """Raised by a job that has done what it was to do, and ends."""


class Mailbox:
    """Carries out messages for one job, in the job's own thread.

    Raises Asleep and Awake, and whatever a job raises: an error that the request is to blame for is answered and the
    job goes on; any other is answered too, and ends the job.
    """

    def __init__(self, job: Job) -> None:
        self._job = job

    def handle(self, message: Message) -> None:
        """Carry out one message."""
        if "heard" in message:
            heard = message["heard"]
            self._job.hear(heard["job"], heard["setting"], heard["value"])
        elif "set" in message and boot_clock() < message["deadline"]:  # later its sender was told that it failed
            ((setting, value),) = message["set"].items()
            try:
                self._set(setting, value, message["seq"])
            except errors.UnitError as ex:
                self._refuse(message["seq"], ex)
                if not isinstance(ex, errors.InvalidRequest | errors.Conflict):
                    raise
            except Exception as ex:
                self._refuse(message["seq"], errors.from_exception(ex))
                raise
        elif "again" in message:
            self._run_again(message["again"], message["seq"])

    def _run_again(self, options: dict[str, Any], number: int) -> None:
        """Let the job take a further run request, and say how that went."""
        tell = self._job.runtime.tell
        try:
            self._job.run_again(options)
        except (errors.InvalidRequest, errors.Conflict) as ex:
            tell({"joined": number, "error": ex.to_dict()})
        except Finished:
            tell({"joined": number})
            raise
        except Exception as ex:
            tell({"joined": number, "error": errors.from_exception(ex).to_dict()})
            raise
        else:
            tell({"joined": number})

    def answer(self, number: int, value: Any) -> None:
        """Say which value is in force."""
        self._job.runtime.tell({"re": number, "value": value})

    def _refuse(self, number: int, error: errors.UnitError) -> None:
        self._job.runtime.tell({"re": number, "error": error.to_dict()})

    def _set(self, setting: str, value: Any, number: int) -> None:
        if setting == "$state":
            self._set_state(value, number)
            return
        runtime = self._job.runtime
        known = self._job.spec.setting(setting)
        if known is None or not known.settable:
            raise errors.Conflict(
                f"This job has no setting {setting} that can be set: its plugin has changed since it started.",
                remediation="Stop it, and start it again.",
            )
        before = runtime.published.get(setting)
        self._job.change_setting(setting, value)
        after = runtime.published.get(setting)
        log.info("%s changed from %s to %s.", setting, _shown(before), _shown(after))
        self.answer(number, after)

    def _set_state(self, state: str, number: int) -> None:
        current = self._job.runtime.state
        if state == current:
            self.answer(number, current)
        elif (current, state) == ("ready", "sleeping"):
            raise Asleep(number)
        elif (current, state) == ("sleeping", "ready"):
            raise Awake(number)
        else:
            raise errors.Conflict(f"A job that is {current} cannot be set {state}.")


def _shown(value: Any) -> str:
    text = "nothing" if value is None else to_text(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
