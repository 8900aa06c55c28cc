from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit import strict_json
from reactor_unit.strict_json import BadJson

whole_text = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | whole_text,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(whole_text, children, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_what_was_written_is_read_again(value: object) -> None:
    assert strict_json.loads(strict_json.dumps(value)) == value


@given(json_values)
def test_escaped_text_of_other_writers_is_read_too(value: object) -> None:
    assert strict_json.loads(json.dumps(value, ensure_ascii=True, indent=1).encode()) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_json_or_a_reason(data: bytes) -> None:
    try:
        value = strict_json.loads(data)
    except BadJson:
        return
    assert strict_json.loads(strict_json.dumps(value)) == value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "line 1, column 1"),
        (b'{"a": 1,\n "b": }', "line 2, column 7"),
        (b'{"rpm": 1, "rpm": 2}', "'rpm' appears twice"),
        (b'{"a": [{"rpm": 1, "rpm": 2}]}', "'rpm' appears twice"),
        (b'{"rpm": 1, "\\u0072pm": 2}', "'rpm' appears twice"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b"[-Infinity]", "-Infinity is not a JSON number"),
        (b"1e999", "1e999 is too large"),
        (b"9" * 400, "400 digits"),
        (b"[" * 33 + b"]" * 33, "more than 32 deep"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "more than 32 deep"),
        (b'"\xff"', "not UTF-8 text (byte 1)"),
        (b'"\\ud800"', "half of a surrogate pair"),
        (b'{"a": ["\\uDC00x"]}', "half of a surrogate pair"),
        (b'{"\\ud800": 1}', "half of a surrogate pair"),
        (b'"a\nb"', "Invalid control character"),
        (b"[1,]", "line 1"),
        (b"{} {}", "Extra data"),
        (b"\xef\xbb\xbf{}", "line 1, column 1"),
    ],
    ids=[
        "empty", "place of the fault", "duplicate key", "inner duplicate", "escaped duplicate", "NaN", "infinity",
        "number becomes infinite", "endless integer", "deep lists", "deep objects", "not UTF-8", "lone surrogate",
        "inner lone surrogate", "lone surrogate as a key", "raw line end in a text", "trailing comma", "two values",
        "BOM",
    ],
)  # fmt: skip
def test_what_is_refused_names_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadJson, match=reason.replace("(", r"\(").replace(")", r"\)")):
        strict_json.loads(data)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'"\\ud83e\\uddea"', "\N{TEST TUBE}"),
        (b"[" * 32 + b"]" * 32, None),
        (b'{"a": "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[{{{{{{"}', {"a": "[" * 36 + "{" * 6}),
        (b'["\\"[", ' + b"[]," * 40 + b"0]", None),
        (b"9" * 308, int("9" * 308)),
        (b"-0.0", 0.0),
    ],
    ids=["surrogate pair", "deep enough", "brackets in a text", "many flat brackets", "long integer", "minus zero"],
)
def test_what_looks_suspicious_and_is_not_is_read(data: bytes, value: object) -> None:
    read = strict_json.loads(data)
    assert value is None or read == value


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), "\ud800", {"a": [float("-inf")]}],
    ids=["NaN", "infinity", "surrogate", "inner"],
)
def test_what_no_reader_would_take_is_not_written(value: object) -> None:
    with pytest.raises(ValueError, match=r"JSON compliant|surrogates"):
        strict_json.dumps(value)


@pytest.mark.parametrize("value", [b"x", {1, 2}, object()], ids=["bytes", "set", "object"])
def test_what_json_cannot_hold_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError):
        strict_json.dumps(value)


def test_the_largest_body_is_judged_quickly_whatever_it_holds() -> None:
    started = time.process_time()
    for data in (b"[" * 2**20, b'{"a":' * (2**20 // 5), b'["' + b"[" * 2**20 + b'"]', b"9" * 2**20):
        try:
            strict_json.loads(data)
        except BadJson:
            continue
    assert time.process_time() - started < 5.0  # a second on a slow machine; a quadratic reader needs minutes
