"""Control laws: bounded, settling, and right in the numbers."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit.workers.laws import pid, stirring
from reactor_unit.workers.laws.pid import PID, PIDState, clamp
from reactor_unit.workers.laws.stirring import StirringLaw, StirringState

LAW = StirringLaw(PID(0.005, 0.0, 0.0, 7.5))
numbers = st.floats(-1e6, 1e6)


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(pid).failed == doctest.testmod(stirring).failed == 0


@given(numbers, numbers, st.lists(numbers, max_size=30))
def test_a_pid_never_exceeds_its_output_limit(ki: float, target: float, measurements: list[float]) -> None:
    pid, state = PID(0.5, ki, 0.1, 7.5), PIDState()
    for measured in measurements:
        output, state = pid.next(state, target=target, measured=measured)
        assert -7.5 <= output <= 7.5


def test_a_pid_that_was_saturated_for_long_turns_at_once() -> None:
    pid, state = PID(0.0, 0.1, 0.0, 7.5), PIDState()
    for _ in range(1000):
        _, state = pid.next(state, target=100.0, measured=0.0)
    output, state = pid.next(state, target=0.0, measured=100.0)
    assert output < 0  # without a limit on the integral it would take another thousand samples


def test_the_derivative_ignores_a_new_target() -> None:
    pid = PID(0.0, 0.0, 1.0, 7.5)
    _, state = pid.next(PIDState(), target=10.0, measured=5.0)
    assert pid.next(state, target=1000.0, measured=5.0)[0] == 0.0
    assert pid.next(state, target=1000.0, measured=6.0)[0] == -1.0


@given(st.floats(0, 100), st.floats(0, 1500), st.floats(0, 40000))
def test_the_stirring_law_stays_within_the_duty_cycle(duty: float, target: float, measured: float) -> None:
    duty_cycle, _ = LAW.next_duty_cycle(duty, StirringState(), target_rpm=target, measured_rpm=measured)
    assert 0.0 <= duty_cycle <= 100.0
    assert duty_cycle == 0.0 or abs(duty_cycle - duty) <= 7.5 + 1e-5


@given(st.floats(1, 100), st.floats(10, 1500), st.floats(1, 5000))
def test_the_stirring_law_pushes_towards_its_target(duty: float, target: float, measured: float) -> None:
    duty_cycle, _ = LAW.next_duty_cycle(duty, StirringState(), target_rpm=target, measured_rpm=measured)
    assert (duty_cycle - duty) * (target - measured) >= 0


MOTORS = [
    pytest.param(target, dead_band, gain, id=f"{target:g} rpm, {gain:g} rpm per percent above {dead_band:g} %")
    for target in (100.0, 400.0, 500.0, 1000.0, 1500.0)
    for dead_band in (0.0, 5.0, 12.0)
    for gain in (12.0, 20.0, 30.0)
    if target / gain + dead_band <= 100  # it can turn that fast
]


@pytest.mark.parametrize(("target", "dead_band", "gain"), MOTORS)
def test_the_stirring_law_settles_on_any_such_motor(target: float, dead_band: float, gain: float) -> None:
    duty, state, speeds = 30.0, StirringState(), []
    for _ in range(25):
        speed = max(0.0, gain * (duty - dead_band))
        speeds.append(speed)
        duty, state = LAW.next_duty_cycle(duty, state, target_rpm=target, measured_rpm=speed)
    assert all(abs(speed - target) <= 0.05 * target for speed in speeds[-5:]), speeds


def test_a_target_of_zero_stands_still() -> None:
    assert LAW.next_duty_cycle(30.0, StirringState(), target_rpm=0.0, measured_rpm=200.0)[0] == 0.0


@pytest.mark.parametrize(("value", "expected"), [(-1.0, 0.0), (0.5, 0.5), (2.0, 1.0)])
def test_clamp(value: float, expected: float) -> None:
    assert clamp(value, 0.0, 1.0) == expected
