"""Latched faults: the supervisor's desk, and the file that keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reactor_unit.errors import FaultLatched, NoSuchFault
from reactor_unit.faults import UNREADABLE, FaultRecord, read_faults, write_faults
from reactor_unit.workers.fault_desk import FaultDesk


def said(kind: str = "heater_stuck_on", jobs: tuple[str, ...] = ("temperature_automation",)) -> dict[str, Any]:
    return {
        "kind": kind,
        "message": "The heater is stuck on.",
        "cause": "It rose.",
        "remediation": "Switch it off.",
        "jobs": list(jobs),
        "outputs": [],
    }


@pytest.fixture
def records() -> list[FaultRecord]:
    return []


@pytest.fixture
def desk(records: list[FaultRecord]) -> FaultDesk:
    return FaultDesk(FaultRecord(), records.append)


def test_a_fault_keeps_the_jobs_it_concerns_from_starting_until_it_is_cleared(
    desk: FaultDesk, records: list[FaultRecord]
) -> None:
    fault = desk.latch(said(), "monitor", "$experiment")
    with pytest.raises(FaultLatched, match=r"fault 1 \(heater_stuck_on\)") as refused:
        desk.check("temperature_automation")
    assert "reactor-unit faults clear 1" in refused.value.remediation
    desk.check("stirring")
    assert desk.clear("1") == fault
    desk.check("temperature_automation")
    assert [len(record.faults) for record in records] == [1, 0]


def test_the_same_kind_from_the_same_job_is_latched_once(desk: FaultDesk, records: list[FaultRecord]) -> None:
    first = desk.latch(said(), "monitor", "E1")
    assert desk.latch(said(), "monitor", "E2") is first
    assert desk.latch(said(), "temperature_automation", "E2").id == "2"
    assert desk.latch(said("heater_hot"), "monitor", "E2").id == "3"
    assert len(records) == 3


def test_a_number_never_comes_back(desk: FaultDesk, records: list[FaultRecord], tmp_path: Path) -> None:
    desk.latch(said(), "monitor", "E1")
    desk.clear("1")
    with pytest.raises(NoSuchFault):
        desk.clear("1")
    write_faults(tmp_path / "faults.json", records[-1])
    after = FaultDesk(read_faults(tmp_path / "faults.json", ()), records.append)
    assert after.latch(said(), "monitor", "E1").id == "2"


def test_what_is_latched_comes_back_from_the_file(desk: FaultDesk, tmp_path: Path) -> None:
    desk.latch(said(), "monitor", "E\u00e91")
    desk.latch(said("heater_hot", ("a", "b")), "temperature_automation", "E1")
    path = tmp_path / "faults.json"
    write_faults(path, desk.record)
    assert read_faults(path, ()) == desk.record


def test_no_file_is_no_fault_and_none_is_written(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    assert read_faults(path, ("stirring",)) == FaultRecord()
    write_faults(path, FaultRecord())
    assert not path.exists()


def test_a_file_that_says_so_already_is_left_alone(desk: FaultDesk, tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    desk.latch(said(), "monitor", "E1")
    write_faults(path, desk.record)
    before = path.stat().st_ino
    write_faults(path, desk.record)
    assert path.stat().st_ino == before


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"last_id": 1, "faults": [{}]}', b'{"last_id": "x", "faults": []}', b"\xff", b"null"],
    ids=repr,
)
def test_a_file_that_cannot_be_read_concerns_every_job(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_bytes(content)
    (fault,) = read_faults(path, ("stirring", "temperature_automation")).faults
    assert (fault.kind, fault.jobs) == (UNREADABLE, ("stirring", "temperature_automation"))
    desk = FaultDesk(FaultRecord((fault,), 1), lambda _: None)
    with pytest.raises(FaultLatched):
        desk.check("stirring")
    desk.clear(fault.id)
    desk.check("stirring")
