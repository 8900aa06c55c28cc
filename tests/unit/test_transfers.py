from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from reactor_unit.errors import StorageFault
from reactor_unit.transfers import PIECE_BYTES, Transfers, TransfersBusy, pieces_of


def test_a_place_is_taken_from_the_begin_to_the_close() -> None:
    places, released = Transfers("downloads", 2), []
    first, second = (places.begin(iter([b"a"]), lambda: released.append(1)) for _ in range(2))
    with pytest.raises(TransfersBusy) as refused:
        places.begin(iter([b"c"]), lambda: released.append(3))
    assert refused.value.retry_after_s
    assert released == [3]
    first.close()
    first.close()
    assert released == [3, 1]
    third = places.begin(iter([b"c"]))
    with pytest.raises(TransfersBusy):
        places.begin(iter([]))
    assert list(third) == [b"c"]
    for transfer in (second, third):
        transfer.close()
    places.begin(iter([])).close()


def test_a_generator_is_ended_by_the_close() -> None:
    ended = []

    def pieces() -> Iterator[bytes]:
        try:
            yield b"a"
            yield b"b"
        finally:
            ended.append(True)

    transfer = Transfers("downloads", 1).begin(pieces())
    assert next(transfer) == b"a"
    transfer.close()
    assert ended == [True]


def test_a_failure_reaches_the_server(caplog: pytest.LogCaptureFixture) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"a"
        raise OSError("the disk is gone")

    transfer = Transfers("downloads", 1).begin(pieces())
    with pytest.raises(OSError, match="gone"):
        list(transfer)
    assert "the disk is gone" in caplog.text


@pytest.mark.parametrize("length", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_exactly_so_many_bytes_come_in_pieces(length: int) -> None:
    pieces = list(pieces_of(io.BytesIO(bytes(4 * PIECE_BYTES)), length))
    assert sum(map(len, pieces)) == length
    assert max(map(len, pieces), default=0) <= PIECE_BYTES


def test_a_file_that_became_shorter_is_a_fault() -> None:
    with pytest.raises(StorageFault):
        list(pieces_of(io.BytesIO(b"abc"), 4))
