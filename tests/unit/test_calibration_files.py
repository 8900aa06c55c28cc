"""The schemas of calibration files: what the reference writes is read, and every wrong field is named."""

from __future__ import annotations

import datetime
import json
import re

import pytest
import yaml
from calibration_examples import CALIBRATIONS as EXAMPLES
from calibration_examples import FUSED, OD, OD600, PUMP, STIRRING, replaced

from reactor_unit import strict_yaml
from reactor_unit.calibrations import schemas
from reactor_unit.calibrations.curves import PiecewiseCubic, Polynomial
from reactor_unit.calibrations.names import InvalidName, check_existing_name, check_new_name
from reactor_unit.calibrations.schemas import InvalidCalibration, to_file, to_json
from reactor_unit.calibrations.store import CALIBRATIONS, ESTIMATORS


def load(text):
    return CALIBRATIONS.load(text.encode())


# What is read


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_file_of_each_type_is_read_and_written_without_loss(kind):
    record = load(EXAMPLES[kind])
    assert record.calibration_type == kind
    assert CALIBRATIONS.load(strict_yaml.dumps(to_file(record))) == record


def test_a_file_of_ours_means_to_another_yaml_reader_what_it_means_to_us():
    written = yaml.safe_load(strict_yaml.dumps(to_file(load(OD600))))
    assert written == yaml.safe_load(OD600)
    assert list(written) == list(yaml.safe_load(OD600))  # fields in the same order
    assert written["created_at"].tzinfo is not None


def test_a_calibration_as_a_value():
    pump = load(PUMP)
    assert pump.curve == Polynomial((0.06, 0.0))
    assert (pump.x, pump.y, pump.hz, pump.dc, pump.voltage) == ("Duration", "Volume", 250.0, 100.0, 12.1)
    assert isinstance(pump.dc, float)
    assert pump.domain == (8.0, 16.0)
    assert pump.y_at(10.0) == 0.6
    assert pump.x_at(0.6) == 10.0
    assert load(STIRRING).curve.kind == "akima"
    assert load(STIRRING).created_at == datetime.datetime(2031, 3, 4, 3, 6, 7, tzinfo=datetime.UTC)
    assert (load(OD).x, load(OD600).x) == ("OD", "OD600")


def test_an_estimator_as_a_value():
    fused = ESTIMATORS.load(FUSED.encode())
    assert fused.angles == ("45", "90", "135")
    assert isinstance(fused.mu_splines["90"], PiecewiseCubic)
    assert ESTIMATORS.load(strict_yaml.dumps(to_file(fused))) == fused


def test_the_json_form_is_the_file_with_times_as_text():
    shown = to_json(load(OD600))
    assert shown["created_at"] == "2031-03-04T05:06:07.089000Z"
    assert shown["curve_data_"] == {"type": "spline", "knots": [0.0, 1.0], "coefficients": [[0.02, 0.3, 0.0, 0.0]]}
    assert shown["recorded_data"] == {"x": [1.0, 0.4, 0.0], "y": [0.32, 0.14, 0.02]}
    assert list(shown) == list(yaml.safe_load(OD600))
    assert to_json(load(STIRRING))["created_at"] == "2031-03-04T03:06:07Z"


def test_what_only_yaml_knows_becomes_json_too():
    text = replaced(FUSED, "{by_angle: {}}", "{1: 2031-03-04, a: [2031-03-04T05:06:07Z, null]}")
    shown = to_json(ESTIMATORS.load(text.encode()))["recorded_data"]
    assert json.loads(json.dumps(shown)) == {"1": "2031-03-04", "a": ["2031-03-04T05:06:07Z", None]}


def test_unknown_fields_are_left_out():
    assert "note" not in to_json(load(PUMP + "note: mine\n"))


# What is refused

LINE = "curve_data_: {type: poly, coefficients: [0.06, 0.0]}   # mL = 0.06 * s + 0"
CUBIC = "curve_data_: {type: spline, knots: [0.0, 1.0], coefficients: [[0.02, 0.3, 0.0, 0.0]]}"


def curve(text):
    return (PUMP, LINE, f"curve_data_: {text}")


REFUSED = {
    "no type": (
        PUMP,
        "calibration_type: simple_peristaltic_pump",
        "",
        "calibration_type None must be one of od, od600",
    ),
    "other type": (PUMP, "simple_peristaltic_pump", "odd", "'odd' must be one of"),
    "type is a list": (PUMP, "simple_peristaltic_pump", "[a]", "must be one of"),
    "no name": (PUMP, "calibration_name: media-demo\n", "", "calibration_name is required"),
    "number as a name": (PUMP, "media-demo", "12", "calibration_name must be text; put it in quotes"),
    "null as a name": (PUMP, "media-demo", "", "calibration_name is required, not null"),
    "no unit": (PUMP, "calibrated_on_pioreactor_unit: unit7\n", "", "calibrated_on_pioreactor_unit is required"),
    "no time": (PUMP, "created_at: 2031-03-04T05:06:07Z\n", "", "created_at is required"),
    "time as text": (PUMP, "2031-03-04T05:06:07Z", "'2031-03-04T05:06:07Z'", "created_at must be a time with a zone"),
    "date": (PUMP, "2031-03-04T05:06:07Z", "2031-03-04", "created_at must be a time with a zone"),
    "naive time": (PUMP, "2031-03-04T05:06:07Z", "2031-03-04T05:06:07", "created_at must be a time with a zone"),
    "year 0": (PUMP, "2031-03-04T05:06:07Z", "0001-01-01T00:00:00+14:00", "created_at is outside the years"),
    "no curve": (PUMP, LINE, "", "curve_data_ is required"),
    "old curve": (*curve("[0.06, 0.0]"), "curve_data_ must be a mapping"),
    "no curve type": (*curve("{coefficients: [1.0]}"), "curve_data_.type must be one of poly, spline, akima"),
    "other curve type": (*curve("{type: cubic, coefficients: [1.0]}"), "curve_data_.type must be one of"),
    "curve type is a list": (*curve("{type: [poly]}"), "curve_data_.type must be one of"),
    "no coefficients": (*curve("{type: poly}"), "curve_data_.coefficients must be a list of numbers"),
    "text in poly": (*curve("{type: poly, coefficients: [1.0, 1e-5]}"), "curve_data_.coefficients[1] must be a number"),
    "true in poly": (*curve("{type: poly, coefficients: [true]}"), "curve_data_.coefficients[0] must be a number"),
    "huge in poly": (*curve("{type: poly, coefficients: [1" + "0" * 400 + "]}"), "must be a finite number"),
    "endless poly": (
        *curve(f"{{type: poly, coefficients: {[1.0] * 22}}}"),
        "coefficients has 22 entries, more than 21",
    ),
    "no knots": (*curve("{type: spline, coefficients: []}"), "curve_data_.knots must be a list"),
    "knots fall": (
        *curve("{type: spline, knots: [1, 1], coefficients: [[1,2,3,4]]}"),
        "knots must be strictly increasing",
    ),
    "few segments": (*curve("{type: spline, knots: [1, 2], coefficients: []}"), "coefficients has 0 entries; 2 knots"),
    "short segment": (
        *curve("{type: akima, knots: [1, 2], coefficients: [[1,2,3]]}"),
        "coefficients[0] must be four numbers",
    ),
    "text in segment": (
        *curve("{type: akima, knots: [1, 2], coefficients: [[1,a,3,4]]}"),
        "coefficients[0][1] must be a number",
    ),
    "no segment": (
        *curve("{type: akima, knots: [1, 2], coefficients: [1]}"),
        "coefficients[0] must be a list of numbers",
    ),
    "segments no list": (
        *curve("{type: akima, knots: [1, 2], coefficients: 1}"),
        "coefficients must be a list of [a, b",
    ),
    "x is a number": (OD600, "x: OD600", "x: 600", "x must be text"),
    "no recorded data": (
        OD600,
        "recorded_data: {x: [1.0, 0.4, 0.0], y: [0.32, 0.14, 0.02]}",
        "",
        "recorded_data is required",
    ),
    "recorded list": (PUMP, "{x: [8.0, 16.0], y: [0.48, 0.96]}", "[]", "recorded_data must be a mapping"),
    "no recorded y": (PUMP, ", y: [0.48, 0.96]", "", "recorded_data must have x and y, and nothing else"),
    "recorded z": (PUMP, "y: [0.48, 0.96]", "y: [0.48, 0.96], z: []", "recorded_data must have x and y"),
    "uneven": (PUMP, "[0.48, 0.96]", "[0.48]", "recorded_data has 2 x values and 1 y values"),
    "text recorded": (PUMP, "[0.48, 0.96]", "[0.48, a]", "recorded_data.y[1] must be a number"),
    "NaN recorded": (PUMP, "[0.48, 0.96]", "[0.48, .nan]", "not a finite number (line 6"),
    "negative hz": (PUMP, "hz: 250.0", "hz: -1", "hz must not be negative"),
    "no hz": (PUMP, "hz: 250.0\n", "", "hz is required"),
    "negative dc": (PUMP, "dc: 100", "dc: -0.1", "dc must not be negative"),
    "text dc": (PUMP, "dc: 100", "dc: '100'", "dc must be a number"),
    "no pump voltage": (PUMP, "voltage: 12.1", "", "voltage is required"),
    "negative pwm_hz": (STIRRING, "pwm_hz: 200.0", "pwm_hz: -200.0", "pwm_hz must not be negative"),
    "no pwm_hz": (STIRRING, "pwm_hz: 200.0\n", "", "pwm_hz is required"),
    "no stirring voltage": (STIRRING, "voltage: 12.0", "voltage:", "voltage is required, not null"),
    "number as angle": (OD600, "'90'", "90", "angle must be text"),
    "other angle": (OD600, "'90'", "'91'", "angle must be one of 45, 90, 135, 180"),
    "no angle": (OD600, "angle: '90'\n", "", "angle is required"),
    "number as channel": (OD600, "'2'", "2", "pd_channel must be text"),
    "other channel": (OD600, "'2'", "'5'", "pd_channel must be one of 1, 2, 3, 4"),
    "text as light": (OD600, "70.0", "auto", "ir_led_intensity must be a number"),
    "no light": (OD600, "ir_led_intensity: 70.0\n", "", "ir_led_intensity is required"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_field_is_named_with_what_it_must_be(case):
    text, old, new, reason = REFUSED[case]
    with pytest.raises(InvalidCalibration, match=re.escape(reason)):
        load(replaced(text, old, new))


REFUSED_ESTIMATORS = {
    "other type": ("od_fused_estimator", "od", "estimator_type 'od' must be one of od_fused_estimator"),
    "no name": ("estimator_name: fused-demo\n", "", "estimator_name is required"),
    "number as name": ("fused-demo", "7", "estimator_name must be text"),
    "angles no list": ("['45', '90', '135']", "'45'", "angles must be a list"),
    "number as angle": ("['45', '90', '135']", "[45]", "angles[0] must be text"),
    "other angle": ("['45', '90', '135']", "['180']", "angles[0] must be one of 45, 90, 135"),
    "mu of no angle": ("mu_splines:\n  '45'", "mu_splines:\n  '60'", "mu_splines.60 must be one of"),
    "mu is a poly": (
        "'90': {type: akima, knots: [-2.0, 0.0], coefficients: [[-2.9, 1.8, 0.0, 0.0]]}",
        "'90': {type: poly, coefficients: [1.0]}",
        "mu_splines.90.type must be one of akima",
    ),
    "mu lacks one": (
        "  '90': {type: akima, knots: [-2.0, 0.0], coefficients: [[-2.9, 1.8, 0.0, 0.0]]}\n",
        "",
        "mu_splines lacks the angle 90",
    ),
    "no bound": ("min_logc: -2.0\n", "", "min_logc is required"),
    "text bound": ("max_logc: 0.0", "max_logc: a", "max_logc must be a number"),
    "no floor": ("sigma_floor: 0.04\n", "", "sigma_floor is required"),
    "no recorded data": ("recorded_data: {by_angle: {}}\n", "", "recorded_data"),
}


@pytest.mark.parametrize("case", REFUSED_ESTIMATORS)
def test_a_wrong_field_of_an_estimator_is_named(case):
    old, new, reason = REFUSED_ESTIMATORS[case]
    with pytest.raises(InvalidCalibration, match=re.escape(reason)):
        ESTIMATORS.load(replaced(FUSED, old, new).encode())


def test_everything_that_is_wrong_is_said_at_once_up_to_a_limit():
    text = replaced(replaced(PUMP, "hz: 250.0", "hz: a"), "dc: 100", "dc: -1")
    with pytest.raises(InvalidCalibration, match=r"hz must be a number.* dc must not be negative"):
        load(text)


@pytest.mark.parametrize("text", ["[]", "a", "1", "a: &b 1\nc: *b", "\x00"], ids=repr)
def test_what_is_no_mapping_is_no_calibration(text):
    with pytest.raises(InvalidCalibration):
        load(text)


def test_types_may_be_added(monkeypatch):
    class Mine(schemas.PumpSchema):
        pass

    monkeypatch.setitem(schemas.CALIBRATION_TYPES, "mine", Mine())
    record = load(replaced(PUMP, "simple_peristaltic_pump", "mine"))
    assert to_json(record)["calibration_type"] == "mine"


# Names


@pytest.mark.parametrize("name", ["a", "_a", "a b", "a.b", "a-b", "9", "x" * 250, "a b c", "A..b"])
def test_a_plain_name_may_be_given(name):
    assert check_new_name(name, "device") == name


BAD_FOR_ALL = [
    "",
    ".",
    "..",
    ".a",
    "-a",
    "a/b",
    "../a",
    "a\nb",
    "a\x00",
    "\x7f",
    "x" * 251,
    "\ufffd",
    "a\u202eb",
    "\ud800",
]


@pytest.mark.parametrize(
    "name", [*BAD_FOR_ALL, " a", "a ", "a  b", "é", "a(1)", "a:b", "a+b", "a\\b", "a\n", "$broadcast", "é" * 126]
)
def test_another_name_may_not_be_given(name):
    with pytest.raises(InvalidName, match="not a name that is accepted"):
        check_new_name(name, "device")


@pytest.mark.parametrize("name", BAD_FOR_ALL)
def test_a_name_that_leads_out_of_its_folder_finds_nothing(name):
    with pytest.raises(InvalidName):
        check_existing_name(name, "device")


@pytest.mark.parametrize("name", ["é", "a(1)", "a  b", "a\\b"])
def test_a_file_that_a_person_named_otherwise_can_be_found(name):
    assert check_existing_name(name, "device") == name


@pytest.mark.parametrize(
    "name", ["calibrations.polynomials", "calibrations.curves", "calibrations.names", "problems", "text_plot"]
)
def test_the_examples_in_docstrings_are_right(name):
    import doctest
    import importlib

    found = doctest.testmod(importlib.import_module(f"reactor_unit.{name}"))
    assert found.attempted > 0
    assert found.failed == 0
