"""Forking: children are well-behaved, their last words are heard, and outputs are made safe however long it takes."""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from harness import DEADLINE_S

from reactor_unit import errors
from reactor_unit.channel import Channel, Message
from reactor_unit.clock import UnitClock
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.drivers.leases import LeaseTable
from reactor_unit.workers import safety
from reactor_unit.workers.children import Child, Exit, Nursery, TerminationGuard
from reactor_unit.workers.guardian import Guardian
from reactor_unit.workers.loop import Loop
from reactor_unit.workers.pool import Pool
from reactor_unit.workers.safety import Safety
from reactor_unit.workers.task_desk import Task, TaskDesk
from reactor_unit.workers.tasks import TaskContext, TaskFunction


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def nursery(loop: Loop) -> Iterator[Nursery]:
    nursery = Nursery(loop)
    yield nursery
    for child in nursery.children:
        child.signal(signal.SIGKILL)
    turn_until(loop, lambda: not nursery.children)


def turn_until(loop: Loop, condition: Callable[[], object]) -> None:
    """Turn the loop until the condition holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        tick = loop.call_later(0.05, lambda: None)
        loop.turn()
        tick.cancel()


class Ends:
    """Remembers what children said and how they ended."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.exits: list[Exit] = []

    def on_message(self, _child: Child, message: Message) -> None:
        assert not self.exits, "a message after the end"
        self.messages.append(message)

    def on_exit(self, _child: Child, how: Exit) -> None:
        self.exits.append(how)


def test_all_that_a_child_said_is_heard_before_its_end(loop: Loop, nursery: Nursery) -> None:
    def talk(channel: Channel) -> None:
        for number in range(100):
            channel.send({"n": number})
        os._exit(3)

    ends = Ends()
    nursery.fork("talker", talk, ends.on_exit, ends.on_message)
    turn_until(loop, lambda: ends.exits)
    assert [message["n"] for message in ends.messages] == list(range(100))
    assert str(ends.exits[0]) == "exited with code 3"


@pytest.mark.parametrize(
    "said",
    [b"no JSON", b"[1, 2]", b"\xff", b"@", b"[" * 30_000, b"9" * 5000],
    ids=["no JSON", "no object", "no UTF-8", "a file that is missing", "deep", "a long number"],
)
def test_a_child_that_speaks_nonsense_is_ended_and_nobody_else(loop: Loop, nursery: Nursery, said: bytes) -> None:
    def babble(channel: Channel) -> None:
        channel.send({"n": 1})
        os.write(channel.fileno(), said)
        channel.send({"n": 2})
        time.sleep(60)

    ends = Ends()
    nursery.fork("babbler", babble, ends.on_exit, ends.on_message)
    turn_until(loop, lambda: ends.exits)
    assert ends.messages == [{"n": 1}]
    assert str(ends.exits[0]) == "was killed by SIGKILL"


def test_a_child_that_closes_its_channel_does_not_spin_the_loop(loop: Loop, nursery: Nursery) -> None:
    def close_and_stay(channel: Channel) -> None:
        channel.close()
        signal.pause()

    ends = Ends()
    child = nursery.fork("quiet", close_and_stay, ends.on_exit)
    turn_until(loop, lambda: not child.listening)
    child.signal(signal.SIGKILL)
    turn_until(loop, lambda: ends.exits)
    assert str(ends.exits[0]) == "was killed by SIGKILL"


def test_a_child_has_a_group_of_its_own_in_our_session(loop: Loop, nursery: Nursery) -> None:
    def tell(channel: Channel) -> None:
        channel.send({"group": os.getpgid(0), "session": os.getsid(0), "pid": os.getpid()})

    ends = Ends()
    nursery.fork("child", tell, ends.on_exit, ends.on_message)
    turn_until(loop, lambda: ends.exits)
    (told,) = ends.messages
    assert told["group"] == told["pid"] != os.getpgid(0)
    assert told["session"] == os.getsid(0)


def test_a_child_has_its_channel_and_what_is_named_and_nothing_else(
    loop: Loop, nursery: Nursery, tmp_path: Path
) -> None:
    with open(tmp_path / "lock", "w"), open(tmp_path / "shared", "w") as shared:
        nursery.fork("sibling", lambda _channel: signal.pause(), lambda _child, _how: None)

        def tell(channel: Channel) -> None:
            listed = os.listdir("/proc/self/fd")  # with the listing's own, which is closed now
            still = [int(name) for name in listed if os.path.exists(f"/proc/self/fd/{name}")]
            channel.send({"open": still, "channel": channel.fileno()})

        ends = Ends()
        nursery.fork("child", tell, ends.on_exit, ends.on_message, keep=[shared.fileno()])
        turn_until(loop, lambda: ends.exits)
        (told,) = ends.messages
        assert set(told["open"]) - {0, 1, 2} == {shared.fileno(), told["channel"]}


@pytest.mark.parametrize("what", ["fork", "pidfd_open"])
def test_a_fork_that_fails_leaves_nothing_behind(
    loop: Loop, nursery: Nursery, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def refuse(*_args: object) -> int:
        raise OSError(11, "Resource temporarily unavailable")

    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, what, refuse)
    with pytest.raises(OSError, match="temporarily"):
        nursery.fork("child", lambda _channel: signal.pause(), lambda _child, _how: None)
    gc.collect()
    assert set(os.listdir("/proc/self/fd")) <= before
    assert not nursery.children
    assert not psutil.Process().children()


def test_a_child_that_breaks_down_says_so_in_the_log(loop: Loop, nursery: Nursery, tmp_path: Path) -> None:
    def break_down(_channel: Channel) -> None:
        logging.getLogger().addHandler(logging.FileHandler(tmp_path / "log"))
        raise ZeroDivisionError("division by zero")

    ends = Ends()
    nursery.fork("child", break_down, ends.on_exit)
    turn_until(loop, lambda: ends.exits)
    assert ends.exits[0].code == 1
    assert "ZeroDivisionError" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
def test_a_child_that_does_not_end_is_killed(loop: Loop, nursery: Nursery, stopped: bool) -> None:
    def ignore(channel: Channel) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        channel.send({"ready": True})
        while True:
            signal.pause()

    ends = Ends()
    child = nursery.fork("stubborn", ignore, ends.on_exit, ends.on_message)
    turn_until(loop, lambda: ends.messages)
    if stopped:
        child.signal(signal.SIGSTOP)
    child.end(loop, 0.1)
    turn_until(loop, lambda: ends.exits)
    assert ends.exits[0].code == -signal.SIGKILL


def test_a_guard_ends_a_process_that_does_not_end_itself(loop: Loop, nursery: Nursery, tmp_path: Path) -> None:
    def hang(channel: Channel) -> None:
        TerminationGuard(lambda: None, lambda: channel.send({"last": "resort"}), 1.0)
        channel.send({"ready": True})
        while True:
            pass

    ends = Ends()
    child = nursery.fork("hanging", hang, ends.on_exit, ends.on_message)
    turn_until(loop, lambda: ends.messages)
    child.signal(signal.SIGHUP)
    turn_until(loop, lambda: ends.exits)
    assert ends.messages[-1] == {"last": "resort"}
    assert ends.exits[0].code == 1


@pytest.mark.parametrize("trouble", ["hangs", "fails"])
def test_outputs_are_made_safe_at_the_next_try(
    loop: Loop, nursery: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setattr(safety, "RETRY_AFTER_S", 0.01)
    monkeypatch.setattr(safety, "DEADLINE_S", 1.5)  # enough for the second try, however busy the machine is
    tried, low = tmp_path / "tried", tmp_path / "low"

    def drive_safe(pins: object) -> None:
        if tried.exists():
            low.write_text(repr(pins))
            return
        tried.touch()
        if trouble == "fails":
            os._exit(1)
        signal.pause()

    done: list[bool] = []
    failures: list[str] = []
    Safety(loop, nursery, drive_safe).make_safe({"GPIO 17"}, lambda: done.append(True), failures.append)
    turn_until(loop, lambda: done)
    assert low.read_text() == repr({"GPIO 17"})
    assert len(failures) == 1
    assert done == [True]


def test_a_machine_that_is_too_busy_for_a_try_gets_longer_ones(
    loop: Loop, nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "RETRY_AFTER_S", 0.01)
    monkeypatch.setattr(safety, "DEADLINE_S", 0.05)
    done: list[bool] = []
    Safety(loop, nursery, lambda _outputs: time.sleep(0.3)).make_safe({"GPIO 17"}, lambda: done.append(True))
    turn_until(loop, lambda: done)


def pid_of_worker(_context: TaskContext) -> int:
    return os.getpid()


def no_hardware(_holder: str) -> Hardware:
    raise AssertionError("no task here needs it")


class Records:
    """Submits tasks to a pool and collects what becomes of them."""

    def __init__(self, loop: Loop, nursery: Nursery, **limits: float) -> None:
        self.ended: list[Task] = []
        self.loop = loop
        self.desk = TaskDesk(self._note)
        functions = {"pid": TaskFunction("pid", pid_of_worker)}
        guardian = Guardian(loop, nursery, Safety(loop, nursery, lambda _outputs: None), LeaseTable())
        self.pool = Pool(loop, nursery, self.desk, guardian, functions, 2, no_hardware, UnitClock(), **limits)  # type: ignore[arg-type]

    def _note(self, task: Task) -> None:
        if task.ended:
            self.ended.append(task)

    def pid(self) -> int:
        before = len(self.ended)
        self.desk.submit({"name": "pid", "args": {}})
        turn_until(self.loop, lambda: len(self.ended) > before)
        return int(self.ended[-1].result)


def test_a_worker_is_used_again_and_replaced_after_its_share(loop: Loop, nursery: Nursery) -> None:
    records = Records(loop, nursery, tasks_per_worker=2)
    first, second, third = records.pid(), records.pid(), records.pid()
    assert first == second != third


def test_a_worker_without_work_ends(loop: Loop, nursery: Nursery) -> None:
    records = Records(loop, nursery, idle_s=0.05)
    pid = records.pid()
    turn_until(loop, lambda: not nursery.children)
    assert records.pid() != pid


def test_a_stopped_pool_fails_what_waits_and_says_when_it_is_empty(loop: Loop, nursery: Nursery) -> None:
    records = Records(loop, nursery)
    for _ in range(3):
        records.desk.submit({"name": "pid", "args": {}})
    empty: list[bool] = []
    records.pool.stop(errors.Unavailable("The unit is shutting down."), lambda: empty.append(True))
    turn_until(loop, lambda: empty)
    assert not nursery.children
    assert {str(task.error) for task in records.ended} == {"The unit is shutting down."}
    assert len(records.ended) == 3
