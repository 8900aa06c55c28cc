"""The laws of dosing: exchanges in parts, volume balance, dilution and washout, turbidostat and morbidostat."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reactor_unit.vial import ALT_MEDIA, MEDIA, WASTE, VialState
from reactor_unit.workers.laws.dosing import (
    Exchange,
    MorbidostatLaw,
    TurbidostatLaw,
    dilution_rate_per_h,
    parts_of_exchange,
    share_left,
)
from reactor_unit.workers.laws.pid import PIDState

volume = st.floats(0.0, 30.0)


def times_done(added_ml, largest_ml):
    """The exchange as it is described: done twice with halves while it adds too much."""
    return 1 if added_ml <= largest_ml else 2 * times_done(added_ml / 2.0, largest_ml)


@given(volume, st.floats(0.05, 5.0))
def test_an_exchange_is_done_in_halves_of_halves_and_no_more_than_needed(added_ml, largest_ml):
    parts = parts_of_exchange(added_ml, largest_ml)
    assert parts == times_done(added_ml, largest_ml)
    assert added_ml / parts <= largest_ml
    assert parts == 1 or 2.0 * added_ml / parts > largest_ml


# The vial, as its doses tell it

dose = st.tuples(st.sampled_from([MEDIA, ALT_MEDIA, WASTE]), st.floats(0.0, 5.0))


@given(st.floats(0.5, 30.0), st.floats(0.0, 1.0), st.floats(5.0, 18.0), st.lists(dose, max_size=40))
def test_no_liquid_is_lost_or_made_and_the_waste_tube_takes_none_below_its_end(first_ml, fraction, tube_ml, doses):
    vial = VialState(first_ml, fraction, tube_ml)
    alt_ml, removed_ml = fraction * first_ml, 0.0
    for role, volume_ml in doses:
        before = vial
        if role == WASTE:
            vial = vial.without_waste(volume_ml)
            went_ml = before.settled_ml - vial.settled_ml
            assert -1e-6 <= went_ml <= volume_ml + 1e-6
            assert vial.settled_ml >= min(before.settled_ml, tube_ml) - 1e-6
            removed_ml, alt_ml = removed_ml + went_ml, alt_ml - went_ml * before.alt_media_fraction
        else:
            vial = vial.with_inflow(role, volume_ml)
            alt_ml += volume_ml if role == ALT_MEDIA else 0.0
    came_ml = math.fsum(volume_ml for role, volume_ml in doses if role != WASTE)
    assert vial.settled_ml == pytest.approx(first_ml + came_ml - removed_ml, abs=1e-4)
    assert vial.media_throughput + vial.alt_media_throughput == pytest.approx(came_ml, abs=1e-4)
    assert vial.alt_media_fraction * vial.settled_ml == pytest.approx(alt_ml, abs=1e-3)
    assert 0.0 <= vial.alt_media_fraction <= 1.0


# Dilution


@given(st.floats(0.001, 0.05), st.floats(5.0, 20.0), st.integers(1, 200))
def test_what_is_left_after_many_small_exchanges_is_exponential_in_what_flowed_through(share, volume_ml, exchanges):
    exchange_ml = share * volume_ml
    left = share_left(exchange_ml, volume_ml) ** exchanges
    turnovers = exchanges * share
    # Diluting before removing leaves 1 / (1 + share) instead of exp(-share): share / 2 less goes in each.
    assert math.log(left) == pytest.approx(-turnovers, rel=0.5 * share + 1e-9)
    assert math.log(left) >= -turnovers


def grown(biomass, mu_per_h, minutes):
    return biomass * math.exp(mu_per_h * minutes / 60.0)


@pytest.mark.parametrize(("mu_per_h", "is_washed_out"), [(0.09, True), (0.12, False)])
def test_a_chemostat_that_dilutes_faster_than_the_culture_grows_washes_it_out(mu_per_h, is_washed_out):
    exchange_ml, every_min, volume_ml, biomass = 0.5, 20.0, 14.0, 1.0
    assert dilution_rate_per_h(exchange_ml, every_min=every_min, working_volume_ml=volume_ml) == pytest.approx(
        0.1071, rel=1e-3
    )
    for _ in range(30 * 72):
        biomass = min(5.0, grown(biomass, mu_per_h, every_min)) * share_left(exchange_ml, volume_ml)
    assert (biomass < 1e-4) == is_washed_out


@given(st.floats(0.05, 1.2), st.floats(0.1, 3.0), st.floats(0.2, 2.0), st.floats(0.5, 2.0), st.floats(10.0, 18.0))
def test_a_turbidostat_keeps_the_culture_between_the_target_and_what_an_exchange_leaves(
    mu_per_h, target, exchange_ml, first, volume_ml
):
    law = TurbidostatLaw(target, exchange_ml)
    look_min = 0.25
    rise = math.exp(mu_per_h * look_min / 60.0)
    assume(share_left(exchange_ml, volume_ml) * rise < 1.0)  # an exchange takes more than grows meanwhile
    biomass, seen = first * target, []
    for _ in range(int(60.0 * 24.0 / mu_per_h)):
        biomass = grown(biomass, mu_per_h, look_min)
        if law.next_exchange(biomass) is not None:
            biomass *= share_left(exchange_ml, volume_ml)
            seen.append(biomass)
    settled = seen[-3:]
    assert len(settled) == 3
    low = target * share_left(exchange_ml, volume_ml)
    assert all(low <= od <= low * rise * 1.000001 for od in settled)


def test_a_turbidostat_below_its_target_does_nothing_and_at_it_exchanges_exactly_its_volume():
    law = TurbidostatLaw(target_biomass=1.0, exchange_volume_ml=0.7)
    assert law.next_exchange(0.999) is None
    assert law.next_exchange(1.0) == Exchange(media_ml=0.7)
    with pytest.raises(ValueError, match="says nothing"):
        law.next_exchange(math.nan)


# Morbidostat


def morbidostat(od=1.5, rate=0.1, gains=(1.0, 0.0, 0.0), state=None, duration_min=60.0, minimum_ml=0.1):
    law = MorbidostatLaw(0.1, 1.5, gains, minimum_ml)
    return law.next_exchange(
        state or PIDState(),
        normalized_od=od,
        growth_rate_per_h=rate,
        duration_min=duration_min,
        working_volume_ml=14.0,
    )


def test_a_sparse_culture_is_left_alone_and_a_dense_one_diluted_two_and_a_half_times_as_much():
    assert morbidostat(od=0.7 * 1.5)[0] is None
    usual, dense = morbidostat(od=1.5)[0], morbidostat(od=1.26 * 1.5)[0]
    assert usual.volume_ml == pytest.approx(0.1 * 14.0)
    assert dense.volume_ml == pytest.approx(2.5 * usual.volume_ml)


@pytest.mark.parametrize(("rate", "share"), [(0.1, 0.0), (0.05, 0.0), (0.4, 0.3), (0.6, 0.5), (2.0, 1.0)])
def test_faster_growth_is_given_more_inhibitor_up_to_all_of_it(rate, share):
    exchange, _ = morbidostat(rate=rate, minimum_ml=0.0)
    assert exchange.alt_media_ml == pytest.approx(share * 1.4)
    assert exchange.media_ml == pytest.approx((1.0 - share) * 1.4)


def test_a_part_that_is_too_small_to_dose_is_left_out_and_nothing_takes_its_place():
    exchange, _ = morbidostat(rate=0.15)  # a twentieth of 1.4 mL would be alt_media
    assert exchange == Exchange(media_ml=pytest.approx(0.95 * 1.4), alt_media_ml=0.0)
    assert morbidostat(duration_min=4.0)[0] is None  # 0.093 mL in all


def test_the_integral_of_too_fast_growth_brings_the_inhibitor_in_by_and_by():
    shares, state = [], None
    for _ in range(5):
        exchange, state = morbidostat(rate=0.2, gains=(0.0, 1.0, 0.0), state=state, minimum_ml=0.0)
        shares.append(exchange.alt_media_ml / exchange.volume_ml)
    assert shares == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


@given(st.floats(0.0, 10.0), st.lists(st.floats(-5.0, 5.0), min_size=1, max_size=20), st.floats(1.0, 600.0))
def test_a_morbidostat_never_doses_less_than_nothing_or_more_than_its_volume(od, rates, duration_min):
    state = PIDState()
    for rate in rates:
        exchange, state = morbidostat(od=od, rate=rate, gains=(1.0, 0.5, 0.2), state=state, duration_min=duration_min)
        if exchange is not None:
            assert exchange.media_ml == 0.0 or exchange.media_ml >= 0.1
            assert exchange.alt_media_ml == 0.0 or exchange.alt_media_ml >= 0.1
            assert exchange.volume_ml <= 2.5 * 0.1 * 14.0 * duration_min / 60.0 + 1e-3
