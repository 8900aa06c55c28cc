"""What devices rely on in the GPIO seam, asked of each implementation: names, refusals and their messages."""

import threading
import time
from pathlib import Path

import pytest

from reactor_unit.drivers import hardware
from reactor_unit.drivers.outputs import drive_low
from reactor_unit.drivers.pwm import PWMOutput
from reactor_unit.drivers.simulation.gpio import SimulatedGPIO

NOT_AN_OUTPUT = "The GPIO channel has not been set up as an OUTPUT"
NOT_AN_INPUT = r"You must setup\(\) the GPIO channel as an input first"
INVALID_CHANNEL = "The channel sent is invalid on a Raspberry Pi"
DUTY_CYCLE = r"dutycycle must have a value from 0\.0 to 100\.0"
FREQUENCY = r"frequency must be greater than 0\.0"
NO_MODE = "Please set pin numbering mode using"


class GPIOContract:
    """An implementation gives the fixture `bare_gpio`, with nothing set up, and two pins that may be used."""

    output_pin: int
    input_pin: int

    @pytest.fixture
    def gpio(self, bare_gpio):
        bare_gpio.setmode(bare_gpio.BCM)
        bare_gpio.setwarnings(False)
        return bare_gpio

    @pytest.fixture
    def pwm(self, gpio):
        gpio.setup(self.output_pin, gpio.OUT, initial=gpio.LOW)
        pwm = gpio.PWM(self.output_pin, 200)
        yield pwm
        pwm.stop()

    def test_constants_have_their_numbers(self, gpio):
        assert (gpio.BOARD, gpio.BCM, gpio.OUT, gpio.IN, gpio.LOW, gpio.HIGH) == (10, 11, 0, 1, 0, 1)
        assert (gpio.PUD_OFF, gpio.PUD_DOWN, gpio.PUD_UP) == (20, 21, 22)
        assert (gpio.RISING, gpio.FALLING, gpio.BOTH) == (31, 32, 33)

    def test_the_numbering_mode_is_set_once(self, bare_gpio):
        assert bare_gpio.getmode() is None
        with pytest.raises(ValueError, match="An invalid mode was passed"):
            bare_gpio.setmode(5)
        bare_gpio.setmode(bare_gpio.BCM)
        bare_gpio.setmode(bare_gpio.BCM)
        assert bare_gpio.getmode() == bare_gpio.BCM
        with pytest.raises(ValueError, match="A different mode has already been set!"):
            bare_gpio.setmode(bare_gpio.BOARD)

    def test_nothing_works_before_the_numbering_mode_is_set(self, bare_gpio):
        for attempt in (
            lambda: bare_gpio.setup(self.output_pin, bare_gpio.OUT),
            lambda: bare_gpio.output(self.output_pin, 1),
            lambda: bare_gpio.input(self.output_pin),
            lambda: bare_gpio.PWM(self.output_pin, 200),
            lambda: bare_gpio.add_event_detect(self.input_pin, bare_gpio.FALLING),
            lambda: bare_gpio.gpio_function(self.input_pin),
        ):
            with pytest.raises(RuntimeError, match=NO_MODE):
                attempt()

    def test_header_numbers_mean_the_same_pins(self, bare_gpio):
        header = {12: 32, 17: 11, 21: 40, 23: 16, 4: 7, 5: 29}
        bare_gpio.setmode(bare_gpio.BOARD)
        bare_gpio.setup(header[self.output_pin], bare_gpio.OUT, initial=bare_gpio.HIGH)
        with pytest.raises(ValueError, match=INVALID_CHANNEL):
            bare_gpio.setup(6, bare_gpio.OUT)  # ground
        assert bare_gpio.gpio_function(header[self.output_pin]) == bare_gpio.OUT
        bare_gpio.output(header[self.output_pin], bare_gpio.LOW)

    @pytest.mark.parametrize("channel", [-1, 54])
    def test_a_channel_that_does_not_exist_is_refused(self, gpio, channel):
        with pytest.raises(ValueError, match=INVALID_CHANNEL):
            gpio.setup(channel, gpio.OUT)

    @pytest.mark.parametrize(
        ("channel", "message"),
        [("17", "Channel must be an integer or list/tuple of integers"), (["17"], "Channel must be an integer")],
    )
    def test_a_channel_is_a_number(self, gpio, channel, message):
        with pytest.raises(ValueError, match=message):
            gpio.setup(channel, gpio.OUT)

    def test_setup_refuses_what_makes_no_sense(self, gpio):
        with pytest.raises(ValueError, match="An invalid direction"):
            gpio.setup(self.output_pin, 7)
        with pytest.raises(ValueError, match="pull_up_down parameter is not valid for outputs"):
            gpio.setup(self.output_pin, gpio.OUT, pull_up_down=gpio.PUD_UP)
        with pytest.raises(ValueError, match="initial parameter is not valid for inputs"):
            gpio.setup(self.input_pin, gpio.IN, initial=gpio.LOW)
        with pytest.raises(ValueError, match="Invalid value for pull_up_down"):
            gpio.setup(self.input_pin, gpio.IN, pull_up_down=5)

    def test_an_output_has_its_initial_level_and_then_what_is_written(self, gpio):
        gpio.setup(self.output_pin, gpio.OUT, initial=gpio.HIGH)
        assert gpio.input(self.output_pin) == gpio.HIGH
        gpio.output(self.output_pin, gpio.LOW)
        assert gpio.input(self.output_pin) == gpio.LOW
        gpio.output(self.output_pin, True)
        assert gpio.input(self.output_pin) == gpio.HIGH
        gpio.output([self.output_pin], [0])
        assert gpio.input(self.output_pin) == gpio.LOW

    def test_only_an_output_can_be_written(self, gpio):
        with pytest.raises(RuntimeError, match=NOT_AN_OUTPUT):
            gpio.output(self.output_pin, gpio.HIGH)
        gpio.setup(self.input_pin, gpio.IN)
        with pytest.raises(RuntimeError, match=NOT_AN_OUTPUT):
            gpio.output(self.input_pin, gpio.HIGH)

    def test_values_have_to_fit_channels(self, gpio):
        gpio.setup([self.output_pin], gpio.OUT)
        for channel, value in ((self.output_pin, [1]), ([self.output_pin], [1, 0])):
            with pytest.raises(RuntimeError, match="Number of channels != number of values"):
                gpio.output(channel, value)
        with pytest.raises(ValueError, match="Value must be an integer/boolean"):
            gpio.output(self.output_pin, "high")

    def test_a_pin_is_read_only_after_its_setup(self, gpio):
        with pytest.raises(RuntimeError, match=r"You must setup\(\) the GPIO channel first"):
            gpio.input(self.input_pin)

    def test_a_pull_decides_the_level_of_an_input_that_nobody_drives(self, gpio):
        gpio.setup(self.input_pin, gpio.IN, pull_up_down=gpio.PUD_UP)
        assert gpio.input(self.input_pin) == gpio.HIGH
        gpio.setup(self.input_pin, gpio.IN, pull_up_down=gpio.PUD_DOWN)
        assert gpio.input(self.input_pin) == gpio.LOW

    @pytest.mark.parametrize("duty_cycle", [-0.1, 100.1, 101])
    def test_a_duty_cycle_outside_0_to_100_is_refused(self, pwm, duty_cycle):
        with pytest.raises(ValueError, match=DUTY_CYCLE):
            pwm.start(duty_cycle)
        pwm.start(0)
        with pytest.raises(ValueError, match=DUTY_CYCLE):
            pwm.ChangeDutyCycle(duty_cycle)

    @pytest.mark.parametrize("frequency", [0, -1.0])
    def test_a_frequency_is_above_0(self, gpio, pwm, frequency):
        with pytest.raises(ValueError, match=FREQUENCY):
            pwm.ChangeFrequency(frequency)
        pwm.stop()
        with pytest.raises(ValueError, match=FREQUENCY):
            gpio.PWM(self.output_pin, frequency)

    @pytest.mark.parametrize("wrong", ["30", None])
    def test_a_duty_cycle_is_a_number(self, pwm, wrong):
        with pytest.raises(TypeError):
            pwm.start(wrong)

    def test_a_pwm_needs_an_output(self, gpio):
        with pytest.raises(RuntimeError, match=r"You must setup\(\) the GPIO channel as an output first"):
            gpio.PWM(self.output_pin, 200)

    def test_a_pin_has_one_pwm_until_it_stops(self, gpio, pwm):
        with pytest.raises(RuntimeError, match="A PWM object already exists for this GPIO channel"):
            gpio.PWM(self.output_pin, 200)
        pwm.start(10)
        pwm.stop()
        gpio.PWM(self.output_pin, 200).stop()

    def test_a_second_pwm_is_refused_and_ends_the_first(self, gpio, pwm):
        pwm.start(100)
        eventually(lambda: gpio.input(self.output_pin) == gpio.HIGH)
        with pytest.raises(RuntimeError, match="A PWM object already exists for this GPIO channel"):
            gpio.PWM(self.output_pin, 200)
        eventually(lambda: gpio.input(self.output_pin) == gpio.LOW)

    def test_a_pwm_at_100_is_high_and_low_soon_after_its_stop(self, gpio, pwm):
        pwm.start(100)
        eventually(lambda: gpio.input(self.output_pin) == gpio.HIGH)
        pwm.stop()
        eventually(lambda: gpio.input(self.output_pin) == gpio.LOW)

    def test_a_pwm_stops_when_its_last_reference_goes(self, gpio):
        gpio.setup(self.output_pin, gpio.OUT, initial=gpio.LOW)
        pwm = gpio.PWM(self.output_pin, 200)
        pwm.start(100)
        eventually(lambda: gpio.input(self.output_pin) == gpio.HIGH)
        del pwm
        eventually(lambda: gpio.input(self.output_pin) == gpio.LOW)
        gpio.PWM(self.output_pin, 200).stop()

    def test_edge_detection_needs_an_input_and_an_edge(self, gpio):
        with pytest.raises(RuntimeError, match=NOT_AN_INPUT):
            gpio.add_event_detect(self.input_pin, gpio.FALLING)
        gpio.setup(self.input_pin, gpio.IN, pull_up_down=gpio.PUD_UP)
        with pytest.raises(ValueError, match="The edge must be set to RISING, FALLING or BOTH"):
            gpio.add_event_detect(self.input_pin, gpio.LOW)
        with pytest.raises(ValueError, match="Bouncetime must be greater than 0"):
            gpio.add_event_detect(self.input_pin, gpio.FALLING, bouncetime=0)
        with pytest.raises(TypeError, match="Parameter must be callable"):
            gpio.add_event_detect(self.input_pin, gpio.FALLING, callback=5)
        with pytest.raises(RuntimeError, match="Add event detection using add_event_detect first"):
            gpio.add_event_callback(self.input_pin, print)
        with pytest.raises(ValueError, match="Timeout must be greater than 0"):
            gpio.wait_for_edge(self.input_pin, gpio.FALLING, timeout=0)
        assert gpio.event_detected(self.input_pin) is False

    def test_clean_up_makes_an_input_and_forgets_the_setup(self, gpio):
        gpio.setup(self.output_pin, gpio.OUT, initial=gpio.LOW)
        assert gpio.gpio_function(self.output_pin) == gpio.OUT
        gpio.cleanup(self.output_pin)
        assert gpio.gpio_function(self.output_pin) == gpio.IN
        with pytest.raises(RuntimeError, match=NOT_AN_OUTPUT):
            gpio.output(self.output_pin, gpio.HIGH)
        assert gpio.getmode() == gpio.BCM

    def test_clean_up_of_everything_forgets_the_numbering_mode(self, gpio):
        gpio.setup([self.output_pin], gpio.OUT, initial=gpio.LOW)
        gpio.cleanup()
        assert gpio.getmode() is None

    def test_clean_up_with_nothing_to_do_warns(self, gpio):
        gpio.cleanup(self.output_pin)
        gpio.setwarnings(True)
        with pytest.warns(RuntimeWarning, match="No channels have been set up yet"):
            gpio.cleanup(self.output_pin)

    def test_our_pwm_output_leaves_the_pin_an_output_at_low(self, gpio):
        with PWMOutput(gpio, self.output_pin, 200.0) as output:
            output.start(100.0)
            eventually(lambda: gpio.input(self.output_pin) == gpio.HIGH)
        assert gpio.gpio_function(self.output_pin) == gpio.OUT
        eventually(lambda: gpio.input(self.output_pin) == gpio.LOW)
        with PWMOutput(gpio, self.output_pin, 200.0) as again:
            again.start(50.0)

    def test_drive_low_makes_low_outputs_of_whatever_there_was(self, gpio):
        gpio.setup(self.output_pin, gpio.OUT, initial=gpio.HIGH)
        drive_low(gpio, [self.output_pin])
        assert gpio.input(self.output_pin) == gpio.LOW
        gpio.cleanup(self.output_pin)
        drive_low(gpio, [self.output_pin])
        assert gpio.gpio_function(self.output_pin) == gpio.OUT
        assert gpio.input(self.output_pin) == gpio.LOW


def eventually(condition):
    deadline = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.001)


class TestSimulatedGPIO(GPIOContract):
    output_pin, input_pin = 17, 4

    @pytest.fixture
    def bare_gpio(self, tmp_path):
        gpio = SimulatedGPIO(tmp_path / "plant.bin")
        yield gpio
        gpio.close()

    @pytest.fixture
    def other_process(self, tmp_path):
        """A second RPi.GPIO on the same pins, as another process has it."""
        other = SimulatedGPIO(tmp_path / "plant.bin")
        other.setmode(other.BCM)
        other.setwarnings(False)
        yield other
        other.close()

    @pytest.fixture
    def turning(self, gpio):
        """The GPIO while its stirrer turns at full speed, with the hall sensor's input set up."""
        gpio.setup(17, gpio.OUT, initial=gpio.HIGH)
        gpio.setup(21, gpio.IN, pull_up_down=gpio.PUD_UP)
        return gpio

    def test_nan_is_no_duty_cycle(self, pwm):
        with pytest.raises(ValueError, match=DUTY_CYCLE):
            pwm.start(float("nan"))

    def test_clean_up_before_any_setup_forgets_nothing(self, gpio):
        gpio.cleanup()
        assert gpio.getmode() == gpio.BCM
        gpio.gpio_function(17)
        gpio.cleanup()
        assert gpio.getmode() is None

    def test_only_pins_on_the_header_exist(self, gpio):
        with pytest.raises(ValueError, match=INVALID_CHANNEL):
            gpio.setup(28, gpio.OUT)

    def test_a_pin_that_another_process_left_as_output_warns(self, gpio, other_process):
        other_process.setup(17, other_process.OUT, initial=1)
        gpio.setwarnings(True)
        with pytest.warns(RuntimeWarning, match="This channel is already in use"):
            gpio.setup(17, gpio.OUT)
        gpio.setup(17, gpio.OUT)  # it is ours now

    def test_the_pwm_of_a_dead_process_goes_on_until_somebody_writes(self, gpio, other_process):
        other_process.setup(17, other_process.OUT)
        pwm = other_process.PWM(17, 200)
        pwm.start(30)
        other_process.close()  # like its death: nothing is stopped
        gpio.setup(17, gpio.OUT)
        assert gpio.input(17) == gpio.HIGH
        drive_low(gpio, [17])
        assert gpio.input(17) == gpio.LOW

    @pytest.mark.parametrize("how", ["initial", "output"])
    def test_a_level_ends_the_pwm_that_another_process_left(self, gpio, other_process, how):
        other_process.setup(17, other_process.OUT)
        pwm = other_process.PWM(17, 200)
        pwm.start(30)
        if how == "initial":
            gpio.setup(17, gpio.OUT, initial=gpio.LOW)
        else:
            gpio.setup(17, gpio.OUT)
            gpio.output(17, gpio.LOW)
        assert gpio.input(17) == gpio.LOW

    def test_a_level_written_under_ones_own_running_pwm_does_not_last(self, gpio, pwm):
        pwm.start(100)
        gpio.output(17, gpio.LOW)
        assert gpio.input(17) == gpio.HIGH

    def test_callbacks_come_at_each_turn_with_the_channel(self, turning):
        times_s, enough = [], threading.Event()

        def note(channel):
            times_s.append((time.monotonic(), channel))
            if len(times_s) == 12:
                enough.set()

        turning.add_event_detect(21, turning.FALLING, callback=note)
        assert enough.wait(30)
        turning.remove_event_detect(21)
        assert {channel for _, channel in times_s} == {21}
        times_s = [at for at, _ in times_s]
        assert 0.03 <= (times_s[-1] - times_s[0]) / (len(times_s) - 1) <= 0.3  # 200..2000 rpm on its way up

    def test_both_edges_come_twice_as_often_as_one(self, turning):
        seen = []
        turning.add_event_detect(21, turning.BOTH, callback=lambda _channel: seen.append(turning.input(21)))
        eventually(lambda: len(seen) >= 20)
        assert 5 <= seen.count(0) <= len(seen) - 5

    def test_bounce_time_drops_edges(self, turning):
        seen = []
        turning.add_event_detect(
            21, turning.FALLING, callback=lambda _c: seen.append(time.monotonic()), bouncetime=1000
        )
        eventually(lambda: len(seen) >= 3)
        assert seen[-1] - seen[0] >= 1.4  # without, three edges come in a quarter of that

    def test_an_event_is_remembered_until_it_is_asked_for(self, turning):
        turning.add_event_detect(21, turning.FALLING)
        eventually(lambda: turning.event_detected(21))

    def test_a_second_detection_conflicts_and_a_second_callback_does_not(self, turning):
        seen = []
        turning.add_event_detect(21, turning.FALLING)
        with pytest.raises(RuntimeError, match="Conflicting edge detection already enabled for this GPIO channel"):
            turning.add_event_detect(21, turning.FALLING)
        turning.add_event_callback(21, seen.append)
        eventually(lambda: seen)
        with pytest.raises(RuntimeError, match="Conflicting edge detection events already exist"):
            turning.wait_for_edge(21, turning.FALLING, timeout=10)
        turning.remove_event_detect(21)
        turning.add_event_detect(21, turning.RISING)

    def test_wait_for_edge_returns_the_channel_or_none_in_time(self, turning):
        assert turning.wait_for_edge(21, turning.FALLING, timeout=20_000) == 21
        turning.setup(4, turning.IN)
        # Nobody presses the button, while the hall sensor's edges come several times in as long.
        assert turning.wait_for_edge(4, turning.FALLING, timeout=500) is None

    def test_a_callback_that_fails_is_reported_and_the_next_edge_still_comes(self, turning, monkeypatch):
        reported, seen = [], []
        monkeypatch.setattr("sys.excepthook", lambda kind, _ex, _tb: reported.append(kind))

        def fail(_channel):
            seen.append(1)
            raise ZeroDivisionError

        turning.add_event_detect(21, turning.FALLING, callback=fail)
        eventually(lambda: len(seen) >= 2)
        assert reported[:2] == [ZeroDivisionError] * 2

    def test_no_edges_come_from_a_stirrer_at_rest_or_after_removal(self, gpio):
        seen = []
        gpio.setup(21, gpio.IN, pull_up_down=gpio.PUD_UP)
        gpio.add_event_detect(21, gpio.FALLING, callback=seen.append)
        time.sleep(0.3)
        assert seen == []
        gpio.remove_event_detect(21)
        eventually(lambda: all(thread.name != "simulated edges" for thread in threading.enumerate()))
        gpio.setup(17, gpio.OUT, initial=gpio.HIGH)
        eventually(lambda: gpio.input(21) == 0)  # it turns
        assert seen == []

    def test_a_change_of_the_drive_is_not_slept_over(self, gpio, monkeypatch):
        monkeypatch.setattr("reactor_unit.drivers.simulation.edges.LONGEST_SLEEP_S", 3600.0)
        gpio.setup(17, gpio.OUT, initial=gpio.LOW)
        gpio.setup(21, gpio.IN, pull_up_down=gpio.PUD_UP)
        gpio.add_event_detect(21, gpio.FALLING)
        time.sleep(0.05)  # asleep by now, for an hour if nobody wakes it
        gpio.output(17, gpio.HIGH)
        eventually(lambda: gpio.event_detected(21))

    def test_a_callback_may_remove_its_own_detection(self, turning):
        seen = []

        def once(channel):
            seen.append(channel)
            turning.remove_event_detect(channel)

        turning.add_event_detect(21, turning.FALLING, callback=once)
        eventually(lambda: seen)
        eventually(lambda: all(thread.name != "simulated edges" for thread in threading.enumerate()))
        assert seen == [21]


@pytest.mark.pi
class TestRaspberryPiGPIO(GPIOContract):
    """On the board's blue LED and its button: nothing there moves liquid or heats."""

    output_pin, input_pin = 23, 4

    @pytest.fixture
    def bare_gpio(self):
        if hardware.choose("auto", Path("/proc/device-tree")) != "pi":
            pytest.skip("this is not a Raspberry Pi")
        gpio = pytest.importorskip("RPi.GPIO", reason="no library RPi.GPIO is installed", exc_type=Exception)
        yield gpio
        gpio.setwarnings(False)
        if gpio.getmode() is not None:
            gpio.gpio_function(7)  # opens the registers: before that, a clean-up forgets nothing
        gpio.cleanup()
