"""What the rest of the unit relies on in the I2C devices, asked of the simulated HATs and models, and of a real one."""

import time
from pathlib import Path

import pytest
from fake_i2c import FakePlant, FakeSMBus
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit.drivers import board, hardware, models
from reactor_unit.drivers.adc import Gain
from reactor_unit.drivers.claims import Claims, OutputClaimed
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.heater import open_thermometer
from reactor_unit.drivers.i2c import BusStuck, Chip, ChipSilent, I2CBus, open_bus
from reactor_unit.drivers.leases import LeaseTable
from reactor_unit.drivers.leds import LED_CHANNELS, open_leds
from reactor_unit.drivers.photodiodes import Saturated, open_aux_voltage, open_photodiodes
from reactor_unit.drivers.simulation.smbus import SimulatedSMBus

UNUSED_ADDRESS = 0x77


@pytest.fixture
def leases():
    return LeaseTable()


@pytest.fixture
def claims(tmp_path, leases):
    claims = Claims(tmp_path / "claims", "this test", leases)
    yield claims
    claims.close()


class I2CContract:
    """An implementation gives the fixtures `hat` (a Board) and `bus` (an I2CBus that is closed afterwards)."""

    def test_every_chip_of_the_board_answers(self, bus, hat):
        settled = hat.settle_adc(bus.answers)
        assert [address for address in settled.i2c_addresses if not bus.answers(address)] == []

    def test_an_address_without_a_chip_does_not_answer_and_says_so_soon(self, bus):
        began = time.monotonic()
        assert bus.answers(UNUSED_ADDRESS) is False
        assert time.monotonic() - began < 2.0
        with pytest.raises(ChipSilent, match="0x77"):
            Chip(bus, UNUSED_ADDRESS, "The chip").read(0, 2)

    def test_the_thermometer_gives_a_temperature_of_a_room(self, bus, hat):
        thermometer = open_thermometer(bus, hat)
        assert 0.0 < thermometer.read_temperature_c() < 60.0
        assert 0.0 < thermometer.mean_temperature_c(3, 0.01, time.sleep) < 60.0

    def test_every_photodiode_gives_a_voltage(self, bus, hat):
        photodiodes = open_photodiodes(bus, hat)
        assert photodiodes.channels == hat.photodiode_channels
        for channel in photodiodes.channels:
            assert -0.05 <= photodiodes.read_voltage_v(channel) <= 3.3

    def test_the_gain_changes_the_range_and_not_the_voltage(self, bus, hat):
        photodiodes = open_photodiodes(bus, hat)
        for channel in photodiodes.channels:
            coarse_v = photodiodes.read_voltage_v(channel)
            photodiodes.fit_gain(channel, coarse_v)
            assert photodiodes.read_voltage_v(channel) == pytest.approx(coarse_v, abs=0.02)

    def test_the_supply_is_five_or_twelve_volts(self, bus, hat):
        assert 4.0 < open_aux_voltage(bus, hat).read_voltage_v() < 18.0

    def test_leds_take_every_channel_and_are_off_after_close(self, bus, hat, claims):
        with open_leds(bus, hat, claims, {"A": "IR"}) as leds:
            for channel in LED_CHANNELS:
                leds.set_intensity(channel, 1.0)
                leds.set_intensity(channel, 1.0)
                assert leds.intensity(channel) == 1.0
            leds.set_intensity("IR", 0.0)
            assert leds.intensity("A") == 0.0
        leds.close()

    @pytest.mark.parametrize("percent", [-1.0, 100.5, float("nan")])
    def test_an_intensity_outside_0_to_100_is_refused(self, bus, hat, claims, percent):
        with open_leds(bus, hat, claims) as leds, pytest.raises(HardwareFault, match=r"0\.\.100 %"):
            leds.set_intensity("D", percent)


def model(name, version="1.5"):
    return models.load_models()[name, version]


BOARDS = {
    "HAT 1.0": lambda: board.load("1.0"),
    "HAT 1.1": lambda: board.load("1.1"),
    "HAT 1.2": lambda: board.load("1.2"),
    "HAT 1.2, 40 ml 1.5": lambda: board.load("1.2", model=model("pioreactor_40ml")),
    "HAT 1.2, 20 ml XR": lambda: board.load("1.2", model=model("pioreactor_20ml_XR")),
}


class TestSimulatedI2C(I2CContract):
    @pytest.fixture(params=BOARDS.values(), ids=BOARDS.keys())
    def hat(self, request):
        return request.param()

    @pytest.fixture
    def plant(self):
        return FakePlant()

    @pytest.fixture
    def bus(self, hat, plant, tmp_path):
        bus = I2CBus(SimulatedSMBus(plant, hat), lock_folder=tmp_path)
        yield bus
        bus.close()

    def test_each_device_sees_its_own_part_of_the_plant(self, bus, hat, plant):
        photodiodes = open_photodiodes(bus, hat)
        for channel in photodiodes.channels:
            lsb_v = max(4.096 / 32767, 3.3 / 4095 / 16)
            expected_v = plant.photodiodes_v[channel]
            assert photodiodes.read_voltage_v(channel) == pytest.approx(expected_v, abs=lsb_v)
        assert open_aux_voltage(bus, hat).read_voltage_v() == 12.0
        assert open_thermometer(bus, hat).read_temperature_c() == 30.0

    def test_leds_reach_the_plant_and_only_ours_are_turned_off(self, bus, hat, claims, plant):
        plant.leds["D"] = 40.0  # another process's
        with open_leds(bus, hat, claims) as leds:
            leds.set_intensity("A", 50.0)
            assert plant.leds["A"] == pytest.approx(50.0, abs=100 / 255)
            leds.set_intensity("A", 80.0)
            assert plant.leds["A"] == pytest.approx(80.0, abs=100 / 255)
            assert plant.leds["B"] == 0.0
        assert plant.leds == {"A": 0.0, "B": 0.0, "C": 0.0, "D": 40.0}

    def test_relit_leds_are_as_their_owners_want_them(self, bus, hat, plant, claims):
        plant.leds.update(B=10.0, D=40.0)  # whoever lit these is gone
        with open_leds(bus, hat, claims) as leds:
            leds.set_intensity("A", 20.0)
            plant.leds["A"] = 0.0
            leds.relight()
            assert plant.leds == {"A": pytest.approx(20.0, abs=0.2), "B": 0.0, "C": 0.0, "D": 0.0}

    def test_two_processes_each_keep_their_leds(self, bus, hat, plant, claims, leases, tmp_path):
        other = I2CBus(SimulatedSMBus(plant, hat), lock_folder=tmp_path)
        others = Claims(tmp_path / "claims", "led_automation", leases)
        with open_leds(bus, hat, claims) as ours, open_leds(other, hat, others) as theirs:
            ours.set_intensity("A", 20.0)
            theirs.set_intensity("B", 60.0)
            with pytest.raises(OutputClaimed, match=r"LED B is in use by led_automation \(process \d+\)"):
                ours.set_intensity("B", 10.0)
            ours.set_intensity("A", 0.0)
            assert plant.leds == {"A": 0.0, "B": pytest.approx(60.0, abs=0.2), "C": 0.0, "D": 0.0}
        with open_leds(bus, hat, claims) as ours:
            ours.set_intensity("B", 10.0)  # closing gave it back

    def test_darkness_hides_the_leds_of_others_and_what_they_set_meanwhile(
        self, bus, hat, plant, claims, leases, tmp_path
    ):
        other = I2CBus(SimulatedSMBus(plant, hat), lock_folder=tmp_path)
        others = Claims(tmp_path / "claims", "led_automation", leases)
        with open_leds(bus, hat, claims) as ours, open_leds(other, hat, others) as theirs:
            theirs.set_intensity("B", 60.0)
            theirs.set_intensity("C", 30.0)
            ours.set_intensity("A", 80.0)
            with ours.darkness(5.0, but="A"):
                assert plant.leds == {"A": pytest.approx(80.0, abs=0.2), "B": 0.0, "C": 0.0, "D": 0.0}
                theirs.set_intensity("B", 50.0)
                theirs.set_intensity("C", 0.0)
                assert plant.leds["B"] == 0.0
            assert plant.leds == {
                "A": pytest.approx(80.0, abs=0.2),
                "B": pytest.approx(50.0, abs=0.2),
                "C": 0.0,
                "D": 0.0,
            }

    def test_an_unplugged_thermometer_is_named(self, bus, hat, plant):
        thermometer = open_thermometer(bus, hat)
        plant.broken.add("sensor_unplugged:0x4f")
        for attempt in (thermometer.read_temperature_c, lambda: open_thermometer(bus, hat)):
            with pytest.raises(ChipSilent, match=r"thermometer \(TMP1075\) at 0x4f .* does not answer") as caught:
                attempt()
            assert "heater board" in caught.value.remediation

    def test_it_works_again_when_it_is_plugged_in_again(self, bus, hat, plant):
        photodiodes = open_photodiodes(bus, hat)
        address = hat.adc["pd1"].address
        plant.broken.add(f"sensor_unplugged:0x{address:02x}")
        with pytest.raises(ChipSilent, match=f"0x{address:02x}"):
            photodiodes.read_voltage_v("1")
        plant.broken.clear()
        assert photodiodes.read_voltage_v("1") == pytest.approx(0.5, abs=0.001)

    def test_a_stuck_bus_is_told_by_every_device(self, bus, hat, claims, plant):
        photodiodes, leds = open_photodiodes(bus, hat), open_leds(bus, hat, claims)
        plant.broken.add("bus_stuck")
        for attempt in (
            lambda: photodiodes.read_voltage_v("1"),
            lambda: leds.set_intensity("A", 10.0),
            leds.relight,
            lambda: open_thermometer(bus, hat),
            lambda: open_aux_voltage(bus, hat),
        ):
            with pytest.raises(BusStuck, match="stuck") as caught:
                attempt()
            assert "SDA" in caught.value.cause

    def test_leds_that_could_not_be_turned_off_are_tried_again(self, bus, hat, claims, plant):
        leds = open_leds(bus, hat, claims)
        leds.set_intensity("A", 10.0)
        plant.broken.add("bus_stuck")
        with pytest.raises(BusStuck):
            leds.close()
        plant.broken.clear()
        leds.close()
        assert plant.leds["A"] == 0.0

    def test_a_saturated_photodiode_is_an_error_and_no_number(self, bus, hat, plant):
        photodiodes = open_photodiodes(bus, hat)
        plant.broken.add("adc_saturated")
        with pytest.raises(Saturated, match="Photodiode 1 is beyond the range") as caught:
            photodiodes.read_voltage_v("1")
        assert "LED's intensity" in caught.value.remediation
        assert photodiodes.sample("1").saturated

    def test_too_much_gain_is_given_up_by_itself(self, bus, hat, plant):
        photodiodes = open_photodiodes(bus, hat)
        photodiodes.set_gain("1", Gain.SIXTEEN)
        assert photodiodes.read_voltage_v("1") == pytest.approx(0.5, abs=0.001)
        assert photodiodes.gain("1") is Gain.ONE

    def test_a_channel_that_is_not_there_is_refused_with_those_that_are(self, bus, hat):
        with pytest.raises(HardwareFault, match="no photodiode channel '7'") as caught:
            open_photodiodes(bus, hat, ["7"])
        assert "1, 2" in caught.value.cause
        with pytest.raises(HardwareFault, match="no photodiode channel '7'"):
            open_photodiodes(bus, hat).read_voltage_v("7")


def test_the_other_layout_of_the_1_5_boards_is_found(tmp_path):
    hat = board.load("1.2", model=model("pioreactor_20ml"))
    lower = board.load("1.2", model=model("pioreactor_20ml")).settle_adc({0x2C, 0x48, 0x49}.__contains__)
    bus = I2CBus(SimulatedSMBus(FakePlant(), lower))
    assert open_photodiodes(bus, hat).read_voltage_v("1") == pytest.approx(0.5, abs=0.001)


def test_optics_on_the_addresses_of_another_chip_are_refused_before_anything_is_written():
    hat = board.load("1.0", model=model("pioreactor_20ml_XR"))
    smbus = FakeSMBus(x48={}, x49={}, x4a={}, x4b={})
    with pytest.raises(HardwareFault, match="two chips have the address 0x49") as caught:
        open_photodiodes(I2CBus(smbus), hat)
    assert "ads1114 and dac43608" in caught.value.cause
    assert smbus.transfers == []


def bus_with(hat, plant, *, firmware_version=(0, 5)):
    """A bus on which waiting takes no time, and the chips' time passes by it."""
    now = [0.0]
    smbus = SimulatedSMBus(plant, hat, firmware_version=firmware_version, clock=lambda: now[0])
    return I2CBus(smbus, wait=lambda seconds: now.__setitem__(0, now[0] + seconds), clock=lambda: now[0])


ADCS = [
    ("1.0", None, Gain.ONE, (0, 5), 4.096 / 32767, 4.096),
    ("1.0", None, Gain.EIGHT, (0, 5), 0.512 / 32767, 0.512),
    ("1.2", "pioreactor_20ml_XR", Gain.TWO, (0, 5), 2.048 / 32767, 2.048),
    ("1.2", None, Gain.ONE, (0, 3), 3.3 / 4095 / 16, 3.3),
    ("1.2", None, Gain.ONE, (0, 5), 3.3 / 4095 / 32, 1.65),
]


@pytest.mark.parametrize(("hat", "name", "gain", "firmware", "lsb_v", "full_scale_v"), ADCS)
@given(fractions=st.lists(st.floats(0.0, 0.999), min_size=2, max_size=6))
def test_volts_come_back_within_one_step_and_in_order(hat, name, gain, firmware, lsb_v, full_scale_v, fractions):
    plant = FakePlant()
    wired = board.load(hat, model=model(name) if name else None)
    photodiodes = open_photodiodes(bus_with(wired, plant, firmware_version=firmware), wired)
    photodiodes.set_gain("1", gain)
    read_v = []
    for fraction in sorted(fractions):
        plant.photodiodes_v["1"] = fraction * full_scale_v
        sample = photodiodes.sample("1")
        assert abs(sample.voltage_v - fraction * full_scale_v) <= lsb_v * 1.001
        assert not sample.saturated
        read_v.append(sample.voltage_v)
    assert read_v == sorted(read_v)


@given(st.floats(-55.0, 125.0))
def test_degrees_come_back_within_one_step(temperature_c):
    plant, hat = FakePlant(), board.load()
    plant.board_temperature_c = temperature_c
    read_c = open_thermometer(bus_with(hat, plant), hat).read_temperature_c()
    assert abs(read_c - temperature_c) <= 0.0625 / 2


@pytest.mark.parametrize("hat", ["1.0", "1.2"])
@given(percents=st.lists(st.floats(0.0, 100.0), min_size=2, max_size=6))
def test_intensities_arrive_within_one_step_and_in_order(tmp_path_factory, hat, percents):
    plant, wired = FakePlant(), board.load(hat)
    claims = Claims(tmp_path_factory.mktemp("run") / "claims", "this test", LeaseTable())
    leds = open_leds(bus_with(wired, plant), wired, claims)
    arrived = []
    for percent in sorted(percents):
        leds.set_intensity("C", percent)
        assert abs(plant.leds["C"] - percent) <= 100.0 / 255
        arrived.append(plant.leds["C"])
    claims.close()
    assert arrived == sorted(arrived)


@pytest.mark.pi
class TestRaspberryPiI2C(I2CContract):
    """On a HAT with its heater board. LEDs are lit at 1 %; nothing heats or moves."""

    @pytest.fixture
    def hat(self):
        if hardware.choose("auto", Path("/proc/device-tree")) != "pi":
            pytest.skip("this is not a Raspberry Pi")
        version = board.detect_hat_version(hardware.DEVICE_TREE)
        return board.load(version or pytest.skip("no HAT of ours is attached"), home=Path.home() / ".pioreactor")

    @pytest.fixture
    def bus(self, hat, tmp_path):
        bus = open_bus(lock_folder=tmp_path)
        yield bus
        bus.close()
