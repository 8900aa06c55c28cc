import errno
import fcntl
import sys
import types

import pytest
from fake_i2c import FakeSMBus, FakeTime

from reactor_unit.drivers import i2c
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.i2c import BusStuck, Chip, ChipSilent, I2CBus

NACK = errno.EREMOTEIO


@pytest.fixture
def time():
    return FakeTime()


@pytest.fixture
def smbus():
    return FakeSMBus(x4f={0: b"\x1e\x00"})


@pytest.fixture
def bus(smbus, time):
    return I2CBus(smbus, wait=time.wait, clock=time.clock)


@pytest.fixture
def chip(bus):
    return Chip(bus, 0x4F, "The thermometer (TMP1075)", "Check the flat cable.")


def test_bytes_go_and_come_as_they_are(chip, smbus):
    assert chip.read(0, 2) == b"\x1e\x00"
    chip.write(3, b"\x01\x80")
    chip.probe()
    assert smbus.transfers == [("0x4f", "read", 0, 2), ("0x4f", "write", 3, "0180"), ("0x4f", "probe")]


@pytest.mark.parametrize("error", [errno.EREMOTEIO, errno.ENXIO, errno.EAGAIN, errno.EIO])
def test_an_error_that_passes_is_not_noticed(chip, smbus, time, error):
    smbus.errors = [error, error]
    assert chip.read(0, 2) == b"\x1e\x00"
    assert time.waits == [0.001, 0.002]


def test_a_chip_that_stays_silent_is_named_with_bus_address_and_what_to_check(chip, smbus, time):
    smbus.errors = [NACK] * 100
    with pytest.raises(ChipSilent) as caught:
        chip.read(0, 2)
    assert str(caught.value) == "The thermometer (TMP1075) at 0x4f on /dev/i2c-1 does not answer."
    assert "6 tries in 31 ms" in caught.value.cause
    assert "Remote I/O error" in caught.value.cause
    assert caught.value.remediation == "Check the flat cable."
    assert len(smbus.transfers) == 6
    assert sum(time.waits) <= i2c.RETRY_LIMIT_S


def test_slow_failures_end_the_tries_early(chip, smbus, time):
    smbus.errors = [NACK] * 100
    begin, smbus_begin = time.now_s, smbus._begin

    def slowly(*args):
        time.now_s += 0.02
        smbus_begin(*args)

    smbus._begin = slowly
    with pytest.raises(ChipSilent, match="does not answer"):
        chip.read(0, 2)
    assert len(smbus.transfers) == 3
    assert time.now_s - begin <= i2c.RETRY_LIMIT_S + 0.02


def test_a_stuck_bus_is_not_asked_again(chip, smbus, time):
    smbus.errors = [errno.ETIMEDOUT]
    with pytest.raises(BusStuck, match=r"/dev/i2c-1 is stuck.*thermometer.*0x4f") as caught:
        chip.read(0, 2)
    assert len(smbus.transfers) == 1
    assert "SDA" in caught.value.cause
    assert "Unplug" in caught.value.remediation


def test_other_errors_are_told_as_they_are(chip, smbus):
    smbus.errors = [errno.EBADF]
    with pytest.raises(HardwareFault, match="cannot be reached") as caught:
        chip.probe()
    assert not isinstance(caught.value, ChipSilent | BusStuck)
    assert "Bad file descriptor" in caught.value.cause
    assert "1 try" in caught.value.cause


def test_whether_a_chip_answers_is_a_question_and_a_stuck_bus_is_no_answer(bus, smbus):
    assert bus.answers(0x4F) is True
    assert bus.answers(0x48) is False
    smbus.errors = [errno.ETIMEDOUT]
    with pytest.raises(BusStuck):
        bus.answers(0x4F)


def test_a_closed_bus_says_so_and_closes_once(bus, chip, smbus):
    bus.close()
    bus.close()
    assert smbus.closed == 1
    with pytest.raises(HardwareFault, match="closed"):
        chip.probe()


def test_transfers_that_belong_together_exclude_others_for_a_bounded_time(smbus, time, tmp_path):
    bus = I2CBus(smbus, lock_folder=tmp_path, wait=time.wait, clock=time.clock)
    other = I2CBus(smbus, lock_folder=tmp_path, wait=time.wait, clock=time.clock)
    chip, others = Chip(bus, 0x4F, "The chip"), Chip(other, 0x4F, "The chip")
    with bus.exclusive(chip), bus.exclusive(Chip(bus, 0x48, "Another chip")), bus.exclusive(chip):
        began = time.now_s
        with (
            pytest.raises(HardwareFault, match=r"The chip at 0x4f .* stayed in use for 250 ms"),
            other.exclusive(others),
        ):
            pytest.fail("two at a time")
        assert time.now_s - began == pytest.approx(i2c.LOCK_TIMEOUT_S, abs=0.005)
    with bus.exclusive(chip):
        pass
    with (tmp_path / "i2c-4f.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nothing holds it any more


def test_a_missing_lock_folder_is_a_hardware_fault(smbus, tmp_path):
    bus = I2CBus(smbus, lock_folder=tmp_path / "nowhere")
    with pytest.raises(HardwareFault, match="cannot be opened"), bus.exclusive(Chip(bus, 0x4F, "The chip")):
        pass


@pytest.fixture
def smbus2(monkeypatch):
    module = types.ModuleType("smbus2")
    monkeypatch.setitem(sys.modules, "smbus2", module)
    return module


def test_opening_takes_bus_1_of_smbus2(smbus2):
    smbus2.SMBus = lambda number: FakeSMBus(x4f={0: bytes([number, 2])})
    assert Chip(i2c.open_bus(), 0x4F, "x").read(0, 2) == b"\x01\x02"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file"), "Enable I2C"),
        (PermissionError(errno.EACCES, "Permission denied"), "group i2c"),
    ],
)
def test_a_bus_that_cannot_be_opened_says_what_to_do(smbus2, error, remedy):
    def refuse(_number):
        raise error

    smbus2.SMBus = refuse
    with pytest.raises(HardwareFault, match="/dev/i2c-1 cannot be opened") as caught:
        i2c.open_bus()
    assert remedy in caught.value.remediation


def test_a_missing_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "smbus2", None)
    with pytest.raises(HardwareFault, match="cannot be opened") as caught:
        i2c.open_bus()
    assert "smbus2" in caught.value.remediation
