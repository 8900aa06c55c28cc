"""Each I2C chip, byte by byte as its datasheet says."""

import errno
import math

import pytest
from fake_i2c import FakeSMBus, FakeTime
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit.drivers.adc import ADS1114, ADS1115, CONVERSION_S, Gain, gain_for
from reactor_unit.drivers.board import ADCInput
from reactor_unit.drivers.dac43608 import DAC43608
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.i2c import Chip, ChipSilent, I2CBus
from reactor_unit.drivers.photodiodes import open_adc
from reactor_unit.drivers.pico import Pico
from reactor_unit.drivers.tmp1075 import TMP1075


@pytest.fixture
def time():
    return FakeTime()


@pytest.fixture
def chip(time):
    """Return a function that gives a chip with some registers, at 0x48, and the bus behind it."""

    def make(**registers):
        smbus = FakeSMBus(x48={int(name.removeprefix("r")): value for name, value in registers.items()})
        return Chip(I2CBus(smbus, wait=time.wait, clock=time.clock), 0x48, "The chip"), smbus

    return make


def written(smbus):
    return [(transfer[2], transfer[3]) for transfer in smbus.transfers if transfer[1] == "write"]


@pytest.mark.parametrize("device", [ADS1115, ADS1114, Pico, DAC43608, TMP1075])
def test_a_device_is_refused_where_no_chip_answers(time, device):
    bus = I2CBus(FakeSMBus(), wait=time.wait, clock=time.clock)
    with pytest.raises(ChipSilent, match="at 0x48"):
        device(Chip(bus, 0x48, "The chip"))


class TestADS1115:
    @pytest.mark.parametrize(
        ("channel", "gain", "config"),
        [
            (0, Gain.ONE, "c383"),
            (1, Gain.ONE, "d383"),
            (3, Gain.ONE, "f383"),
            (0, Gain.TWO_THIRDS, "c183"),
            (2, Gain.SIXTEEN, "eb83"),
        ],
    )
    def test_a_conversion_is_started_waited_for_and_read(self, chip, time, channel, gain, config):
        part, smbus = chip()
        smbus.on_write = lambda *_: smbus.chips[0x48].update({1: [b"\x43\x83", b"\xc3\x83"], 0: b"\x40\x00"})
        sample = ADS1115(part).read(channel, gain)
        assert smbus.transfers == [
            ("0x48", "probe"),
            ("0x48", "write", 1, config),
            ("0x48", "read", 1, 2),
            ("0x48", "read", 1, 2),
            ("0x48", "read", 0, 2),
        ]
        assert time.waits == [CONVERSION_S, 0.001]
        assert sample.raw == 0x4000
        assert sample.voltage_v == pytest.approx(0x4000 / 32767 * gain.full_scale_v)

    @pytest.mark.parametrize(
        ("register", "raw", "saturated"),
        [(b"\x7f\xff", 32767, True), (b"\x80\x00", -32768, True), (b"\xff\xff", -1, False), (b"\x00\x00", 0, False)],
    )
    def test_codes_are_signed_and_the_ends_are_saturation(self, chip, register, raw, saturated):
        part, smbus = chip()
        smbus.on_write = lambda *_: smbus.chips[0x48].update({0: register})
        sample = ADS1115(part).read(0)
        assert (sample.raw, sample.saturated) == (raw, saturated)

    def test_a_conversion_that_never_ends_is_a_fault_in_bounded_time(self, chip, time):
        part, smbus = chip()
        smbus.on_write = lambda *_: smbus.chips[0x48].update({1: b"\x43\x83"})
        with pytest.raises(HardwareFault, match="does not finish a conversion"):
            ADS1115(part).read(0)
        assert sum(time.waits) < 0.05

    @pytest.mark.parametrize("channel", [-1, 4])
    def test_an_input_that_it_has_not_is_refused(self, chip, channel):
        part, _ = chip()
        with pytest.raises(HardwareFault, match="has no input"):
            ADS1115(part).read(channel)


class TestADS1114:
    def test_it_converts_all_the_time_and_is_read_once_a_period(self, chip, time):
        part, smbus = chip(r0=b"\x20\x00")
        adc = ADS1114(part)
        assert written(smbus) == [(1, "0283")]
        adc.read()
        adc.read()
        assert written(smbus) == [(1, "0283")]
        assert time.waits == pytest.approx([CONVERSION_S, CONVERSION_S])
        time.now_s += 1.0
        adc.read()
        assert time.waits[-1] == 0.0

    def test_another_gain_is_written_once_and_waited_for(self, chip, time):
        part, smbus = chip(r0=b"\x20\x00")
        adc = ADS1114(part)
        sample = adc.read(gain=Gain.EIGHT)
        adc.read(gain=Gain.EIGHT)
        assert written(smbus) == [(1, "0283"), (1, "0883")]
        assert sample.voltage_v == pytest.approx(0.25 * 0.512, rel=1e-4)

    def test_it_is_set_up_again_after_it_was_away(self, chip):
        part, smbus = chip(r0=b"\x20\x00")
        adc = ADS1114(part)
        smbus.errors = [121] * 6
        with pytest.raises(ChipSilent):
            adc.read()
        adc.read()
        assert written(smbus) == [(1, "0283"), (1, "0283")]


@pytest.mark.parametrize(
    ("voltage_v", "gain"),
    [(0.0, 16), (0.2175, 16), (0.218, 8), (0.436, 4), (0.871, 2), (1.741, 1), (3.4, 1), (3.482, 2 / 3), (9.0, 2 / 3)],
)
def test_the_gain_leaves_15_percent_to_spare(voltage_v, gain):
    assert gain_for(voltage_v).full_scale_v == pytest.approx(4.096 / gain)


class TestPico:
    @pytest.mark.parametrize(("version", "scale"), [(b"\x03\x00", 16), (b"\x04\x00", 32), (b"\x05\x00", 32)])
    def test_the_firmware_decides_the_scale(self, chip, version, scale):
        half = round(4095 * scale / 2)
        part, smbus = chip(r8=version, r6=half.to_bytes(2, "little"))
        pico = Pico(part)
        assert pico.firmware_version == (0, version[0])
        assert pico.read(2)[1:] == (pytest.approx(1.65, abs=1e-4), False)
        assert smbus.transfers == [("0x48", "read", 8, 2), ("0x48", "read", 6, 2)]

    def test_the_end_of_the_range_is_saturation_and_beyond_is_nonsense(self, chip):
        part, smbus = chip(r8=b"\x03\x00", r4=(4095 * 16).to_bytes(2, "little"))
        pico = Pico(part)
        assert pico.read(0).saturated
        assert pico.read(0).voltage_v == pytest.approx(3.3)
        smbus.chips[0x48][4] = b"\xff\xff"
        with pytest.raises(HardwareFault, match="a value that its ADC cannot have"):
            pico.read(0)

    def test_a_full_register_is_saturation_with_newer_firmware(self, chip):
        part, _ = chip(r8=b"\x05\x00", r4=b"\xff\xff", r5=b"\xfe\xff")
        pico = Pico(part)
        assert pico.read(0).saturated
        assert not pico.read(1).saturated

    def test_firmware_that_does_not_run_is_told(self, chip):
        part, _ = chip()
        with pytest.raises(HardwareFault, match="firmware") as caught:
            Pico(part)
        assert "Restart" in caught.value.remediation

    @pytest.mark.parametrize(
        ("channel", "percent", "sent"),
        [("A", 0.0, (0, "00")), ("B", 100.0, (1, "ff")), ("C", 50.0, (2, "80")), ("D", 0.1, (3, "00"))],
    )
    def test_an_led_is_one_byte(self, chip, channel, percent, sent):
        part, smbus = chip(r8=b"\x05\x00")
        Pico(part).set_led(channel, percent)
        assert written(smbus) == [sent]


class TestDAC43608:
    def test_off_sets_the_power_down_bit_alone(self, chip):
        part, smbus = chip(r1=b"\x00\xf0")
        DAC43608(part).set_led("C", 0.0)
        assert written(smbus) == [(1, "00f4")]

    def test_on_from_off_never_shows_the_old_code(self, chip):
        part, smbus = chip(r1=b"\x00\xff")
        DAC43608(part).set_led("B", 100.0)
        assert written(smbus) == [(9, "0ff0"), (1, "00fd"), (9, "0ff0")]

    def test_on_from_on_is_the_code_alone(self, chip):
        part, smbus = chip(r1=b"\x00\xf0")
        DAC43608(part).set_led("A", 20.0)
        assert written(smbus) == [(8, "0330")]


@pytest.mark.parametrize("percent", [-0.1, 100.1, math.nan, math.inf])
@pytest.mark.parametrize("device", [Pico, DAC43608])
def test_an_intensity_outside_0_to_100_never_reaches_the_wire(chip, device, percent):
    part, smbus = chip(r8=b"\x05\x00", r1=b"\x00\xff")
    with pytest.raises(HardwareFault, match=r"LED channel A is outside 0\.\.100 %"):
        device(part).set_led("A", percent)
    assert written(smbus) == []


class TestTMP1075:
    @pytest.mark.parametrize(
        ("register", "temperature_c"),
        [
            (b"\x1e\x00", 30.0),
            (b"\x19\x10", 25.0625),
            (b"\x00\x00", 0.0),
            (b"\xff\xf0", -0.0625),
            (b"\xe7\x00", -25.0),
            (b"\x7d\x00", 125.0),
            (b"\xc9\x00", -55.0),
        ],
    )
    def test_degrees_are_twos_complement(self, chip, register, temperature_c):
        part, _ = chip(r0=register)
        assert TMP1075(part).read_temperature_c() == temperature_c

    @pytest.mark.parametrize("register", [b"\xff\xff", b"\x7f\xf0", b"\x80\x00"])
    def test_what_is_no_temperature_is_a_fault(self, chip, register):
        part, _ = chip(r0=register)
        with pytest.raises(HardwareFault, match="no temperature"):
            TMP1075(part).read_temperature_c()

    def test_the_mean_of_some_reads(self, chip, time):
        part, _ = chip(r0=[b"\x1e\x00", b"\x1f\x00", b"\x20\x00"])
        assert TMP1075(part).mean_temperature_c(3, 0.05, time.wait) == 31.0
        assert time.waits == [0.05, 0.05]


@given(st.integers(-880, 2000))
def test_every_code_of_the_thermometer_is_its_temperature(code):
    smbus = FakeSMBus(x48={0: (code << 4).to_bytes(2, signed=True)})
    assert TMP1075(Chip(I2CBus(smbus), 0x48, "x")).read_temperature_c() == code / 16


@pytest.mark.parametrize("driver", ["ads1114", "ads1115"])
def test_a_conversion_takes_the_chips_time_in_a_reactor_that_runs_faster(time, driver):
    smbus = FakeSMBus(x48={0: b"\x10\x00", 1: b"\x80\x00"})
    bus = I2CBus(smbus, wait=time.wait, clock=time.clock, speed=60.0)
    adc = open_adc(bus, ADCInput(driver, 0x48, 0))
    for _ in range(3):
        adc.read(0)
    assert len(time.waits) == 3
    assert time.waits == pytest.approx([1.1 / 128.0 / 60.0] * 3)
    smbus.errors = [errno.EREMOTEIO]
    adc.read(0)
    assert 0.001 in time.waits  # a pause before another try is real time
