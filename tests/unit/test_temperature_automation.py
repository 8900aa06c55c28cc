"""The temperature job with drivers and simulated reactor, on a virtual clock."""

import pytest
from job_on_plant import JobOnPlant
from plant_with_drivers import PlantWithDrivers

from reactor_unit.drivers.models import load_models
from reactor_unit.drivers.simulation import person
from reactor_unit.errors import Conflict, InvalidRequest
from reactor_unit.workers.jobs.temperature_automation import TemperatureAutomation

ONLY_RECORD = {"automation_name": "only_record_temperature"}
MODELS = load_models()


@pytest.fixture
def reactor(tmp_path):
    plant = PlantWithDrivers(tmp_path)
    yield plant
    plant.close()


def thermostat(reactor, target_c=37.0):
    return JobOnPlant(reactor, TemperatureAutomation, {"automation_name": "thermostat", "target_temperature": target_c})


def is_heating(reactor):
    return reactor.plant.pin(reactor.board.pwm_to_pin["5"]).duty_cycle > 0


def the_fault(heated):
    ((at_s, kind, message, remediation, jobs, _),) = heated.runtime.faults
    assert (jobs, heated.runtime.published["fault"]) == (["temperature_automation"], message)
    assert remediation
    return at_s, kind


def test_the_thermostat_warms_the_liquid_itself_to_its_target_and_says_so(reactor):
    heated = thermostat(reactor)
    highest_c = 0.0
    for _ in range(40):
        heated.run(100)
        highest_c = max(highest_c, reactor.plant.look().vial_c)
    assert highest_c <= 38.0
    for _ in range(36):
        heated.run(100)
        assert reactor.plant.look().vial_c == pytest.approx(37.0, abs=0.3)
    published = heated.runtime.published
    assert published["temperature"]["temperature"] == pytest.approx(reactor.plant.look().vial_c, abs=0.3)
    event = published["latest_event"]
    assert event["event_name"] == "UpdatedHeaterDC"
    assert event["data"]["current_dc"] + event["data"]["delta_dc"] == pytest.approx(published["heater_duty_cycle"])
    assert event["data"]["target_temperature"] == 37.0
    assert heated.runtime.faults == []
    assert len(heated.runtime.values("temperature")) == pytest.approx(7600 / 200, abs=1)


def test_only_record_keeps_the_heater_off_and_says_how_warm_it_is(reactor):
    reactor.plant.update(lambda state: person.warm_room(state, 26.0)._replace(board_c=26.0, vial_c=26.0))
    recorded = JobOnPlant(reactor, TemperatureAutomation, ONLY_RECORD)
    for _ in range(100):
        recorded.run(5)
        assert not is_heating(reactor)
    assert recorded.runtime.published["temperature"]["temperature"] == pytest.approx(26.0, abs=0.2)
    assert recorded.runtime.published["latest_event"]["event_name"] == "NoEvent"
    with pytest.raises(Conflict):
        recorded.job.set_target_temperature(37.0)


def test_a_new_target_is_followed(reactor):
    heated = thermostat(reactor, 30.0)
    heated.run(3000)
    heated.job.set_target_temperature(33.0)
    assert heated.runtime.published["target_temperature"] == 33.0
    heated.run(4000)
    assert reactor.plant.look().vial_c == pytest.approx(33.0, abs=0.3)


def test_a_target_above_the_models_first_limit_is_refused(reactor):
    reactor.hardware.model = MODELS["pioreactor_20ml", "1.0"]
    with pytest.raises(InvalidRequest, match="63 degC"):
        thermostat(reactor, 64.0)
    heated = thermostat(reactor, 37.0)
    with pytest.raises(InvalidRequest):
        heated.job.set_target_temperature(64.0)
    assert heated.runtime.published["target_temperature"] == 37.0


def test_a_model_that_nobody_knows_has_the_lowest_limits(reactor):
    assert reactor.hardware.model is None
    with pytest.raises(InvalidRequest, match="63 degC"):
        thermostat(reactor, 70.0)
    reactor.hardware.model = MODELS["pioreactor_40ml", "1.5"]
    thermostat(reactor, 70.0)


def test_a_restart_on_a_warm_board_does_not_take_the_board_for_the_liquid(reactor):
    reactor.plant.update(lambda state: state._replace(board_c=46.0, vial_c=37.0))
    heated = thermostat(reactor)
    heated.run(200)
    assert heated.runtime.values("temperature")[0]["temperature"] == pytest.approx(37.0, abs=2.0)
    assert reactor.plant.look().vial_c > 34.5


def test_sleep_turns_the_heater_off_and_a_reading_in_progress_does_not_restore_it(reactor):
    class Asleep(BaseException):
        pass

    def fall_asleep():
        raise Asleep

    heated = thermostat(reactor)
    heated.run(50)
    assert is_heating(reactor)
    heated.runtime.during_wait = fall_asleep
    with pytest.raises(Asleep):  # as the runtime breaks off a tick
        heated.run(5)
    heated.job.sleep()
    assert not is_heating(reactor)
    assert heated.runtime.published["heater_duty_cycle"] == 0.0
    reactor.clock.sleep(600)
    heated.job.wake()
    assert not is_heating(reactor)
    heated.run(300)
    assert is_heating(reactor)
    assert heated.runtime.faults == []


def test_above_the_first_limit_it_heats_less_and_goes_on(reactor):
    reactor.hardware.model = MODELS["pioreactor_20ml", "1.0"]
    heated = thermostat(reactor, 37.0)
    heated.run(20)
    before = heated.runtime.published["heater_duty_cycle"]
    reactor.plant.update(lambda state: state._replace(board_c=64.5, vial_c=64.0))
    heated.job._watch.forget()  # the board was never this cold
    heated.run(5)
    assert heated.runtime.published["heater_duty_cycle"] == pytest.approx(0.9 * before, abs=0.01)
    assert heated.runtime.faults == []


@pytest.mark.parametrize(
    ("board_c", "kind", "wanted"), [(64.3, "heater_hot", 0), (70.0, "heater_too_hot", 1)], ids=["disable", "shut down"]
)
def test_above_the_other_limits_the_heater_is_off_for_good(reactor, board_c, kind, wanted):
    reactor.hardware.model = MODELS["pioreactor_20ml", "1.0"]
    heated = thermostat(reactor)
    heated.run(20)
    assert is_heating(reactor)
    reactor.plant.update(lambda state: state._replace(board_c=board_c, vial_c=board_c, room_c=board_c))
    heated.run(5)
    assert the_fault(heated)[1] == kind
    assert len(heated.runtime.system.wanted) == wanted
    assert heated.runtime.published["latest_event"]["event_name"] == "ErrorOccurred"
    reactor.plant.update(lambda state: state._replace(board_c=22.0, vial_c=22.0, room_c=22.0))
    for _ in range(100):
        heated.run(5)
        assert not is_heating(reactor)
    assert heated.runtime.published["temperature"]["temperature"] < 40.0
    assert len(heated.runtime.faults) == 1


def test_an_unplugged_sensor_turns_the_heater_off_at_once_and_ends_the_job_after_three_tries(reactor):
    heated = thermostat(reactor)
    heated.run(50)
    reactor.plant.inject("sensor_unplugged:0x4f")
    began_s = reactor.clock()
    heated.run(5)
    assert not is_heating(reactor)
    assert heated.runtime.faults == []
    heated.run(60)
    assert the_fault(heated)[1] == "temperature_reading_stale"
    assert reactor.clock() - began_s <= 16.0
    assert "does not answer" in str(heated.ended)


def test_a_sensor_that_comes_back_is_heated_by_again(reactor):
    heated = thermostat(reactor)
    heated.run(50)
    for _ in range(3):
        reactor.plant.inject("sensor_unplugged:0x4f")
        heated.run(10)
        assert not is_heating(reactor)
        reactor.plant.clear()
        heated.run(10)
        assert is_heating(reactor)
    heated.run(3000)
    assert (heated.ended, heated.runtime.faults) == (None, [])
    assert reactor.plant.look().vial_c == pytest.approx(37.0, abs=0.5)


@pytest.mark.parametrize("after_s", [0.0, 1000.0, 3000.0], ids="after {:g} s".format)
def test_a_sensor_that_has_fallen_off_is_seen(reactor, after_s):
    heated = thermostat(reactor)
    heated.run(after_s)
    reactor.plant.inject("sensor_fallen_off")
    began_s = reactor.clock()
    heated.run(600)
    at_s, kind = the_fault(heated)
    assert kind == "temperature_sensor_not_on_heater"
    assert at_s - began_s <= 400
    assert not is_heating(reactor)
    assert heated.runtime.published["temperature"] is None


def test_a_stuck_thermometer_is_seen_within_a_cycle(reactor):
    heated = thermostat(reactor, 40.0)
    heated.run(3000)
    reactor.plant.inject("thermometer_stuck")
    began_s = reactor.clock()
    heated.run(400)
    at_s, kind = the_fault(heated)
    assert kind in ("temperature_sensor_stuck", "temperature_sensor_not_on_heater")
    assert at_s - began_s <= 210
    assert not is_heating(reactor)


def test_a_thermometer_that_is_stuck_where_it_was_is_seen_at_the_cycles_end(reactor, monkeypatch):
    heated = thermostat(reactor)
    heated.run(3000)
    stuck_c = heated.job._estimate.board_c
    monkeypatch.setattr(heated.job._thermometer, "mean_temperature_c", lambda *_: stuck_c)
    heated.run(420)
    assert the_fault(heated)[1] == "temperature_sensor_stuck"


@pytest.mark.parametrize("automation", ["thermostat", "only_record_temperature"])
def test_a_heater_stuck_on_is_seen_within_two_minutes_and_wants_the_power_off(reactor, automation):
    heated = JobOnPlant(reactor, TemperatureAutomation, {"automation_name": automation})
    heated.run(3000)
    reactor.plant.inject("heater_stuck_on")
    began_s = reactor.clock()
    heated.run(120)
    at_s, kind = the_fault(heated)
    assert kind == "heater_stuck_on"
    assert at_s - began_s <= 30
    assert not is_heating(reactor)
    ((action, reason),) = heated.runtime.system.wanted
    assert action == "shut_down"
    assert "stuck on" in reason


def test_a_dose_of_cold_media_and_a_colder_room_are_no_faults(reactor):
    heated = thermostat(reactor)
    heated.run(3000)
    reactor.plant.update(lambda state: state._replace(vial_c=state.vial_c - 2.0))
    heated.run(1500)
    reactor.plant.update(lambda state: person.warm_room(state, 17.0))
    heated.run(3000)
    assert heated.runtime.faults == []
    assert reactor.plant.look().vial_c == pytest.approx(37.0, abs=0.6)


def test_closing_leaves_the_heater_off(reactor):
    heated = thermostat(reactor)
    heated.run(50)
    assert is_heating(reactor)
    heated.job.close()
    heated.job.close()
    assert not is_heating(reactor)
