"""led_intensity and led_automation on the simulated reactor: what is lit, when, and who has which channel."""

import pytest
from job_world import JobWorld

from reactor_unit.drivers.claims import Claims
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.leds import LEDs, open_leds
from reactor_unit.errors import Conflict, InvalidRequest
from reactor_unit.workers.job_desk import SLEEPING
from reactor_unit.workers.jobs.led_automation import LEDAutomation
from reactor_unit.workers.jobs.led_intensity import LEDIntensity
from reactor_unit.workers.live import Finished

CYCLE = {
    "automation_name": "light_dark_cycle",
    "light_intensity": 40.0,
    "light_duration_minutes": 10.0,
    "dark_duration_minutes": 5.0,
}


@pytest.fixture
def world(tmp_path):
    whole = JobWorld(tmp_path)
    yield whole
    whole.close()


@pytest.fixture
def somebody_else(world, tmp_path):
    """The LEDs of another process."""
    claims = Claims(tmp_path / "claims", "somebody else", world.reactor.hardware.claims.leases)
    leds = open_leds(world.reactor.bus, world.reactor.board, claims)
    yield leds
    leds.close()
    claims.close()


def lit(world):
    return {channel: round(percent) for channel, percent in world.leds().items() if percent > 0}


def test_channels_are_lit_and_changed_one_by_one(world):
    job = world.start(LEDIntensity, {"B": 50.0})
    job.run_again({"C": 20.0})
    assert lit(world) == {"B": 50, "C": 20}
    assert job.runtime.published["intensity"] == {"B": 50.0, "C": 20.0}
    job.run_again({"B": 0.0})
    assert lit(world) == {"C": 20}
    assert job.runtime.published["intensity"] == {"B": 0.0, "C": 20.0}
    with pytest.raises(Finished):
        job.run_again({"C": 0.0})
    assert lit(world) == {}


def test_a_run_that_lights_nothing_is_over_at_once(world):
    with pytest.raises(Finished):
        world.start(LEDIntensity, {"A": 0.0})
    with pytest.raises(InvalidRequest):
        world.start(LEDIntensity, {"source_of_event": "me"})


def test_a_channel_that_was_darkened_is_free_for_others(world, somebody_else):
    job = world.start(LEDIntensity, {"A": 10.0, "B": 50.0})
    job.run_again({"A": 0.0})
    somebody_else.set_intensity("A", 80.0)
    assert lit(world) == {"A": 80, "B": 50}


def test_a_channel_of_somebody_else_changes_nothing_at_all(world, somebody_else):
    somebody_else.set_intensity("D", 80.0)
    job = world.start(LEDIntensity, {"B": 50.0})
    with pytest.raises(Conflict, match="somebody else"):
        job.run_again({"B": 10.0, "C": 10.0, "D": 10.0})
    assert lit(world) == {"B": 50, "D": 80}
    job.run_again({"C": 5.0})  # which is free


def test_a_sleeping_job_is_dark_and_wakes_as_it_was(world):
    job = world.start(LEDIntensity, {"B": 50.0})
    job.sleep()
    job.runtime.state = SLEEPING
    assert lit(world) == {}
    assert job.runtime.published["intensity"] == {"B": 0.0}
    with pytest.raises(Conflict):
        job.run_again({"B": 10.0})
    job.runtime.state = "ready"
    job.wake()
    assert lit(world) == {"B": 50}


def test_day_and_night(world):
    job = world.start(LEDAutomation, CYCLE)
    for minutes, expected in ((1, True), (8.5, True), (2, False), (3, False), (2, True)):
        world.run(job, 60.0 * minutes)
        assert lit(world) == ({"C": 40, "D": 40} if expected else {}), minutes
    events = job.runtime.values("latest_event")
    assert [event["event_name"] for event in events] == ["ChangedLedIntensity"] * 3
    assert events[1]["data"] == {"D": 0.0, "C": 0.0}
    job.close()
    assert lit(world) == {}


def test_light_can_be_changed_while_it_shines(world):
    job = world.start(LEDAutomation, CYCLE)
    world.run(job, 60.0)
    job.set_light_intensity(10.0)
    assert lit(world) == {"C": 10, "D": 10}
    job.set_light_duration_minutes(0.0)
    world.run(job, 1.0)
    assert lit(world) == {}
    with pytest.raises(InvalidRequest):
        job.set_dark_duration_minutes(0.0)
    assert job.runtime.published["dark_duration_minutes"] == 5.0


def test_a_lamp_of_somebody_else_is_an_event_and_tried_again(world, somebody_else):
    somebody_else.set_intensity("C", 80.0)
    job = world.start(LEDAutomation, CYCLE)
    world.run(job, 60.0)
    assert job.runtime.published["latest_event"]["event_name"] == "ErrorOccurred"
    assert lit(world) == {"C": 80}
    somebody_else.release("C")
    world.run(job, 60.0)
    assert lit(world) == {"C": 40, "D": 40}


def test_a_lamp_that_was_lit_alone_does_not_shine_through_the_night(world, monkeypatch):
    job = world.start(LEDAutomation, {**CYCLE, "light_duration_minutes": 1.0})
    set_intensity = LEDs.set_intensity

    def failing(leds, channel, percent):
        if channel == "C":
            raise HardwareFault("The LED driver does not answer.")
        set_intensity(leds, channel, percent)

    with monkeypatch.context() as patch:
        patch.setattr(LEDs, "set_intensity", failing)
        job.runtime.wait(job.runtime.schedule.seconds_left(world.clock()))
        with pytest.raises(HardwareFault):
            job.tick()
    assert lit(world) == {"D": 40}
    job.runtime.schedule.advance(world.clock(), job.interval_s)
    world.run(job, 60.0)
    assert lit(world) == {}


def test_skip_first_run_begins_a_minute_later(world):
    job = world.start(LEDAutomation, {**CYCLE, "skip_first_run": 1})
    world.run(job, 50.0)
    assert lit(world) == {}
    world.run(job, 20.0)
    assert lit(world) == {"C": 40, "D": 40}


def test_silent_does_nothing_and_says_so(world):
    job = world.start(LEDAutomation, {"automation_name": "silent", "duration": 2.0})
    world.run(job, 600.0)
    events = job.runtime.values("latest_event")
    assert len(events) == 5
    assert {event["event_name"] for event in events} == {"NoEvent"}
    with pytest.raises(Conflict):
        job.set_light_intensity(10.0)
    job.set_duration(60.0)
    assert job.interval_s == 3600.0


def test_a_cycle_needs_all_it_is_made_of(world):
    with pytest.raises(InvalidRequest, match="dark_duration_minutes"):
        world.start(LEDAutomation, {**CYCLE, "dark_duration_minutes": None})
    with pytest.raises(Conflict):
        world.start(LEDAutomation, CYCLE).set_duration(5.0)
