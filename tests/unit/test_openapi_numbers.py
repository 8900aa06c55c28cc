"""Texts that are numbers within limits: the patterns take these and no others."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit.openapi.numbers import digits, text_of_numbers


@given(st.integers(0, 20_000), st.integers(0, 20_000), st.integers(0, 50_000))
def test_a_pattern_of_whole_numbers_takes_exactly_those_between_its_limits(low, more, number):
    pattern = re.compile(f"^({digits(low, low + more)})$")
    for one in (number, low, low + more, low + more + 1, max(0, low - 1)):
        assert bool(pattern.match(str(one))) == (low <= one <= low + more)


@pytest.mark.parametrize(
    ("limits", "taken", "refused"),
    [
        ((0, 100), ["0", "0.5", "99.999", "100"], ["100.1", "101", "-1", "", "1.", "x", "00"]),
        ((0.01, 1500), ["1", "1499.9", "1500"], ["0", "1501"]),
        ((None, None), ["0", "12.5", "999999999"], ["1e5", "nan", "-1"]),
        ((0, 1), ["0", "0.25", "1"], ["1.1", "2"]),
    ],
)
def test_a_pattern_of_numbers_takes_what_is_within_its_limits(limits, taken, refused):
    pattern = re.compile(text_of_numbers(*limits))
    assert [one for one in taken if not pattern.match(one)] == []
    assert [one for one in refused if pattern.match(one)] == []


def test_a_pattern_of_whole_numbers_takes_no_decimals():
    assert not re.match(text_of_numbers(0, 5, whole=True), "1.5")
