"""What the supervisor keeps of readings until they are on the disk."""

from __future__ import annotations

import pytest

from reactor_unit.workers.reading_buffer import IN_A_MESSAGE, ReadingBuffer


def rows(*times: float) -> list[tuple[float, str, float]]:
    return [(at, "od", at) for at in times]


def sent(buffer: ReadingBuffer) -> list[tuple[int, list[float]]]:
    """Return all that is sent now: the first number and the times of each message."""
    messages = []
    while (message := buffer.message()) is not None:
        buffer.sent(message)
        messages.append((message["first"], [at for at, _, _ in message["readings"]]))
    return messages


def test_each_reading_is_sent_once_to_one_web_process_and_again_to_the_next() -> None:
    buffer = ReadingBuffer()
    buffer.add(rows(1, 2))
    assert sent(buffer) == [(1, [1, 2])]
    buffer.add(rows(3))
    assert sent(buffer) == [(3, [3])]
    buffer.acknowledged(2)
    buffer.rewind()
    assert sent(buffer) == [(3, [3])]
    buffer.acknowledged(3)
    buffer.rewind()
    assert sent(buffer) == []


def test_a_message_that_was_not_taken_is_offered_again() -> None:
    buffer = ReadingBuffer()
    buffer.add(rows(1))
    assert buffer.message() == buffer.message() == {"ev": "readings", "first": 1, "readings": rows(1)}


def test_messages_are_small() -> None:
    buffer = ReadingBuffer()
    buffer.add(rows(*range(2 * IN_A_MESSAGE + 1)))
    assert [len(times) for _, times in sent(buffer)] == [IN_A_MESSAGE, IN_A_MESSAGE, 1]


def test_an_acknowledgement_may_be_old_or_of_more_than_there_is() -> None:
    buffer = ReadingBuffer()
    buffer.add(rows(1, 2, 3))
    buffer.acknowledged(2)
    buffer.acknowledged(1)
    buffer.acknowledged(0)
    buffer.rewind()
    assert sent(buffer) == [(3, [3])]


def test_the_oldest_are_dropped_with_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    buffer = ReadingBuffer(max_kept=5)
    for at in range(1, 21):
        buffer.add(rows(at))
    assert sent(buffer) == [(16, [16, 17, 18, 19, 20])]
    assert len(caplog.records) == 1
    buffer.acknowledged(20)
    for at in range(21, 30):
        buffer.add(rows(at))
    assert len(caplog.records) == 2
    assert sent(buffer) == [(25, [25, 26, 27, 28, 29])]
