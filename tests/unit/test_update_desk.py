"""Which processes an update has, and that none of them outlives the unit that makes way."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, cast

from reactor_unit.workers.children import Exit, Nursery
from reactor_unit.workers.loop import Loop
from reactor_unit.workers.task_desk import TaskDesk
from reactor_unit.workers.update_desk import UpdateDesk, Updater

RECORD = {"id": "first", "accepted_at": "2026-01-31T12:00:00Z", "accepted_stamp": 1.0}


class FakeChild:
    def __init__(self, on_exit: Callable[[Any, Exit], None], on_message: Callable[[Any, Any], None]) -> None:
        self.pid = 1
        self.signals: list[int] = []
        self._on_exit, self._on_message = on_exit, on_message

    def signal(self, number: int) -> None:
        self.signals.append(number)

    def say(self, **message: Any) -> None:
        self._on_message(self, message)

    def exit(self) -> None:
        self._on_exit(self, Exit(0))


class World:
    def __init__(self) -> None:
        self.children: list[FakeChild] = []
        self.ended: list[str] = []
        self.desk = TaskDesk(lambda _task: None)
        updater = cast(Updater, cast(Any, self))
        self.updates = UpdateDesk(Loop(), cast(Nursery, self), self.desk, updater, lambda: None)

    prepare = await_outcome = lambda *_: None

    def fork(self, _name: str, _main: Any, on_exit: Any, on_message: Any) -> FakeChild:
        self.children.append(FakeChild(on_exit, on_message))
        return self.children[-1]

    def submit(self) -> None:
        request = {"op": "submit", "seq": 1, "name": "update", "args": {}, "task_id": None, "lock": "update"}
        assert "task" in self.desk.submit(request)

    def end(self) -> None:
        self.updates.end(lambda: self.ended.append("all"))


def test_a_unit_makes_way_when_the_process_that_prepared_it_has_ended() -> None:
    world = World()
    world.submit()
    (child,) = world.children
    child.say(prepared={"to": "2"})
    world.end()
    assert child.signals == [signal.SIGKILL]
    assert world.ended == []
    child.exit()
    assert world.ended == ["all"]


def test_one_that_waited_for_the_update_before_may_end_after_the_next_began() -> None:
    """Its end must not be taken for that of the next one, which keeps the environment until it is killed."""
    world = World()
    world.updates.go_on(RECORD)
    world.children[0].say(result={"name": "reactor-unit"})
    world.submit()
    first, second = world.children
    first.exit()
    second.say(prepared={"to": "3"})
    world.end()
    assert second.signals == [signal.SIGKILL]
    assert world.ended == []
    second.exit()
    assert world.ended == ["all"]


def test_a_unit_without_an_update_ends_at_once() -> None:
    world = World()
    world.end()
    assert world.ended == ["all"]
