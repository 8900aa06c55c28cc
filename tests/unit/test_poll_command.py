"""What `reactor-unit poll` draws."""

import pytest

from reactor_unit.client.poll import Change, UnitState
from reactor_unit.client.unit_state import jobs_of
from reactor_unit.poll_command import line_of, screen

GOOD = UnitState(
    "http://pio01", "pio01", True, jobs=jobs_of([{"job_name": "stirring"}, {"job_name": "od_reading"}]), answered_at=9.0
)
AWAY = UnitState("http://pio02", "pio02", False, "No answer within 3 s.", answered_at=4.0, failures=2)
NEW = UnitState("http://pio03")


def test_the_table_has_a_line_for_each_unit():
    assert screen([GOOD, AWAY, NEW], [], now=10.4, columns=100, rows=24) == [
        "unit   url           state         jobs                  faults",
        "pio01  http://pio01  ok            od_reading, stirring  -",
        "pio02  http://pio02  away for 6 s  -                     -",
        "-      http://pio03  asked         -                     -",
    ]


def test_news_stand_below_as_far_as_there_is_room():
    lines = screen([GOOD], ["first", "second", "third"], now=10.0, columns=100, rows=6)
    assert lines[2:] == ["", "second", "third"]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 10), (10, 40), (24, 80)])
def test_nothing_is_drawn_outside_the_terminal(rows, columns):
    lines = screen([GOOD] * 50, ["x" * 200] * 8, now=10.0, columns=columns, rows=rows)
    assert len(lines) <= max(2, rows - 1)
    assert all(len(line) < max(columns, 2) for line in lines)
    if rows == 10:
        assert lines[-1] == "... and 43 more units"


def test_what_a_unit_says_cannot_move_the_cursor():
    evil = UnitState("http://pio01", "\x1b[2Jpio", True, jobs=jobs_of([{"job_name": "a\nb"}]))
    text = "".join(screen([evil], ["\x1b]0;x\x07"], now=0.0, columns=200, rows=24))
    assert text.isprintable()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (Change("T", "u", "pio01", "reachable"), "T  pio01  reachable"),
        (Change("T", "u", "", "unreachable", after="No answer."), "T  u  unreachable  No answer."),
        (Change("T", "u", "n", "job_started", "stirring", after={"a": 1}), "T  n  job started  stirring"),
        (
            Change("T", "u", "n", "setting_changed", "stirring", "target_rpm", None, 450.0),
            "T  n  setting changed  stirring  target_rpm: - -> 450.0",
        ),
        (Change("T", "u", "n", "fault_latched", "x", "hot", after="Hot."), "T  n  fault latched  x  hot  Hot."),
        (Change("T", "", "", "missed", what="7"), "T  poller  missed  7"),
    ],
)
def test_a_change_is_a_line(change, line):
    assert line_of(change) == line
