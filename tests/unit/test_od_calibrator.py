"""od_reading with active calibrations and an estimator: what is published, where it stops, and what the log says."""

import logging
import math
import statistics

import pytest
import yaml
from calibration_examples import FUSED, OD
from job_world import JobWorld

from reactor_unit.calibrations import schemas
from reactor_unit.calibrations.store import CALIBRATIONS, ESTIMATORS
from reactor_unit.workers.jobs.od_reading import ODReadingJob
from reactor_unit.workers.od_calibrator import COMPLAINT_INTERVAL_S, ODCalibrator
from reactor_unit.workers.od_reader import ODReading

CURVE = {"type": "poly", "coefficients": [0.25, 0.02]}  # V = 0.25 OD + 0.02


def record(kind=CALIBRATIONS, text=OD, **changes):
    """Return a calibration as a run request carries it."""
    content = {**yaml.safe_load(text), **changes}
    return schemas.to_json(kind.load(yaml.safe_dump(content).encode()))


def calibration(**changes):
    points = {"x": [0.0, 0.4, 1.0], "y": [0.02, 0.12, 0.27]}
    return record(**{"curve_data_": CURVE, "recorded_data": points, **changes})


def reading(od, channel="2", angle="90", intensity=70.0):
    return ODReading(channel, angle, od, intensity)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def calibrator(records, signals=None, clock=None):
    return ODCalibrator(records, signals or {"2": "90"}, clock or Clock())


@pytest.fixture
def world(tmp_path):
    whole = JobWorld(tmp_path)
    yield whole
    whole.close()


def test_a_calibrated_reading_is_published_beside_the_raw_one(caplog):
    caplog.set_level(logging.INFO)
    settings = calibrator({"od90": calibration()}).settings([reading(0.145)], "T")
    raw = {"od": 0.145, "angle": "90", "channel": "2", "timestamp": "T", "ir_led_intensity": 70.0, "calibrated": 0}
    calibrated = {**raw, "od": 0.5, "calibrated": 1, "calibration_name": "od-demo"}
    assert settings == {
        "ods": {"timestamp": "T", "ods": {"2": calibrated}},
        "od2": calibrated,
        "calibrated_od2": calibrated,
        "raw_od2": raw,
    }
    assert "Channel 2 (90 degrees) uses the calibration 'od-demo' of od90." in caplog.text


def test_only_the_photodiode_of_the_calibration_is_calibrated():
    both = calibrator({"od90": calibration()}, {"2": "90", "3": "135"})
    ods = both.settings([reading(0.145), reading(0.145, "3", "135")], "T")["ods"]["ods"]
    assert [(od["calibrated"], od["od"]) for od in ods.values()] == [(1, 0.5), (0, 0.145)]


@pytest.mark.parametrize("changes", [{"pd_channel": "1"}, {"angle": "45"}], ids=["channel", "angle"])
def test_a_calibration_of_another_photodiode_is_not_used_and_the_log_says_so(caplog, changes):
    settings = calibrator({"od90": calibration(**changes)}).settings([reading(0.145)], "T")
    assert settings["od2"]["calibrated"] == 0
    assert settings.keys() == {"ods", "od2"}
    assert "'od-demo' of od90 is not used" in caplog.text


def test_the_angles_own_calibration_goes_before_that_of_od():
    general = calibration(calibration_name="general")
    own = calibrator({"od": general, "od90": calibration()}).settings([reading(0.145)], "T")
    assert own["od2"]["calibration_name"] == "od-demo"
    assert calibrator({"od": general}).settings([reading(0.145)], "T")["od2"]["calibration_name"] == "general"


@pytest.mark.parametrize(
    ("voltage_v", "changes", "od"),
    [
        (0.01, {}, 0.0),
        (0.30, {}, 1.0),
        # Falls beyond OD 1.02: 0.3 V is nowhere on it.
        (0.30, {"curve_data_": {"type": "poly", "coefficients": [-0.24, 0.49, 0.02]}}, 1.0),
        # Falls all along: the largest voltage is the smallest OD.
        (0.30, {"curve_data_": {"type": "poly", "coefficients": [-0.25, 0.27]}}, 0.0),
    ],
    ids=["below", "above", "above a bend", "falling"],
)
def test_a_reading_outside_the_range_is_its_edge_with_a_warning(caplog, voltage_v, changes, od):
    settings = calibrator({"od90": calibration(**changes)}).settings([reading(voltage_v)], "T")
    assert (settings["od2"]["od"], settings["od2"]["calibrated"]) == (od, 1)
    assert "outside the calibrated range" in caplog.text
    assert settings["raw_od2"]["od"] == voltage_v


def test_complaints_come_at_most_every_five_minutes(caplog):
    clock = Clock()
    one = calibrator({"od90": calibration()}, clock=clock)
    for _ in range(13):
        one.settings([reading(0.3)], "T")
        clock.now += COMPLAINT_INTERVAL_S / 12
    assert caplog.text.count("outside the calibrated range") == 2


def test_another_intensity_is_an_error_and_the_reading_only_raw(caplog):
    settings = calibrator({"od90": calibration()}).settings([reading(0.145, intensity=80.0)], "T")
    assert settings.keys() == {"raw_od2"}
    (line,) = [line for line in caplog.records if line.levelno == logging.ERROR]
    assert "at 70 %, which is at 80 % now" in line.getMessage()


def test_a_curve_without_the_value_and_without_points_gives_only_the_raw_reading(caplog):
    flat = calibration(curve_data_={"type": "poly", "coefficients": [0.1]}, recorded_data={"x": [], "y": []})
    assert calibrator({"od90": flat}).settings([reading(0.145)], "T").keys() == {"raw_od2"}
    assert "nowhere" in caplog.text


ANGLES = {"1": "45", "2": "90", "3": "135"}


def test_an_estimator_makes_one_density_of_the_raw_readings_of_all_angles():
    one = calibrator({"od_fused": record(ESTIMATORS, FUSED), "od90": calibration()}, ANGLES)
    # In the example the logarithms of the readings are offset + 1.8 (log10 OD + 2); here at OD 0.1.
    logs = {"1": -3.6, "2": -2.9, "3": -2.5}
    readings = [reading(math.exp(logs[channel] + 1.8), channel, angle) for channel, angle in ANGLES.items()]
    settings = one.settings(readings, "T")
    assert settings["od_fused"] == {"od_fused": pytest.approx(0.1, rel=1e-3), "timestamp": "T"}
    assert settings["od2"]["calibrated"] == 1


@pytest.mark.parametrize(
    ("channels", "intensity", "why"), [("123", 80.0, "at 70 %"), ("23", 70.0, "45 degrees")], ids=["light", "angle"]
)
def test_what_the_estimator_does_not_fit_has_no_fused_density(caplog, channels, intensity, why):
    one = calibrator({"od_fused": record(ESTIMATORS, FUSED)}, ANGLES)
    settings = one.settings([reading(0.1, channel, ANGLES[channel], intensity) for channel in channels], "T")
    assert "od_fused" not in settings
    assert settings["od2"]["calibrated"] == 0
    assert why in caplog.text


def test_the_job_publishes_the_standards_density(world):
    # What the simulated photodiode gives at 80 %, see test_job_od_reading: measured first, then calibrated with.
    volts = {}
    for standard in (0.0, 0.5, 1.0):
        world.plant.put_standard(standard)
        job = world.start(ODReadingJob)
        world.run(job, 60.0)
        volts[standard] = statistics.fmean(value["od"] for value in job.runtime.values("od2"))
        job.close()
    steps = [(volts[0.0], (volts[0.5] - volts[0.0]) / 0.5), (volts[0.5], (volts[1.0] - volts[0.5]) / 0.5)]
    curve = {"type": "spline", "knots": [0.0, 0.5, 1.0], "coefficients": [[a, b, 0.0, 0.0] for a, b in steps]}
    points = {"x": list(volts), "y": list(volts.values())}
    made = calibration(curve_data_=curve, recorded_data=points, ir_led_intensity=80.0)
    world.plant.put_standard(0.75)
    job = world.start(ODReadingJob, calibrations={"od90": made})
    world.run(job, 60.0)
    calibrated = [value["2"]["od"] for value in (ods["ods"] for ods in job.runtime.values("ods"))]
    assert statistics.fmean(calibrated) == pytest.approx(0.75, rel=0.05)
    assert len(job.runtime.values("raw_od2")) == len(calibrated)
    count = len(calibrated)
    job.set_ir_led_intensity(50.0)
    world.run(job, 20.0)
    assert len(job.runtime.values("ods")) == count
    assert len(job.runtime.values("raw_od2")) > count
    assert job.runtime.published.keys() <= {setting.name for setting in ODReadingJob.spec.settings}


def test_made_up_readings_stay_as_they_are(world):
    job = world.start(ODReadingJob, {"fake_data": True}, calibrations={"od90": calibration(ir_led_intensity=80.0)})
    world.run(job, 20.0)
    assert job.runtime.published["od2"]["calibrated"] == 0
