"""The simulated reactor's constants: each with its unit, and its source or the reason for it.

Roles are named as in the section [PWM] of the configuration. "Reference" is the system whose jobs run on this
reactor: where its jobs expect a figure, the plant has it.
"""

STIRRING = "stirring"
HEATING = "heating"
MEDIA, ALT_MEDIA, WASTE = "media", "alt_media", "waste"
PUMPS = (MEDIA, ALT_MEDIA, WASTE)
LED_CHANNELS = ("A", "B", "C", "D")
PHOTODIODES = ("1", "2", "3", "4")
NO_ANGLE, REF = "", "REF"
ANGLES = (NO_ANGLE, REF, "45", "90", "135", "180")
"""What a photodiode can look at; a state stores the place in this list."""

FASTEST_SPEED = 10_000.0
"""Seconds of the plant in one of the clock: a job that sleeps 1 ms misses 10 s then."""

# Stirrer

RUNNING_DUTY_CYCLE = 8.0
"""%. Dry friction of the turning motor; with RPM_PER_PERCENT it puts the shipped 30 % at the shipped 500 rpm."""

STARTING_DUTY_CYCLE = 12.0
"""%. Dry friction at rest, half as much again: the reason why stirring starts with a kick."""

RPM_PER_PERCENT = 500.0 / (30.0 - RUNNING_DUTY_CYCLE)
"""rpm per % of duty cycle (22.7): 30 % gives 500 rpm, 100 % gives 2091 rpm, near the 2000 rpm to which readings are
trusted."""

TIME_CONSTANT_S = 1.0
"""s. A stirrer settles within a few seconds: the reference waits 2 s before its first look and measures over 1.5 s."""

HALL_LOW_TURNS = 0.1
"""turns. A magnet of about 5 mm on a circle of about 50 mm."""

HALL_JITTER_TURNS = 0.003
"""turns. The edge of one turn is up to this much early or late (about 1 degree): noise of the sensor's threshold."""

SUSPENDING_RPM = 100.0
"""rpm. Above it cells are kept in suspension: stirrer bars lift a yeast's sediment from about there."""

SUSPENDING_S, SETTLING_S = 5.0, 1800.0
"""s. Time constants of mixing sediment in (a few turns), and of cells sinking out of the light's path (yeast sinks
some 3 um/s, the path is about 5 mm high)."""

SETTLED_FRACTION = 0.3
"""1. What stays in suspension for good without stirring: the motile and the small."""

# Heater and vial: two bodies, the heater board and the vial with its liquid. With these five figures, which are a
# fit to them, the reference's trained temperature weights find the vial's temperature within 0.65 degC from the
# board's cooling curve, for duty cycles of 5..50 %, room temperatures of 20..26 degC, and from the first cycle on.

HEATING_C_PER_S = 1.39
"""degC/s. How fast a cold board warms at 100 %."""

BOARD_TO_VIAL_PER_S, BOARD_TO_ROOM_PER_S = 0.0306, 0.0113
"""1/s. Heat that leaves the board for the vial and for the room, per degree of difference and heat capacity of the
board."""

VIAL_FROM_BOARD_PER_S, VIAL_TO_ROOM_PER_S = 0.0117, 0.00041
"""1/s. The same for the vial, per its heat capacity. It is taken as that of a vial at its working volume, and media
as warm as the vial."""

ROOM_C = 22.0
"""degC. The room temperature that the reference assumes."""

THERMOMETER_NOISE_C = 0.02
"""degC, standard deviation: a third of a step of the TMP1075 (0.0625 degC)."""

STUCK_THERMOMETER_C = 36.5
"""degC. What a stuck thermometer says: nothing that looks wrong."""

# Liquids

VIAL_CAPACITY_ML = 20.0
"""ml. Brim of the 20 ml vial."""

WASTE_TUBE_ML = 14.0
"""ml. Volume below the end of the waste tube: the reference's default working volume."""

BOTTLE_ML = 500.0
"""ml. A full bottle of media."""

WASTE_BOTTLE_ML = 1000.0
"""ml. Capacity of the waste bottle: both media bottles."""

FLOW_ML_PER_S = {MEDIA: 0.0911, ALT_MEDIA: 0.0870, WASTE: 0.0955}
"""ml/s at 100 %. Media as the reference's default calibration; the others a few % off, as no two pumps are alike."""

PUMP_STARTING_DUTY_CYCLE = 10.0
"""%. Below it a peristaltic pump's motor stands still; above, its speed goes with the duty cycle."""

# Growth, in units of optical density: a substrate of 1 feeds a biomass of OD 1.

GROWTH_RATE_PER_H = 0.8
"""1/h, at the best temperature with plenty of everything: gives 0.35/h at 22 degC, the fastest that the reference's
mock grows."""

HALF_SATURATION_OD = 0.2
"""Substrate at which growth is half as fast. Larger than for glucose alone (tens of mg/l): cultures slow down early."""

FEED_OD = 5.0
"""Substrate of fresh media, both kinds: a batch ends near OD 5."""

COLDEST_C, BEST_C, HOTTEST_C = 5.0, 37.0, 46.0
"""degC. Cardinal temperatures of a mesophile (E. coli; Rosso et al. 1993, J. theor. Biol. 162:447)."""

ALT_MEDIA_HALF = 0.3
"""1. Fraction of alt-media at which growth is half as fast: it carries what a morbidostat needs, an inhibitor."""

INOCULATED_OD = 0.05
"""Biomass of a new simulated reactor, so that an experiment on it shows growth."""

# Light

LAMP_REFERENCE_C = 25.0
LAMP_DRIFT_PER_C = -0.005
"""1/degC, from LAMP_REFERENCE_C on. Infrared LEDs lose about 0.5 % of their light per degree (datasheets of GaAlAs
LEDs at 850-940 nm)."""

REF_V_PER_PERCENT = 0.0025
"""V per % of light: 0.2 V at 80 %, near the 0.25 V that the reference's automatic intensity aims at."""

SCATTER_V_PER_PERCENT_OD = {"45": 0.0024, "90": 0.0015, "135": 0.0010}
"""V per % of light and OD, in a thin culture: forward scatter is stronger. 0.12 V at 90 degrees, 80 % and OD 1, so that
the ADC's range is used and never left in a culture."""

SCATTER_PEAK_OD = {"45": 12.0, "90": 20.0, "135": 40.0}
"""OD at which the scattered light is brightest (OD x exp(-OD / peak)): the longer the way through the culture, the
earlier."""

STRAY_V_PER_PERCENT = {"45": 1.2e-4, "90": 6e-5, "135": 9e-5}
"""V per % of light, reflected by the glass of a blank: about 5 % of the signal at OD 1."""

TRANSMITTED_V_PER_PERCENT = 0.018
"""V per % of light at 180 degrees through a blank; falls with exp(-OD), as the reference's growth model assumes."""

OTHER_LED_FRACTION = 0.01
"""1. Share of a visible LED's light that passes the photodiodes' infrared filters."""

AMBIENT_V, AMBIENT_MAINS_V, MAINS_HZ = 0.002, 0.0003, 50.0
"""V, V (amplitude), Hz. Room light through a closed lid, and its flicker: the reference's mock has 0.002 V."""

SPECKLE_STILL, SPECKLE_AT_500_RPM = 0.003, 0.02
"""1, standard deviations of one sample relative to the cells' signal: cells and bubbles crossing the light, without
stirring and with. A mean over 40 samples is then good to 0.3 %."""

VORTEX_AT_1000_RPM = 0.03
"""1. The vortex shortens the way of the light: by so much is the signal of cells smaller at 1000 rpm; goes as rpm^2."""

AMPLIFIER_NOISE_V = 1e-4
"""V, standard deviation of a sample in the dark: a step of the ADS1115 at gain 1 is 0.125 mV."""

NOISY_LIGHT_V = 0.2
"""V, standard deviation of the fault `noisy_light`, as with an open lid in a busy room."""

AMBIENT_LIGHT_V = 0.15
"""V. The fault `ambient_light`: an open lid in a room that is lit evenly; twice what the self-test takes."""

DIM_LED_FRACTION = 0.05
"""1. The fault `ir_led_dim`: what an LED still gives whose plug has a bad contact, or behind a dirty window."""

# Supply

WRONG_SUPPLY_V = 24.0
"""V. The fault `supply_too_high`: the next common size of supply after the 12 V that belong to the reactor."""

RAIL_V = 5.1
"""V. A Raspberry Pi's own supply, which is set a little above 5 V."""

RAIL_DIVIDER = 0.134
"""1. Slope of the HAT's divider between the PWM rail and its ADC."""

RAIL_SAG_V = {STIRRING: 0.03, HEATING: 0.12, MEDIA: 0.04, ALT_MEDIA: 0.04, WASTE: 0.04}
"""V at 100 %: what each load takes from the rail (about 0.1 ohm of cable and fuse, and each load's current)."""

AUX_NOISE_V = 5e-4
"""V, standard deviation at the ADC."""

WALL_CLOCK_JUMP_S = 365.0 * 86400.0
"""s. How far the fault `clock_jump` puts the wall clock ahead: a computer without a battery that finds the time."""
