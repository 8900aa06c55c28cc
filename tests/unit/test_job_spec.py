from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit.errors import InvalidRequest, NotSettable
from reactor_unit.job_spec import (
    Automation,
    Command,
    JobSpec,
    Option,
    Setting,
    nearest,
    to_boolean,
    to_integer,
    to_number,
    to_text,
)

SPEC = JobSpec(
    "stirring",
    "Hold a speed.",
    options=(
        Option("target_rpm", "float range", minimum=0.0, maximum=5000.0, unit="rpm"),
        Option("pumps", "integer", minimum=1),
        Option("use_rpm", "boolean"),
        Option("skip_first_run", "flag"),
        Option("label", "text"),
    ),
)


@pytest.mark.parametrize(
    ("options", "parsed"),
    [
        ({"target_rpm": 400}, {"target_rpm": 400.0}),
        ({"target_rpm": "400.5"}, {"target_rpm": 400.5}),
        ({"target-rpm": 0}, {"target_rpm": 0.0}),
        ({"target_rpm": 5000}, {"target_rpm": 5000.0}),
        ({"target_rpm": None}, {"target_rpm": None}),
        ({"pumps": "2"}, {"pumps": 2}),
        ({"pumps": 2.0}, {"pumps": 2}),
        ({"use_rpm": "No"}, {"use_rpm": False}),
        ({"use_rpm": 1}, {"use_rpm": True}),
        ({"skip_first_run": None}, {"skip_first_run": True}),
        ({"skip_first_run": "0"}, {"skip_first_run": False}),
        ({"label": 5}, {"label": "5"}),
        ({}, {}),
    ],
    ids=[
        "number", "text", "dash", "upper limit", "null", "whole text", "whole float", "boolean word", "boolean number",
        "bare flag", "flag with value", "number as text", "nothing",
    ],
)  # fmt: skip
def test_an_option_is_read_in_its_own_type(options: dict[str, Any], parsed: dict[str, Any]) -> None:
    result = SPEC.parse_options(options)
    assert result == parsed
    assert [type(value) for value in result.values()] == [type(value) for value in parsed.values()]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"target_rpm": 5001}, "target_rpm 5001 is above the limit of 5000 rpm."),
        ({"target_rpm": -1}, "target_rpm -1 is below the limit of 0 rpm."),
        ({"target_rpm": "fast"}, "target_rpm 'fast' is not a number."),
        ({"target_rpm": True}, "target_rpm True is not a number."),
        ({"target_rpm": "nan"}, "is not a finite number."),
        ({"target_rpm": 10**400}, "is not a number."),
        ({"target_rpm": [400]}, "is not a number."),
        ({"pumps": 1.5}, "pumps 1.5 is not a whole number."),
        ({"use_rpm": "maybe"}, "use_rpm 'maybe' is not a yes or no."),
        ({"use_rpm": {}}, "is not a yes or no."),
        ({"label": ["a"]}, "is not a text."),
        ({"target_rmp": 4}, "stirring has no option 'target_rmp'. Did you mean 'target_rpm'?"),
    ],
    ids=[
        "above", "below", "word", "true", "nan", "beyond float", "list", "half a pump", "not yes or no",
        "object as boolean", "list as text", "typo",
    ],
)  # fmt: skip
def test_a_wrong_option_is_refused_with_the_reason(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        SPEC.parse_options(options)
    assert problem in caught.value.message
    assert "target_rpm, pumps, use_rpm" in caught.value.remediation


def test_everything_that_is_wrong_is_listed_at_once() -> None:
    with pytest.raises(InvalidRequest) as caught:
        SPEC.parse_options({"target_rpm": -1, "pumps": "x"}, ["--speed", "3", "stray"])
    for problem in ("target_rpm", "pumps", "'speed'", "'stray'"):
        assert problem in caught.value.message


def test_a_required_option_is_missed() -> None:
    spec = JobSpec("od_blank", "", options=(Option("device", "text", required=True),))
    with pytest.raises(InvalidRequest, match=r"device is required\."):
        spec.parse_options({})


@pytest.mark.parametrize(
    ("args", "parsed"),
    [
        (["--target-rpm", "400"], {"target_rpm": 400.0}),
        (["--target_rpm=400"], {"target_rpm": 400.0}),
        (["--label=a=b"], {"label": "a=b"}),
        (["--label", ""], {"label": ""}),
        (["--skip-first-run", "--target-rpm", "1"], {"skip_first_run": True, "target_rpm": 1.0}),
        (["--target-rpm", "1", "--target-rpm", "2"], {"target_rpm": 2.0}),
    ],
    ids=["two words", "one word", "equals sign in the value", "empty value", "flag takes no word", "the last one wins"],
)
def test_arguments_are_options_too(args: list[str], parsed: dict[str, Any]) -> None:
    assert SPEC.parse_options({}, args) == parsed


def test_options_win_over_arguments() -> None:
    assert SPEC.parse_options({"target-rpm": 2}, ["--target_rpm", "1"]) == {"target_rpm": 2.0}


def test_an_argument_without_its_value_is_null() -> None:
    assert SPEC.parse_options({}, ["--target-rpm"]) == {"target_rpm": None}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (400.0, "400"), (400.5, "400.5"), (-3.0, "-3"), (1e15, "1000000000000000.0"), (1e300, "1e+300"),
        (True, "1"), (False, "0"), ("ready", "ready"), (7, "7"), ({"a": [1, "ü"]}, '{"a":[1,"ü"]}'),
    ],
    ids=["whole", "fraction", "negative", "large", "huge", "true", "false", "text", "integer", "object"],
)  # fmt: skip
def test_a_setting_is_shown_as_text(value: Any, text: str) -> None:
    assert to_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53))
def test_a_number_shown_as_text_is_the_same_number_when_read(value: float) -> None:
    assert to_number(to_text(value)) == value


@pytest.mark.parametrize("word", ["1", " Yes ", "TRUE", "on", True, 1], ids=repr)
def test_words_for_yes(word: Any) -> None:
    assert to_boolean(word) is True


@pytest.mark.parametrize("word", ["0", "no", "False", "OFF", False, 0], ids=repr)
def test_words_for_no(word: Any) -> None:
    assert to_boolean(word) is False


def test_the_nearest_name_is_offered_only_when_it_is_near() -> None:
    assert nearest("stiring", ["stirring", "monitor"]) == " Did you mean 'stirring'?"
    assert nearest("xyz", ["stirring", "monitor"]) == ""


@pytest.mark.parametrize("text", ["1_0", "\u0661\u0660", "\uff11", "1\u00a0"], ids=ascii)
def test_what_only_python_takes_for_a_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        to_number(text)
    with pytest.raises(ValueError, match="is not a number"):
        to_integer(text)


WITH_COMMAND = JobSpec(
    "od_blank",
    "Measure.",
    options=(Option("n_samples", "integer"), Option("kind", "text", choices=("fast", "slow"))),
    commands=(Command("delete_it", "Forget.", options=(Option("experiment", "text"),)),),
)


@pytest.mark.parametrize(
    ("args", "command", "parsed"),
    [
        (["delete_it", "--experiment", "E1"], "delete_it", {"experiment": "E1"}),
        (["delete-it"], "delete_it", {}),
        (["--n-samples", "5"], None, {"n_samples": 5}),
        ([], None, {}),
    ],
    ids=["command with option", "dash", "no command", "nothing"],
)
def test_a_command_has_options_of_its_own(args: list[str], command: str | None, parsed: dict[str, Any]) -> None:
    found = WITH_COMMAND.command(args)
    assert (None if found is None else found.name) == command
    assert WITH_COMMAND.parse_options({}, args) == parsed


@pytest.mark.parametrize(
    ("args", "word"),
    [(["delete_it", "--n-samples", "5"], "n_samples"), (["--kind", "odd"], "fast, slow"), (["deleted"], "deleted")],
    ids=["the job's option for a command", "no choice", "no command"],
)
def test_what_a_command_or_choice_does_not_take_is_refused(args: list[str], word: str) -> None:
    with pytest.raises(InvalidRequest, match=word):
        WITH_COMMAND.parse_options({}, args)


DOSING = JobSpec(
    "dosing_automation",
    "Dose.",
    options=(Option("duration", "float", default=60.0, minimum=0.1, unit="min"), Option("skip_first_run", "flag")),
    settings=(Setting("duration", "float", "min", settable=True), Setting("latest_event", "json")),
    automations=(
        Automation("silent", "Nothing."),
        Automation(
            "turbidostat",
            "Hold a biomass.",
            options=(
                Option("target_biomass", "float", required=True, minimum=0.0),
                Option("duration", "float", maximum=0.25),
                Option("dry_run", "flag"),
            ),
            settings=(Setting("target_biomass", "float", settable=True), Setting("duration", "float", "min")),
        ),
        Automation("chemostat", "Hold a rate.", settings=(Setting("target_biomass", "string", settable=True),)),
    ),
)


def test_the_options_are_the_jobs_and_those_of_the_chosen_automation() -> None:
    given = {"automation_name": "turbidostat", "target_biomass": "1.5", "duration": 0.2}
    assert DOSING.parse_options(given) == {"automation_name": "turbidostat", "target_biomass": 1.5, "duration": 0.2}
    assert DOSING.parse_options({"automation_name": "silent", "duration": 90}) == {
        "automation_name": "silent",
        "duration": 90.0,
    }
    args = ["--dry-run", "--automation-name", "turbidostat", "--target-biomass=1"]
    assert DOSING.parse_options({}, args)["dry_run"] is True


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "automation_name is required."),
        ({"automation_name": "chemo"}, "automation_name 'chemo' is none of silent, turbidostat, chemostat."),
        ({"automation_name": "turbidostat"}, "target_biomass is required."),
        ({"automation_name": "turbidostat", "target_biomass": 1, "duration": 1}, "duration 1 is above the limit"),
        (
            {"automation_name": "silent", "target_biomass": 1},
            "'target_biomass' is an option of turbidostat, not of sil",
        ),
        ({"automation_name": "silent", "target": 1}, "dosing_automation has no option 'target'."),
        ({"automation_name": ["silent"]}, "is not a text."),
    ],
    ids=["none", "unknown", "its own is missing", "its own limit", "another one's", "nobody's", "a list"],
)
def test_a_wrong_choice_of_automation_or_option_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        DOSING.parse_options(options)
    assert problem in caught.value.message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"automation_name": "chemo"}, "automation_name 'chemo' is none of silent, turbidostat, chemostat."),
        ({}, "automation_name is required."),
    ],
    ids=["unknown", "none"],
)
def test_without_a_known_automation_nothing_is_said_of_what_one_takes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        DOSING.parse_options({**options, "target_biomass": 1})
    assert caught.value.message == message


def test_where_two_settings_have_one_name_that_of_the_running_automation_counts() -> None:
    assert DOSING.parse_setting("duration", 5) == 5.0
    with pytest.raises(NotSettable):
        DOSING.parse_setting("duration", 5, "turbidostat")
    assert DOSING.parse_setting("target_biomass", "2", "turbidostat") == 2.0
    assert DOSING.parse_setting("target_biomass", "much", "chemostat") == "much"
    assert [setting.name for setting in DOSING.settings_with("silent")] == ["duration", "latest_event"]
    assert {setting.name for setting in DOSING.every_setting()} == {"duration", "latest_event", "target_biomass"}


DOSE = JobSpec(
    "add_media",
    "Dose.",
    options=(
        Option("ml", "float", minimum=0.0),
        Option("duration", "float", minimum=0.0),
        Option("continuously", "flag"),
        Option("manually", "flag"),
    ),
    one_of=("ml", "duration", "continuously"),
    requires=(("manually", "ml"),),
)


@pytest.mark.parametrize(
    "options",
    [{"ml": 1}, {"duration": 0}, {"continuously": None}, {"ml": 1, "continuously": False}, {"ml": 1, "manually": True}],
    ids=str,
)
def test_exactly_one_of_several_options_is_given(options: dict[str, Any]) -> None:
    assert DOSE.parse_options(options)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({}, "none"),
        ({"ml": None}, "none"),
        ({"continuously": False}, "none"),
        ({"ml": 1, "duration": 1}, "ml and duration"),
        ({"ml": 0, "continuously": None}, "ml and continuously"),
        ({"manually": None, "duration": 1}, "manually needs ml"),
    ],
    ids=str,
)
def test_none_or_several_of_them_are_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidRequest, match=word):
        DOSE.parse_options(options)


STEPS = JobSpec(
    "pumps",
    "Dose.",
    steps=(Option("media", "float", minimum=0.0), Option("alt_media", "float"), Option("sleep", "float", maximum=60.0)),
)


@pytest.mark.parametrize(
    ("args", "options", "parsed"),
    [
        (["media", "1", "sleep", "5"], {}, [["media", 1.0], ["sleep", 5.0]]),
        (["--media", "1", "-alt-media", "2.5"], {}, [["media", 1.0], ["alt_media", 2.5]]),
        (["--media=1"], {}, [["media", 1.0]]),
        (["media", "1", "media", "2"], {}, [["media", 1.0], ["media", 2.0]]),
        (["sleep", "1"], {"media": 1, "media_": "3"}, [["sleep", 1.0], ["media", 1.0], ["media", 3.0]]),
        ([], {"alt-media__": 0}, [["alt_media", 0.0]]),
    ],
    ids=["plain", "dashes", "equals", "twice", "options after args", "underscores"],
)  # fmt: skip
def test_steps_are_read_in_their_order(args: list[str], options: dict[str, Any], parsed: list[Any]) -> None:
    assert STEPS.parse_options(options, args) == {"steps": parsed}


@pytest.mark.parametrize(
    ("args", "options", "word"),
    [
        ([], {}, "No step"),
        (["media"], {}, "no value"),
        (["media", "1", "alt_media"], {}, "no value"),
        (["medai", "1"], {}, "media"),
        (["media", "-1"], {}, "below"),
        (["media", "inf"], {}, "finite"),
        (["sleep", "61"], {}, "above"),
        ([], {"media": None}, "no value"),
        ([], {"media": True}, "not a number"),
    ],
    ids=str,
)
def test_steps_that_are_none_are_refused(args: list[str], options: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidRequest, match=word):
        STEPS.parse_options(options, args)
