"""YAML that is read has one meaning and bounded cost; everything else is refused with a place."""

import datetime
import time

import pytest

from reactor_unit import strict_yaml
from reactor_unit.strict_yaml import MAX_BYTES, MAX_DEPTH, MAX_VALUES, BadYaml, dumps, loads


def test_plain_yaml_means_what_it_means_elsewhere():
    text = b"a: 1\nb: [1.5, 2.0e-3, .5]\nc: {d: text, e: '1', f: null, g: true, h: 1e-5}\n3: 2031-03-04T05:06:07Z\n"
    assert loads(text) == {
        "a": 1,
        "b": [1.5, 0.002, 0.5],
        "c": {"d": "text", "e": "1", "f": None, "g": True, "h": "1e-5"},  # YAML 1.1
        3: datetime.datetime(2031, 3, 4, 5, 6, 7, tzinfo=datetime.UTC),
    }


@pytest.mark.parametrize("value", [{"a": [1, 2.5, 1e-7, -0.0, 1e300]}, {"é": 'it\'s: "x"\n', "n": None, "y": "yes"}])
def test_what_is_written_reads_back(value):
    assert loads(dumps(value)) == value


def test_written_keys_keep_their_order():
    assert dumps({"z": 1, "a": 2}) == b"z: 1\na: 2\n"


ALIAS_BOMB = b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "empty"),
        (b"# nothing\n", "empty"),
        (b"a: 1\n---\nb: 2\n", "more than one document"),
        (b"a: 1\na: 2\n", "'a' appears twice"),
        (b"a: {b: 1, b: 1}", "'b' appears twice"),
        (b"1: a\n1.0: b\n", "appears twice"),
        (ALIAS_BOMB, "*a stands for another value"),
        (b"a: &a {x: 1}\nb: {<<: *a}\n", "merge"),
        (b"a: .nan", "not a finite number"),
        (b"a: -.inf", "not a finite number"),
        (b"a: 1.0e+999", "not a finite number"),
        (b"a: !!python/object:os.system x", "python/object"),
        (b"a: !!python/name:os.system", "python/name"),
        (b"a: !mine {x: 1}", "!mine"),
        (b"a: !!binary aGk=", "binary"),
        (b"a: !!set {x: null}", "set"),
        (b"a: !!int x", "'x' is no int"),
        (b"a: 2031-13-45", "is no timestamp"),
        (b"a: !!timestamp x", "'x' is no timestamp"),
        (b"? [a, b]\n: 1\n", "key is not a plain"),
        (b"? {a: b}\n: 1\n", "key is not a plain"),
        (b"a: [1, 2\nb: 3", "line 2"),
        (b"a: b: c", "line 1, column 5"),
        (b"\ta: 1", "line 1"),
        (b"a: \xff", "not UTF-8"),
        (b'a: "\x00"', "control characters"),
        (b"a: '\xed\xa0\x80'", "not UTF-8"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "deep"),
        (b"a: " + b"9" * 5000, "is no int"),
        (b"%YAML 9.9\n---\na: 1\n", "incompatible"),
        (b"a: *nothing", "stands for another value"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_could_mean_two_things_or_has_no_place_is_refused(text, reason):
    with pytest.raises(BadYaml) as caught:
        loads(text)
    assert reason in str(caught.value)


def test_depth_just_within_the_limit_is_read():
    loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


def test_a_half_character_in_an_escape_is_refused():
    with pytest.raises(BadYaml):
        loads(b'a: "\\ud800"')


@pytest.mark.parametrize(
    "text",
    [
        b"[" * MAX_BYTES,
        b"{a: " * (MAX_BYTES // 4),
        b"- " * (MAX_BYTES // 2),
        b"? " * (MAX_BYTES // 2),
        b"[" + b"1," * (MAX_VALUES + 1) + b"]",
        b"".join(b"k%d: 1\n" % number for number in range(MAX_VALUES)),
        b"a: &a [" + b"1," * 1000 + b"]\nb: [" + b"*a," * 10_000 + b"]",
        b"x" * (MAX_BYTES + 1),
        b"&a " * (MAX_BYTES // 3),
        b"!t " * (MAX_BYTES // 3),
        b'"' + b"\\x41" * (MAX_BYTES // 4 - 1),
        b"a:\n" + b" " * (MAX_BYTES - 10),
    ],
    ids=[
        "flow-lists",
        "flow-maps",
        "lists",
        "keys",
        "many",
        "many-keys",
        "aliases",
        "large",
        "anchors",
        "tags",
        "escapes",
        "spaces",
    ],
)
def test_a_bomb_is_refused_in_bounded_time(text):
    began = time.process_time()
    try:
        value = loads(text[: MAX_BYTES + 1])
    except BadYaml:
        value = None
    assert time.process_time() - began < 5
    assert value in (None, {"a": None})


def test_a_long_text_is_no_bomb():
    assert loads(b'"' + b"x" * (MAX_BYTES - 2) + b'"') == "x" * (MAX_BYTES - 2)


def test_the_slow_reader_refuses_the_same(monkeypatch):
    import yaml

    monkeypatch.setattr(strict_yaml, "_Loader", yaml.SafeLoader)
    assert loads(b"a: [1, {b: 2}]") == {"a": [1, {"b": 2}]}
    for text in (ALIAS_BOMB, b"a: 1\na: 2\n", b"[" * 1000, b"a: .nan", b'a: "\x00"', b"a: [1"):
        with pytest.raises(BadYaml):
            loads(text)
