"""An integration test of the small leader: ten real units on simulated reactors dilute a standard at different rates.

Run it with `pytest examples`, after `pip install '.[test]'`: the program's pytest plugin brings `reactor_fleet`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from leader import Dilution, Leader

from reactor_unit.testing import SimulatedUnit, wait_until

UNITS = 10
SPEED = 20  # of the reactors: a minute in three seconds
STANDARD_OD = 1.0
EVERY_MIN = 1.0
EXCHANGES = 6
VOLUME_ML = 14.0
FLOWS_ML_PER_S = {"media": 0.0911, "waste": 0.0955}  # of the simulated pumps


def test_ten_units_dilute_as_their_leader_says(reactor_fleet: Callable[..., list[SimulatedUnit]]) -> None:
    fleet = reactor_fleet(UNITS, speed=SPEED, seed=1)
    for unit in fleet:
        unit.plant.put_standard(STANDARD_OD)  # it does not grow, so what is left of it tells how it was diluted
    exchange_ml = [0.2 + 0.08 * number for number in range(UNITS)]
    with Leader([unit.url for unit in fleet], "dilution") as leader:
        leader.calibrate_pumps(FLOWS_ML_PER_S)
        leader.start("stirring", [{"target_rpm": 400}] * UNITS)
        chemostats = [
            {"automation_name": "chemostat", "exchange_volume_ml": volume, "duration": EVERY_MIN}
            for volume in exchange_ml
        ]
        with leader.running("dosing_automation", chemostats):

            def all_have_pumped() -> list[Dilution]:
                found = leader.dilutions()
                enough = (one.media_ml >= EXCHANGES * ml for one, ml in zip(found, exchange_ml, strict=True))
                return found if all(enough) else []

            wait_until(all_have_pumped, 90.0, "the last exchange")
    for unit, volume in zip(fleet, exchange_ml, strict=True):
        told = unit.client.vial()
        assert told["in_flight"] == []
        # By its own account: at 20 times the speed a pump that stops 10 ms late has moved 0.02 ml more.
        media_ml = told["media_throughput"]
        assert media_ml >= EXCHANGES * volume
        exchanges = round(media_ml / volume)
        left = (VOLUME_ML / (VOLUME_ML + media_ml / exchanges)) ** exchanges
        assert unit.truth().culture.biomass_od == pytest.approx(STANDARD_OD * left, rel=0.06)
        assert unit.client.running_jobs() == []
