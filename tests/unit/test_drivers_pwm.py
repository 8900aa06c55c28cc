import pytest
from fake_gpio import FakeGPIO

from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.pwm import PWMOutput


@pytest.fixture
def gpio():
    return FakeGPIO()


def test_the_pin_is_low_before_it_is_an_output_under_pwm(gpio):
    pwm = PWMOutput(gpio, 17, 200.0)
    assert gpio.calls == [("setup", 17, gpio.OUT, gpio.PUD_OFF, gpio.LOW), ("PWM", 17, 200.0)]
    assert pwm.duty_cycle == 0.0


def test_the_first_duty_cycle_starts_and_the_next_ones_change(gpio):
    pwm = PWMOutput(gpio, 17, 200.0)
    pwm.start(100.0)
    pwm.set_duty_cycle(30.0)
    pwm.start(31.0)  # idempotent: not a second start
    assert gpio.calls[2:] == [("start", 17, 100.0), ("ChangeDutyCycle", 17, 30.0), ("ChangeDutyCycle", 17, 31.0)]
    assert pwm.duty_cycle == 31.0


def test_set_duty_cycle_alone_starts_it(gpio):
    PWMOutput(gpio, 17, 200.0).set_duty_cycle(12.5)
    assert ("start", 17, 12.5) in gpio.calls


@pytest.mark.parametrize("duty_cycle", [-0.001, 100.001, 9000.0, float("nan"), float("inf"), float("-inf")])
def test_a_duty_cycle_outside_0_to_100_never_reaches_the_pin(gpio, duty_cycle):
    pwm = PWMOutput(gpio, 17, 200.0)
    pwm.start(30.0)
    told = list(gpio.calls)
    with pytest.raises(HardwareFault, match=r"GPIO 17 is outside 0\.\.100 %"):
        pwm.set_duty_cycle(duty_cycle)
    assert gpio.calls == told
    assert pwm.duty_cycle == 30.0


@pytest.mark.parametrize("duty_cycle", [0.0, 100.0, 0, 100])
def test_both_limits_are_taken(gpio, duty_cycle):
    pwm = PWMOutput(gpio, 17, 200.0)
    pwm.set_duty_cycle(duty_cycle)
    assert pwm.duty_cycle == duty_cycle


@pytest.mark.parametrize("frequency_hz", [0.0, 0.09, 10_000.1, -5.0, float("nan")])
def test_a_frequency_outside_the_limits_is_refused_before_the_pin_is_touched(gpio, frequency_hz):
    with pytest.raises(HardwareFault, match="GPIO 17"):
        PWMOutput(gpio, 17, frequency_hz)
    assert gpio.calls == []


@pytest.mark.parametrize("frequency_hz", [0.1, 10_000.0])
def test_both_frequency_limits_are_taken(gpio, frequency_hz):
    assert PWMOutput(gpio, 17, frequency_hz).frequency_hz == frequency_hz


def test_close_ends_the_pwm_and_writes_low_last(gpio):
    pwm = PWMOutput(gpio, 17, 200.0)
    pwm.start(30.0)
    del gpio.calls[:]
    pwm.close()
    # The old PWM object goes before the level is written: a library stops the pin's PWM, whichever, when it goes later.
    assert gpio.calls == [("ChangeDutyCycle", 17, 0.0), ("stop", 17), ("dropped", 17), ("output", 17, gpio.LOW)]
    assert pwm.duty_cycle == 0.0


def test_close_twice_does_nothing_more(gpio):
    pwm = PWMOutput(gpio, 17, 200.0)
    pwm.close()
    told = list(gpio.calls)
    pwm.close()
    assert gpio.calls == told


def test_close_never_makes_the_pin_a_floating_input(gpio):
    with PWMOutput(gpio, 17, 200.0) as pwm:
        pwm.start(30.0)
    assert "cleanup" not in {name for name, *_ in gpio.calls}
    assert gpio.calls[-1] == ("output", 17, gpio.LOW)


@pytest.mark.parametrize("broken", ["ChangeDutyCycle", "stop"])
def test_low_is_written_whatever_fails_before(gpio, broken):
    pwm = PWMOutput(gpio, 17, 200.0)
    pwm.start(30.0)
    gpio.fail_on = {broken}
    pwm.close()
    assert gpio.calls[-1] == ("output", 17, gpio.LOW)


def test_a_close_that_could_not_write_low_says_so_and_can_be_tried_again(gpio):
    pwm = PWMOutput(gpio, 17, 200.0)
    gpio.fail_on = {"output"}
    with pytest.raises(HardwareFault, match="GPIO 17 could not be driven low"):
        pwm.close()
    gpio.fail_on = set()
    pwm.close()
    assert gpio.calls[-1] == ("output", 17, gpio.LOW)


def test_a_with_block_that_fails_leaves_the_pin_low(gpio):
    def fail_while_running():
        with PWMOutput(gpio, 17, 200.0) as pwm:
            pwm.start(30.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_running()
    assert gpio.calls[-1] == ("output", 17, gpio.LOW)


def test_after_close_it_drives_nothing(gpio):
    pwm = PWMOutput(gpio, 17, 200.0)
    pwm.close()
    with pytest.raises(HardwareFault, match="closed"):
        pwm.set_duty_cycle(30.0)
    assert gpio.calls[-1] == ("output", 17, gpio.LOW)


@pytest.mark.parametrize("broken", ["setup", "PWM"])
def test_a_pin_that_cannot_be_had_is_a_hardware_fault_that_names_it(broken):
    with pytest.raises(HardwareFault, match="GPIO 17") as caught:
        PWMOutput(FakeGPIO(fail_on=[broken]), 17, 200.0)
    assert caught.value.cause == f"{broken} refused"


@pytest.mark.parametrize("broken", ["start", "ChangeDutyCycle"])
def test_a_library_that_refuses_is_a_hardware_fault_and_the_old_duty_cycle_stays_known(gpio, broken):
    pwm = PWMOutput(gpio, 17, 200.0)
    if broken == "ChangeDutyCycle":
        pwm.start(10.0)
    before = pwm.duty_cycle
    gpio.fail_on = {broken}
    with pytest.raises(HardwareFault, match="GPIO 17"):
        pwm.set_duty_cycle(20.0)
    assert pwm.duty_cycle == before
