import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from harness import DEADLINE_S

from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.simulation import layout, plant_file
from reactor_unit.drivers.simulation.motion import settled_rpm
from reactor_unit.drivers.simulation.state import Pin, SharedPlant


class Clock:
    def __init__(self, now_s=1000.0):
        self.now_s = now_s

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "plant.bin"


@pytest.fixture
def open_plant(path, clock):
    opened = []

    def open_one(**options):
        opened.append(SharedPlant(path, **{"clock": clock, **options}))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def run_pwm(plant, duty_cycle, pin=17):
    plant.change([pin], lambda r: r._replace(out=True, pwm=True, frequency_hz=200.0, duty_cycle=duty_cycle))


def test_a_new_plant_is_at_rest_with_all_pins_inputs_and_private_to_its_owner(open_plant, path):
    plant = open_plant()
    assert plant.true_rpm() == 0.0
    assert {plant.pin(pin) for pin in range(28)} <= {Pin("in", 0, 0.0, 0.0), Pin("in", 1, 0.0, 0.0)}
    assert path.stat().st_mode & 0o777 == 0o600


def test_time_passes_without_anybody_looking(open_plant, clock):
    run_pwm(open_plant(), 30.0)
    clock.now_s += 3600.0
    assert open_plant().true_rpm() == pytest.approx(500.0)


def test_one_look_or_many_give_the_same(open_plant, clock):
    plant = open_plant()
    run_pwm(plant, 30.0)
    for _ in range(100):
        clock.now_s += 0.05
        plant.look()
        plant.change([5], lambda record: record)  # writes the state of now
    clock.now_s += 0.0
    often = plant.look()
    assert often.rpm == pytest.approx(500.0 * (1 - 2.718281828**-5.0), rel=1e-3)
    assert often.time_s == pytest.approx(5.0)


def test_each_change_counts_from_its_own_moment(open_plant, clock):
    plant = open_plant()
    run_pwm(plant, 100.0)
    clock.now_s += 20.0
    run_pwm(plant, 30.0)
    assert plant.true_rpm() == pytest.approx(settled_rpm(100.0))
    clock.now_s += 20.0
    assert plant.true_rpm() == pytest.approx(500.0)


@pytest.mark.parametrize(
    ("record", "pin"),
    [
        ({"out": True, "level": 1}, Pin("out", 1, 100.0, 0.0)),
        ({"out": True, "level": 0}, Pin("out", 0, 0.0, 0.0)),
        ({"out": True, "pwm": True, "duty_cycle": 0.5, "frequency_hz": 16.0}, Pin("out", 1, 0.5, 16.0)),
        ({"out": True, "pwm": True, "duty_cycle": 0.0, "frequency_hz": 16.0, "level": 1}, Pin("out", 0, 0.0, 16.0)),
        ({"pull": 2}, Pin("in", 1, 0.0, 0.0)),
        ({"pull": 1}, Pin("in", 0, 0.0, 0.0)),
        ({"level": 1}, Pin("in", 0, 0.0, 0.0)),
    ],
    ids=["high", "low", "PWM", "PWM at 0", "pulled up", "pulled down", "an input drives nothing"],
)
def test_what_a_pin_shows(open_plant, record, pin):
    plant = open_plant()
    plant.change([4], lambda r: r._replace(**record))
    assert plant.pin(4) == pin


def test_a_change_leaves_other_pins_alone(open_plant):
    plant = open_plant()
    run_pwm(plant, 30.0, pin=17)
    run_pwm(plant, 40.0, pin=18)
    assert (plant.pin(17).duty_cycle, plant.pin(18).duty_cycle) == (30.0, 40.0)


def test_every_process_that_opens_the_file_sees_one_reactor(open_plant):
    one, other = open_plant(), open_plant()
    run_pwm(one, 30.0)
    assert other.pin(17) == Pin("out", 1, 30.0, 200.0)
    run_pwm(other, 40.0)
    assert one.pin(17).duty_cycle == 40.0


def test_what_was_driven_stays_driven_when_its_process_lets_go(open_plant):
    plant = open_plant()
    run_pwm(plant, 30.0)
    plant.close()
    plant.close()
    assert open_plant().pin(17).duty_cycle == 30.0


def test_a_closed_plant_is_a_fault(open_plant):
    plant = open_plant()
    plant.close()
    with pytest.raises(HardwareFault, match="closed"):
        plant.look()


def test_the_stirrer_turns_where_it_is_plugged_in(open_plant, clock):
    plant = open_plant(wiring={13: "stirring", 25: "hall_sensor"})
    run_pwm(plant, 30.0, pin=17)
    clock.now_s += 30.0
    assert plant.true_rpm() == 0.0
    run_pwm(plant, 30.0, pin=13)
    clock.now_s += 30.0
    assert plant.true_rpm() == pytest.approx(500.0)


def test_wiring_stays_until_another_one_is_given(open_plant):
    open_plant(wiring={13: "stirring", 25: "hall_sensor"})
    assert open_plant().pins_of("stirring") == (13,)
    assert open_plant(wiring={17: "stirring", 16: "a lamp that the plant does not know"}).pins_of("stirring") == (17,)
    assert open_plant().pins_of("hall_sensor") == ()


def test_after_a_restart_of_the_computer_everything_is_reset(open_plant, clock, monkeypatch):
    run_pwm(open_plant(), 30.0)
    monkeypatch.setattr(plant_file, "_boot_id", lambda: b"another boot id!")
    clock.now_s = 5.0  # monotonic time begins anew
    plant = open_plant()
    assert plant.pin(17) == Pin("in", 0, 0.0, 0.0)
    run_pwm(plant, 30.0)
    clock.now_s += 30.0
    assert plant.true_rpm() == pytest.approx(500.0)


@pytest.mark.parametrize(
    "content", [b"", b"short", b"x" * 100_000, bytes(3000)], ids=["empty", "short", "long", "zeros"]
)
def test_a_file_of_another_kind_is_made_anew(open_plant, path, content):
    path.write_bytes(content)
    assert open_plant().true_rpm() == 0.0
    assert open_plant().pins_of("stirring") == (17,)


def damage(path, slot):
    with path.open("r+b") as file:
        file.seek(layout.SLOTS_AT + slot * layout.SLOT_SIZE + 100)
        file.write(b"\xff" * 8)


def test_a_torn_newest_state_gives_the_one_before(open_plant, path):
    plant = open_plant()  # sequence 1, in slot 1
    run_pwm(plant, 30.0)  # sequence 2, in slot 0
    damage(path, 0)
    assert plant.pin(17) == Pin("in", 0, 0.0, 0.0)
    run_pwm(plant, 40.0)
    assert plant.pin(17).duty_cycle == 40.0


def test_a_file_without_a_whole_state_is_a_fault_and_not_an_invented_state(open_plant, path):
    plant = open_plant()
    run_pwm(plant, 30.0)
    damage(path, 0)
    damage(path, 1)
    with pytest.raises(HardwareFault, match="damaged"):
        plant.look()


def test_a_stopped_holder_of_the_lock_delays_writers_for_a_bounded_time_and_readers_not_at_all(open_plant, path):
    plant = open_plant()
    run_pwm(plant, 30.0)
    holder = os.open(path, os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        began_s = time.monotonic()
        with pytest.raises(HardwareFault, match="stayed locked") as caught:
            run_pwm(plant, 40.0)
        assert time.monotonic() - began_s < DEADLINE_S
        assert str(os.getpid()) in caught.value.cause  # who took it last
        assert plant.pin(17).duty_cycle == 30.0
        assert open_plant().pin(17).duty_cycle == 30.0  # opening needs no lock either
    finally:
        os.close(holder)
    run_pwm(plant, 40.0)
    assert plant.pin(17).duty_cycle == 40.0


def test_writing_from_inside_a_write_is_refused_and_does_not_hang(open_plant):
    plant = open_plant(lock_timeout_s=0.02)

    def write_again(record):  # as a signal handler might
        run_pwm(plant, 99.0)
        return record

    with pytest.raises(HardwareFault, match="stayed locked"):
        plant.change([4], write_again)
    run_pwm(plant, 30.0)
    assert plant.pin(17).duty_cycle == 30.0


def test_threads_of_one_process_lose_no_change(open_plant):
    plant = open_plant(lock_timeout_s=DEADLINE_S)

    def count_up(pin):
        for _ in range(200):
            plant.change([pin], lambda r: r._replace(frequency_hz=r.frequency_hz + 1.0))

    threads = [threading.Thread(target=count_up, args=(pin,)) for pin in (4, 5, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert (plant.pin_record(4).frequency_hz, plant.pin_record(5).frequency_hz) == (400.0, 200.0)


COUNT_UP = """
import pathlib, sys
from reactor_unit.drivers.simulation.state import SharedPlant
plant = SharedPlant(pathlib.Path(sys.argv[1]), lock_timeout_s=30.0)
pin, rounds = int(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
while rounds:
    # Two numbers that belong together, on two pins.
    plant.change([pin, pin + 1], lambda r: r._replace(out=True, pwm=True, duty_cycle=(r.duty_cycle + 1) % 100))
    rounds -= 1
"""


def start_counting(path, pin, rounds):
    process = subprocess.Popen(
        [sys.executable, "-c", COUNT_UP, str(path), str(pin), str(rounds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def end(process):
    process.kill()
    process.wait(DEADLINE_S)
    process.stdout.close()


def test_processes_lose_no_change(open_plant, path):
    plant = open_plant(clock=time.monotonic)
    processes = [start_counting(path, 4, 150) for _ in range(3)]
    try:
        assert [process.wait(DEADLINE_S) for process in processes] == [0, 0, 0]
    finally:
        for process in processes:
            end(process)
    assert plant.pin(4).duty_cycle == plant.pin(5).duty_cycle == 450 % 100


def test_a_writer_killed_anywhere_leaves_the_state_whole_and_the_lock_free(open_plant, path):
    plant = open_plant(clock=time.monotonic)
    for trial in range(8):
        process = start_counting(path, 4, -1)
        try:
            deadline = time.monotonic() + DEADLINE_S
            before = plant.pin_record(4).duty_cycle
            while plant.pin_record(4).duty_cycle == before:
                assert time.monotonic() < deadline
            until = time.monotonic() + 0.003 * trial + 0.0001 * trial**2  # somewhere else in its loop each time
            while time.monotonic() < until:
                pins = plant._read().pins
                assert pins[4].duty_cycle == pins[5].duty_cycle  # a reader never sees half of a change
            process.send_signal(signal.SIGKILL)
            process.wait(DEADLINE_S)
            pins = plant._read().pins
            assert pins[4].duty_cycle == pins[5].duty_cycle
            assert plant.pin(4).mode == "out"  # it keeps driving
            run_pwm(plant, 30.0)
            assert plant.pin(17).duty_cycle == 30.0
        finally:
            end(process)


def test_processes_that_make_the_file_at_once_share_one_reactor(path):
    command = [sys.executable, "-c", COUNT_UP, str(path), "4", "45"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    try:
        assert [process.wait(DEADLINE_S) for process in processes] == [0] * 4
    finally:
        for process in processes:
            end(process)
    plant = SharedPlant(path)
    assert plant.pin(4).duty_cycle == plant.pin(5).duty_cycle == 180 % 100
    plant.close()
