import pytest
from fake_gpio import FakeGPIO

from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.outputs import drive_low


def test_each_pin_is_made_an_output_at_low_level_and_written_low():
    gpio = FakeGPIO()
    drive_low(gpio, [17, 18])
    assert gpio.calls == [
        ("setup", 17, gpio.OUT, gpio.PUD_OFF, gpio.LOW),
        ("output", 17, gpio.LOW),
        ("setup", 18, gpio.OUT, gpio.PUD_OFF, gpio.LOW),
        ("output", 18, gpio.LOW),
    ]


def test_pins_after_a_failing_one_are_still_driven_and_the_failing_ones_are_named():
    gpio = FakeGPIO(fail_on=[("setup", 17), ("output", 13)])
    with pytest.raises(HardwareFault, match=r"GPIO 17, 13 could") as caught:
        drive_low(gpio, [17, 13, 16])
    assert ("output", 16, gpio.LOW) in gpio.calls
    assert "GPIO 17: setup refused" in caught.value.cause
    assert "GPIO 13: output refused" in caught.value.cause
