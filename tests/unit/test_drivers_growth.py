import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit.drivers.simulation import constants, growth, heat
from reactor_unit.drivers.simulation.growth import Culture, Flow
from reactor_unit.drivers.simulation.plant import PlantState, advance

AT_BEST = heat.Warming(constants.BEST_C, constants.BEST_C, 0.0, 0.0)
HOUR_S = 3600.0


def euler(culture, flow, volume_ml, temperature_c, total_s, step_s=0.5):
    """The equations of `growth`, integrated by small midpoint steps: what the closed forms have to agree with."""

    def slopes(x, s, f, v):
        dilution = (flow.media_ml_per_s + flow.alt_media_ml_per_s) / v
        share = flow.alt_media_ml_per_s / max(1e-12, flow.media_ml_per_s + flow.alt_media_ml_per_s)
        eaten = growth.growth_rate_per_s(temperature_c, f) * x * s / (constants.HALF_SATURATION_OD + s)
        rise = flow.media_ml_per_s + flow.alt_media_ml_per_s - flow.out_ml_per_s
        return eaten - dilution * x, dilution * (constants.FEED_OD - s) - eaten, dilution * (share - f), rise

    state = (*culture, volume_ml)
    for _ in range(round(total_s / step_s)):
        middle = [y + d * step_s / 2.0 for y, d in zip(state, slopes(*state), strict=True)]
        state = tuple(y + d * step_s for y, d in zip(state, slopes(*middle), strict=True))
    return Culture(*state[:3])


def test_with_plenty_of_substrate_biomass_grows_exponentially():
    rate_per_h = constants.GROWTH_RATE_PER_H * constants.FEED_OD / (constants.HALF_SATURATION_OD + constants.FEED_OD)
    after = advance(PlantState(vial_c=37.0, board_c=37.0, room_c=37.0, culture=Culture(1e-4, 5.0, 0.0)), {}, 4 * HOUR_S)
    assert after.culture.biomass_od == pytest.approx(1e-4 * math.exp(4.0 * rate_per_h), rel=0.01)


def test_a_batch_ends_when_its_substrate_is_eaten():
    after = advance(PlantState(), {}, 30 * 86400.0)
    assert after.culture.biomass_od == pytest.approx(constants.INOCULATED_OD + constants.FEED_OD)
    assert after.culture.substrate_od == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("share_of_fastest", [0.2, 0.5, 0.8, 0.9])
def test_a_chemostat_settles_at_monods_steady_state(share_of_fastest):
    volume_ml = 14.0
    dilution_per_h = share_of_fastest * constants.GROWTH_RATE_PER_H
    inflow = dilution_per_h / HOUR_S * volume_ml
    culture = Culture(0.5, 4.0, 0.0)
    for _ in range(60 * 24):
        culture = growth.diluted(culture, Flow(inflow, 0.0, inflow), volume_ml, AT_BEST, 0.0, 600.0)
    substrate = constants.HALF_SATURATION_OD * dilution_per_h / (constants.GROWTH_RATE_PER_H - dilution_per_h)
    assert culture.substrate_od == pytest.approx(substrate, rel=0.01)
    assert culture.biomass_od == pytest.approx(constants.FEED_OD - substrate, rel=0.01)


def test_a_chemostat_that_is_too_fast_washes_out():
    volume_ml, dilution_per_h = 14.0, 2.0
    inflow = dilution_per_h / HOUR_S * volume_ml
    culture = Culture(0.01, constants.FEED_OD, 0.0)
    for _ in range(36):
        culture = growth.diluted(culture, Flow(inflow, 0.0, inflow), volume_ml, AT_BEST, 0.0, 600.0)
    net_per_h = constants.GROWTH_RATE_PER_H * constants.FEED_OD / (constants.HALF_SATURATION_OD + constants.FEED_OD)
    net_per_h -= dilution_per_h
    assert culture.biomass_od == pytest.approx(0.01 * math.exp(6.0 * net_per_h), rel=0.01)


@pytest.mark.parametrize("culture", [Culture(0.05, 5.0, 0.0), Culture(4.0, 1.0, 0.2), Culture(1.0, 0.0, 1.0)])
@pytest.mark.parametrize(
    "flow",
    [Flow(0.09, 0.0, 0.0), Flow(0.09, 0.09, 0.05), Flow(0.004, 0.0, 0.004), Flow(0.0, 0.01, 0.02)],
    ids=["fill", "fast", "steady", "falling"],
)
def test_dilution_agrees_with_the_equations(culture, flow):
    after = growth.diluted(culture, flow, 14.0, AT_BEST, 0.0, 600.0)
    expected = euler(culture, flow, 14.0, constants.BEST_C, 600.0)
    assert tuple(after) == pytest.approx(tuple(expected), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("culture", [Culture(0.05, 5.0, 0.0), Culture(4.0, 1.0, 0.2), Culture(1.0, 1e-6, 0.0)])
def test_growth_without_flow_agrees_with_the_equation(culture):
    units = 2 * HOUR_S * growth.growth_rate_per_s(constants.BEST_C, culture.alt_fraction)
    expected = euler(culture, Flow(0.0, 0.0, 0.0), 14.0, constants.BEST_C, 2 * HOUR_S)
    assert tuple(growth.grown(culture, units)) == pytest.approx(tuple(expected), rel=1e-4, abs=1e-6)


cultures = st.builds(Culture, st.floats(0.0, 10.0), st.floats(0.0, 10.0), st.floats(0.0, 1.0))


@given(cultures, st.floats(0.0, 1000.0), st.integers(2, 20))
def test_growth_in_one_step_or_many_is_the_same_and_keeps_the_sum(culture, units, steps):
    one, many = growth.grown(culture, units), culture
    for _ in range(steps):
        many = growth.grown(many, units / steps)
    assert tuple(many) == pytest.approx(tuple(one), rel=1e-6, abs=1e-9)
    total = culture.biomass_od + culture.substrate_od
    assert one.biomass_od + one.substrate_od == pytest.approx(total)
    assert min(one) >= 0.0


def test_temperature_and_alt_media_slow_growth():
    assert growth.temperature_factor(4.0) == growth.temperature_factor(60.0) == 0.0
    assert 0.0 < growth.temperature_factor(22.0) < growth.temperature_factor(30.0) < 1.0
    best = growth.growth_rate_per_s(constants.BEST_C, 0.0)
    assert growth.growth_rate_per_s(constants.BEST_C, constants.ALT_MEDIA_HALF) == pytest.approx(best / 2.0)


def test_growth_follows_the_temperature_while_it_changes():
    warming = heat.warming(22.0, 22.0, 40.0, 22.0)
    by_hand = sum(growth.growth_rate_per_s(warming.vial_c(t + 0.05), 0.0) * 0.1 for t in (n * 0.1 for n in range(6000)))
    assert growth.growth_units(warming, 0.0, 0.0, 600.0) == pytest.approx(by_hand, rel=1e-4)
