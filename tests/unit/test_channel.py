from __future__ import annotations

import os
import resource
import select
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit.channel import INLINE_LIMIT, Channel, ChannelClosed, NoMessage, channel_pair

# Python 3.12 warns of any fork beside threads; the children here only exit.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = channel_pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"op": "submit", "args": {"x": [1, 2.5, None, "ü\n"]}},
        {"text": "x" * (INLINE_LIMIT - len('{"text":""}'))},
        {"text": "x" * (INLINE_LIMIT - len('{"text":""}') + 1)},
        {"text": "ü" * 2_000_000},
        {"at": "@"},
    ],
    ids=["empty", "small", "largest inline", "smallest in a memory file", "large", "looks like the mark of a file"],
)
def test_a_message_arrives_as_it_was_sent(pair: tuple[Channel, Channel], message: dict[str, Any]) -> None:
    ours, theirs = pair
    before = open_descriptors()
    ours.send(message)
    assert theirs.receive() == message
    assert open_descriptors() == before


@given(st.lists(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers()), max_size=10))
def test_borders_and_order_are_kept(messages: list[dict[str, Any]]) -> None:
    ours, theirs = channel_pair()
    try:
        for message in messages:
            ours.send(message)
        assert [theirs.receive() for _ in messages] == messages
    finally:
        ours.close()
        theirs.close()


def test_many_threads_send_whole_messages(pair: tuple[Channel, Channel]) -> None:
    ours, theirs = pair

    def talk(name: int) -> None:
        for number in range(50):
            theirs.send({"name": name, "number": number, "fill": "x" * (70_000 if number % 10 == 0 else 100)})

    threads = [threading.Thread(target=talk, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    heard: dict[int, list[int]] = {name: [] for name in range(4)}
    for _ in range(200):
        select.select([ours], [], [], 10)
        message = ours.receive()
        heard[message["name"]].append(message["number"])
    for thread in threads:
        thread.join()
    assert heard == {name: list(range(50)) for name in range(4)}


def test_our_end_never_waits(pair: tuple[Channel, Channel]) -> None:
    ours, _ = pair
    with pytest.raises(BlockingIOError):
        ours.receive()
    with pytest.raises(BlockingIOError):
        [ours.send({"fill": "x" * 10_000}) for _ in range(10_000)]


def test_the_end_of_the_peer_is_seen_after_its_last_message(pair: tuple[Channel, Channel]) -> None:
    ours, theirs = pair
    theirs.send({"last": True})
    theirs.close()
    assert ours.receive() == {"last": True}
    with pytest.raises(ChannelClosed):
        ours.receive()
    with pytest.raises(ChannelClosed):
        ours.send({})
    with pytest.raises(ChannelClosed):
        ours.send({"fill": "x" * INLINE_LIMIT})


def test_the_death_of_a_process_is_seen(pair: tuple[Channel, Channel]) -> None:
    ours, theirs = pair
    pid = os.fork()
    if pid == 0:
        ours.close()
        os._exit(0)
    theirs.close()
    os.waitpid(pid, 0)
    with pytest.raises(ChannelClosed):
        ours.receive()


def test_a_message_that_is_not_json_leaves_nothing_behind(pair: tuple[Channel, Channel]) -> None:
    ours, theirs = pair
    for message in ({"a": float("nan")}, {"a": object()}, {"a": "\ud800"}):
        with pytest.raises((ValueError, TypeError)):
            ours.send(message)
    ours.send({"ok": 1})
    assert theirs.receive() == {"ok": 1}


def test_closing_twice_does_no_harm(pair: tuple[Channel, Channel]) -> None:
    ours, _ = pair
    ours.close()
    ours.close()
    assert ours.fileno() == -1


def test_a_message_that_found_no_room_for_its_descriptor_is_an_error_with_a_name() -> None:
    ours, theirs = channel_pair()
    pid = os.fork()
    if pid == 0:  # a process of its own, since it uses up its descriptors
        try:
            ours.send({"fill": "x" * (INLINE_LIMIT + 1)})
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(ours.fileno(), theirs.fileno()) + 1, hard))
            spent = []
            try:
                while True:
                    spent.append(os.dup(0))
            except OSError:
                pass
            try:
                theirs.receive()
            except NoMessage as ex:
                os._exit(0 if "too many open files" in str(ex) else 2)
            os._exit(3)
        finally:
            os._exit(4)
    ours.close()
    theirs.close()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
