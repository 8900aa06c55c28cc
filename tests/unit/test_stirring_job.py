"""The stirring job on the simulated reactor and a virtual clock: dodging, stalls, noise."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from typing import Any, cast

import fake_runtime
import pytest
from fake_runtime import FakeRuntime
from plant_with_drivers import PlantWithDrivers

from reactor_unit.config import load_config
from reactor_unit.drivers.simulation import person
from reactor_unit.errors import Conflict, HardwareFault, InvalidRequest
from reactor_unit.workers.jobs.stirring import Stirring

INTERVAL_S = 10.0


class Bench:
    """A stirring job with its reactor; notes the true speed all the time."""

    def __init__(self, tmp_path: Any, **options: Any) -> None:
        self.reactor = PlantWithDrivers(tmp_path)
        self.plant, self.clock = self.reactor.plant, self.reactor.clock
        self.reactor.hardware.edge_clock = self.clock  # type: ignore[method-assign]
        self.runtime = FakeRuntime(self.clock, Stirring)
        self.speeds: list[tuple[float, float]] = []
        self.runtime.on_step = lambda: self.speeds.append((self.clock(), self.plant.true_rpm()))
        self.job = Stirring(cast(Any, self.runtime), self.reactor.hardware, load_config(tmp_path), options)

    def start(self) -> Bench:
        fake_runtime.start(self.job, self.runtime)
        return self

    def run(self, seconds: float) -> Bench:
        fake_runtime.run(self.job, self.runtime, seconds)
        return self

    def hear(self, **values: Any) -> None:
        for setting, value in values.items():
            self.job.hear("od_reading", setting.replace("state", "$state"), value)

    def od_reading_starts(self, interval_s: float = INTERVAL_S) -> float:
        """Have od_reading run, with its first reading now; return when that is."""
        self.hear(state="init")
        self.hear(interval=interval_s, first_od_obs_time=self.clock(), state="ready")
        return float(self.clock())

    def readings(self, interval_s: float, noise: Any) -> None:
        """Publish a reading each `interval_s` from now on; `noise()` is its scatter."""
        noise_of = random.Random(7)

        def read() -> None:
            od = 0.5 * (1.0 + noise_of.gauss(0.0, noise()))
            self.hear(ods={"ods": {"2": {"od": od, "angle": "90", "channel": "2"}}})
            self.runtime.at(self.clock() + interval_s, read)

        read()

    def said(self, name: str) -> list[Any]:
        return [values[name] for _, values in self.runtime.history if name in values]

    def speeds_between(self, begin_s: float, end_s: float) -> list[float]:
        return [rpm for at_s, rpm in self.speeds if begin_s <= at_s <= end_s]

    def close(self) -> None:
        self.job.close()
        self.reactor.close()


@pytest.fixture
def bench(tmp_path: Any) -> Iterator[Any]:
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        made.append(Bench(tmp_path, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


# Holding a speed


def test_the_speed_is_held_and_a_new_load_is_answered_within_30_s(bench: Any) -> None:
    one = bench(target_rpm=500.0).start().run(60.0)
    assert one.plant.true_rpm() == pytest.approx(500.0, rel=0.05)
    one.plant.update(lambda state: person.brake_stirrer(state, 6.0))
    loaded_at = one.clock()
    one.run(90.0)
    assert one.speeds_between(loaded_at + 30.0, one.clock()) == pytest.approx(
        [500.0] * len(one.speeds_between(loaded_at + 30.0, one.clock())), rel=0.05
    )


def calibration(coefficients: list[float], *, pwm_hz: float = 200.0, **recorded: list[float]) -> dict[str, Any]:
    return {
        "calibration_name": "fan-7",
        "curve_data_": {"type": "poly", "coefficients": coefficients},
        "recorded_data": {"x": [], "y": [], **recorded},
        "pwm_hz": pwm_hz,
    }


def first_duty_cycle(one: Bench) -> float:
    return float(one.start().said("duty_cycle")[0])


def test_the_calibration_gives_the_first_duty_cycle_of_each_speed(bench: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    one = bench(target_rpm=1000.0)
    one.runtime.calibrations["stirring"] = calibration([22.7, -181.6], x=[10.0, 60.0], y=[45.4, 1180.4])
    assert first_duty_cycle(one) == pytest.approx(52.05, abs=0.01)
    assert "calibration 'fan-7'" in caplog.text
    one.job.set_target_rpm(200.0)
    assert one.said("duty_cycle")[-1] == pytest.approx(16.81, abs=0.01)
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("target_rpm", "coefficients", "recorded_x", "expected"),
    [
        (20.0, [22.7, -181.6], [10.0, 60.0], 10.0),
        (1500.0, [22.7, -181.6], [10.0, 60.0], 60.0),
        (500.0, [0.0, 300.0], [10.0, 60.0], 30.0),
        (20.0, [22.7, 181.6], [], 30.0),
    ],
    ids=["slower than recorded", "faster", "a speed that it lacks", "none recorded, and below 0"],
)
def test_a_calibration_is_followed_no_further_than_it_was_recorded(
    bench: Any, target_rpm: float, coefficients: list[float], recorded_x: list[float], expected: float
) -> None:
    one = bench(target_rpm=target_rpm)
    recorded = {"x": recorded_x, "y": [0.0] * len(recorded_x)}
    one.runtime.calibrations["stirring"] = calibration(coefficients, **recorded)
    assert first_duty_cycle(one) == expected


def test_a_fixed_duty_cycle_needs_no_calibration(bench: Any) -> None:
    one = bench(use_rpm=False, duty_cycle=40.0)
    one.runtime.calibrations["stirring"] = calibration([22.7, -181.6])
    assert first_duty_cycle(one) == 40.0


def test_a_calibration_at_another_pwm_frequency_is_told(bench: Any, caplog: Any) -> None:
    one = bench(target_rpm=500.0)
    one.runtime.calibrations["stirring"] = calibration([22.7, -181.6], pwm_hz=67.0)
    one.start()
    assert "a PWM of 67 Hz; this one has 200 Hz" in caplog.text


# Dodging


def test_the_stirrer_stands_for_each_reading_and_turns_in_between(bench: Any) -> None:
    one = bench(target_rpm=500.0, enable_dodging_od=True).start().run(30.0)
    assert one.runtime.published["currently_dodging_od"] is False
    assert "target_rpm_during_od_reading" not in one.runtime.published
    first_s = one.od_reading_starts()
    one.run(10 * INTERVAL_S)
    assert one.runtime.published["currently_dodging_od"] is True
    assert one.runtime.published["target_rpm_outside_od_reading"] == 500.0
    for number in range(4, 10):
        reading_s = first_s + number * INTERVAL_S
        assert max(one.speeds_between(reading_s, reading_s + 1.0)) < 150.0
        assert one.speeds_between(reading_s + 5.0, reading_s + 8.0) == pytest.approx(
            [500.0] * len(one.speeds_between(reading_s + 5.0, reading_s + 8.0)), rel=0.06
        )
    assert one.runtime.faults == []  # a stirrer that is meant to stand has not stalled


def test_dodging_ends_with_od_reading_and_the_speed_comes_back(bench: Any) -> None:
    one = bench(target_rpm=500.0, enable_dodging_od=True).start()
    one.od_reading_starts()
    one.run(60.0)
    one.hear(state="sleeping")
    one.run(20.0)
    assert one.runtime.published["currently_dodging_od"] is True  # it goes on with its grid when it wakes
    one.hear(state="lost")
    ended_at = one.clock()
    one.run(40.0)
    assert one.runtime.published["currently_dodging_od"] is False
    assert one.runtime.published["target_rpm_during_od_reading"] is None
    assert min(one.speeds_between(ended_at + 10.0, one.clock())) > 450.0


def test_a_slow_speed_during_readings_is_found_and_held(bench: Any) -> None:
    one = bench(target_rpm=500.0, enable_dodging_od=True, target_rpm_during_od_reading=200.0).start()
    first_s = one.od_reading_starts(20.0)
    one.run(400.0)
    reading_s = first_s + 20.0 * ((one.clock() - first_s) // 20.0 - 1)
    assert one.speeds_between(reading_s + 0.5, reading_s + 1.0)[-1] == pytest.approx(200.0, rel=0.1)


def test_a_new_interval_of_readings_moves_the_dodging_with_it(bench: Any) -> None:
    one = bench(target_rpm=500.0, enable_dodging_od=True).start()
    one.od_reading_starts()
    one.run(50.0)
    one.hear(interval=15.0, first_od_obs_time=one.clock())
    first_s = one.clock()
    one.run(60.0)
    for number in range(1, 4):
        reading_s = first_s + 15.0 * number
        assert max(one.speeds_between(reading_s, min(one.clock(), reading_s + 1.0)), default=0.0) < 150.0
        assert min(one.speeds_between(reading_s - 5.0, reading_s - 2.0)) > 450.0


def test_an_interval_without_time_to_stir_leaves_the_stirrer_on_and_is_said_once(
    bench: Any, caplog: pytest.LogCaptureFixture
) -> None:
    one = bench(target_rpm=500.0, enable_dodging_od=True).start()
    one.od_reading_starts(2.0)
    one.run(50.0)
    assert one.runtime.published["currently_dodging_od"] is False
    assert min(one.speeds_between(one.clock() - 30.0, one.clock())) > 450.0
    assert len([record for record in caplog.records if "leave no time to stir" in record.message]) == 1


def test_a_jump_of_the_wall_clock_does_not_move_the_dodging(bench: Any) -> None:
    one = bench(target_rpm=500.0, enable_dodging_od=True).start()
    first_s = one.od_reading_starts()
    one.run(30.0)
    one.runtime.unit_clock.wall_offset_s = lambda: 3.7
    one.run(50.0)
    reading_s = first_s + 7 * INTERVAL_S
    assert max(one.speeds_between(reading_s, reading_s + 1.0)) < 150.0


def test_the_speeds_of_dodging_are_settable_only_while_it_lasts(bench: Any) -> None:
    one = bench(target_rpm=500.0).start()
    with pytest.raises(Conflict, match="not dodged"):
        one.job.set_target_rpm_outside_od_reading(400.0)
    with pytest.raises(Conflict, match="not dodged"):
        one.job.set_target_rpm_during_od_reading(100.0)
    first_s = one.od_reading_starts()
    one.runtime.at(one.clock() + 3.0, lambda: one.job.set_enable_dodging_od(True))
    one.run(50.0)
    one.job.set_target_rpm_outside_od_reading(400.0)
    assert one.runtime.published["target_rpm_outside_od_reading"] == 400.0
    one.run(60.0)
    reading_s = first_s + 10 * INTERVAL_S
    assert max(one.speeds_between(reading_s + 5.0, reading_s + 8.0)) == pytest.approx(400.0, rel=0.06)
    one.job.set_enable_dodging_od(False)
    one.run(40.0)
    assert min(one.speeds_between(one.clock() - 25.0, one.clock())) == pytest.approx(400.0, rel=0.06)


def test_without_feedback_nothing_is_dodged(bench: Any) -> None:
    with pytest.raises(InvalidRequest, match="not measured"):
        bench(use_rpm=False, enable_dodging_od=True)
    one = bench(use_rpm=False).start()
    with pytest.raises(Conflict, match="not measured"):
        one.job.set_enable_dodging_od(True)
    assert one.said("target_rpm") == [None]


@pytest.mark.parametrize(
    ("options", "outside_rpm"),
    [
        ({"target_rpm": 400.0}, 400.0),
        ({"target_rpm": 400.0, "target_rpm_outside_od_reading": 600.0}, 600.0),
        ({}, 500.0),
    ],
    ids=["what was asked for", "what was asked for outside", "the configuration"],
)
def test_the_speed_between_readings_is_the_one_that_was_asked_for(
    bench: Any, options: dict[str, float], outside_rpm: float
) -> None:
    one = bench(enable_dodging_od=True, **options).start()
    one.od_reading_starts(20.0)
    one.run(60.0)
    assert one.runtime.published["target_rpm_outside_od_reading"] == outside_rpm


# A silent hall sensor


def test_a_stirrer_that_stalled_for_a_moment_is_kicked_and_turns_again(bench: Any) -> None:
    one = bench(target_rpm=500.0).start().run(60.0)
    one.plant.inject("stirrer_stalled")
    one.runtime.at(one.clock() + 7.0, lambda: one.plant.clear("stirrer_stalled"))
    one.run(60.0)
    assert one.runtime.faults == []
    assert one.plant.true_rpm() == pytest.approx(500.0, rel=0.05)


def end_of(one: Bench) -> str:
    """Let the job run until it ends by itself; return with which fault latched."""
    began_at = one.clock()
    with pytest.raises(HardwareFault, match="stirring ends"):
        one.run(300.0)
    print(f"given up after {one.clock() - began_at:.0f} s: {one.runtime.faults}")
    assert one.plant.look_with_drives()[1].get("stirring", 0.0) == 0.0
    (fault,) = one.runtime.faults
    assert fault["jobs"] == ["stirring"]
    assert fault["remediation"]
    return str(fault["kind"])


@pytest.mark.parametrize("fault", ["stirrer_stalled", "hall_silent"])
def test_a_stirrer_that_stays_silent_is_given_up_after_three_kicks(bench: Any, fault: str) -> None:
    one = bench(target_rpm=500.0).start().run(60.0)
    one.plant.inject(fault)
    before = len(one.said("measured_rpm"))
    assert end_of(one) == "no_stirrer_pulses"
    assert one.said("measured_rpm")[before:][-3:] == [
        {"measured_rpm": 0.0, "timestamp": value["timestamp"]} for value in one.said("measured_rpm")[-3:]
    ]
    assert one.clock() < 1000.0 + 60.0 + 60.0


@pytest.mark.parametrize(
    ("fault", "kind"), [("stirrer_stalled", "stirrer_stalled"), ("hall_silent", "no_stirrer_pulses")]
)
def test_calm_readings_tell_a_stall_and_others_accuse_nobody(bench: Any, fault: str, kind: str) -> None:
    one = bench(target_rpm=500.0).start()
    one.od_reading_starts(5.0)
    one.readings(5.0, lambda: 0.0002 + 0.002 * one.plant.true_rpm() / 500.0)
    one.run(150.0)
    one.plant.inject(fault)
    assert end_of(one) == kind


def test_a_stirrer_that_turns_only_when_kicked_is_braked(bench: Any) -> None:
    one = bench(target_rpm=500.0).start().run(60.0)
    one.plant.update(lambda state: person.brake_stirrer(state, 75.0))
    assert end_of(one) == "stirrer_stalled"


def test_a_change_from_outside_ends_a_kick(bench: Any) -> None:
    one = bench(target_rpm=500.0).start().run(60.0)
    one.plant.inject("stirrer_stalled")
    began_at = one.clock()

    def kicked() -> bool:
        return bool(one.plant.look_with_drives()[1].get("stirring", 0.0) == 100.0)

    def stand_still() -> None:
        if kicked():
            one.runtime.on_step = lambda: None
            one.job.set_target_rpm(0.0)

    one.runtime.on_step = stand_still
    one.run(60.0)
    assert one.runtime.published["target_rpm"] == 0.0
    assert one.plant.look_with_drives()[1].get("stirring", 0.0) == 0.0
    assert one.runtime.faults == []
    assert one.clock() > began_at


# Noise


def test_a_speed_that_no_motor_makes_is_said_and_neither_published_nor_steered_by(
    bench: Any, caplog: pytest.LogCaptureFixture
) -> None:
    one = bench(target_rpm=500.0).start().run(60.0)
    stirrer = one.job._stirrer
    measure, duty_cycle = stirrer.measure_rpm, stirrer.duty_cycle
    stirrer.measure_rpm = lambda window_s, wait: (wait(window_s), 40000.0)[1]
    before = len(one.said("measured_rpm"))
    with caplog.at_level(logging.WARNING):
        one.run(55.0)
    assert len(one.said("measured_rpm")) == before
    assert stirrer.duty_cycle == duty_cycle
    assert len([record for record in caplog.records if "40000 rpm" in record.message]) == 1
    stirrer.measure_rpm = measure
    one.run(20.0)
    assert len(one.said("measured_rpm")) > before
