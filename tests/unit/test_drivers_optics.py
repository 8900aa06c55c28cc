import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit.drivers.simulation import constants, optics, person
from reactor_unit.drivers.simulation.clock import VirtualClock
from reactor_unit.drivers.simulation.growth import Culture
from reactor_unit.drivers.simulation.plant import PlantState, advance
from reactor_unit.drivers.simulation.state import SharedPlant

ALL_ANGLES = person.point_photodiodes(PlantState(), {"1": "45", "2": "90", "3": "135", "4": "180"})


@pytest.fixture
def clock():
    return VirtualClock(1000.0)


@pytest.fixture
def plant(tmp_path, clock):
    with_clock = SharedPlant(tmp_path / "plant.bin", clock=clock, seed=3)
    yield with_clock
    with_clock.close()


def mean_voltage_v(plant, clock, channel, samples=400):
    voltages_v = []
    for _ in range(samples):
        clock.sleep(0.0213)
        voltages_v.append(plant.photodiode_voltage_v(channel))
    return statistics.fmean(voltages_v)


def lit(state, od, percent=80.0):
    return state._replace(culture=Culture(od, 0.0, 0.0), leds=(percent, 0.0, 0.0, 0.0))


def test_in_the_dark_there_is_room_light_and_noise(plant, clock):
    assert mean_voltage_v(plant, clock, "1") == pytest.approx(constants.AMBIENT_V, rel=0.05)
    assert mean_voltage_v(plant, clock, "2") == pytest.approx(constants.AMBIENT_V, rel=0.05)


def test_channels_without_a_photodiode_give_nothing(plant):
    plant.set_led("A", 80.0)
    assert plant.photodiode_voltage_v("3") == plant.photodiode_voltage_v("4") == 0.0


def test_the_reference_sees_the_lamp_and_not_the_culture(plant, clock):
    plant.set_led("A", 80.0)
    plant.put_blank()
    blank_v = mean_voltage_v(plant, clock, "1")
    plant.put_standard(2.0)
    assert mean_voltage_v(plant, clock, "1") == pytest.approx(blank_v, rel=0.002)
    plant.set_led("A", 40.0)
    assert mean_voltage_v(plant, clock, "1") == pytest.approx(blank_v / 2.0, rel=0.02)


def test_scattered_light_goes_with_the_standards_od(plant, clock):
    plant.set_led("A", 80.0)
    voltages_v = []
    for od in (0.0, 0.1, 0.5, 1.0, 2.0, 4.0):
        plant.put_standard(od)
        voltages_v.append(mean_voltage_v(plant, clock, "2"))
    assert voltages_v == sorted(voltages_v)
    assert voltages_v[3] - voltages_v[0] == pytest.approx(0.12, rel=0.1)  # OD 1 at 80 %
    assert voltages_v[3] - voltages_v[0] == pytest.approx(2.0 * (voltages_v[2] - voltages_v[0]), rel=0.1)


@pytest.mark.parametrize("angle", ["45", "90", "135"])
def test_scattered_light_is_brightest_at_its_peak_and_within_the_adcs_range(angle):
    peak = constants.SCATTER_PEAK_OD[angle]
    signals_v = [optics.steady_signal_v(lit(PlantState(), od, 100.0), angle) for od in (0.5 * peak, peak, 2.0 * peak)]
    assert signals_v[0] < signals_v[1] > signals_v[2]
    assert signals_v[1] < 3.0


def test_transmitted_light_falls():
    blank_v, one_v = (optics.steady_signal_v(lit(PlantState(), od), "180") for od in (0.0, 1.0))
    assert one_v == pytest.approx(blank_v * 2.718281828**-1.0)


def test_angles_and_the_infrared_led_are_where_they_were_put(plant):
    plant.update(lambda state: person.point_photodiodes(state, {"1": "90", "4": "REF"}))
    plant.update(lambda state: person.plug_ir_led(state, "C"))
    plant.put_blank()
    plant.set_led("C", 100.0)
    assert plant.photodiode_voltage_v("4") == pytest.approx(0.25, rel=0.05)
    assert plant.photodiode_voltage_v("1") < 0.02
    assert plant.photodiode_voltage_v("2") == 0.0
    plant.set_led("C", 0.0)
    plant.set_led("A", 100.0)  # visible: hardly passes the filters
    assert plant.photodiode_voltage_v("4") < 0.01


def test_a_warm_lamp_is_dimmer():
    cool, warm = lit(PlantState(vial_c=25.0), 1.0), lit(PlantState(vial_c=35.0), 1.0)
    assert optics.steady_signal_v(warm, "REF") == pytest.approx(0.95 * optics.steady_signal_v(cool, "REF"))
    assert optics.steady_signal_v(warm, "90") == pytest.approx(0.95 * optics.steady_signal_v(cool, "90"))


def test_cells_settle_when_nobody_stirs_and_come_back():
    still = advance(lit(PlantState(), 1.0), {}, 7200.0)
    assert still.suspended == pytest.approx(0.313, abs=0.01)
    stirred = advance(still, {"stirring": 30.0}, 60.0)
    assert stirred.suspended == pytest.approx(1.0, abs=0.001)
    assert optics.steady_signal_v(still, "90") < 0.5 * optics.steady_signal_v(stirred, "90")


def noise_of(state, channel, count=2000):
    voltages_v = [optics.photodiode_voltage_v(state._replace(time_s=n * 0.02), channel) for n in range(count)]
    return statistics.stdev(voltages_v)


def test_stirring_and_other_light_add_noise():
    still, stirred = lit(ALL_ANGLES, 1.0), lit(ALL_ANGLES, 1.0)._replace(rpm=500.0)
    assert noise_of(stirred, "2") > 3.0 * noise_of(still, "2")
    assert noise_of(stirred, "2") == pytest.approx(constants.SPECKLE_AT_500_RPM * 0.126, rel=0.1)
    noisy = stirred._replace(faults=stirred.faults.with_fault("noisy_light"))
    assert noise_of(noisy, "2") > 10.0 * noise_of(stirred, "2")


@given(st.integers(0, 2**63), st.sampled_from(constants.PHOTODIODES), st.floats(0.0, 1e7))
def test_noise_repeats_with_seed_channel_and_time(seed, channel, time_s):
    state = lit(ALL_ANGLES, 1.0)._replace(seed=seed, time_s=time_s, rpm=500.0)
    voltage_v = optics.photodiode_voltage_v(state, channel)
    assert voltage_v == optics.photodiode_voltage_v(state, channel) >= 0.0
    assert voltage_v != optics.photodiode_voltage_v(state._replace(time_s=time_s + 0.01), channel)
    assert voltage_v != optics.photodiode_voltage_v(state._replace(seed=seed + 1), channel)


def run_of(path, looks):
    """Return what an experiment of ten minutes reads, looked at `looks` times."""
    clock = VirtualClock(50.0)
    plant = SharedPlant(path, clock=clock, seed=11)
    plant.set_led("A", 80.0)
    plant.change([17, 18], lambda r: r._replace(out=True, pwm=True, duty_cycle=30.0))
    readings = []
    for _ in range(looks):
        clock.sleep(600.0 / looks)
        readings += [plant.photodiode_voltage_v("2"), plant.heater_board_temperature_c(), plant.aux_voltage_v()]
    plant.close()
    return readings


def test_two_runs_read_the_same(tmp_path):
    assert run_of(tmp_path / "one", 64) == run_of(tmp_path / "other", 64)
    assert run_of(tmp_path / "third", 64)[-3:] == pytest.approx(run_of(tmp_path / "fourth", 1), rel=1e-3)


def test_the_rail_is_seen_through_its_divider_and_sags_under_load(plant, clock):
    assert plant.aux_voltage_v() / 0.134 == pytest.approx(5.1, abs=0.02)
    plant.change([18, 13], lambda r: r._replace(out=True, pwm=True, duty_cycle=100.0))
    assert plant.aux_voltage_v() / 0.134 == pytest.approx(4.94, abs=0.02)


def test_the_thermometer_touches_the_heater_board(plant, clock):
    assert plant.heater_board_temperature_c() == pytest.approx(22.0, abs=0.1)
    plant.change([18], lambda r: r._replace(out=True, pwm=True, duty_cycle=50.0))
    clock.sleep(95.0)
    state = plant.look()
    assert plant.heater_board_temperature_c() == pytest.approx(state.board_c, abs=0.1)
    assert state.board_c > state.vial_c + 5.0


def test_leds_are_shared_and_guarded(plant, tmp_path, clock):
    plant.set_led("B", 12.5)
    other = SharedPlant(tmp_path / "plant.bin", clock=clock)
    assert [other.led(channel) for channel in constants.LED_CHANNELS] == [0.0, 12.5, 0.0, 0.0]
    other.close()
    for percent in (-1.0, 100.1, float("nan")):
        with pytest.raises(ValueError, match=r"0\.\.100 %"):
            plant.set_led("A", percent)
    with pytest.raises(ValueError, match="no LED channel 'E'"):
        plant.set_led("E", 1.0)
