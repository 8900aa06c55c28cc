"""The record that processes share: newest value, torn writes, power cuts, locks that end with their process."""

import os
import subprocess
import sys

import pytest
from harness import fill_disk, killed_writer

from reactor_unit.durable_record import SLOT_BYTES, BrokenRecord, DurableRecord
from reactor_unit.errors import StorageFault, Unavailable


def read(path):
    record = DurableRecord(path)
    with record.locked():
        return record.read()


def write(path, value, *, to_disk):
    record = DurableRecord(path)
    with record.locked():
        record.write(value, to_disk=to_disk)


def test_there_is_nothing_in_a_new_one(tmp_path):
    assert read(tmp_path / "record") is None
    assert read(tmp_path / "record") is None  # which has been looked at


@pytest.mark.parametrize("pattern", [(True,), (False,), (True, False), (False, True, True), (True, False, False, True)])
def test_the_newest_value_is_read(tmp_path, pattern):
    for number in range(12):
        write(tmp_path / "record", {"n": number}, to_disk=pattern[number % len(pattern)])
        assert read(tmp_path / "record") == {"n": number}
    assert (tmp_path / "record").stat().st_size == 2 * SLOT_BYTES


def test_after_a_power_cut_the_last_value_on_the_disk_or_a_later_one_is_there(tmp_path):
    path = tmp_path / "record"
    on_disk = 0
    for number in range(1, 30):
        before = path.read_bytes() if path.exists() else b" " * 2 * SLOT_BYTES
        write(path, {"n": number}, to_disk=number % 3 == 0)
        after = path.read_bytes()
        for torn in (before, after[:100] + before[100:], before[: SLOT_BYTES + 60] + after[SLOT_BYTES + 60 :]):
            path.write_bytes(torn)
            found = read(path) if on_disk else {"n": 0}
            assert found["n"] >= on_disk
        path.write_bytes(after)
        on_disk = number if number % 3 == 0 else on_disk


@pytest.mark.parametrize("byte", [b"?", b"\0", b"\xff"])
def test_what_cannot_be_read_is_an_error_and_not_an_empty_record(tmp_path, byte):
    write(tmp_path / "record", {"n": 1}, to_disk=True)
    (tmp_path / "record").write_bytes(byte * 2 * SLOT_BYTES)
    with pytest.raises(BrokenRecord):
        read(tmp_path / "record")
    write(tmp_path / "record", {"n": 2}, to_disk=True)
    assert read(tmp_path / "record") == {"n": 2}


def test_only_one_is_in_it_at_a_time(tmp_path):
    one, other = DurableRecord(tmp_path / "record"), DurableRecord(tmp_path / "record")
    with one.locked(), pytest.raises(Unavailable), other.locked():
        pass
    with other.locked():
        pass


def test_a_place_is_free_when_its_process_was_killed(tmp_path):
    path = tmp_path / "record"
    program = (
        "import sys, pathlib, time; from reactor_unit.durable_record import DurableRecord\n"
        "record = DurableRecord(pathlib.Path(sys.argv[1]))\n"
        "with record.locked(): record.hold(3)\n"
        "print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        record = DurableRecord(path)
        with record.locked():
            assert record.is_held(3)
            assert not record.is_held(2)
        holder.kill()
        holder.wait()
        with record.locked():
            assert not record.is_held(3)


def test_a_killed_writer_loses_nothing_it_wrote(tmp_path):
    program = (
        "import sys, pathlib; from reactor_unit.durable_record import DurableRecord\n"
        "record = DurableRecord(pathlib.Path(sys.argv[1]))\n"
        "for n in range(10**9):\n"
        "    with record.locked(): record.write({'n': n}, to_disk=n % 2 == 0)\n"
        "    print(n, flush=True)"
    )
    written = killed_writer(program, tmp_path / "record", after_lines=50)
    assert read(tmp_path / "record")["n"] in (written, written + 1)


def test_a_full_disk_stops_only_the_first_write(small_disk):
    write(small_disk / "record", {"n": 1}, to_disk=True)
    fill_disk(small_disk)
    write(small_disk / "record", {"n": 2}, to_disk=True)
    assert read(small_disk / "record") == {"n": 2}
    with pytest.raises(StorageFault):
        write(small_disk / "another", {"n": 1}, to_disk=True)


def test_it_holds_no_descriptor_while_nobody_uses_it(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    record = DurableRecord(tmp_path / "record")
    with record.locked():
        record.write({}, to_disk=False)
    assert len(os.listdir("/proc/self/fd")) == before
