import subprocess
import sys
import threading
import types

import pytest
from fake_i2c import FakePlant, FakeSMBus

from reactor_unit.drivers import hardware, models
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.heater import open_thermometer
from reactor_unit.drivers.simulation.gpio import SimulatedGPIO
from reactor_unit.drivers.simulation.state import SharedPlant


@pytest.fixture
def pi_tree(tmp_path):
    tree = tmp_path / "device-tree"
    (tree / "hat").mkdir(parents=True)
    (tree / "model").write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\0")
    (tree / "hat" / "product_ver").write_bytes(b"0x0011\0")
    return tree


@pytest.mark.parametrize(("wanted", "chosen"), [("auto", "pi"), ("pi", "pi"), ("simulated", "simulated")])
def test_choice_on_a_pi(pi_tree, wanted, chosen):
    assert hardware.choose(wanted, pi_tree) == chosen


@pytest.mark.parametrize("model", [None, b"Some other board\0"])
def test_auto_takes_the_simulation_elsewhere(tmp_path, model):
    if model:
        (tmp_path / "model").write_bytes(model)
    assert hardware.choose("auto", tmp_path) == "simulated"


def test_wanting_a_pi_elsewhere_is_refused_with_a_way_out(tmp_path):
    with pytest.raises(HardwareFault, match="not a Raspberry Pi") as caught:
        hardware.choose("pi", tmp_path)
    assert "simulated" in caught.value.remediation


def test_an_unknown_choice_is_refused(tmp_path):
    with pytest.raises(ValueError, match="arduino"):
        hardware.choose("arduino", tmp_path)


def test_the_start_up_line_names_model_and_hat(pi_tree, tmp_path):
    assert hardware.describe("simulated", pi_tree) == "simulated reactor"
    assert hardware.describe("pi", pi_tree) == "Raspberry Pi 4 Model B, HAT 1.1"
    assert hardware.describe("pi", pi_tree, hat_version="1.0") == "Raspberry Pi 4 Model B, HAT 1.0"
    (pi_tree / "hat" / "product_ver").unlink()
    assert hardware.describe("pi", pi_tree) == "Raspberry Pi 4 Model B, no HAT found, taken as 1.2"


def test_opening_the_simulation_gives_pins_that_others_see(tmp_path):
    opened = hardware.open_hardware("simulated", tmp_path)
    opened.gpio.setup(17, opened.gpio.OUT, initial=opened.gpio.HIGH)
    seen = SharedPlant(tmp_path / "plant.bin")
    assert seen.pin(17).level == 1
    opened.close()
    opened.close()
    assert seen.pin(17).level == 1  # closing is not cleaning up
    seen.close()


def test_the_simulated_stirrer_is_where_the_configuration_puts_it(tmp_path):
    opened = hardware.open_hardware(
        "simulated", tmp_path, hat_version="1.0", assignment={"1": "media", "2": "stirring", "9": "nothing"}
    )
    seen = SharedPlant(tmp_path / "plant.bin")
    assert seen.pins_of("stirring") == (13,)
    assert seen.pins_of("hall_sensor") == (25,)
    opened.close()
    hardware.open_hardware("simulated", tmp_path).close()  # somebody who does not know the configuration
    assert seen.pins_of("stirring") == (13,)
    seen.close()


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="arduino"):
        hardware.open_hardware("arduino", tmp_path)


def test_a_run_directory_that_is_not_there_is_a_hardware_fault(tmp_path):
    with pytest.raises(HardwareFault, match="cannot be opened"):
        hardware.open_hardware("simulated", tmp_path / "nowhere")


@pytest.fixture
def rpi_gpio(monkeypatch):
    """A library of this name, as an installed one would be."""
    module = types.ModuleType("RPi.GPIO")
    module.BCM, module.told = 11, []
    module.setmode = lambda mode: module.told.append(("setmode", mode))
    module.setwarnings = lambda state: module.told.append(("setwarnings", state))
    monkeypatch.setitem(sys.modules, "RPi", types.ModuleType("RPi"))
    monkeypatch.setitem(sys.modules, "RPi.GPIO", module)
    monkeypatch.delenv("LG_WD", raising=False)
    return module


def test_opening_a_pi_uses_bcm_numbers_and_the_detected_hat(rpi_gpio, pi_tree, tmp_path):
    opened = hardware.open_hardware("pi", tmp_path, device_tree=pi_tree)
    assert opened.gpio is rpi_gpio
    assert rpi_gpio.told == [("setmode", 11), ("setwarnings", False)]
    assert opened.board.hat_version == "1.1"
    opened.close()


@pytest.mark.parametrize("error", [RuntimeError("This module can only be run on a Raspberry Pi!"), OSError("no chip")])
def test_a_library_that_cannot_be_used_is_a_hardware_fault_with_what_to_install(
    rpi_gpio, pi_tree, tmp_path, monkeypatch, error
):
    def refuse(_mode):
        raise error

    monkeypatch.setattr(rpi_gpio, "setmode", refuse)
    with pytest.raises(HardwareFault, match="cannot be used") as caught:
        hardware.open_hardware("pi", tmp_path, device_tree=pi_tree)
    assert str(error) in caught.value.cause
    assert "lgpio" in caught.value.remediation


def test_a_missing_library_is_a_hardware_fault(pi_tree, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "RPi", None)  # makes the import fail wherever this runs
    monkeypatch.delitem(sys.modules, "RPi.GPIO", raising=False)
    monkeypatch.delenv("LG_WD", raising=False)
    with pytest.raises(HardwareFault, match="cannot be used"):
        hardware.open_hardware("pi", tmp_path, device_tree=pi_tree)


def test_the_i2c_bus_is_opened_when_it_is_first_asked_for(rpi_gpio, pi_tree, tmp_path, monkeypatch):
    smbus2, opened_buses = types.ModuleType("smbus2"), []
    smbus2.SMBus = lambda number: opened_buses.append(FakeSMBus(x4f={0: b"\x19\x00"})) or opened_buses[-1]
    monkeypatch.setitem(sys.modules, "smbus2", smbus2)
    opened = hardware.open_hardware("pi", tmp_path, device_tree=pi_tree)
    assert opened_buses == []
    assert open_thermometer(opened.i2c, opened.board).read_temperature_c() == 25.0
    assert opened.i2c is opened.i2c
    opened.close()
    opened.close()
    assert [bus.closed for bus in opened_buses] == [1]
    with pytest.raises(HardwareFault, match="closed"):
        _ = opened.i2c


def test_without_i2c_the_rest_of_a_pi_still_works(rpi_gpio, pi_tree, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "smbus2", None)
    opened = hardware.open_hardware("pi", tmp_path, device_tree=pi_tree)
    with pytest.raises(HardwareFault, match="/dev/i2c-1"):
        _ = opened.i2c
    opened.close()


@pytest.mark.parametrize("enabled", [True, False])
def test_a_pis_hardware_pwm_is_used_where_its_overlay_is_enabled(rpi_gpio, pi_tree, tmp_path, enabled):
    if enabled:
        (tmp_path / "pwm" / "pwmchip0").mkdir(parents=True)
        (tmp_path / "pwm" / "pwmchip0" / "export").write_text("")
    opened = hardware.open_hardware("pi", tmp_path, device_tree=pi_tree, pwm_root=tmp_path / "pwm")
    assert (opened.pwm_root is not None) is enabled
    opened.close()


def test_the_simulation_has_hardware_pwm_on_its_two_pins_and_one_way_to_make_all_safe(tmp_path):
    opened = hardware.open_hardware("simulated", tmp_path)
    hard, soft = opened.open_pwm(12, 250.0), opened.open_pwm(17, 200.0)
    for pwm in (hard, soft):
        pwm.set_duty_cycle(50.0)
    seen = SharedPlant(tmp_path / "plant.bin")
    assert [seen.pin(pin).duty_cycle for pin in (12, 17)] == [pytest.approx(50.0), pytest.approx(50.0)]
    soft.close()
    another = hardware.open_hardware("simulated", tmp_path)
    assert [seen.pin(pin).frequency_hz for pin in (12, 17)] == [250.0, 0.0]
    another.make_safe()
    assert [seen.pin(pin).duty_cycle for pin in another.board.output_pins] == [0.0] * 6
    for each in (opened, another, seen):
        each.close()


def test_the_simulations_bus_has_the_chips_of_hat_and_model(tmp_path, monkeypatch):
    plant = FakePlant()
    monkeypatch.setattr(SimulatedGPIO, "plant", property(lambda _gpio: plant))
    xr = models.load_models()["pioreactor_20ml_XR", "1.5"]
    opened = hardware.open_hardware("simulated", tmp_path, model=xr)
    around = range(0x2C, 0x51)
    assert [address for address in around if opened.i2c.answers(address)] == list(opened.board.i2c_addresses)
    plant.broken.add("sensor_unplugged:0x4f")
    assert not opened.i2c.answers(0x4F)
    opened.close()


IMPORT_ALL = """
import pkgutil, sys, threading
import reactor_unit.drivers as drivers
for module in pkgutil.walk_packages(drivers.__path__, "reactor_unit.drivers."):
    __import__(module.name)
assert threading.active_count() == 1, threading.enumerate()
ours = [name for name in sys.modules if name.startswith("reactor_unit.")]
rest = [name for name in ours if not name.startswith("reactor_unit.drivers")]
assert not rest, rest
libraries = [name for name in sys.modules if name.split(".")[0] in ("RPi", "lgpio", "smbus2")]
assert not libraries, libraries
print("imported")
"""


def test_importing_every_driver_starts_no_thread_and_needs_no_gpio_library():
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.strip() == "imported", done.stderr


def test_opening_and_closing_the_simulation_leaves_no_thread(tmp_path):
    before = threading.active_count()
    opened = hardware.open_hardware("simulated", tmp_path)
    opened.gpio.setup(21, opened.gpio.IN)
    assert threading.active_count() == before
    opened.gpio.add_event_detect(21, opened.gpio.FALLING)
    assert threading.active_count() == before + 1
    opened.close()
    assert threading.active_count() == before
