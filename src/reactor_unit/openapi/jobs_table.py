"""Tasks, jobs and their settings: the operations, and those of each built-in job from its description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from reactor_unit.job_spec import JobSpec, Setting
from reactor_unit.openapi.job_schemas import run_schema, settable, setting_schema
from reactor_unit.openapi.operation import Answer, Body, Content, Operation, Parameter, answer, list_of, object_of
from reactor_unit.openapi.shared import API, TASK_ID, TASK_PATH, TIME, accepted, flag, name, number
from reactor_unit.resources import jobs, schemas
from reactor_unit.resources import response_schemas as answers
from reactor_unit.resources.preferences import LONGEST_WAIT_S

ROW: dict[str, Any] = {
    "job_id": "2",
    "unit": "pio01",
    "experiment": "Exp001",
    "job_name": "stirring",
    "job_source": "user",
    "started_at": TIME,
    "is_running": 1,
    "leader": "pio01",
    "pid": 812,
    "is_long_running_job": 0,
    "ended_at": None,
}
HISTORY_ROW = {**ROW, "state": "ready", "cause": None, "options": {"target_rpm": 400.0}}
DONE = {"task_id": TASK_ID, "result_url_path": TASK_PATH, "status": "complete", "result": {"job_id": "2"}}
WAITING = {"task_id": TASK_ID, "result_url_path": TASK_PATH, "status": "in_progress"}
FAILED = {
    "task_id": TASK_ID,
    "result_url_path": TASK_PATH,
    "status": "failed",
    "error": "stirring ended while it started.",
    "error_info": {
        "cause": "The hall sensor gives no signal.",
        "remediation": "Check that the vial and its stir bar are in place.",
        "status": 500,
    },
}
GIVEN = {"type": ["string", "integer"], "minLength": 1, "not": {"const": 0}}
ANY_VALUE: dict[str, Any] = {}
ONE_VALUE = {**object_of(ANY_VALUE), "minProperties": 1, "maxProperties": 1}
SETTINGS = {
    "type": "object",
    "properties": {"settings": object_of(ANY_VALUE)},
    "required": ["settings"],
    "additionalProperties": False,
}
RUNNING = (answer(list_of(answers.RunningJobRowShown), [ROW], "A row for each."),)
WITH_SETTINGS = (
    flag("settings", "Have in each row what its job publishes, as `settings`."),
    flag("typed", "Have these values as JSON has them, not as text."),
)
JOB = name("job_name", "The job's name.", "my_job")
TYPED = flag("typed", "Have values as JSON has them: numbers as numbers.")
PREFER = Parameter(
    "Prefer",
    "header",
    f"`wait=N`: hold the answer until the task ends, for N seconds at most, and {LONGEST_WAIT_S} in any case.",
    {"type": "string"},
    "wait=10",
)

# What is sent as an example for each job; one that is not here is started without options.
EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "add_alt_media": {"half a millilitre": {"options": {"ml": 0.5}}},
    "add_media": {"half a millilitre": {"options": {"ml": 0.5}}},
    "circulate_alt_media": {"five seconds": {"options": {"duration": 5}}},
    "circulate_media": {"five seconds": {"options": {"duration": 5}}},
    "dosing_automation": {
        "turbidostat": {"options": {"automation_name": "turbidostat", "target_biomass": 1.2, "exchange_volume_ml": 0.5}}
    },
    "led_automation": {
        "days of 16 hours": {
            "options": {
                "automation_name": "light_dark_cycle",
                "light_intensity": 50,
                "light_duration_minutes": 960,
                "dark_duration_minutes": 480,
            }
        }
    },
    "led_intensity": {"LED B at a fifth": {"options": {"B": 20}}},
    "od_blank": {"measure": {"env": {"EXPERIMENT": "Exp001"}}, "forget": {"args": ["delete"]}},
    "pumps": {"half a millilitre for another": {"options": {"waste": 0.5, "media": 0.5}}},
    "remove_waste": {"ten seconds": {"options": {"duration": 10}}},
    "stirring": {
        "as text": {"options": {"target_rpm": "400"}, "env": {"EXPERIMENT": "Exp001"}},
        "a setting of the configuration for this run": {"config_overrides": [["stirring.config", "use_rpm", "0"]]},
    },
    "temperature_automation": {"thermostat": {"options": {"automation_name": "thermostat", "target_temperature": 30}}},
}

OPERATIONS = [
    Operation(
        "GET",
        f"{API}/task_results/{{task_id}}",
        "tasks",
        "What became of an accepted task",
        (
            answer(answers.TaskAnswerBody, DONE, "It is done; its result."),
            Answer(
                202,
                "It waits or runs.",
                (Content(answers.TaskAnswerBody, WAITING),),
                ("RetryAfter", "PreferenceApplied"),
            ),
            Answer(500, "It failed, and why.", (Content(answers.FailedTaskBody, FAILED),), ("PreferenceApplied",)),
        ),
        "Reading a result does not use it up; it is kept for 24 hours.",
        parameters=(name("task_id", "The task's id, from the answer that accepted it.", TASK_ID), PREFER),
        conditional=True,
    ),
    Operation(
        "GET",
        f"{API}/jobs",
        "jobs",
        "Jobs that run or ran, newest first",
        (answer(list_of(answers.HistoryRow), [HISTORY_ROW], "A row for each run."),),
        parameters=(number("limit", "How many rows at most.", jobs.MAX_HISTORY, jobs.DEFAULT_HISTORY),),
        conditional=True,
    ),
    Operation(
        "GET", f"{API}/jobs/running", "jobs", "Running jobs", RUNNING, parameters=WITH_SETTINGS, conditional=True
    ),
    Operation(
        "GET",
        f"{API}/jobs/running/{{job_name}}",
        "jobs",
        "A job, if it runs",
        RUNNING,
        "An empty list if it does not.",
        parameters=(name("job_name", "The job's name.", "stirring"), *WITH_SETTINGS),
        conditional=True,
    ),
    Operation(
        "GET",
        f"{API}/jobs/running/experiments/{{experiment}}",
        "jobs",
        "Running jobs of an experiment",
        RUNNING,
        parameters=(name("experiment", "The experiment's name.", "Exp001"), *WITH_SETTINGS),
        conditional=True,
    ),
    Operation(
        "GET",
        f"{API}/long_running_jobs/running",
        "jobs",
        "Running jobs of the kind that belongs to the unit, not to an experiment",
        RUNNING,
        parameters=WITH_SETTINGS,
        conditional=True,
    ),
    Operation(
        "POST",
        f"{API}/jobs/run/job_name/{{job_name}}",
        "jobs",
        "Start a job",
        accepted(),
        "Each of the unit's own jobs has a path of its own below, with its options. A plugin's job takes those that "
        "`/unit_api/capabilities` tells. A job that runs already is not started again.",
        Body("RunJob", schemas.RunJobRequest, {"a plugin's job": {"options": {"volume_ml": 1.5}}}),
        (JOB,),
        (404,),
        patch_too=True,
    ),
    Operation(
        "POST",
        f"{API}/jobs/stop",
        "jobs",
        "Stop the jobs that fit all filters that are given",
        accepted(),
        "At least one filter is needed. The task is done when the jobs have ended and their outputs are off.",
        Body(
            "StopJobs",
            {
                "allOf": [schemas.StopJobsRequest],
                "anyOf": [{"properties": {name: GIVEN}, "required": [name]} for name in schemas.STOP_FILTERS],
            },
            {"a job": {"job_name": "stirring"}, "an experiment's jobs": {"experiment": "Exp001"}},
            required=True,
        ),
        patch_too=True,
    ),
    Operation(
        "POST",
        f"{API}/jobs/stop/all",
        "jobs",
        "Stop every job",
        accepted(),
        "Whatever the body is, it has no meaning: nothing keeps a stop from being one.",
        patch_too=True,
    ),
    Operation(
        "GET",
        f"{API}/jobs/settings/job_name/{{job_name}}",
        "settings",
        "All that a running job publishes",
        (answer(SETTINGS, {"settings": {"target_rpm": "400", "$state": "ready"}}, "Each setting with its value."),),
        "One that has no value yet is null.",
        parameters=(name("job_name", "The job's name.", "stirring"), TYPED),
        conditional=True,
    ),
    Operation(
        "PATCH",
        f"{API}/jobs/settings/job_name/{{job_name}}",
        "settings",
        "Refused: settings are set one at a time",
        (),
        "Part of the contract, without function on a unit: always 503.",
        parameters=(name("job_name", "The job's name.", "stirring"),),
    ),
    Operation(
        "GET",
        f"{API}/jobs/settings/job_name/{{job_name}}/setting/{{setting}}",
        "settings",
        "One setting of a running job",
        (answer(ONE_VALUE, {"target_rpm": "400"}, "Its name and its value."),),
        parameters=(
            name("job_name", "The job's name.", "stirring"),
            name("setting", "The setting's name.", "target_rpm"),
            TYPED,
        ),
        conditional=True,
    ),
    Operation(
        "PUT",
        f"{API}/jobs/settings/job_name/{{job_name}}/setting/{{setting}}",
        "settings",
        "Change a setting of a running job",
        (answer(answers.SettingInForce, {"setting": "volume_ml", "value": 1.5}, "The value that is in force now."),),
        "The settings of the unit's own jobs that can be set have paths of their own below, with their ranges.",
        Body("SetSetting", schemas.SetSettingRequest, {"a value": {"value": 1.5}}, required=True),
        (JOB, name("setting", "The setting's name.")),
        (403, 409),
    ),
]


def job_operations(spec: JobSpec) -> Iterator[Operation]:
    """Yield the operations of one job: to run it, and to read and change each setting that can be set."""
    examples = EXAMPLES.get(spec.name, {"with defaults": {}})
    schema = run_schema(spec)
    yield Operation(
        "POST",
        f"{API}/jobs/run/job_name/{spec.name}",
        f"job {spec.name}",
        f"Start {spec.name}",
        accepted(),
        spec.help,
        Body(f"Run_{spec.name}", schema, examples, required="required" in schema),
        patch_too=True,
    )
    for setting in settable(spec):
        yield from _setting_operations(spec, setting)


def _setting_operations(spec: JobSpec, setting: Setting) -> Iterator[Operation]:
    path = f"{API}/jobs/settings/job_name/{spec.name}/setting/{setting.name}"
    value = example_of(setting)
    of_all = {one.path + one.method: one for one in OPERATIONS}
    template = f"{API}/jobs/settings/job_name/{{job_name}}/setting/{{setting}}"
    tag = f"job {spec.name}"
    yield replace(
        of_all[template + "GET"],
        path=path,
        tag=tag,
        summary=f"{setting.name} of {spec.name}",
        parameters=(TYPED,),
        answers=(answer(ONE_VALUE, {setting.name: str(value)}, "Its name and its value."),),
        errors=(404,),
    )
    schema = {
        "type": "object",
        "properties": {"value": setting_schema(setting)},
        "required": ["value"],
        "additionalProperties": False,
    }
    yield replace(
        of_all[template + "PUT"],
        path=path,
        tag=tag,
        summary=f"Change {setting.name} of {spec.name}",
        description="",
        parameters=(),
        answers=(answer(answers.SettingInForce, {"setting": setting.name, "value": value}, "What is in force now."),),
        body=Body(_component(f"Set_{spec.name}_{setting.name}"), schema, {"a value": {"value": value}}, required=True),
        errors=(404, 409),
    )


def example_of(setting: Setting) -> Any:
    """Return a value that a setting can be set to."""
    if setting.choices:
        return setting.choices[0]
    if setting.datatype == "json":
        return {}
    if setting.datatype == "boolean":
        return True
    if setting.datatype in ("float", "integer"):
        return 1 if setting.maximum is None else min(setting.maximum, max(1, setting.minimum or 0))
    return "text"


def _component(text: str) -> str:
    return text.replace("$", "")
