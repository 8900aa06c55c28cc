"""The hardware check on the virtual clock: what it finds on a sound reactor, and with each fault."""

import dataclasses
import errno
import re
import threading
from pathlib import Path

import pytest

from reactor_unit.drivers import board, models
from reactor_unit.drivers.checks import CHECKS, FAIL, OK, SKIPPED, Bench, enabled, judge_volume, run_checks, seams
from reactor_unit.drivers.claims import Claims, OutputClaimed
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.hardware import SIMULATED, Hardware
from reactor_unit.drivers.i2c import I2CBus
from reactor_unit.drivers.leases import LeaseTable
from reactor_unit.drivers.simulation.clock import VirtualClock
from reactor_unit.drivers.simulation.gpio import SimulatedGPIO
from reactor_unit.drivers.simulation.smbus import SimulatedSMBus
from reactor_unit.drivers.simulation.sysfs import SimulatedPWMRoot

ASSIGNMENT = {"1": "stirring", "2": "media", "3": "alt_media", "4": "waste", "5": "heating"}
V15 = ("pioreactor_20ml", "1.5")
OUTPUTS = (12, 13, 16, 17, 18)


class Reactor:
    """A simulated reactor on a virtual clock, and a bench on it."""

    def __init__(self, folder, *, seed=0, model=None, **settings):
        self.clock = VirtualClock(1000.0)
        self.gpio = SimulatedGPIO(folder / "plant.bin", clock=self.clock, seed=seed)
        self.gpio.setmode(self.gpio.BCM)
        self.gpio.setwarnings(False)
        self.plant = self.gpio.plant
        pins = board.load(model=models.load_models()[model] if model else None)
        smbus = SimulatedSMBus(self.plant, pins, clock=self.clock)
        self.hardware = Hardware(
            SIMULATED,
            self.gpio,
            pins,
            Claims(folder / "claims", "test", LeaseTable()),
            self.gpio,
            pwm_root=SimulatedPWMRoot(self.plant),
            _open_i2c=lambda: I2CBus(smbus, wait=self.clock.sleep, clock=self.clock),
        )
        self.bench = Bench(
            self.hardware,
            pins,
            assignment=ASSIGNMENT,
            leds={"A": "IR"},
            angles={"1": "REF", "2": "90"},
            clock_jump_s=self.plant.wall_clock_offset_s,
            wait=self.clock.sleep,
            clock=self.clock,
            **settings,
        )

    def check(self, **changes):
        return {finding.name: finding for finding in run_checks(dataclasses.replace(self.bench, **changes))}


@pytest.fixture
def opened():
    """Return a function that opens a reactor; all are closed at the end."""
    reactors = []

    def open_one(*args, **kwargs):
        reactors.append(Reactor(*args, **kwargs))
        return reactors[-1]

    yield open_one
    for reactor in reactors:
        reactor.hardware.close()


@pytest.fixture
def reactor(opened, tmp_path):
    return opened(tmp_path)


def status_of(findings):
    return {name: finding.status for name, finding in findings.items()}


def everything_is_off(reactor):
    return not any(reactor.plant.pin(pin).duty_cycle for pin in OUTPUTS) and not any(reactor.plant.look().leds)


@pytest.mark.parametrize("model", [None, V15], ids=["HAT only", "1.5"])
@pytest.mark.parametrize("seed", range(6))
def test_a_sound_reactor_is_all_ok_and_off_afterwards(opened, tmp_path, seed, model):
    reactor = opened(tmp_path, seed=seed, model=model)
    threads = threading.active_count()
    findings = reactor.check()
    assert status_of(findings) == {
        **dict.fromkeys((check.name for check in CHECKS), OK),
        "dead_process": SKIPPED,  # only a Pi has it
        "enabled": SKIPPED,  # nor this
        "pumps": SKIPPED,  # nobody asked for it
    }
    assert all(finding.what.endswith(".") for finding in findings.values())
    assert not any(finding.remedy for finding in findings.values() if finding.status == OK)
    assert everything_is_off(reactor)
    assert reactor.plant.look().vessels.media_ml == 500.0
    assert threading.active_count() == threads
    assert reactor.clock() - 1000.0 <= 30.0


@pytest.mark.parametrize("od", [0.0, 0.05, 1.0, 5.0, 20.0])
def test_a_sound_reactor_is_all_ok_whatever_is_in_the_vial(reactor, od):
    reactor.plant.put_standard(od)
    assert FAIL not in status_of(reactor.check()).values()


@pytest.mark.parametrize(
    ("fault", "failing", "words"),
    [
        ("sensor_unplugged:0x4f", "i2c", "0x4f (tmp1075) does not answer"),
        ("sensor_unplugged:0x2c", "i2c", "0x2c (pico) does not answer"),
        ("sensor_unplugged:0x49", "i2c", "0x49 (ads1114) does not answer"),
        ("sensor_unplugged:0x4a", "i2c", "0x4a (ads1114) does not answer"),
        ("bus_stuck", "i2c", "is stuck"),
        ("adc_saturated", "ambient_light", "Photodiode 1, 2: the ADC is saturated"),
        ("hall_silent", "stirrer", "the hall sensor is silent"),
        ("stirrer_stalled", "stirrer", "the stirrer is stalled"),
        ("heater_stuck_on", "heater", "The heater is stuck on"),
        ("heater_unpowered", "heater", "The heater does not heat"),
        ("noisy_light", "ambient_light", "Noisy light"),
        ("ambient_light", "ambient_light", "Other light"),
        ("ir_led_dim", "ir_led", "No photodiode sees the infrared LED"),
        ("supply_too_high", "supply", "supply is above 12.3 V"),
        ("clock_jump", "wall_clock", "jumped ahead by 31536000 s (365.0 days)"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_each_fault_is_named_and_nothing_else_fails(opened, tmp_path, seed, fault, failing, words):
    reactor = opened(tmp_path, seed=seed, model=V15)
    reactor.plant.inject(fault)
    findings = reactor.check()
    assert [name for name, status in status_of(findings).items() if status == FAIL] == [failing]
    assert words in findings[failing].what
    assert findings[failing].remedy
    assert not any(reactor.plant.pin(pin).duty_cycle for pin in OUTPUTS)
    assert reactor.clock() - 1000.0 <= 40.0


@pytest.mark.parametrize("pump", ["media", "alt_media", "waste"])
def test_a_blocked_pump_is_named_when_pumps_may_run(reactor, pump):
    for each in ("media", "alt_media", "waste"):
        reactor.plant.tube_into_beaker(each)
    reactor.plant.inject(f"pump_blocked:{pump}")
    findings = reactor.check(pumps=True, observe=reactor.plant.volume_expelled_ml)
    assert [name for name, status in status_of(findings).items() if status == FAIL] == [f"pump_{pump}"]
    assert f"The {pump} pump moved 0.00 ml in 1 s: it is blocked" in findings[f"pump_{pump}"].what
    assert everything_is_off(reactor)


def test_sound_pumps_are_ok_and_one_nobody_looked_at_is_not_judged(reactor):
    reactor.plant.tube_into_beaker("media")
    findings = reactor.check(
        pumps=True, observe=lambda pump: reactor.plant.volume_expelled_ml(pump) if pump == "media" else None
    )
    assert findings["pump_media"].what == "The media pump moved 0.09 ml in 1 s."
    assert status_of(findings)["pump_media"] == OK
    assert status_of(findings)["pump_waste"] == SKIPPED
    assert "cannot see whether liquid moved" in findings["pump_waste"].what


def test_a_volume_is_judged():
    assert judge_volume("media", 0.09).status == OK
    assert judge_volume("media", 0.0).status == FAIL


def test_a_blank_vial_leaves_no_wrong_verdict_on_the_stirrer(reactor):
    """With nothing in the vial to scatter light it may not be told which; it must not be told wrongly."""
    reactor.plant.put_blank()
    reactor.plant.inject("hall_silent")
    assert "silent" in reactor.check()["stirrer"].what
    reactor.plant.clear()
    reactor.plant.inject("stirrer_stalled")
    assert "stalled" in reactor.check()["stirrer"].what


def test_without_light_both_reasons_for_no_pulses_are_named(reactor):
    reactor.plant.inject("hall_silent")
    what = reactor.check(angles={"1": "REF"})["stirrer"].what
    assert "the stirrer is stalled, or the hall sensor is silent" in what


def test_a_heater_that_has_been_stuck_on_for_long_is_named(reactor):
    reactor.plant.inject("heater_stuck_on")
    reactor.clock.sleep(60.0)
    assert "stuck on" in reactor.check()["heater"].what


@pytest.mark.parametrize("heated_s", [30.0, 300.0, 3600.0])
@pytest.mark.parametrize("pause_s", [0.0, 20.0, 300.0])
def test_a_board_that_cools_after_a_job_is_no_stuck_heater(reactor, heated_s, pause_s):
    pwm = reactor.hardware.open_pwm(18, 16.0)
    pwm.set_duty_cycle(25.0)
    reactor.clock.sleep(heated_s)
    pwm.close()
    reactor.clock.sleep(pause_s)
    assert status_of(reactor.check())["heater"] == OK


def test_a_heater_without_supply_is_named(reactor):
    reactor.plant.change([18], lambda record: record._replace(role=0))
    finding = reactor.check()["heater"]
    assert (finding.status, finding.what[:26]) == (FAIL, "The heater does not heat: ")


def test_a_dark_led_and_a_blind_photodiode_are_told_apart(reactor):
    assert "No photodiode sees" in reactor.check(leds={"B": "IR"})["ir_led"].what
    assert "Photodiode 2 does not see" in _without_angle(reactor, "2").check()["ir_led"].what


def _without_angle(reactor, channel):
    reactor.plant.update(lambda state: state._replace(light=state.light._replace(**{f"angle_{channel}": 0})))
    return reactor


def test_light_that_is_steady_is_named_as_such(reactor, monkeypatch):
    from reactor_unit.drivers.simulation import optics

    monkeypatch.setattr(optics, "AMBIENT_V", 0.1)
    assert "Other light reaches the photodiodes" in reactor.check()["ambient_light"].what


@pytest.mark.parametrize(("voltage_v", "words"), [(4.7, "too little"), (19.0, "too much"), (12.0, "auxiliary")])
def test_a_supply_is_judged(reactor, monkeypatch, voltage_v, words):
    from reactor_unit.drivers.checks import seams as checked

    class Supply:
        def read_voltage_v(self, _precision_v):
            return voltage_v

    monkeypatch.setattr(checked, "open_aux_voltage", lambda _bus, _board: Supply())
    finding = reactor.check()["supply"]
    assert words in finding.what
    assert (finding.status == OK) == (voltage_v == 12.0)


def test_a_chip_that_the_model_does_not_need_is_mentioned(opened, tmp_path):
    reactor = opened(tmp_path, model=V15)
    finding = reactor.check(needs=board.load())["i2c"]  # as if it were configured without the model
    assert finding.status == OK
    assert "0x49, 0x4a answer not needed" in finding.what


def test_a_model_that_is_not_attached_lacks_its_chips(reactor):
    needs = board.load(model=models.load_models()[V15])
    finding = reactor.check(needs=needs)["i2c"]
    assert finding.status == FAIL
    assert "0x49 (ads1114), 0x4a (ads1114)" in finding.what


def test_a_bus_that_cannot_be_opened_fails_once(reactor):
    def refuse():
        raise HardwareFault("The bus /dev/i2c-1 cannot be opened.", remediation="Enable I2C.")

    reactor.hardware._open_i2c = refuse
    findings = reactor.check()
    assert [name for name, status in status_of(findings).items() if status == FAIL] == ["i2c"]
    assert findings["i2c"].remedy == "Enable I2C."
    assert findings["heater"].status == SKIPPED


def test_outputs_that_another_process_holds_are_skipped_and_the_holder_is_named(reactor, monkeypatch):
    opens = reactor.hardware.open_pwm

    def held(pin, frequency_hz):
        if pin == 17:
            raise OutputClaimed("GPIO 17 is held by stirring (job 3).", remediation="Stop it first.")
        return opens(pin, frequency_hz)

    monkeypatch.setattr(reactor.hardware, "open_pwm", held)
    findings = reactor.check()
    for name in ("pwm", "stirrer"):
        assert findings[name].status == SKIPPED
        assert "stirring (job 3)" in findings[name].what
    assert FAIL not in status_of(findings).values()


def test_pins_that_nobody_gave_us_are_named_with_the_group(reactor, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise RuntimeError("No access to /dev/mem.  Try running as root!")

    monkeypatch.setattr(reactor.gpio, "setup", refuse)
    findings = reactor.check()
    assert findings["gpio"].status == FAIL
    assert "No access to /dev/mem" in findings["gpio"].what
    assert "group gpio" in findings["gpio"].remedy


def test_polling_is_said(reactor, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise RuntimeError("Failed to add edge detection")

    monkeypatch.setattr(reactor.gpio, "add_event_detect", refuse)
    assert "the hall sensor is polled" in seams.check_gpio(reactor.bench).what


def test_an_output_that_stays_on_is_named(reactor, monkeypatch):
    monkeypatch.setattr(reactor.gpio, "input", lambda pin: int(pin == 16))
    finding = seams.check_pwm(reactor.bench)
    assert (finding.status, finding.what) == (FAIL, "GPIO 16 (alt_media) stays on.")


@pytest.mark.parametrize(("content", "status"), [("Y\n", FAIL), ("N\n", OK), (None, SKIPPED)])
def test_a_kernel_that_leaves_outputs_on_is_named(reactor, tmp_path, content, status):
    parameter = tmp_path / "persist_gpio_outputs"
    if content is not None:
        parameter.write_text(content)
    reactor.hardware.kind = "pi"
    assert seams.check_persistence(reactor.bench, parameter).status == status


def machine(tmp_path, *, groups=("gpio", "i2c", "pi"), bus=True):
    if bus:
        (tmp_path / "i2c-1").touch()
    return enabled.Machine(tmp_path, lambda: groups)


def test_a_pi_where_all_is_enabled_is_ok(reactor, tmp_path):
    reactor.hardware.kind = "pi"
    assert enabled.check_enabled(reactor.bench, machine(tmp_path)).status == OK


@pytest.mark.parametrize(
    ("groups", "bus", "pwm", "what", "remedy"),
    [
        (("gpio",), True, True, "not in the group i2c.", "usermod -aG i2c "),
        ((), True, True, "not in the groups gpio and i2c.", "usermod -aG gpio,i2c "),
        (("gpio", "i2c"), False, True, "there is no ", "do_i2c 0"),
        (("gpio", "i2c"), True, False, "software PWM", "dtoverlay=pwm-2chan,pin=12,func=4,pin2=13,func2=4"),
    ],
    ids=["one group", "both groups", "I2C", "PWM overlay"],
)
def test_what_is_not_enabled_on_a_pi_is_named_alone(reactor, tmp_path, groups, bus, pwm, what, remedy):
    reactor.hardware.kind = "pi"
    if not pwm:
        reactor.hardware.pwm_root = None
    found = enabled.check_enabled(reactor.bench, machine(tmp_path, groups=groups, bus=bus))
    assert found.status == FAIL
    assert what in found.what
    assert remedy in found.remedy
    assert found.remedy.count("`") + found.remedy.count("dtoverlay") * 2 == 2  # one thing to do


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("after_s", [0.1, 1.0, 4.0, 6.9, 7.5, 9.0, 13.0])
def test_a_check_that_is_interrupted_leaves_all_off(reactor, after_s):
    def wait(seconds):
        if reactor.clock() + seconds > 1000.0 + after_s:
            reactor.clock.sleep(max(0.0, 1000.0 + after_s - reactor.clock()))
            raise Interrupted
        reactor.clock.sleep(seconds)

    with pytest.raises(Interrupted):
        reactor.check(wait=wait, pumps=True)
    assert everything_is_off(reactor)


def test_a_scan_asks_each_address_once_and_does_not_hide_a_stuck_bus():
    asked = []

    class Bus:
        def write_quick(self, address):
            asked.append(address)
            if address != 0x2C:
                raise OSError(errno.ETIMEDOUT if address == 0x70 else errno.EREMOTEIO, "no")

    bus = I2CBus(Bus())
    assert bus.scan([0x10, 0x2C, 0x4F]) == (0x2C,)
    assert asked == [0x10, 0x2C, 0x4F]
    with pytest.raises(HardwareFault, match="stuck"):
        bus.scan([0x70])


def test_progress_names_what_comes(reactor):
    seen = []
    run_checks(reactor.bench, lambda *words: seen.append(words))
    assert seen == [(number, len(CHECKS), check.name) for number, check in enumerate(CHECKS)]


def test_the_documented_transcript_has_every_check_in_order():
    page = (Path(__file__).parents[2] / "docs" / "hardware.md").read_text()
    transcript = re.findall(r"^    (\w+) +(?:ok|FAIL|skipped) ", page, re.MULTILINE)
    assert transcript[5:-3] == [check.name for check in CHECKS][:-1]
    assert transcript[-3:] == ["pump_media", "pump_alt_media", "pump_waste"]
    assert all(f"`{name}`" in page for name in transcript[:-2])
