"""The self-test on the simulated reactor: a sound one passes, and each fault makes those tests fail that show it."""

import json
from contextlib import suppress

import pytest
from job_world import JobWorld

from reactor_unit.drivers import board
from reactor_unit.drivers.models import load_models
from reactor_unit.drivers.simulation import person
from reactor_unit.drivers.simulation.layout import HALL_SENSOR, ROLES
from reactor_unit.errors import InvalidRequest
from reactor_unit.self_test_report import TABLE
from reactor_unit.workers.jobs.self_test import RESULTS_TABLE, SelfTestJob
from reactor_unit.workers.self_tests import TESTS
from reactor_unit.workers.self_tests.bench import Failed, LimitedTime

HAT = "test_pioreactor_HAT_present"
POSITION = "test_REF_is_in_correct_position"
LEDS = "test_all_positive_correlations_between_pds_and_leds"
AMBIENT = "test_ambient_light_interference"
REF = "test_REF_is_lower_than_0_dot_256_volts"
BLANK = "test_PD_is_near_0_volts_for_blank"
BOARD = "test_detect_heating_pcb"
HEATING = "test_positive_correlation_between_temperature_and_heating"
SUPPLY = "test_aux_power_is_not_too_high"
STIRRING = "test_positive_correlation_between_rpm_and_stirring"
IN_ORDER = [HAT, POSITION, LEDS, AMBIENT, REF, BLANK, BOARD, HEATING, SUPPLY, STIRRING]
LIGHT = {POSITION, LEDS, AMBIENT, REF, BLANK}
LONGEST_S = 600.0


@pytest.fixture
def world(tmp_path):
    made = JobWorld(tmp_path)
    yield made
    made.close()


def carried_out(world, options=None, **more):
    """Return a self-test that has ended."""
    job = world.start(SelfTestJob, options, **more)
    assert world.run(job, LONGEST_S)
    return job


def failing(job):
    return {finding["name"] for finding in job.runtime.published["findings"] if finding["status"] == "fail"}


def everything_is_off(world):
    return not any(world.leds().values()) and not any(world.plant.look_with_drives()[1].values())


def fault(name):
    return lambda world: world.plant.inject(name)


def deed(act, *args):
    return lambda world: world.plant.update(lambda state: act(state, *args))


def test_a_sound_reactor_passes_all_ten_in_order(world):
    job = carried_out(world)
    published, findings = job.runtime.published, job.runtime.published["findings"]
    assert [finding["name"] for finding in findings] == IN_ORDER
    assert failing(job) == set(), findings
    assert [published[name] for name in IN_ORDER] == [1] * 10
    assert published["all_tests_passed"] == 1
    assert all(finding["what"].endswith(".") and not finding["remedy"] for finding in findings)
    assert set(published["correlations_between_pds_and_leds"]["IR"]) == {"1", "2"}
    assert min(published["correlations_between_pds_and_leds"]["IR"].values()) > 0.95
    assert everything_is_off(world)


@pytest.mark.parametrize("seed", range(2, 6))
def test_a_sound_reactor_passes_whatever_the_noise(world, seed):
    world.plant.update(lambda state: state._replace(seed=seed))
    job = carried_out(world)
    assert failing(job) == set(), job.runtime.published["findings"]


XR_ANGLES = {"1": "REF", "2": "45", "3": "90", "4": "135"}


def board_of(world, hat_version, model_name=None):
    """Have other chips in front of the reactor, and its hall sensor where their board has it."""
    model = None if model_name is None else load_models()[model_name, "1.5"]
    changed = board.load(hat_version, model=model)
    world.change_board(changed)
    world.plant.change([changed.hall_sensor_pin], lambda pin: pin._replace(role=ROLES.index(HALL_SENSOR)))


def xr(world):
    """Have three signals, at 45, 90 and 135 degrees; return the configuration."""
    board_of(world, board.DEFAULT_HAT_VERSION, "pioreactor_20ml_XR")
    world.plant.update(lambda state: person.point_photodiodes(state, XR_ANGLES))
    return world.overrides(*(["od_config.photodiode_channel", channel, angle] for channel, angle in XR_ANGLES.items()))


def test_a_sound_reactor_passes_whichever_its_chips(world):
    for hat_version, model_name in (("1.0", None), ("1.2", "pioreactor_20ml")):
        board_of(world, hat_version, model_name)
        job = carried_out(world)
        assert failing(job) == set(), job.runtime.published["findings"]


def test_of_three_signals_one_that_is_unplugged_is_the_leds_test_to_find(world):
    config = xr(world)
    job = carried_out(world, config=config)
    assert failing(job) == set(), job.runtime.published["findings"]
    assert set(job.runtime.published["correlations_between_pds_and_leds"]["IR"]) == set("1234")
    world.plant.update(
        lambda state: person.point_photodiodes(state, {c: angle for c, angle in XR_ANGLES.items() if c != "3"})
    )
    job = carried_out(world, config=config)
    assert failing(job) == {LEDS}, job.runtime.published["findings"]
    assert "0.000 on channel 3" in job.runtime.published["findings"][2]["what"]


def test_a_configuration_that_cannot_be_fails_the_tests_that_need_it(world):
    config = world.overrides(["leds", "A", "UV"])
    assert failing(carried_out(world, config=config)) == LIGHT
    no_ref = world.overrides(["od_config.photodiode_channel", "1", ""])
    assert failing(carried_out(world, config=no_ref)) == {POSITION, REF}


def test_water_in_the_vial_passes(world):
    world.plant.put_blank()
    job = carried_out(world)
    assert failing(job) == set(), job.runtime.published["findings"]


def test_a_board_that_cools_down_from_an_experiment_passes(world):
    with world.reactor.heater() as heater:
        heater.set_duty_cycle(30.0)
        world.clock.sleep(3600.0)
    assert failing(carried_out(world, {"k": "heating"})) == set()


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        pytest.param(fault("sensor_unplugged:0x2c"), {HAT, SUPPLY} | LIGHT, id="no HAT"),
        pytest.param(fault("bus_stuck"), set(IN_ORDER) - {STIRRING}, id="bus stuck"),
        pytest.param(
            deed(person.point_photodiodes, {"1": "90", "2": "REF"}), {POSITION, REF, BLANK}, id="REF and 90 swapped"
        ),
        pytest.param(deed(person.point_photodiodes, {"1": "REF"}), {POSITION, LEDS}, id="signal unplugged"),
        pytest.param(deed(person.point_photodiodes, {"2": "90"}), {POSITION, LEDS, REF}, id="REF unplugged"),
        pytest.param(fault("adc_saturated"), LIGHT, id="ADC saturated"),
        pytest.param(fault("ambient_light"), {AMBIENT}, id="open lid"),
        pytest.param(fault("ir_led_dim"), {REF}, id="dim lamp"),
        pytest.param(deed(person.put_standard, 2.0), {BLANK}, id="a culture instead of water"),
        pytest.param(fault("sensor_unplugged:0x4f"), {BOARD, HEATING}, id="no heater board"),
        pytest.param(fault("sensor_fallen_off"), {HEATING}, id="thermometer off its board"),
        pytest.param(fault("thermometer_stuck"), {HEATING}, id="thermometer stuck"),
        pytest.param(fault("heater_unpowered"), {HEATING}, id="heater without power"),
        pytest.param(fault("heater_stuck_on"), {HEATING}, id="heater stuck on"),
        pytest.param(fault("supply_too_high"), {SUPPLY}, id="wrong supply"),
        pytest.param(fault("hall_silent"), {STIRRING}, id="hall sensor silent"),
        pytest.param(fault("stirrer_stalled"), {POSITION, STIRRING}, id="motor without power"),
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_fault_makes_the_tests_fail_that_show_it(world, seed, harm, expected):
    world.plant.update(lambda state: state._replace(seed=seed))
    harm(world)
    job = carried_out(world)
    published = job.runtime.published
    assert failing(job) == expected, published["findings"]
    assert {name for name in IN_ORDER if published[name] == 0} == expected
    assert published["all_tests_passed"] == 0
    assert all(finding["remedy"] for finding in published["findings"] if finding["status"] == "fail")
    assert everything_is_off(world)


@pytest.mark.parametrize(
    ("harm", "surely", "perhaps"),
    [
        # A hundredth of the light is left, of the LED that is in the infrared one's place.
        pytest.param(deed(person.plug_ir_led, "B"), {REF}, {POSITION, LEDS}, id="LED in another channel"),
        pytest.param(fault("noisy_light"), {POSITION, LEDS, AMBIENT}, {BLANK}, id="noisy light"),
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_where_noise_decides_the_test_that_is_meant_for_it_fails_in_any_case(world, seed, harm, surely, perhaps):
    world.plant.update(lambda state: state._replace(seed=seed))
    harm(world)
    found = failing(carried_out(world))
    assert surely <= found <= surely | perhaps


def test_k_chooses_by_a_part_of_the_name(world):
    job = carried_out(world, {"k": "Heating"})
    assert [finding["name"] for finding in job.runtime.published["findings"]] == [BOARD, HEATING]
    assert job.runtime.published["all_tests_passed"] == 1
    with pytest.raises(InvalidRequest, match="No self-test has 'nonsense' in its name"):
        world.start(SelfTestJob, {"k": "nonsense"})


def test_failed_tests_are_retried_alone_and_results_of_the_others_stay(world):
    world.plant.inject("hall_silent")
    world.plant.inject("supply_too_high")
    first = carried_out(world, {"k": "o"})
    remembered = first.runtime.remembered
    assert (remembered[RESULTS_TABLE, SUPPLY], remembered[RESULTS_TABLE, HAT]) == (0, 1)
    world.plant.clear("hall_silent")
    again = carried_out(world, {"retry_failed": True}, recalled={TABLE: remembered[TABLE]})
    assert [finding["name"] for finding in again.runtime.published["findings"]] == [SUPPLY, STIRRING]
    assert failing(again) == {SUPPLY}
    report = json.loads(again.runtime.remembered[TABLE])
    assert report["planned"] == [SUPPLY, STIRRING]
    assert {result["name"] for result in report["results"]} == {test.name for test in TESTS if "o" in test.name.lower()}
    assert [result["name"] for result in report["results"] if result["status"] == "fail"] == [SUPPLY]


def test_nothing_to_retry_is_said(world):
    with pytest.raises(InvalidRequest, match="none to retry"):
        world.start(SelfTestJob, {"retry_failed": True})


class Stopped(BaseException):
    pass


@pytest.mark.parametrize("name", [POSITION, LEDS, AMBIENT, REF, BLANK, HEATING, STIRRING])
def test_a_stop_in_any_wait_leaves_everything_off(world, name):
    job = world.start(SelfTestJob, {"k": name})
    waits = 0

    def stop_at(number):
        def on_wait():
            nonlocal waits
            waits += 1
            if waits == number:
                raise Stopped

        return on_wait

    for number in (1, 2, 3, 5, 20, 60):
        waits = 0
        job.runtime.on_wait = stop_at(number)
        with suppress(Stopped, Exception):
            job.tick()
        assert everything_is_off(world), number


def test_a_test_has_three_minutes():
    now = [0.0]
    waited = []
    limited = LimitedTime(type("Time", (), {"clock": None, "wait": staticmethod(waited.append)}), 180.0, lambda: now[0])
    limited.wait(1000.0)
    now[0] = 180.0
    with pytest.raises(Failed, match="180 s"):
        limited.wait(1.0)
    assert waited == [1000.0]
