"""The supervisor's selector: timers in order, cancelled ones not at all, descriptors as they become ready."""

from __future__ import annotations

import socket

import pytest

from reactor_unit.workers.loop import Loop


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_timers_fire_in_the_order_of_their_time(clock: Clock) -> None:
    loop, calls = Loop(clock), []
    loop.call_later(3, lambda: calls.append("late"))
    loop.call_later(1, lambda: calls.append("early"))
    never = loop.call_later(2, lambda: calls.append("cancelled"))
    never.cancel()
    clock.now += 5
    loop.turn()
    assert calls == ["early", "late"]


def test_a_timer_is_not_early(clock: Clock) -> None:
    loop, calls = Loop(clock), []
    loop.call_later(0.001, lambda: calls.append("now"))
    loop.call_later(60, lambda: calls.append("later"))
    clock.now += 0.001
    loop.turn()
    assert calls == ["now"]


def test_a_descriptor_is_read_when_it_can_be() -> None:
    loop, heard = Loop(), []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        loop.watch(ours, lambda: heard.append(ours.recv(10)))
        theirs.send(b"hello")
        loop.turn()
        assert heard == [b"hello"]
        loop.unwatch(ours)


def test_writability_is_watched_only_while_asked_for() -> None:
    loop, calls = Loop(), []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        loop.watch(ours, lambda: calls.append("read"))
        loop.watch_writable(ours, lambda: calls.append("write"))
        loop.turn()
        loop.watch_writable(ours, None)
        theirs.send(b"x")
        loop.turn()
        assert calls == ["write", "read"]
        loop.unwatch(ours)


def test_cancelled_timers_do_not_pile_up(clock: Clock) -> None:
    loop = Loop(clock)
    loop.call_later(3600, lambda: None)
    for _ in range(10_000):
        loop.call_later(30, lambda: None).cancel()
    assert len(loop._timers) < 200


def test_a_source_that_is_unwatched_while_it_is_read_is_not_written() -> None:
    loop, calls = Loop(), []
    ours, theirs = socket.socketpair()
    with ours:
        loop.watch(ours, lambda: loop.unwatch(ours))
        loop.watch_writable(ours, lambda: calls.append("write"))
        theirs.close()  # readable and writable at once
        loop.turn()
        assert calls == []
