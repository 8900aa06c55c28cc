"""Readings, the vial, faults, self-tests: the operations about what is in the reactor."""

from __future__ import annotations

from reactor_unit.openapi.numbers import text_of_numbers
from reactor_unit.openapi.operation import Answer, Body, Content, Operation, Parameter, answer
from reactor_unit.openapi.shared import API, TIME, name, number
from reactor_unit.resources import readings
from reactor_unit.resources import response_schemas as answers

FAULT = {
    "id": "3",
    "kind": "too_hot",
    "message": "The board is at 66.2 degC.",
    "cause": "The limit of this model is 65 degC.",
    "remediation": "Let it cool, check the heater, then clear the fault.",
    "jobs": ["temperature_automation"],
    "job_name": "temperature_automation",
    "experiment": "Exp001",
    "at": TIME,
}
VIAL = {
    "current_volume_ml": 14.0,
    "max_working_volume_ml": 14.0,
    "maximum_volume_ml": 38.0,
    "alt_media_fraction": 0.0,
    "in_flight": [],
    "experiment": "Exp001",
    "media_throughput": 12.5,
    "alt_media_throughput": 0.0,
}
SELF_TEST = {
    "job_id": "7",
    "planned": ["test_REF_is_in_correct_position"],
    "results": [
        {
            "name": "test_REF_is_in_correct_position",
            "status": "ok",
            "what": "The reference is in channel 1.",
            "remedy": "",
            "timestamp": TIME,
            "job_id": "7",
        }
    ],
}
READING = {"timestamp": TIME, "name": "od.90.2", "value": 0.412}
FIRST_S, LAST_S = readings.YEARS_THAT_DATES_HAVE_S
AS_TIME = {
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "number", "minimum": FIRST_S, "maximum": LAST_S},
    ]
}
OPERATIONS = [
    Operation(
        "GET",
        f"{API}/readings",
        "readings",
        "What was measured, in the order of time",
        (
            Answer(
                200,
                "Readings, as JSON or CSV.",
                (
                    Content(answers.ReadingsAnswer, {"readings": [READING]}),
                    Content({"type": "string"}, f"timestamp,name,value\r\n{TIME},od.90.2,0.412\r\n", readings.CSV),
                ),
            ),
        ),
        f"Of more than `limit` the newest are in the answer. More than {readings.LARGE} are sent to one client at a "
        "time (503 for others). `since` may not be later than `until`.",
        parameters=(
            Parameter(
                "names",
                "query",
                "Series, each a name or the beginning of names with a `*` behind; all when left out.",
                {
                    "type": "array",
                    "items": {"type": "string", "pattern": r"^[^*,]*\*?$"},
                    "maxItems": readings.MAX_NAMES,
                },
                ["od.*", "growth_rate"],
            ),
            Parameter("since", "query", "A time, or seconds since 1970.", AS_TIME, TIME),
            Parameter("until", "query", "A time, or seconds since 1970.", AS_TIME),
            number("limit", "How many at most.", readings.MAX_LIMIT, readings.DEFAULT_LIMIT),
            Parameter("format", "query", "Instead of the header Accept.", {"type": "string", "enum": ["json", "csv"]}),
        ),
    ),
    Operation(
        "GET",
        f"{API}/readings/names",
        "readings",
        "Of what there are readings",
        (answer(answers.ReadingNamesAnswer, {"names": ["growth_rate", "od.90.2"]}, "The names of all series."),),
        conditional=True,
    ),
    Operation(
        "GET",
        f"{API}/vial",
        "vial",
        "The account of the liquid in the vial",
        (answer(answers.VialAnswer, VIAL, "Volumes in ml; the current one is the most that there may be."),),
        errors=(409,),
        conditional=True,
    ),
    Operation(
        "PUT",
        f"{API}/vial",
        "vial",
        "Tell the unit what is really in the vial",
        (answer(answers.VialAnswer, VIAL, "The account as it is now."),),
        "What is left out stays. Not while a pump runs.",
        Body(
            "PutVial",
            {
                "type": "object",
                "properties": {
                    "current_volume_ml": {
                        "type": ["number", "string"],
                        "minimum": 0,
                        "pattern": text_of_numbers(0, None),
                    },
                    "max_working_volume_ml": {
                        "type": ["number", "string"],
                        "exclusiveMinimum": 0,
                        "exclusiveMaximum": 38,
                        "pattern": text_of_numbers(1, 37),
                        "description": "Below what the model may hold: 18 ml for a vial of 20 ml, 38 for one of 40 ml.",
                    },
                    "alt_media_fraction": {
                        "type": ["number", "string"],
                        "minimum": 0,
                        "maximum": 1,
                        "pattern": text_of_numbers(0, 1),
                    },
                },
                "additionalProperties": False,
                "minProperties": 1,
            },
            {"a fresh vial": {"current_volume_ml": 14.0, "alt_media_fraction": 0}},
            required=True,
        ),
        errors=(409,),
    ),
    Operation(
        "GET",
        f"{API}/faults",
        "faults",
        "Latched faults, oldest first",
        (answer(answers.FaultsAnswer, {"faults": [FAULT]}, "What a person has to look at, and clear."),),
        conditional=True,
    ),
    Operation(
        "DELETE",
        f"{API}/faults/{{fault_id}}",
        "faults",
        "Clear a latched fault",
        (answer(answers.ClearedFault, {"cleared": FAULT}, "What it was."),),
        parameters=(name("fault_id", "The fault's id.", "3"),),
        errors=(409,),
    ),
    Operation(
        "GET",
        f"{API}/self_test/results",
        "self-test",
        "The last result of each self-test",
        (answer(answers.SelfTestResultsAnswer, SELF_TEST, "Also while the job `self_test` runs."),),
        conditional=True,
    ),
]
