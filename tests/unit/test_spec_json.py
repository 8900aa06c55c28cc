"""Descriptions that come from other people's code: taken as they are, or refused with the reason."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from typing import Any

import pytest

from reactor_unit import strict_json
from reactor_unit.job_spec import Automation, Command, JobSpec, Option, Setting
from reactor_unit.series import Series
from reactor_unit.spec_json import check_automation, check_spec, decode
from reactor_unit.workers.jobs import JOBS

GOOD = JobSpec(
    "gas_mixing",
    "Mix.",
    options=(Option("flow", "float", default=1, minimum=0.0, maximum=2.0), Option("dry", "flag")),
    settings=(Setting("flow", "float", "L/min", settable=True, series=Series("gas_mixing.flow")),),
    subscribes=(("od_reading", "ods"),),
    commands=(Command("purge", "Purge.", (Option("seconds", "integer"),)),),
    automations=(Automation("slow", "Slowly.", (Option("pace", "float"),), (Setting("pace", "float"),)),),
    interlocks=("The valve closes.",),
)


@pytest.mark.parametrize("spec", [GOOD, *(job.spec for job in JOBS.values())], ids=lambda spec: spec.name)
def test_a_description_comes_back_from_json_as_it_was(spec: JobSpec) -> None:
    assert decode(JobSpec, strict_json.loads(strict_json.dumps(asdict(spec)))) == spec


def changed(**fields: Any) -> dict[str, Any]:
    return {**asdict(GOOD), **fields}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        changed(name=5),
        changed(surprise=1),
        changed(options={"flow": 1}),
        changed(options=[{"name": "flow"}]),
        changed(is_long_running="yes"),
        changed(is_long_running=1),
        changed(subscribes=[["od_reading"]]),
        changed(help="x" * 3000),
        changed(interlocks=["x"] * 101),
        changed(options=[{"name": "a", "datatype": "float", "default": [1]}]),
        changed(options=[{"name": "a", "datatype": "float", "minimum": "0"}]),
        changed(options=[{"name": "a", "datatype": "float", "minimum": float("nan")}]),
    ],
    ids=[
        "null", "list", "empty", "number as name", "unknown field", "object for a list", "something lacks",
        "word for a boolean", "number for a boolean", "half a pair", "long text", "long list", "list as default",
        "text as limit", "nan as limit",
    ],
)  # fmt: skip
def test_what_is_no_description_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match=r"^it"):
        decode(JobSpec, data)


OPTION, SETTING = Option("flow", "float"), Setting("flow", "float")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": "Gas"}, "'Gas'"),
        ({"name": "gas mixing"}, "'gas mixing'"),
        ({"name": "../gas"}, "'../gas'"),
        ({"name": "od_calibration"}, "calibration session"),
        ({"options": (OPTION, OPTION)}, "'flow' is there twice"),
        ({"options": (Option("automation_name", "text"),)}, "made from the automations"),
        ({"options": (Option("a", "number"),)}, "'number'"),
        ({"options": (Option("a", "float", default="much"),)}, "default of the option a is not a number"),
        ({"options": (Option("a", "float", default=3, maximum=2.0),)}, "above the limit"),
        ({"options": (Option("a", "float", minimum=3.0, maximum=2.0),)}, "minimum above its maximum"),
        ({"settings": (SETTING, SETTING)}, "'flow' is there twice"),
        ({"settings": (Setting("$state", "text"),)}, "$state"),
        ({"settings": (Setting("a", "ODs", settable=True),)}, "can be set"),
        ({"settings": (Setting("od", "float", series=Series("od.90.2")),)}, "'od.90.2'"),
        ({"settings": (Setting("a-b", "float"),)}, "'a-b'"),
        ({"commands": (Command("purge", ""), Command("purge", ""))}, "'purge' is there twice"),
        ({"commands": (Command("__init__", ""),)}, "'__init__'"),
        ({"automations": (Automation("Slow", ""),)}, "'Slow'"),
        ({"recalls": ("od blank",)}, "'od blank'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_description_that_does_not_hold_together_is_refused_with_the_reason(
    fields: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        check_spec(replace(GOOD, **fields))


def test_good_ones_pass() -> None:
    check_spec(GOOD)
    check_automation(GOOD.automations[0], "gas_mixing")
