"""Heater, pump, LEDs by name, and the HAT's own LED and button, on fakes that record."""

import threading

import pytest
from fake_gpio import FakeGPIO
from fake_i2c import FakeTime

from reactor_unit.drivers import board
from reactor_unit.drivers.adc import Sample
from reactor_unit.drivers.claims import Claims
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.drivers.i2c import Chip, I2CBus
from reactor_unit.drivers.leases import LeaseTable
from reactor_unit.drivers.leds import LEDs
from reactor_unit.drivers.panel import PCBLED, Button
from reactor_unit.drivers.photodiodes import AuxVoltage, Saturated


@pytest.fixture
def gpio():
    return FakeGPIO()


@pytest.fixture
def time():
    return FakeTime()


@pytest.fixture
def claims(tmp_path, time):
    claims = Claims(tmp_path / "claims", "this test", LeaseTable(time.clock))
    yield claims
    claims.close()


@pytest.fixture
def reactor(gpio, claims):
    return Hardware("pi", gpio, board.load(), claims)


class Interrupted(Exception):
    pass


def test_the_heater_is_a_software_pwm_of_16_hz_on_its_own_pin(gpio, reactor):
    with reactor.open_heater() as heater:
        assert gpio.calls == [("setup", 18, gpio.OUT, gpio.PUD_OFF, gpio.LOW), ("PWM", 18, 16.0)]
        heater.set_duty_cycle(20.0)
        assert (heater.pin, heater.duty_cycle) == (18, 20.0)
    heater.close()
    assert gpio.calls.count(("output", 18, gpio.LOW)) == 1
    assert heater.duty_cycle == 0.0


@pytest.mark.parametrize("duty_cycle", [-1.0, 100.1, float("nan")])
def test_the_heater_takes_no_other_duty_cycle(gpio, reactor, duty_cycle):
    heater = reactor.open_heater()
    with pytest.raises(HardwareFault, match="GPIO 18"):
        heater.set_duty_cycle(duty_cycle)
    assert not [call for call in gpio.calls if call[0] in ("start", "ChangeDutyCycle")]


class TestPump:
    @pytest.fixture
    def pump(self, reactor):
        return reactor.open_pump("alt_media", {"3": "alt_media"})

    def test_it_runs_for_the_time_and_stops(self, gpio, pump, time):
        assert pump.run_for(2.5, 60.0, time.wait, time.clock) == 2.5
        assert gpio.calls[2:] == [("start", 16, 60.0), ("ChangeDutyCycle", 16, 0.0)]
        assert (pump.pin, pump.duty_cycle) == (16, 0.0)

    def test_a_wait_that_returns_early_ends_the_run_and_tells_how_long_it_was(self, pump, time):
        assert pump.run_for(2.5, 60.0, lambda _seconds: time.wait(0.5), time.clock) == 0.5
        assert pump.duty_cycle == 0.0

    def test_a_wait_that_raises_stops_the_pump(self, gpio, pump):
        def interrupt(_seconds):
            raise Interrupted

        with pytest.raises(Interrupted):
            pump.run_for(2.5, 60.0, interrupt)
        assert gpio.calls[-1] == ("ChangeDutyCycle", 16, 0.0)

    @pytest.mark.parametrize("duration_s", [-0.1, float("nan"), float("inf"), 300.1])
    def test_a_run_needs_an_end_within_five_minutes(self, gpio, pump, duration_s):
        with pytest.raises(HardwareFault, match="alt_media pump cannot run"):
            pump.run_for(duration_s, 60.0)
        assert len(gpio.calls) == 2

    def test_closing_twice_is_fine(self, gpio, pump):
        with pump:
            pump.turn(100.0, 1.0)
        pump.close()
        assert [call for call in gpio.calls if call[0] == "output"] == [("output", 16, gpio.LOW)]


class FakeLEDDriver:
    def __init__(self, lock_folder=None):
        self.chip = Chip(I2CBus(None, lock_folder=lock_folder), 0x2C, "The LED driver")
        self.told = []
        self.fail_on = set()
        self.after = lambda _channel: None

    def set_led(self, channel, percent):
        self.told.append((channel, percent))
        if channel in self.fail_on:
            raise HardwareFault(f"{channel} refused")
        after, self.after = self.after, lambda _channel: None
        after(channel)
        self.after = after


class TestLEDs:
    @pytest.fixture
    def driver(self):
        return FakeLEDDriver()

    def test_a_name_is_found_on_its_channel(self, driver, claims):
        leds = LEDs(driver, claims, {"A": "", "C": "IR", "D": "blue"})
        leds.set_intensity("IR", 80.0)
        leds.set_intensity("B", 5.0)
        assert driver.told == [("C", 80.0), ("B", 5.0)]
        assert (leds.intensity("C"), leds.intensity("IR"), leds.intensity("A")) == (80.0, 80.0, 0.0)

    @pytest.mark.parametrize("names", [{"A": "IR", "B": "IR"}, {}, {"A": ""}, {"E": "IR"}])
    def test_a_name_without_exactly_one_channel_is_refused(self, driver, claims, names):
        with pytest.raises(HardwareFault, match="IR") as caught:
            LEDs(driver, claims, names).set_intensity("IR", 1.0)
        assert "[leds]" in caught.value.remediation
        assert driver.told == []

    def test_closing_tries_each_one_even_after_a_failure_and_then_again(self, driver, claims):
        leds = LEDs(driver, claims)
        for channel in "BCD":
            leds.set_intensity(channel, 10.0)
        driver.told.clear()
        driver.fail_on = {"B"}
        with pytest.raises(HardwareFault, match="B refused"):
            leds.close()
        assert driver.told == [("B", 0.0), ("C", 0.0), ("D", 0.0)]
        driver.fail_on.clear()
        leds.close()
        leds.close()
        assert driver.told[3:] == [("B", 0.0), ("C", 0.0), ("D", 0.0)]
        with pytest.raises(HardwareFault, match="closed"):
            leds.set_intensity("B", 1.0)

    def test_one_that_is_closed_is_not_relit_by_another_process(self, driver, claims):
        ours, theirs = LEDs(driver, claims), LEDs(driver, claims)
        ours.set_intensity("B", 50.0)
        driver.after = lambda channel: theirs.relight() if channel == "B" else None  # before it is given back
        ours.close()
        assert [told for told in driver.told if told[0] == "B"][1:] == [("B", 0.0), ("B", 0.0)]

    def test_closing_waits_for_who_is_relighting(self, claims, tmp_path):
        driver, other = FakeLEDDriver(tmp_path), FakeLEDDriver(tmp_path)
        other.told = driver.told
        ours, theirs = LEDs(driver, claims), LEDs(other, claims)
        ours.set_intensity("B", 50.0)
        closing = threading.Thread(target=ours.close)

        def begin_to_close(channel):
            if channel == "A":
                closing.start()
                closing.join(0.05)

        other.after = begin_to_close
        theirs.relight()  # it has read already that B is wanted
        closing.join()
        assert [told for told in driver.told if told[0] == "B"] == [("B", 50.0), ("B", 50.0), ("B", 0.0)]

    def test_leds_are_relit_when_others_did_not_become_dark(self, driver, claims):
        ours, theirs = LEDs(driver, claims), LEDs(driver, claims)
        theirs.set_intensity("B", 50.0)
        driver.fail_on = {"C"}
        with pytest.raises(HardwareFault, match="C refused"), ours.darkness(1.0, but="A"):
            pytest.fail("it was not dark")
        assert [told for told in driver.told if told[0] == "B"] == [("B", 50.0), ("B", 0.0), ("B", 50.0)]

    def test_one_whose_answer_was_lost_is_turned_off_too(self, driver, claims):
        leds = LEDs(driver, claims)
        driver.fail_on = {"A"}
        with pytest.raises(HardwareFault):
            leds.set_intensity("A", 50.0)
        driver.fail_on.clear()
        leds.close()
        assert driver.told[-1] == ("A", 0.0)


class FakeADC:
    channels = 4

    def __init__(self, voltage_v, saturated=False):
        self._sample = (0, voltage_v, saturated)

    def read(self, channel):
        assert channel == 1
        return Sample(*self._sample)


@pytest.mark.parametrize(
    ("adc_v", "precision_v", "supply_v"), [(0.67, 0.1, 5.0), (1.608, 0.1, 12.0), (0.6432, 0.05, 4.8), (0.65, 0.1, 4.9)]
)
def test_the_supply_is_read_through_its_divider(adc_v, precision_v, supply_v):
    assert AuxVoltage(FakeADC(adc_v), 1).read_voltage_v(precision_v) == supply_v


def test_a_supply_beyond_the_range_is_an_error():
    with pytest.raises(Saturated, match=r"above 12\.3 V"):
        AuxVoltage(FakeADC(1.65, saturated=True), 1).read_voltage_v()


class TestPanel:
    def test_the_led_is_off_first_and_last(self, gpio):
        with PCBLED(gpio, 23) as led:
            led.set_on(True)
        led.close()
        assert gpio.calls == [
            ("setup", 23, gpio.OUT, gpio.PUD_OFF, gpio.LOW),
            ("output", 23, gpio.HIGH),
            ("output", 23, gpio.LOW),
        ]
        with pytest.raises(HardwareFault, match="closed"):
            led.set_on(True)

    def test_it_blinks_some_times_and_is_off_when_that_is_interrupted(self, gpio, time):
        led = PCBLED(gpio, 23)
        led.blink(3, time.wait)
        assert [call[2] for call in gpio.calls if call[0] == "output"] == [1, 0] * 3 + [0]

        def interrupt(_seconds):
            raise Interrupted

        with pytest.raises(Interrupted):
            led.blink(3, interrupt)
        assert gpio.calls[-1] == ("output", 23, gpio.LOW)

    def test_the_button_is_high_while_it_is_pressed(self, gpio):
        button = Button(gpio, 4)
        assert gpio.calls == [("setup", 4, gpio.IN, gpio.PUD_DOWN, -1)]
        assert button.pressed is True
        gpio.read_level = lambda: 0
        assert button.pressed is False
        button.close()
        button.close()
        assert gpio.calls[1:] == [("cleanup", 4)]
        with pytest.raises(HardwareFault, match="closed"):
            _ = button.pressed

    @pytest.mark.parametrize(("device", "pin"), [(PCBLED, 23), (Button, 4)])
    def test_a_pin_that_cannot_be_had_is_named(self, device, pin):
        with pytest.raises(HardwareFault, match=f"GPIO {pin}"):
            device(FakeGPIO(fail_on=["setup"]), pin)
