"""The output drivers on the real RPi.GPIO: which registers they write, and which levels they leave behind."""

from __future__ import annotations

import pytest
from fake_pi import GPCLR, GPFSEL, GPSET, INPUT, OUTPUT, FakePi, mean_rpm, turning_magnet

from reactor_unit.drivers.board import load

BOARD_OUTPUTS = set(load("1.2").output_pins)
PREAMBLE = """
import os, time
import RPi.GPIO as gpio
from reactor_unit.drivers.hall_sensor import HallSensor
from reactor_unit.drivers.outputs import drive_low
from reactor_unit.drivers.pwm import PWMOutput
gpio.setmode(gpio.BCM)
gpio.setwarnings(False)

def wait_until_high(pin):
    deadline = time.monotonic() + 30
    while not gpio.input(pin):
        assert time.monotonic() < deadline
"""


def carried_out(pi: FakePi, program: str) -> list[str]:
    """Run a program that ends like a job, without the interpreter's end; return what it printed."""
    done = pi.run("-c", f"{PREAMBLE}\n{program}\nos.sys.stdout.flush()\nos._exit(0)\n")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_library_writes_the_registers_of_the_chip(pi: FakePi) -> None:
    carried_out(pi, "gpio.setup(17, gpio.OUT, initial=gpio.HIGH); gpio.setup(23, gpio.OUT); gpio.output(23, 0)")
    assert pi.registers.word(GPSET) == 1 << 17
    assert pi.registers.word(GPCLR) == 1 << 23
    assert [pi.registers.word(GPFSEL + bank) for bank in range(6)] == [0, 1 << 21, 1 << 9, 0, 0, 0]
    assert pi.registers.high() == {17}


@pytest.mark.parametrize("function", [INPUT, OUTPUT], ids=["inputs with a high latch", "high outputs"])
def test_drive_low_makes_low_outputs_of_its_pins_alone_and_none_high_on_the_way(pi: FakePi, function: int) -> None:
    for pin in (*BOARD_OUTPUTS, 5):
        pi.registers.leave(pin, function=function, latch=1)
    carried_out(pi, "drive_low(gpio, [17, 13])")
    assert {pin for pin in BOARD_OUTPUTS if pi.registers.function(pin) == OUTPUT} >= {17, 13}
    assert not pi.registers.high() & {17, 13}
    assert pi.registers.were_high() == set()
    untouched = (BOARD_OUTPUTS | {5}) - {17, 13}
    assert {pi.registers.function(pin) for pin in untouched} == {function}
    assert pi.registers.high() == (untouched if function == OUTPUT else set())


@pytest.mark.parametrize("function", [INPUT, OUTPUT], ids=["inputs with a high latch", "high outputs"])
def test_the_command_safe_leaves_every_output_low(pi: FakePi, function: int) -> None:
    for pin in BOARD_OUTPUTS:
        pi.registers.leave(pin, function=function, latch=1)
    done = pi.run("-m", "reactor_unit", "safe", "--hardware", "pi")
    assert done.stdout == "All pins are low (Raspberry Pi 4 Model B, HAT 1.2).\n", done.stderr
    assert "/dev/i2c-1 cannot be opened" in done.stderr  # nobody can say what the LEDs do
    assert pi.registers.outputs() == BOARD_OUTPUTS == {17, 13, 16, 12, 18, 23}
    assert pi.registers.high() == set()
    assert pi.registers.were_high() == set()


def test_a_closed_pwm_output_is_low_at_once_and_stays_low(pi: FakePi) -> None:
    program = """
output = PWMOutput(gpio, 17, 2.0)
output.start(50.0)
wait_until_high(17)  # and for 250 ms more
output.close()
print(gpio.input(17))
for _ in range(400):
    time.sleep(0.001)
    if gpio.input(17):
        print("high again")
"""
    assert carried_out(pi, program) == ["0"]
    assert pi.registers.outputs() == pi.registers.were_high() == {17}
    assert pi.registers.high() == set()


def test_the_librarys_stop_alone_leaves_the_pin_high_for_the_rest_of_a_phase(pi: FakePi) -> None:
    """Why `PWMOutput.close` writes the level itself."""
    program = """
gpio.setup(17, gpio.OUT, initial=gpio.LOW)
pwm = gpio.PWM(17, 0.2)
pwm.start(50.0)
wait_until_high(17)
pwm.stop()
print(gpio.input(17))
"""
    assert carried_out(pi, program) == ["1"]
    assert pi.registers.high() == {17}


def test_a_pwm_output_runs_at_its_duty_cycle(pi: FakePi) -> None:
    program = """
with PWMOutput(gpio, 17, 50.0) as output:
    output.start(30.0)
    until = time.monotonic() + 1.0
    levels = []
    while time.monotonic() < until:
        levels.append(gpio.input(17))
        time.sleep(0.0005)
print(sum(levels) / len(levels))
"""
    (share,) = carried_out(pi, program)
    assert float(share) == pytest.approx(0.30, abs=0.08)


def test_two_outputs_do_not_touch_each_other(pi: FakePi) -> None:
    program = """
stirrer, pump = PWMOutput(gpio, 17, 200.0), PWMOutput(gpio, 13, 200.0)
stirrer.start(100.0)
pump.start(100.0)
wait_until_high(13)
stirrer.close()
time.sleep(0.05)
"""
    carried_out(pi, program)
    assert pi.registers.outputs() == {17, 13}
    assert pi.registers.high() == {13}


def test_the_hall_sensor_polls_where_edges_cannot_be_had_and_measures(pi: FakePi) -> None:
    """There are no edge files here (/sys is empty), as they fail on a Pi with kernel 6.6 and later."""
    program = "sensor = HallSensor(gpio, 21); print(sensor.measure_rpm(1.0), sensor.polls); sensor.close()"
    with turning_magnet(pi, 0.04) as passed_at_s:  # what it writes before the pin is set up is the pull's to overwrite
        rpm, polls = carried_out(pi, program)
    assert polls == "True"
    assert float(rpm) == pytest.approx(mean_rpm(passed_at_s), rel=0.2)
