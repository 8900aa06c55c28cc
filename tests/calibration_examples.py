"""One calibration or estimator of each type, as the text of its file."""

OD600 = """\
calibration_type: od600
calibration_name: od-demo
calibrated_on_pioreactor_unit: unit7
created_at: 2031-03-04 05:06:07.089000+00:00
curve_data_: {type: spline, knots: [0.0, 1.0], coefficients: [[0.02, 0.3, 0.0, 0.0]]}
x: OD600
y: Voltage
recorded_data: {x: [1.0, 0.4, 0.0], y: [0.32, 0.14, 0.02]}
ir_led_intensity: 70.0
angle: '90'
pd_channel: '2'
"""
OD = OD600.replace("od600", "od").replace("x: OD600\n", "")
PUMP = """\
calibration_type: simple_peristaltic_pump
calibration_name: media-demo
calibrated_on_pioreactor_unit: unit7
created_at: 2031-03-04T05:06:07Z
curve_data_: {type: poly, coefficients: [0.06, 0.0]}   # mL = 0.06 * s + 0
recorded_data: {x: [8.0, 16.0], y: [0.48, 0.96]}
hz: 250.0
dc: 100
voltage: 12.1
"""
STIRRING = """\
calibration_type: simple_stirring
calibration_name: stirring-demo
calibrated_on_pioreactor_unit: unit7
created_at: 2031-03-04T05:06:07+02:00
curve_data_:
  type: akima
  knots: [20.0, 40.0, 60.0]
  coefficients:
  - [300.0, 12.0, 0.0, 0.0]
  - [540.0, 12.0, 0.0, 0.0]
recorded_data:
  x: []
  y: []
pwm_hz: 200.0
voltage: 12.0
"""
FUSED = """\
estimator_type: od_fused_estimator
estimator_name: fused-demo
calibrated_on_pioreactor_unit: unit7
created_at: 2031-03-04T05:06:07Z
ir_led_intensity: 70.0
angles: ['45', '90', '135']
mu_splines:
  '45': {type: akima, knots: [-2.0, 0.0], coefficients: [[-3.6, 1.8, 0.0, 0.0]]}
  '90': {type: akima, knots: [-2.0, 0.0], coefficients: [[-2.9, 1.8, 0.0, 0.0]]}
  '135': {type: akima, knots: [-2.0, 0.0], coefficients: [[-2.5, 1.8, 0.0, 0.0]]}
sigma_splines_log:
  '45': {type: akima, knots: [-2.0, 0.0], coefficients: [[-3.2, 0.0, 0.0, 0.0]]}
  '90': {type: akima, knots: [-2.0, 0.0], coefficients: [[-3.2, 0.0, 0.0, 0.0]]}
  '135': {type: akima, knots: [-2.0, 0.0], coefficients: [[-3.2, 0.0, 0.0, 0.0]]}
min_logc: -2.0
max_logc: 0.0
sigma_floor: 0.04
recorded_data: {by_angle: {}}
y: log(Voltage)
"""
CALIBRATIONS = {"od": OD, "od600": OD600, "simple_peristaltic_pump": PUMP, "simple_stirring": STIRRING}


def replaced(text: str, old: str, new: str) -> str:
    """Return `text` with `old` replaced, which must be there."""
    assert old in text
    return text.replace(old, new)
