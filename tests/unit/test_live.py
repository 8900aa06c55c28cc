"""What reaches a job while it waits: values of others, changes of its settings, sleep, and a stop that goes first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
from harness import DEADLINE_S

from reactor_unit import errors
from reactor_unit.channel import Channel, Message, channel_pair
from reactor_unit.clock import UnitClock, boot_clock
from reactor_unit.drivers.leases import LeaseTable
from reactor_unit.job_spec import JobSpec, Setting
from reactor_unit.series import Series
from reactor_unit.workers import job as job_module
from reactor_unit.workers.job import Job, JobRuntime, StopRequested
from reactor_unit.workers.job_desk import JobRequest
from reactor_unit.workers.jobs import JOBS
from reactor_unit.workers.live import Asleep, Finished, Mailbox

SPEC = JobSpec(
    "stirring", "Stir.", settings=(Setting("target_rpm", "float", settable=True, series=Series("target_rpm")),)
)
REQUEST = JobRequest("7", "stirring", {}, {}, [], "E1", "user")


class Recording(Job):
    """Writes down what it is told."""

    spec = SPEC
    interval_s = 1000.0  # type: ignore[assignment]

    def __init__(self, runtime: JobRuntime) -> None:
        self.runtime = runtime
        self.told: list[Any] = []
        self.set_waits_s = 0.0
        self.set_raises: Exception | None = None

    def start(self) -> float:
        return 1000.0

    def tick(self) -> None:
        self.told.append("tick")

    def close(self) -> None:
        self.told.append("close")

    def hear(self, job_name: str, setting: str, value: Any) -> None:
        self.told.append((job_name, setting, value))

    def set_target_rpm(self, value: float) -> None:
        self.told.append(value)
        self.runtime.wait(self.set_waits_s)
        if self.set_raises is not None:
            raise self.set_raises
        self.runtime.publish({"target_rpm": min(value, 1000.0)})
        self.runtime.schedule.bring_forward(self.runtime.clock())

    def sleep(self) -> None:
        self.told.append("sleep")
        self.runtime.wait(0.01)

    def wake(self) -> None:
        self.told.append("wake")
        self.runtime.wait(0.01)


class World:
    def __init__(self) -> None:
        self.supervisor, theirs = channel_pair(first_blocking=True)
        self.theirs = theirs
        self.runtime = JobRuntime(theirs, REQUEST, SPEC, LeaseTable(), UnitClock(real_time=lambda: 60.0))
        assert self.supervisor.receive() == {"lease": True}
        self.job = Recording(self.runtime)
        self.runtime.mailbox = Mailbox(self.job)

    def set(self, name: str, value: Any, number: int = 1, *, within_s: float = 2 * DEADLINE_S) -> None:
        self.supervisor.send({"set": {name: value}, "seq": number, "deadline": boot_clock() + within_s})

    def said(self) -> list[Message]:
        """Return all that the job has said."""
        cast(Channel, self.supervisor)._socket.setblocking(False)
        found = []
        try:
            while True:
                found.append(self.supervisor.receive())
        except BlockingIOError:
            return found
        finally:
            self.supervisor._socket.setblocking(True)


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.runtime.close()
    world.supervisor.close()
    world.theirs.close()


def test_a_job_hears_others_while_it_waits(world: World) -> None:
    for value in (1, None):
        world.supervisor.send({"heard": {"job": "od_reading", "setting": "ods", "value": value}})
    world.runtime.wait(0.01)
    assert world.job.told == [("od_reading", "ods", 1), ("od_reading", "ods", None)]


def test_a_setting_is_changed_in_a_wait_and_the_value_in_force_is_the_answer(world: World) -> None:
    world.set("target_rpm", 1200.0, 9)
    world.runtime.wait(0.01)
    assert world.said() == [
        {"settings": {"target_rpm": 1000.0}, "readings": [[60.0, "target_rpm", 1000.0]]},
        {"re": 9, "value": 1000.0},
    ]


def test_a_change_whose_sender_gave_up_is_not_made(world: World) -> None:
    world.set("target_rpm", 1200.0, within_s=-1.0)
    world.runtime.wait(0.01)
    assert world.job.told == []


@pytest.mark.parametrize("kind", [errors.Conflict, errors.InvalidRequest])
def test_a_refusal_is_the_answer_and_the_job_goes_on(world: World, kind: type[errors.UnitError]) -> None:
    world.job.set_raises = kind("No.")
    world.set("target_rpm", 5.0, 9)
    world.runtime.wait(0.01)
    (answer,) = world.said()
    assert (answer["re"], answer["error"]["type"]) == (9, kind.__name__)


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), errors.HardwareFault("No answer.")])
def test_an_error_of_the_job_itself_is_answered_and_ends_it(world: World, error: Exception) -> None:
    world.job.set_raises = error
    world.set("target_rpm", 5.0, 9)
    with pytest.raises(type(error)):
        world.runtime.wait(0.01)
    (answer,) = world.said()
    assert answer["re"] == 9
    assert answer["error"]["message"]


def test_a_stop_goes_before_a_change_that_came_earlier(world: World) -> None:
    world.set("target_rpm", 5.0)
    world.supervisor.send({"stop": True})
    with pytest.raises(StopRequested):
        world.runtime.wait(2 * DEADLINE_S)
    assert world.job.told == []


def test_a_stop_breaks_off_a_change_that_waits(world: World) -> None:
    world.job.set_waits_s = 2 * DEADLINE_S
    world.set("target_rpm", 5.0)
    timer = threading.Timer(0.05, world.supervisor.send, [{"stop": True}])
    timer.start()
    with pytest.raises(StopRequested):
        world.runtime.wait(2 * DEADLINE_S)
    timer.join()
    assert world.said() == []


def test_changes_are_made_one_after_the_other(world: World) -> None:
    world.job.set_waits_s = 0.01
    for number, value in enumerate((5.0, 6.0), 1):
        world.set("target_rpm", value, number)
    world.runtime.wait(0.5)
    assert [message["re"] for message in world.said() if "re" in message] == [1, 2]
    assert world.job.told == [5.0, 6.0]


def test_a_job_without_a_mailbox_yet_is_not_disturbed(world: World) -> None:
    world.runtime.mailbox = None
    world.set("target_rpm", 5.0)
    world.runtime.wait(0.01)
    assert world.job.told == []


# The life of a job


class Life:
    """`_live` of a job in a thread of the test, asked as the supervisor does."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.runtime.set_state("init")
        self.ended_by: BaseException | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert self.until("state") == "ready"

    def _run(self) -> None:
        try:
            job_module._live(self.world.job)
        except BaseException as ex:
            self.ended_by = ex

    def until(self, kind: str) -> Any:
        while True:
            message = self.world.supervisor.receive()
            if kind in message:
                value = message[kind]
                if value != "init":
                    return value

    def answer(self, name: str, value: Any) -> Any:
        self.world.set(name, value, 5)
        while True:
            message = self.world.supervisor.receive()
            if "re" in message:
                return message.get("value", message.get("error", {}).get("type"))

    def stop(self) -> None:
        self.world.supervisor.send({"stop": True})
        self.thread.join(DEADLINE_S)
        assert isinstance(self.ended_by, StopRequested)


@pytest.fixture
def life(world: World) -> Iterator[Life]:
    life = Life(world)
    yield life
    life.stop()


def test_a_job_sleeps_takes_settings_asleep_and_wakes(life: Life) -> None:
    told = life.world.job.told
    assert life.answer("$state", "sleeping") == "sleeping"
    assert life.world.runtime.state == "sleeping"
    assert life.answer("target_rpm", 20.0) == 20.0
    assert life.answer("$state", "sleeping") == "sleeping"
    assert told == ["sleep", 20.0]  # and no tick, although the change asked for one
    assert life.answer("$state", "ready") == "ready"
    assert life.answer("$state", "ready") == "ready"
    assert told[:3] == ["sleep", 20.0, "wake"]


def test_a_change_may_bring_the_next_tick_forward(life: Life) -> None:
    assert life.answer("target_rpm", 20.0) == 20.0
    assert life.answer("$state", "ready") == "ready"  # after which the tick has been
    assert life.world.job.told == [20.0, "tick"]


def test_a_stop_ends_a_sleeping_job(life: Life) -> None:
    assert life.answer("$state", "sleeping") == "sleeping"
    life.stop()
    assert life.world.job.told == ["sleep", "close"]
    life.thread = threading.Thread(target=lambda: None)
    life.thread.start()


def test_sleep_breaks_off_a_tick(world: World) -> None:
    entered = threading.Event()

    def long_tick() -> None:
        entered.set()
        world.runtime.wait(30)
        world.job.told.append("end of tick")

    world.job.tick = long_tick  # type: ignore[method-assign]
    world.job.start = lambda: 0.0  # type: ignore[method-assign]
    life = Life(world)
    assert entered.wait(DEADLINE_S)
    assert life.answer("$state", "sleeping") == "sleeping"
    assert world.job.told == ["sleep"]
    life.stop()


def test_a_job_puts_itself_to_sleep_and_is_woken(world: World) -> None:
    def tick() -> None:
        raise Asleep

    world.job.tick = tick  # type: ignore[method-assign]
    world.job.start = lambda: 0.0  # type: ignore[method-assign]
    life = Life(world)
    assert life.until("state") == "sleeping"
    assert life.answer("$state", "ready") == "ready"
    assert world.job.told == ["sleep", "wake"]
    life.stop()


def test_a_job_that_is_not_ready_cannot_sleep(world: World) -> None:
    world.runtime.set_state("init")
    world.set("$state", "sleeping", 9)
    world.runtime.wait(0.01)
    assert world.said()[-1]["error"]["type"] == "Conflict"


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_every_settable_setting_has_its_method_and_a_type_that_can_be_set(job: type[Job]) -> None:
    own = {setting.name for setting in job.spec.settings}
    takes_any = job.change_setting is not Job.change_setting  # those of its automations
    for setting in job.spec.every_setting():
        if setting.settable:
            assert callable(getattr(job, f"set_{setting.name}", None)) or (takes_any and setting.name not in own)
            assert setting.datatype in ("float", "integer", "boolean", "string", "text", "json")


@pytest.mark.parametrize(
    ("raised", "answer", "ends"),
    [
        (None, None, False),
        (errors.Conflict("No."), "Conflict", False),
        (errors.HardwareFault("No answer."), "HardwareFault", True),
        (Finished(), None, True),
    ],
    ids=["taken", "refused", "an error of the job", "finished"],
)
def test_a_further_run_request_is_answered(
    world: World, raised: Exception | None, answer: str | None, ends: bool
) -> None:
    def run_again(options: Any) -> None:
        world.job.told.append(options)
        if raised is not None:
            raise raised

    world.job.run_again = run_again  # type: ignore[method-assign]
    world.supervisor.send({"again": {"B": 50.0}, "seq": 3})
    if ends:
        with pytest.raises(type(cast(Exception, raised))):
            world.runtime.wait(0.01)
    else:
        world.runtime.wait(0.01)
    assert world.job.told == [{"B": 50.0}]
    (said,) = world.said()
    assert said["joined"] == 3
    assert (said["error"]["type"] if answer else said.get("error")) == answer
