import errno

import pytest
from fake_gpio import FakeGPIO
from fake_i2c import FakeTime

from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.outputs import drive_low
from reactor_unit.drivers.pwm import PWMOutput
from reactor_unit.drivers.simulation.state import SharedPlant
from reactor_unit.drivers.simulation.sysfs import SimulatedPWMRoot
from reactor_unit.drivers.sysfs_pwm import HardwarePWM, SysfsFolder, find_chip, open_pwm, silence


class FakePWMRoot:
    """Records what is written; the files of a channel appear with its export."""

    def __init__(self, files=(), refusals=0):
        self.files = dict(files)
        self.written = []
        self.refusals = refusals
        self.fail_on = {}

    def read(self, name):
        if name not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file", name)
        return self.files[name]

    def write(self, name, text):
        if self.refusals and name != "export":
            self.refusals -= 1
            raise PermissionError(errno.EACCES, "Permission denied", name)
        if name in self.fail_on:
            raise OSError(self.fail_on[name], "refused", name)
        self.written.append((name, text))
        if name == "export":
            self.files |= {f"pwm{text}/{file}": "0" for file in ("period", "duty_cycle", "enable")}
        else:
            self.files[name] = text


@pytest.fixture
def root():
    return FakePWMRoot()


def test_a_channel_is_exported_set_up_at_0_and_enabled(root):
    pwm = HardwarePWM(root, 13, 250.0)
    assert root.written == [
        ("export", "1"),
        ("pwm1/period", "4000000"),
        ("pwm1/duty_cycle", "0"),
        ("pwm1/enable", "1"),
    ]
    pwm.set_duty_cycle(25.0)
    pwm.start(100.0)
    assert root.written[4:] == [("pwm1/duty_cycle", "1000000"), ("pwm1/duty_cycle", "4000000")]
    assert (pwm.pin, pwm.frequency_hz, pwm.duty_cycle) == (13, 250.0, 100.0)


def test_what_a_dead_process_left_is_off_before_anything_else():
    root = FakePWMRoot({"pwm0/period": "4000000", "pwm0/duty_cycle": "3000000", "pwm0/enable": "1"})
    HardwarePWM(root, 12, 1000.0)
    assert root.written[:2] == [("pwm0/duty_cycle", "0"), ("pwm0/period", "1000000")]


def test_udev_gets_the_time_it_needs_after_the_export():
    time = FakeTime()
    root = FakePWMRoot(refusals=3)
    HardwarePWM(root, 12, 250.0, wait=time.wait)
    assert time.waits == [0.05, 0.1, 0.15]
    with pytest.raises(HardwareFault, match="GPIO 12 cannot be set up") as caught:
        HardwarePWM(FakePWMRoot(refusals=4), 12, 250.0, wait=time.wait)
    assert "group gpio" in caught.value.remediation


@pytest.mark.parametrize("duty_cycle", [-0.001, 100.001, float("nan"), float("inf")])
def test_a_duty_cycle_outside_0_to_100_never_reaches_the_file(root, duty_cycle):
    pwm = HardwarePWM(root, 12, 250.0)
    told = list(root.written)
    with pytest.raises(HardwareFault, match=r"GPIO 12 is outside 0\.\.100 %"):
        pwm.set_duty_cycle(duty_cycle)
    assert root.written == told


def test_closing_turns_off_once_and_tries_again_after_a_failure(root):
    with HardwarePWM(root, 12, 250.0) as pwm:
        pwm.set_duty_cycle(50.0)
        root.fail_on["pwm0/duty_cycle"] = errno.EIO
        with pytest.raises(HardwareFault, match="could not be turned off"):
            pwm.close()
        with pytest.raises(HardwareFault, match=r"does not take 10\.0 %"):
            pwm.set_duty_cycle(10.0)
        root.fail_on.clear()
    pwm.close()
    assert root.written[-1] == ("pwm0/duty_cycle", "0")
    assert pwm.duty_cycle == 0.0
    with pytest.raises(HardwareFault, match="closed"):
        pwm.set_duty_cycle(1.0)


@pytest.mark.parametrize(("pin", "frequency_hz"), [(17, 200.0), (12, 0.0), (12, 20_000.0)])
def test_other_pins_and_frequencies_are_refused_untouched(root, pin, frequency_hz):
    with pytest.raises(HardwareFault, match=f"GPIO {pin}"):
        HardwarePWM(root, pin, frequency_hz)
    assert root.written == []


def test_the_pin_decides_between_hardware_and_software(root):
    gpio = FakeGPIO()
    assert isinstance(open_pwm(gpio, root, 12, 250.0), HardwarePWM)
    assert gpio.calls == []
    assert isinstance(open_pwm(gpio, root, 17, 200.0), PWMOutput)
    assert isinstance(open_pwm(gpio, None, 12, 250.0), PWMOutput)


def test_outputs_of_the_dead_are_silenced_where_they_are_driven():
    gpio = FakeGPIO()
    root = FakePWMRoot({"pwm0/period": "4000000", "pwm0/duty_cycle": "3000000", "npwm": "2"})
    drive_low(gpio, [17, 12, 13], root)
    assert root.written == [("pwm0/duty_cycle", "0")]
    assert {call[1] for call in gpio.calls} == {17}


def test_a_pwm_that_cannot_be_silenced_loses_its_pin():
    gpio = FakeGPIO()
    root = FakePWMRoot({"pwm0/period": "4000000"})
    root.fail_on["pwm0/duty_cycle"] = errno.EIO
    drive_low(gpio, [12, 13], root)  # channel 1 is not exported, and there is no `npwm`: not a PWM chip
    assert ("output", 12, gpio.LOW) in gpio.calls
    assert ("output", 13, gpio.LOW) in gpio.calls


class TestSysfsFolder:
    @pytest.fixture
    def tree(self, tmp_path):
        chip = tmp_path / "pwmchip0" / "pwm0"
        chip.mkdir(parents=True)
        for name in ("period", "duty_cycle", "enable"):
            (chip / name).write_text("0\n")
        (tmp_path / "pwmchip0" / "export").write_text("")
        return tmp_path

    def test_files_are_written_and_read(self, tree):
        with HardwarePWM(find_chip(tree), 12, 250.0) as pwm:
            pwm.set_duty_cycle(50.0)
            assert (tree / "pwmchip0/pwm0/period").read_text() == "4000000"
            assert (tree / "pwmchip0/pwm0/duty_cycle").read_text() == "2000000"
        assert (tree / "pwmchip0/pwm0/duty_cycle").read_text() == "0"
        assert (tree / "pwmchip0/pwm0/enable").read_text() == "1"

    def test_a_file_is_never_made(self, tree):
        with pytest.raises(FileNotFoundError):
            SysfsFolder(tree / "pwmchip0").write("pwm1/period", "1")

    def test_the_chip_is_found(self, tree, tmp_path):
        assert find_chip(tree, pi_model="Raspberry Pi 4 Model B").folder.name == "pwmchip0"
        assert find_chip(tree, pi_model="Raspberry Pi 5 Model B").folder.name == "pwmchip0"
        (tree / "pwmchip2").mkdir()
        (tree / "pwmchip2" / "export").write_text("")
        assert find_chip(tree, pi_model="Raspberry Pi 5 Model B").folder.name == "pwmchip2"
        assert find_chip(tree).folder.name == "pwmchip0"
        assert find_chip(tmp_path / "nowhere") is None


class TestSimulatedPWMRoot:
    @pytest.fixture
    def plant(self, tmp_path):
        plant = SharedPlant(tmp_path / "plant.bin")
        yield plant
        plant.close()

    @pytest.fixture
    def simulated(self, plant):
        return SimulatedPWMRoot(plant)

    def test_the_pin_of_the_plant_does_what_is_written(self, simulated, plant):
        pwm = HardwarePWM(simulated, 13, 250.0)
        pwm.set_duty_cycle(40.0)
        assert plant.pin(13).duty_cycle == pytest.approx(40.0)
        assert plant.pin(13).frequency_hz == pytest.approx(250.0)
        pwm.close()
        assert plant.pin(13).duty_cycle == 0.0

    def test_it_goes_on_without_its_process_until_somebody_silences_it(self, simulated, plant):
        HardwarePWM(simulated, 12, 250.0).set_duty_cycle(60.0)
        other = SimulatedPWMRoot(plant)
        assert plant.pin(12).duty_cycle == pytest.approx(60.0)
        silence(other, 12)
        silence(other, 12)
        assert plant.pin(12).duty_cycle == 0.0

    @pytest.mark.parametrize(
        ("writes", "error"),
        [
            ([("pwm0/period", "100")], errno.ENOENT),
            ([("export", "2")], errno.ENODEV),
            ([("export", "0"), ("export", "0")], errno.EBUSY),
            ([("export", "0"), ("pwm0/duty_cycle", "0")], errno.EINVAL),
            ([("export", "0"), ("pwm0/enable", "1")], errno.EINVAL),
            ([("export", "0"), ("pwm0/period", "0")], errno.EINVAL),
            ([("export", "0"), ("pwm0/period", "-5")], errno.EINVAL),
            ([("export", "0"), ("pwm0/period", "1000"), ("pwm0/duty_cycle", "1001")], errno.EINVAL),
            (
                [("export", "0"), ("pwm0/period", "1000"), ("pwm0/duty_cycle", "600"), ("pwm0/period", "500")],
                errno.EINVAL,
            ),
        ],
    )
    def test_it_refuses_what_the_kernel_refuses(self, simulated, writes, error):
        *before, last = writes
        for write in before:
            simulated.write(*write)
        with pytest.raises(OSError, match=r".") as caught:
            simulated.write(*last)
        assert caught.value.errno == error

    def test_it_reads_back_what_was_written(self, simulated):
        for write in (("export", "1"), ("pwm1/period", "4000000"), ("pwm1/duty_cycle", "1000000")):
            simulated.write(*write)
        assert [simulated.read(f"pwm1/{name}") for name in ("period", "duty_cycle", "enable")] == [
            "4000000",
            "1000000",
            "0",
        ]
        assert simulated.read("npwm") == "2"
