import threading

import pytest
from fake_gpio import FakeGPIO
from harness import DEADLINE_S
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.hall_sensor import HallSensor


class Bench:
    """A sensor on a fake GPIO, with edges at given times."""

    def __init__(self, **gpio):
        self.gpio = FakeGPIO(**gpio)
        self.now_s = 0.0
        self.sensor = HallSensor(self.gpio, 21, clock=lambda: self.now_s)

    def edges_at(self, *times_s):
        def wait(_window_s):
            for self.now_s in times_s:
                self.gpio.callback(21)

        return wait


@pytest.fixture
def bench():
    return Bench()


def test_the_input_is_pulled_up_and_looks_for_falling_edges(bench):
    bench.sensor.measure_rpm(1.0, bench.edges_at())
    assert bench.gpio.calls == [
        ("setup", 21, bench.gpio.IN, bench.gpio.PUD_UP, -1),
        ("add_event_detect", 21, bench.gpio.FALLING),
    ]


@pytest.mark.parametrize(
    ("times_s", "rpm"),
    [
        ((), 0.0),
        ((0.4,), 0.0),
        ((0.1, 0.2), 600.0),
        ((0.1, 0.2, 0.35), 480.0),
        ((0.1, 0.22, 0.31), 571.4),
        ((0.1, 0.1001, 0.2, 0.2003, 0.3), 600.0),
        ((1.0, 1.0125), 4800.0),
    ],
    ids=["none", "one", "two", "mean of the periods", "one decimal", "contact noise", "just plausible"],
)
def test_rpm_is_60_over_the_mean_period(bench, times_s, rpm):
    assert bench.sensor.measure_rpm(1.0, bench.edges_at(*times_s)) == rpm


@given(st.floats(2.0, 4000.0), st.integers(2, 50), st.floats(0.0, 1e6))
def test_a_steady_speed_is_measured_as_it_is(rpm, count, start_s):
    bench = Bench()
    times_s = [start_s + i * 60.0 / rpm for i in range(count)]
    assert bench.sensor.measure_rpm(1.0, bench.edges_at(*times_s)) == pytest.approx(rpm, rel=1e-5, abs=0.06)


def test_edges_between_measurements_do_not_count(bench):
    bench.sensor.measure_rpm(1.0, bench.edges_at(0.1, 0.2))
    bench.edges_at(0.3, 0.9)(1.0)
    assert bench.sensor.measure_rpm(1.0, bench.edges_at(5.0, 5.5)) == 120.0


def test_the_window_is_what_the_caller_waits(bench):
    waited = []
    bench.sensor.measure_rpm(1.5, waited.append)
    assert waited == [1.5]


def test_detection_is_set_up_once_and_never_removed_while_the_motor_turns(bench):
    for _ in range(3):
        bench.sensor.measure_rpm(1.0, bench.edges_at(0.1, 0.2))
    names = [name for name, *_ in bench.gpio.calls]
    assert names.count("add_event_detect") == 1
    bench.sensor.close()
    assert "remove_event_detect" not in names
    assert bench.gpio.calls[-1] == ("cleanup", 21)


def test_a_wait_that_is_interrupted_ends_the_measurement_and_passes_through(bench):
    def interrupted(_window_s):
        bench.edges_at(0.1, 0.2)(1.0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.sensor.measure_rpm(1.0, interrupted)
    bench.edges_at(0.3)(1.0)
    assert bench.sensor.measure_rpm(1.0, bench.edges_at(9.0)) == 0.0  # nothing of before is left


def test_close_twice_frees_the_pin_once(bench):
    bench.sensor.close()
    bench.sensor.close()
    assert [name for name, *_ in bench.gpio.calls].count("cleanup") == 1


def test_a_closed_sensor_measures_nothing(bench):
    with bench.sensor:
        pass
    with pytest.raises(HardwareFault, match="GPIO 21 is closed"):
        bench.sensor.measure_rpm(1.0, bench.edges_at())


@pytest.mark.parametrize("broken", ["setup", "cleanup"])
def test_a_library_that_refuses_is_a_hardware_fault_that_names_the_pin(broken):
    gpio = FakeGPIO(fail_on=[broken])
    with pytest.raises(HardwareFault, match="GPIO 21"):
        HallSensor(gpio, 21).close()


class PolledBench(Bench):
    """A pin whose level is a function of time, on a clock that moves 1 ms at each look."""

    def __init__(self, *, low_s, period_s, end_s, read_error_at_s=None):
        super().__init__(edge_detection=False)
        self.over = threading.Event()

        def read_level():
            self.now_s += 0.001
            if self.now_s >= end_s:
                self.over.set()
            if read_error_at_s is not None and self.now_s >= read_error_at_s:
                self.over.set()
                raise OSError("the chip is gone")
            return 0 if self.now_s % period_s < low_s else 1

        self.gpio.read_level = read_level

    def wait(self, _window_s):
        assert self.over.wait(DEADLINE_S)


def test_where_the_kernel_offers_no_edges_the_pin_is_polled():
    bench = PolledBench(low_s=0.003, period_s=0.030, end_s=0.3)  # 2000 rpm, the magnet passing in a tenth of a turn
    assert bench.sensor.measure_rpm(1.0, bench.wait) == pytest.approx(2000.0, rel=0.01)
    assert bench.sensor.polls


def test_polling_ends_with_the_measurement():
    bench = PolledBench(low_s=0.01, period_s=0.1, end_s=0.05)
    before = threading.active_count()

    def interrupted(_window_s):
        assert threading.active_count() == before + 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.sensor.measure_rpm(1.0, interrupted)
    assert threading.active_count() == before


def test_a_pin_that_cannot_be_read_is_a_fault_and_not_zero_rpm():
    bench = PolledBench(low_s=0.01, period_s=0.1, end_s=9.0, read_error_at_s=0.05)
    with pytest.raises(HardwareFault, match="GPIO 21 cannot be read") as caught:
        bench.sensor.measure_rpm(1.0, bench.wait)
    assert caught.value.cause == "the chip is gone"
