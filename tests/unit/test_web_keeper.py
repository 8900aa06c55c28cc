"""The web process: started again when it dies, replaced when asked, killed when it hangs."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest

from reactor_unit.channel import Message
from reactor_unit.workers import web_keeper
from reactor_unit.workers.children import Child, Exit, Nursery
from reactor_unit.workers.loop import Loop
from reactor_unit.workers.task_desk import TaskDesk
from reactor_unit.workers.web_keeper import WebKeeper
from reactor_unit.workers.web_link import WebLink


class FakeChild:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.signals: list[int] = []
        self.ending = False

    def signal(self, number: int) -> None:
        self.signals.append(number)

    def end(self, _loop: Loop, _grace_s: float) -> None:
        self.ending = True


class World:
    """A keeper whose children and time are the test's."""

    def __init__(self) -> None:
        self.now = 0.0
        self.loop = Loop(lambda: self.now)
        self.children: list[FakeChild] = []
        self.told: list[tuple[FakeChild, Message]] = []
        self.connected: list[Any] = []
        self.fails = 0
        self.desk = TaskDesk(lambda _task: None)
        self.listener = socket.socket()
        self.keeper = WebKeeper(
            self.loop,
            cast(Nursery, self),
            self.desk,
            cast(WebLink, self),
            lambda _channel, _listener: None,
            self.listener,
            self.connected.append,
            lambda _child, _message: None,
        )

    # what the keeper asks of the nursery and the link

    def fork(self, _name: str, _main: Any, on_exit: Any, on_message: Any, keep: Any) -> Child:
        if self.fails:
            self.fails -= 1
            raise OSError("no memory")
        self.on_exit, self.on_message = on_exit, on_message
        self.children.append(FakeChild(100 + len(self.children)))
        return cast(Child, self.children[-1])

    def tell(self, child: Any, message: Message) -> None:
        self.told.append((child, message))

    def disconnect(self, _child: Any) -> None:
        pass

    def flush(self) -> None:
        pass

    # what happens

    def says(self, child: FakeChild, op: str) -> None:
        self.on_message(child, {"op": op})

    def dies(self, child: FakeChild, code: int = -9) -> None:
        self.on_exit(child, Exit(code))

    def after(self, seconds: float) -> None:
        """Let time pass, a tenth of a second at a time."""
        until = self.now + seconds
        self.loop.call_later(0, lambda: None)
        while self.now < until:
            self.now += 0.1
            self.loop.call_later(0, lambda: None)  # so that a turn never waits
            self.loop.turn()

    def restart(self) -> str:
        return str(self.desk.submit({"name": "restart_web", "args": {}, "lock": "l"})["task"]["task_id"])

    def record(self, task_id: str) -> Message:
        return next(task.record() for task in self.desk.tasks() if task.task_id == task_id)


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.keeper.start_once()
    yield world
    world.listener.close()


def test_one_that_dies_again_and_again_is_started_ever_more_slowly(world: World) -> None:
    for deaths in range(1, 5):
        world.dies(world.children[-1])
        world.after(1.1)
        assert len(world.children) == deaths + 1
    world.dies(world.children[-1])
    world.after(1.5)
    assert len(world.children) == 5
    world.after(1.0)
    assert len(world.children) == 6


def test_a_restart_is_complete_when_the_new_one_serves(world: World) -> None:
    old = world.children[0]
    task = world.restart()
    assert world.told[-1] == (old, {"ev": "retire"})
    assert len(world.children) == 1  # it still has things to write
    world.says(old, "retired")
    new = world.children[1]
    assert world.connected[-1] is new
    assert world.record(task)["status"] == "in_progress"
    world.says(new, "serving")
    assert world.record(task)["result"] == {"pid": new.pid, "previous_pid": old.pid}
    world.dies(old, 0)
    world.after(10)
    assert len(world.children) == 2  # its end is no death


def test_one_that_does_not_retire_is_killed_and_the_restart_completes_all_the_same(world: World) -> None:
    old = world.children[0]
    task = world.restart()
    world.after(web_keeper.RETIRED_WITHIN_S + 0.2)
    assert old.signals == [signal.SIGKILL]
    world.dies(old)
    world.says(world.children[1], "serving")
    assert world.record(task)["result"]["pid"] == world.children[1].pid


def test_a_new_one_that_dies_before_it_serves_is_not_started_in_a_hot_loop(world: World) -> None:
    task = world.restart()
    world.says(world.children[0], "retired")
    for _ in range(4):
        world.dies(world.children[-1])
        world.after(0.01)
    started = len(world.children)
    assert started < 6
    world.after(5)
    world.says(world.children[-1], "serving")
    assert world.record(task)["status"] == "complete"


def test_a_restart_while_there_is_none_waits_for_the_next(world: World) -> None:
    world.dies(world.children[0])
    task = world.restart()
    world.after(0.2)
    world.says(world.children[1], "serving")
    assert world.record(task)["result"] == {"pid": world.children[1].pid, "previous_pid": None}


def test_one_that_hangs_is_killed_and_replaced(world: World) -> None:
    world.after(web_keeper.LIFE_EVERY_S + 0.2)
    assert world.told[-1] == (world.children[0], {"ev": "alive"})
    world.says(world.children[0], "alive")
    world.after(web_keeper.LIFE_EVERY_S)
    assert world.children[0].signals == []  # it answered
    world.after(web_keeper.LIFE_EVERY_S)
    assert world.children[0].signals == [signal.SIGKILL]
    world.dies(world.children[0])
    world.after(0.2)
    assert len(world.children) == 2


def test_one_that_finishes_what_it_has_need_show_no_life_but_not_for_ever(world: World) -> None:
    old = world.children[0]
    world.restart()
    world.says(old, "retired")
    for _ in range(10):
        world.after(web_keeper.LIFE_EVERY_S)
        world.says(world.children[1], "alive")
    assert old.signals == []
    world.after(web_keeper.FINISHED_WITHIN_S)
    assert signal.SIGKILL in old.signals


def test_a_system_that_cannot_fork_is_tried_again(world: World) -> None:
    world.fails = 2
    world.dies(world.children[0])
    world.after(3)
    assert len(world.children) == 2


def test_the_end_waits_for_all_and_starts_none(world: World) -> None:
    ended: list[bool] = []
    old = world.children[0]
    world.restart()
    world.says(old, "retired")
    world.keeper.end(lambda: ended.append(True))
    assert all(child.ending for child in world.children)
    world.dies(world.children[1], 0)
    assert ended == []
    world.dies(old, 0)
    world.after(10)
    assert ended == [True]
    assert len(world.children) == 2
