"""What a step's fields take, how protocols are walked, and that every shipped protocol can be drawn."""

from __future__ import annotations

import pytest

from reactor_unit.calibrations.protocols import PROTOCOLS
from reactor_unit.calibrations.steps import Field, InvalidInput, Step, redo_button
from reactor_unit.calibrations.walks.od_standards import fit, problems_of
from reactor_unit.calibrations.walks.pump import _durations_s


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        ("string", "  a ", "a"),
        ("float", "0.5", 0.5),
        ("float", 2, 2.0),
        ("int", "3", 3),
        ("bool", "Yes", True),
        ("bool", 0, False),
        ("bool", "n", False),
        ("float_list", "1, 2.5", [1.0, 2.5]),
        ("float_list", [1, "2"], [1.0, 2.0]),
    ],
)
def test_a_field_reads_what_people_and_pages_send(kind: str, value: object, read: object) -> None:
    assert Field("x", "X", kind).read(value) == read


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", 5),
        ("string", "a\x1b[2J"),
        ("string", "x" * 256),
        ("string", "  "),
        ("float", True),
        ("float", "inf"),
        ("float", 10**400),
        ("float", "1,5"),
        ("int", 1.5),
        ("bool", "perhaps"),
        ("bool", 2),
        ("float_list", []),
        ("float_list", [[1]]),
        ("float_list", "1,,2"),
        ("choice", "c"),
    ],
)
def test_a_field_refuses_what_is_meant_for_another(kind: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=r"^x "):
        Field("x", "X", kind, options=("a", "b")).read(value)


@pytest.mark.parametrize("nothing", [None, ""])
def test_only_fields_that_are_no_numbers_have_a_default_that_counts(nothing: object) -> None:
    assert Field("x", "X", "bool", False).read(nothing) is False
    with pytest.raises(InvalidInput, match="required"):
        Field("x", "X", "float", 5.0).read(nothing)


def test_every_number_of_a_list_keeps_to_the_bounds() -> None:
    with pytest.raises(InvalidInput, match=r"x 0 must be at least 0\.1"):
        Field("x", "X", "float_list", None, None, 0.1).read([1.0, 0.0])


def test_a_button_is_taken_only_where_there_is_one() -> None:
    plain = Step("s", "form", "S", fields=(Field("x", "X", "float"),))
    with_button = Step("s", "form", "S", fields=plain.fields, metadata={"actions": [redo_button("Again")]})
    assert with_button.read({"action": "redo_last", "confirm": True}) == {"action": "redo_last"}
    with pytest.raises(InvalidInput, match="does not ask for 'action'"):
        plain.read({"action": "redo_last"})


def test_every_protocols_first_step_exists_and_all_have_a_walk() -> None:
    assert len(PROTOCOLS) == 5
    for protocol in PROTOCOLS.values():
        assert protocol.walk is not None
        assert protocol.walk.first in protocol.walk.stages


def test_durations_are_spread_around_the_volumes() -> None:
    assert _durations_s([1.0, 2.0], 0.1) == [8.0] * 4 + [15.0] * 2 + [22.0] * 4
    with pytest.raises(InvalidInput, match="300 s"):
        _durations_s([100.0], 0.1)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([(1.0, 1.0), (0.5, 0.51), (0.2, 0.2), (0.0, 0.01)], []),
        ([(1.0, 1.0), (0.0, 0.01)], ["2 different ODs"]),
        ([(1.0, 0.5), (0.5, 0.9), (0.2, 0.1), (0.1, 0.8), (0.0, 0.3)], ["R2"]),
        ([(4.0, 0.6), (3.0, 0.9), (2.0, 1.0), (1.0, 0.9), (0.5, 0.6), (0.2, 0.3), (0.1, 0.16), (0.0, 0.01)], ["rise"]),
    ],
    ids=["good", "few", "scattered", "past the peak"],
)
def test_a_bad_od_curve_is_told_from_a_good_one(points: list[tuple[float, float]], said: list[str]) -> None:
    problems = problems_of(fit(points), points)
    assert bool(problems) == bool(said)
    assert all(any(word in text for text in problems) for word in said)
