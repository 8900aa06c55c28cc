"""The job `monitor` with drivers and simulated reactor, on a virtual clock; and what it reads of the computer."""

import pytest
from job_on_plant import JobOnPlant
from plant_with_drivers import PlantWithDrivers

from reactor_unit.clock import UnitClock
from reactor_unit.drivers.models import load_models
from reactor_unit.workers.computer import Computer
from reactor_unit.workers.jobs import monitor
from reactor_unit.workers.jobs.monitor import Monitor

HEATING = "temperature_automation"


@pytest.fixture
def reactor(tmp_path):
    plant = PlantWithDrivers(tmp_path)
    plant.hardware.model = load_models()["pioreactor_20ml", "1.5"]  # off at 85 degC
    yield plant
    plant.close()


@pytest.fixture
def watching(reactor, monkeypatch, tmp_path):
    from job_on_plant import PlantRuntime

    monkeypatch.setattr(PlantRuntime, "unit_clock", UnitClock(), raising=False)
    monkeypatch.setattr(PlantRuntime, "data_folder", tmp_path, raising=False)
    monkeypatch.setattr(monitor, "Computer", FakeComputer)
    job = JobOnPlant(reactor, Monitor, {})
    yield job
    job.job.close()


class FakeComputer(Computer):
    disk, cpu, address, undervolted = 20.0, 45.0, "192.0.2.7", None

    def disk_usage_percent(self, path):
        return self.disk

    def cpu_temperature_c(self):
        return self.cpu

    def ipv4(self):
        return self.address

    def is_undervolted(self):
        return self.undervolted


def warm(reactor, board_c):
    reactor.plant.update(lambda state: state._replace(board_c=board_c, vial_c=board_c, room_c=board_c))


def kinds(watching):
    return [kind for _, kind, *_ in watching.runtime.faults]


def blinks(watching, reactor, monkeypatch, seconds):
    """Return how often the LED was lit while so much time passed."""
    lit = []
    original = monitor.PCBLED.set_on
    monkeypatch.setattr(monitor.PCBLED, "set_on", lambda led, on: (lit.append(on), original(led, on)))
    watching.run(seconds)
    return lit.count(True)


@pytest.mark.parametrize(
    ("state", "board_c", "is_fault"),
    [
        (None, 64.0, False),
        (None, 66.0, True),
        ("ready", 80.0, False),
        ("ready", 86.0, True),
        ("sleeping", 80.0, False),
        ("init", 80.0, False),
    ],
)
def test_the_limit_depends_on_whether_the_heating_job_runs(watching, reactor, state, board_c, is_fault):
    if state is not None:
        watching.job.hear(HEATING, "$state", state)
    warm(reactor, board_c)
    watching.run(12)
    assert bool(watching.runtime.faults) == is_fault
    assert bool(watching.runtime.system.wanted) == is_fault


@pytest.mark.parametrize("end", ["disconnected", "lost"])
def test_a_board_that_was_heated_may_cool_for_three_minutes(watching, reactor, end):
    watching.job.hear(HEATING, "$state", "ready")
    warm(reactor, 75.0)
    watching.job.hear(HEATING, "$state", end)
    watching.run(170)
    assert watching.runtime.faults == []
    watching.run(40)
    assert set(kinds(watching)) == {"heater_board_too_hot"}


def test_it_names_the_job_and_the_pin_and_wants_the_power_off_once(watching, reactor):
    warm(reactor, 90.0)
    watching.run(100)
    _, _, message, remediation, jobs, outputs = watching.runtime.faults[0]
    assert (jobs, outputs) == ([HEATING], ["GPIO 18"])
    assert "90.0 degC" in message
    assert remediation
    assert len(watching.runtime.faults) > 5  # again and again, as long as it is so: somebody may clear it
    assert len(watching.runtime.system.wanted) == 1
    warm(reactor, 30.0)
    watching.run(15)
    assert watching.runtime.published["fault"] is None
    warm(reactor, 90.0)
    watching.run(15)
    assert len(watching.runtime.system.wanted) == 2


def test_it_goes_on_without_a_thermometer_and_says_so_once(watching, reactor, caplog):
    reactor.plant.inject("sensor_unplugged:0x4f")
    watching.run(60)
    assert watching.ended is None
    assert caplog.text.count("cannot be watched") == 1
    reactor.plant.clear()
    warm(reactor, 90.0)
    watching.run(12)
    assert kinds(watching)


def test_it_goes_on_with_a_bus_that_is_stuck(watching, reactor):
    reactor.plant.inject("bus_stuck")
    watching.run(30)
    assert watching.ended is None
    assert watching.runtime.published["computer_statistics"]["disk_usage_percent"] == 20.0


def test_the_self_check_comes_after_5_s_and_then_twice_a_day(watching, monkeypatch):
    monkeypatch.setattr(monitor, "LOOK_S", 10.0)
    watching.run(4)
    assert watching.runtime.values("computer_statistics") == []
    watching.run(86400)
    assert len(watching.runtime.values("computer_statistics")) == 2
    assert watching.runtime.published["voltage_on_pwm_rail"]["voltage"] == pytest.approx(5.1, abs=0.3)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [({"disk": 81.0}, 3), ({"cpu": 81.0}, 6), ({"address": None}, 1), ({}, 0)],
    ids=["disk", "processor", "network", "nothing"],
)
def test_the_led_shows_what_is_wrong_with_the_computer(watching, reactor, monkeypatch, wrong, code):
    for name, value in wrong.items():
        monkeypatch.setattr(FakeComputer, name, value)
    lit = blinks(watching, reactor, monkeypatch, 20)
    assert lit == (code + 1 if code else 0)  # a long one first


@pytest.mark.parametrize(("job_name", "code"), [("stirring", 4), ("od_reading", 5), (HEATING, 6)])
def test_the_led_shows_which_job_found_a_fault(watching, reactor, monkeypatch, job_name, code):
    watching.job.hear(job_name, "fault", "Something is wrong.")
    watching.job.hear(job_name, "fault", None)
    assert blinks(watching, reactor, monkeypatch, 20) == code + 1


def test_the_led_is_lit_while_the_button_is_down(watching, reactor, monkeypatch):
    led = lambda: reactor.plant.pin(reactor.board.pcb_led_pin).level  # noqa: E731
    watching.run(3)
    assert led() == 0
    monkeypatch.setattr(monitor.Button, "pressed", True)
    watching.run(3)
    assert (led(), watching.runtime.published["button_down"]) == (1, True)
    monkeypatch.setattr(monitor.Button, "pressed", False)
    watching.run(3)
    assert (led(), watching.runtime.published["button_down"]) == (0, False)
    assert watching.runtime.values("button_down") == [False, True, False]


def test_other_versions_are_added_to_the_published_ones(watching):
    watching.job.set_versions({"ui": "26.2"})
    assert watching.runtime.published["versions"]["ui"] == "26.2"
    assert watching.runtime.published["versions"]["hat"] == "1.2"


# The computer


@pytest.fixture
def kernel(tmp_path):
    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    return write


def test_it_reads_what_the_kernel_shows(tmp_path, kernel):
    kernel("sys/class/thermal/thermal_zone0/temp", "48312\n")
    kernel("sys/class/hwmon/hwmon0/name", "cpu_thermal\n")
    kernel("sys/class/hwmon/hwmon1/name", "rpi_volt\n")
    kernel("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")
    kernel("sys/class/net/wlan0/address", "dc:a6:32:00:00:01\n")
    kernel("tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    kernel("tree/hat/uuid", "0b5d\0")
    computer = Computer(tmp_path / "sys", tmp_path / "tree")
    assert computer.cpu_temperature_c() == 48.3
    assert computer.is_undervolted() is True
    assert (computer.mac_address("wlan"), computer.mac_address("eth")) == ("dc:a6:32:00:00:01", None)
    assert computer.machine() == "Raspberry Pi 4 Model B Rev 1.4"
    assert computer.hat_serial() == "0b5d"
    assert computer.ipv4() is None  # such an interface has no address here
    assert 0.0 < computer.disk_usage_percent(tmp_path) <= 100.0


def test_what_the_kernel_does_not_show_is_none(tmp_path):
    computer = Computer(tmp_path, tmp_path)
    for found in (computer.cpu_temperature_c(), computer.is_undervolted(), computer.machine(), computer.hat_serial()):
        assert found is None
