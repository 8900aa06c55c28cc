"""How published values become readings."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

from reactor_unit import series as series_module
from reactor_unit.clock import timestamp_of, unix_seconds
from reactor_unit.series import Reading, Series

NOON = "2026-01-31T12:00:00.250Z"
AT = 1769860800.25
LED = Series("led.{key}", each="")
RPM = Series("rpm", value="measured_rpm")
OD = Series("od.{angle}.{channel}", value="od", each="ods")


def test_a_timestamp_and_seconds_are_one_time() -> None:
    assert unix_seconds(NOON) == AT
    assert timestamp_of(AT) == NOON
    assert unix_seconds("2026-01-31T13:00:00.25+01:00") == unix_seconds("2026-01-31T12:00:00.250") == AT
    assert timestamp_of(AT + 0.0006) == "2026-01-31T12:00:00.251Z"


@pytest.mark.parametrize(
    ("series", "value", "found"),
    [
        pytest.param(Series("duty"), 30, [Reading(7.0, "duty", 30.0)], id="number"),
        pytest.param(RPM, {"measured_rpm": 1.5, "timestamp": NOON}, [Reading(AT, "rpm", 1.5)], id="field"),
        pytest.param(RPM, {"measured_rpm": None, "timestamp": NOON}, [], id="null"),
        pytest.param(RPM, {"timestamp": NOON}, [], id="missing"),
        pytest.param(Series("on"), True, [], id="boolean"),
        pytest.param(Series("on"), "30", [], id="text"),
        pytest.param(LED, {"A": 5, "B": None}, [Reading(7.0, "led.A", 5.0)], id="entries"),
        pytest.param(LED, 5, [], id="no object"),
        pytest.param(
            OD,
            {"timestamp": NOON, "ods": {"2": {"od": 0.5, "angle": "90", "channel": "2"}}},
            [Reading(AT, "od.90.2", 0.5)],
            id="entries with the time of the whole",
        ),
        pytest.param(OD, {"timestamp": NOON}, [], id="no entries"),
    ],
)
def test_a_value_becomes_readings(series: Series, value: Any, found: list[Reading]) -> None:
    assert series.readings(value, 7.0) == found


def test_each_entry_has_its_own_time() -> None:
    entries = {"2": {"od": 0.5, "angle": "90", "channel": "2", "timestamp": NOON}}
    assert OD.readings({"timestamp": "1970-01-01T00:00:01.000Z", "ods": entries}, 7.0) == [Reading(AT, "od.90.2", 0.5)]


def test_the_examples_are_true() -> None:
    assert doctest.testmod(series_module).failed == 0
