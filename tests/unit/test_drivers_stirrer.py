import pytest
from fake_gpio import FakeGPIO

from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.hall_sensor import HallSensor
from reactor_unit.drivers.pwm import PWMOutput
from reactor_unit.drivers.stirrer import Stirrer


def test_a_stirrer_without_a_sensor_drives_and_says_that_it_cannot_measure():
    gpio = FakeGPIO()
    stirrer = Stirrer(PWMOutput(gpio, 17, 200.0))
    stirrer.set_duty_cycle(30.0)
    assert stirrer.duty_cycle == 30.0
    assert not stirrer.can_measure
    with pytest.raises(HardwareFault, match="no hall sensor"):
        stirrer.measure_rpm(1.0, lambda _s: None)


def test_the_speed_is_the_sensors():
    gpio, now = FakeGPIO(), [0.0]

    def turn_once_in_100_ms(_window_s):
        for now[0] in (0.1, 0.2, 0.3):
            gpio.callback(21)

    stirrer = Stirrer(PWMOutput(gpio, 17, 200.0), HallSensor(gpio, 21, clock=lambda: now[0]))
    assert stirrer.can_measure
    assert stirrer.measure_rpm(1.0, turn_once_in_100_ms) == 600.0


def test_the_end_stops_the_motor_before_anything_else():
    gpio = FakeGPIO()
    with Stirrer(PWMOutput(gpio, 17, 200.0), HallSensor(gpio, 21)) as stirrer:
        stirrer.set_duty_cycle(30.0)
    ends = [call for call in gpio.calls if call in (("output", 17, gpio.LOW), ("cleanup", 21))]
    assert ends == [("output", 17, gpio.LOW), ("cleanup", 21)]
    stirrer.close()


def test_a_motor_that_does_not_stop_keeps_nobody_from_freeing_the_sensor():
    gpio = FakeGPIO(fail_on=["output"])
    stirrer = Stirrer(PWMOutput(gpio, 17, 200.0), HallSensor(gpio, 21))
    with pytest.raises(HardwareFault, match="GPIO 17"):
        stirrer.close()
    assert ("cleanup", 21) in gpio.calls
