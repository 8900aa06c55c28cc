"""Claims and leases: one driver at a time, on only for as long as it shows life, and off wins."""

from __future__ import annotations

import errno
import math
import os
import signal
from multiprocessing import get_context

import pytest

from reactor_unit.drivers import hardware
from reactor_unit.drivers.claims import Claims, OutputClaimed
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.leases import ALL_LEDS, ALL_PINS, Lapse, LeaseTable, OutputRevoked, process_lease

FORK = get_context("fork")


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def leases(clock):
    return LeaseTable(clock)


@pytest.fixture
def make_claims(tmp_path, leases):
    made = []

    def make(holder):
        made.append(Claims(tmp_path / "claims", holder, leases))
        return made[-1]

    yield make
    for claims in made:
        claims.close()


def in_another_process(do):
    """Run `do()` in a forked child that is then killed."""
    ours, theirs = FORK.Pipe()

    def main():
        do()
        theirs.send("done")
        signal.pause()

    child = FORK.Process(target=main)
    child.start()
    assert ours.poll(5)
    return child


class TestClaims:
    def test_a_second_one_is_refused_and_told_who_has_it(self, make_claims):
        make_claims("stirring").claim("GPIO 17")
        with pytest.raises(OutputClaimed, match=rf"GPIO 17 is in use by stirring \(process {os.getpid()}\)"):
            make_claims("pumps").claim("GPIO 17")
        make_claims("pumps").claim("GPIO 13")

    def test_a_full_disk_refuses_nothing(self, make_claims, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "pwrite", full)
        make_claims("stirring").claim("GPIO 17")
        with pytest.raises(OutputClaimed, match="GPIO 17 is in use by another process"):
            make_claims("pumps").claim("GPIO 17")

    def test_the_same_process_cannot_open_an_output_twice(self, make_claims):
        claims = make_claims("stirring")
        claims.claim("GPIO 17")
        with pytest.raises(OutputClaimed, match="already open in this process"):
            claims.claim("GPIO 17")

    def test_a_released_one_can_be_had(self, make_claims):
        first, second = make_claims("stirring"), make_claims("self_test")
        first.claim("GPIO 17")
        first.release("GPIO 17")
        first.release("GPIO 17")
        second.claim("GPIO 17")
        with pytest.raises(OutputClaimed, match="self_test"):
            first.claim("GPIO 17")

    def test_it_dies_with_its_process_and_the_output_waits_to_be_made_safe(self, make_claims, leases):
        child = in_another_process(lambda: make_claims("pumps").claim("GPIO 13"))
        ours = make_claims("ours")
        with pytest.raises(OutputClaimed, match=rf"in use by pumps \(process {child.pid}\)"):
            ours.claim("GPIO 13")
        child.kill()
        child.join()
        with pytest.raises(HardwareFault, match=f"GPIO 13 is not safe yet: process {child.pid}"):
            ours.claim("GPIO 13")
        leases.clear(["GPIO 13"])
        ours.claim("GPIO 13")

    def test_a_chip_is_claimed_as_often_as_one_likes_by_one(self, make_claims):
        first = make_claims("od_reading")
        first.claim_chip(0x48)
        first.claim_chip(0x48)
        with pytest.raises(OutputClaimed, match="I2C 0x48 is in use by od_reading"):
            make_claims("self_test").claim_chip(0x48)

    def test_a_file_that_cannot_be_opened_is_a_hardware_fault(self, tmp_path, leases):
        with pytest.raises(HardwareFault, match="cannot be opened"):
            Claims(tmp_path / "nowhere" / "claims", "stirring", leases).claim("GPIO 17")


class TestLeases:
    def test_one_that_is_renewed_never_lapses(self, leases, clock):
        leases.take("GPIO 18", 5.0).hold()
        for _ in range(10):
            assert leases.renew() <= 5.0 / 2
            clock.now_s += 4.9
            assert leases.lapsed() == []

    def test_one_that_is_not_lapses_and_names_its_owner(self, leases, clock):
        leases.take("GPIO 18", 5.0).hold()
        assert leases.next_deadline() == 105.0
        clock.now_s += 5.0
        assert leases.lapsed() == [Lapse("GPIO 18", os.getpid())]

    def test_a_planned_one_is_not_renewed(self, leases, clock):
        leases.take("GPIO 13", None).hold(11.0)
        clock.now_s += 10.0
        assert leases.renew() == math.inf
        clock.now_s += 1.0
        assert [lapse.output for lapse in leases.lapsed()] == ["GPIO 13"]

    def test_the_earliest_counts_and_an_output_that_is_off_does_not(self, leases):
        stirrer, heater = leases.take("GPIO 17", 30.0), leases.take("GPIO 18", 5.0)
        assert leases.next_deadline() == math.inf
        stirrer.hold()
        heater.hold()
        assert leases.next_deadline() == 105.0
        heater.rest()
        assert leases.next_deadline() == 130.0
        stirrer.release()
        assert leases.next_deadline() == math.inf

    def test_the_supervisor_is_told_when_something_goes_on_not_when_it_stays_on(self, leases):
        told = []
        leases.on_begin = lambda: told.append(True)
        lease = leases.take("GPIO 17", 30.0)
        assert not told
        lease.hold()
        lease.hold()
        leases.renew()
        assert len(told) == 1
        lease.rest()
        lease.hold()
        assert len(told) == 2

    def test_a_plan_that_ends_earlier_is_told_too(self, leases):
        told = []
        leases.on_begin = lambda: told.append(True)
        lease = leases.take("GPIO 13", None)
        lease.hold(100.0)
        lease.hold(2.0)
        assert len(told) == 2

    def test_what_was_revoked_cannot_go_on_and_can_go_off(self, leases):
        lease = leases.take("GPIO 17", 30.0)
        lease.hold()
        leases.revoke(os.getpid())
        assert leases.next_deadline() == math.inf
        leases.renew()
        assert leases.next_deadline() == math.inf
        with pytest.raises(OutputRevoked, match="GPIO 17 stays off"):
            lease.hold()
        lease.rest()
        lease.release()
        leases.take("GPIO 17", 30.0).hold()  # by whoever has it next

    def test_a_process_that_is_to_end_gets_no_other_output_either(self, leases, make_claims):
        leases.take(process_lease(0), 30.0).hold()
        leases.revoke(os.getpid())
        with pytest.raises(OutputRevoked):
            make_claims("stirring").claim("GPIO 17")
        assert leases.owned() == frozenset()

    def test_others_see_what_a_process_left_on_until_it_is_made_safe(self, leases):
        def leave_on():
            leases.take("GPIO 17", 30.0).hold()
            leases.take("LED B", 30.0)
            leases.set_level("LED B", 40.0)

        child = in_another_process(leave_on)
        child.kill()
        child.join()
        assert leases.outputs_of(child.pid) == {"GPIO 17", "LED B"}
        assert leases.level("LED B") == 40.0
        assert leases.owned() == frozenset()
        leases.clear([ALL_PINS])
        assert leases.outputs_of(child.pid) == {"LED B"}
        leases.clear([ALL_LEDS])
        assert leases.level("LED B") == 0.0


class TestLeasedOutputs:
    @pytest.fixture
    def reactor(self, tmp_path, leases):
        opened = hardware.open_hardware("simulated", tmp_path, leases=leases, holder="this test")
        yield opened
        opened.close()

    def test_a_pin_is_on_under_a_lease_and_off_without(self, reactor, leases):
        pwm = reactor.open_pwm(17, 200.0)
        assert leases.next_deadline() == math.inf
        pwm.set_duty_cycle(30.0)
        assert leases.next_deadline() == 130.0
        pwm.set_duty_cycle(0.0)
        assert leases.next_deadline() == math.inf
        pwm.close()
        pwm.close()
        assert leases.owned() == frozenset()

    def test_the_heaters_lease_is_the_short_one(self, reactor, leases):
        heater = reactor.open_heater()
        heater.set_duty_cycle(10.0)
        assert leases.next_deadline() == 105.0
        heater.close()

    def test_a_pumps_lease_is_its_run_and_a_second(self, reactor, leases):
        pump = reactor.open_pump("media", {"2": "media"})
        pump.run_for(10.0, 50.0, wait=lambda _s: pytest.fail("late") if leases.next_deadline() != 111.0 else None)
        assert leases.next_deadline() == math.inf
        pump.close()

    def test_a_pumps_plan_is_in_its_reactors_time(self, reactor, leases):
        reactor.speed = 10.0
        pump = reactor.open_pump("media", {"2": "media"})
        pump.turn(50.0, 100.0)
        assert leases.next_deadline() == 111.0
        pump.close()

    def test_a_revoked_output_refuses_what_is_still_in_flight(self, reactor, leases):
        pwm = reactor.open_pwm(17, 200.0)
        pwm.set_duty_cycle(30.0)
        leases.revoke(os.getpid())
        with pytest.raises(OutputRevoked):
            pwm.set_duty_cycle(31.0)
        assert pwm.duty_cycle == 30.0
        pwm.set_duty_cycle(0.0)
        pwm.close()

    def test_what_was_begun_before_a_newer_command_does_not_undo_it(self, reactor):
        heater = reactor.open_heater()
        heater.set_duty_cycle(20.0)
        heater.set_duty_cycle(0.0)  # an inference begins
        began = heater.generation
        assert heater.restore(20.0, began)
        heater.set_duty_cycle(0.0)
        began = heater.generation
        heater.set_duty_cycle(0.0)  # a person puts the job to sleep
        assert not heater.restore(20.0, began)
        assert heater.duty_cycle == 0.0
        heater.close()

    def test_an_output_that_cannot_be_opened_is_not_claimed(self, reactor, leases):
        with pytest.raises(HardwareFault, match="frequency"):
            reactor.open_pwm(17, -1.0)
        assert leases.owned() == frozenset()
        reactor.open_pwm(17, 200.0).close()

    def test_an_output_that_could_not_be_turned_off_stays_owned(self, reactor, leases, monkeypatch):
        pwm = reactor.open_pwm(17, 200.0)
        pwm.set_duty_cycle(30.0)

        def refuse(*_arguments):
            raise RuntimeError("no")

        monkeypatch.setattr(reactor.gpio, "output", refuse)
        with pytest.raises(HardwareFault, match="could not be driven low"):
            pwm.close()
        assert leases.owned() == {"GPIO 17"}

    def test_making_all_safe_takes_pins_and_leds(self, reactor, tmp_path):
        pwm, leds = reactor.open_pwm(17, 200.0), reactor.open_leds()
        pwm.set_duty_cycle(30.0)
        leds.set_intensity("C", 50.0)
        another = hardware.open_hardware("simulated", tmp_path)
        another.make_safe()
        assert another.gpio.plant.level(17) == 0
        assert another.gpio.plant.led("C") == 0.0
        another.close()

    def test_pins_are_made_safe_also_when_the_leds_cannot_be(self, reactor, tmp_path):
        pwm = reactor.open_pwm(17, 200.0)
        pwm.set_duty_cycle(30.0)
        reactor.gpio.plant.inject("bus_stuck")
        another = hardware.open_hardware("simulated", tmp_path)
        with pytest.raises(HardwareFault, match="stuck"):
            another.make_safe()
        another.close()
        assert reactor.gpio.plant.level(17) == 0
