"""Seconds to ml and back: with a calibration, beyond it, without one, and with one that is no use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit.workers.pump_flow import BadCalibration, NotCalibrated, pump_flow


def flow(coefficients, x=(5.0, 10.0, 15.0), y=()):
    curve = {"type": "poly", "coefficients": list(coefficients)}
    record = {"curve_data_": curve, "recorded_data": {"x": list(x), "y": list(y)}, "hz": 250.0, "dc": 100.0}
    return pump_flow("media", {"media_pump": record})


@given(st.floats(0.001, 30.0))
def test_a_volume_takes_the_time_in_which_it_is_moved(ml):
    for one in (flow([0.09, 0.0]), flow([0.09, 0.05]), flow([0.0002, 0.08, 0.01]), flow([0.09, 0.0], x=())):
        try:
            assert one.volume_ml(one.duration_s(ml)) == pytest.approx(ml, rel=0.011)
        except BadCalibration:
            assert ml < 0.1  # which the curve with 0.05 ml in no time cannot reach


def test_beyond_what_was_recorded_the_volume_goes_on_in_a_line():
    bent = flow([-0.002, 0.1, 0.0])  # falls from 25 s on
    assert bent.volume_ml(60.0) > bent.volume_ml(30.0) > bent.volume_ml(15.0)
    assert bent.volume_ml(15.0) == pytest.approx(1.05)
    assert bent.volume_ml(60.0) == pytest.approx(1.05 + 45.0 * (1.05 - 0.45) / 10.0)


def test_no_time_moves_nothing():
    assert flow([0.09, 0.5]).volume_ml(0.0) == 0.0
    assert flow([0.09, -0.5]).volume_ml(1.0) == 0.0


@pytest.mark.parametrize(
    "coefficients", [[-0.09, 2.0], [0.0, 0.5], []], ids=["falls", "always the same", "no coefficients"]
)
def test_a_curve_that_names_no_duration_is_refused(coefficients):
    with pytest.raises(BadCalibration):
        flow(coefficients).duration_s(3.0)


@pytest.mark.parametrize("coefficients", [[-0.09, 5.0], [0.0, 0.5], [0.0, 0.0]], ids=["falls", "flat", "nothing"])
@pytest.mark.parametrize("x", [(5.0, 10.0, 15.0), ()], ids=["recorded", "nothing recorded"])
def test_a_curve_by_which_no_time_brings_more_in_is_refused(coefficients, x):
    with pytest.raises(BadCalibration):
        flow(coefficients, x).check()


@pytest.mark.parametrize("factor", [0.1, 0.5, 2.0, -1.0])
def test_a_curve_that_is_not_what_was_recorded_is_refused(factor):
    recorded = [factor * 0.09 * x for x in (5.0, 10.0, 15.0)]
    with pytest.raises(BadCalibration):
        flow([0.09, 0.0], y=recorded).duration_s(1.0)
    flow([0.09, 0.0], y=[0.45, 0.9, 1.4]).check()  # no run is quite like another


def test_a_short_run_counts_even_where_the_curve_is_below_zero():
    late = flow([0.09, -0.3])  # nothing in the first three seconds, says the line
    assert late.volume_ml(2.0) == 0.0
    assert late.at_most_ml(2.0) == pytest.approx(2.0 * (0.09 * 15.0 - 0.3) / 15.0)
    assert late.at_most_ml(15.0) == late.volume_ml(15.0)


@pytest.mark.parametrize(
    ("one", "before_s", "after_s"),
    [(flow([-0.05, 1.0, 0.0], x=()), 0.0, 20.0), (flow([-0.05, 1.0, 0.0], x=()), 12.0, 24.0),
     (flow([0.01, -0.3, 3.0, 0.0], (1.0, 20.0)), 9.0, 11.5), (flow([0.01, -0.3, 2.4, 0.0], (1.0, 20.0)), 6.0, 14.0)],
    ids=["falls to nothing", "falls below nothing", "level for a while", "falls for a while"],
)  # fmt: skip
def test_no_time_is_counted_as_bringing_in_less_than_the_pump_does_on_the_average(one, before_s, after_s):
    one.check()
    high_s = one.domain[1] if one.domain[1] < 1e6 else 10.0
    assert one.at_most_ml(after_s) >= one.volume_ml(high_s) / high_s * min(after_s, high_s)
    mean_ml = one.volume_ml(high_s) / high_s * (after_s - before_s)
    assert one.at_most_between_ml(before_s, after_s) >= mean_ml * 0.999999


@pytest.mark.parametrize(("hz", "dc"), [(250.0, 0.0), (250.0, 101.0), (0.0, 100.0)])
def test_a_calibration_for_a_drive_that_there_is_not_is_refused(hz, dc):
    record = {"curve_data_": {"type": "poly", "coefficients": [0.09, 0.0]}, "recorded_data": {"x": [], "y": []}}
    with pytest.raises(BadCalibration, match="media_pump"):
        pump_flow("media", {"media_pump": {**record, "hz": hz, "dc": dc}})


def test_without_a_calibration_there_is_no_volume_and_room_for_a_quicker_pump():
    plain = pump_flow("media", {})
    with pytest.raises(NotCalibrated, match="media_pump"):
        plain.duration_s(1.0)
    assert plain.at_least_ml(10.0) < plain.volume_ml(10.0) < plain.at_most_ml(10.0)
    assert plain.volume_ml(10.0) == pytest.approx(0.911)
