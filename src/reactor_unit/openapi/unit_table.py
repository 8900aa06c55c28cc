"""The unit itself, its machine, files and plugins: the operations."""

from __future__ import annotations

from typing import Any

from reactor_unit.drivers.models import load_models
from reactor_unit.gateway_protocol import (
    CLOCK_LOCK,
    IMPORT_LOCK,
    PLUGINS_LOCK,
    POWER_LOCK,
    UPDATE_LOCK,
    WEB_RESTART_LOCK,
)
from reactor_unit.multipart import MAX_PARTS
from reactor_unit.openapi import install_schemas
from reactor_unit.openapi.json_schemas import NAME
from reactor_unit.openapi.operation import (
    BYTES,
    TEXT,
    ZIP,
    Answer,
    Body,
    Content,
    Operation,
    Parameter,
    answer,
    list_of,
)
from reactor_unit.openapi.shared import API, TIME, accepted, name
from reactor_unit.resources import hardware, schemas
from reactor_unit.resources import response_schemas as answers

STRING = {"type": "string"}
BINARY = {"type": "string", "format": "binary"}
ARCHIVE_FORM = {
    "type": "object",
    "properties": {"archive": BINARY},
    "required": ["archive"],
    "maxProperties": MAX_PARTS,
}
LISTING = {"current": "/home/pi/.pioreactor/storage", "dirs": ["calibrations"], "files": ["vial.json"]}
CAPABILITIES: dict[str, Any] = {
    "jobs": [
        {
            "job_name": "circulate_media",
            "help": "Circulate media.",
            "arguments": [],
            "options": [
                {
                    "name": "duration",
                    "long_flag": "duration",
                    "help": "For how long.",
                    "required": True,
                    "multiple": False,
                    "default": None,
                    "type": "float",
                }
            ],
            "published_settings": {"$state": {"datatype": "text", "settable": True}},
            "cli_example": "reactor-unit jobs run circulate_media --duration 10",
        }
    ],
    "settings": [
        {"job_name": "stirring", "setting": "target_rpm", "datatype": "float", "settable": True, "unit": "RPM"}
    ],
}
PLUGIN = {
    "name": "my_job",
    "version": "0.1.0",
    "description": "A job of my own.",
    "homepage": None,
    "source": "plugins/my_job.py",
    "author": None,
    "error": None,
}
PLUGIN_TEXT = 'def my_plugin_entry():\n    return "ok"\n'
CONDITIONS = tuple(
    Parameter(header, "header", description, STRING)
    for header, description in (
        ("If-Match", "Answer only if the file still has one of these ETags, else 412."),
        ("Range", "A part of the file, as in `bytes=0-1023`."),
        ("If-Range", "Answer with the part only if the file still has this ETag or date, else with all of it."),
    )
)
PATH_ANSWERS = (
    Answer(
        200,
        "A folder's listing, or a file's content: as plain text if it is text, else as bytes.",
        (
            Content(answers.ListingAnswer, LISTING),
            Content(STRING, "[mqtt]\nbroker_address=localhost\n", TEXT),
            Content(BINARY, None, BYTES),
        ),
    ),
    Answer(206, "A part of a file.", (Content(STRING, None, TEXT), Content(BINARY, None, BYTES))),
)


INSTALL_BODY = Body(
    "InstallPlugin",
    install_schemas.INSTALL,
    {
        "the newest": {"args": ["pioreactor-my-plugin"]},
        "from elsewhere": {
            "args": ["pioreactor-my-plugin"],
            "options": {"source": "https://example.org/pioreactor_my_plugin-0.1.0-py3-none-any.whl"},
        },
    },
    required=True,
)
UNINSTALL_BODY = Body(
    "UninstallPlugin", install_schemas.UNINSTALL, {"a plugin": {"args": ["pioreactor-my-plugin"]}}, required=True
)
UPDATE_BODY = Body(
    "Update",
    install_schemas.UPDATE,
    {"the newest": {"options": {}, "args": []}, "a version": {"options": {"version": "1.2.3"}}},
    required=True,
)
TARGET = name("target", "What is updated; a unit has one target.", "app")


def _models() -> dict[str, Any]:
    """Return the schema of a check's body: no model, or one of those that come with the unit."""
    keys = sorted(load_models())
    pairs = [
        {
            "properties": {"model_name": {"const": model}, "model_version": {"const": version}},
            "required": ["model_name", "model_version"],
        }
        for model, version in keys
    ]
    unnamed = {"properties": {"model_name": False, "model_version": False}}
    return {
        "type": "object",
        "properties": {"model_name": NAME, "model_version": NAME, "pumps": {"type": "boolean", "default": False}},
        "additionalProperties": False,
        "anyOf": [unnamed, *pairs],
    }


def _wish(
    path: str, tag: str, summary: str, lock: str, description: str = "", errors: tuple[int, ...] = ()
) -> Operation:
    """Return an operation that takes no body."""
    return Operation("POST", path, tag, summary, accepted(lock), description, errors=errors, patch_too=True)


OPERATIONS = [
    Operation(
        "GET",
        f"{API}/health",
        "unit",
        "Whether the unit serves",
        (
            answer(
                answers.HealthAnswer,
                {"status": "ok", "pioreactor_unit": "pio01", "utc_time": TIME},
                "Its name and its time.",
            ),
        ),
    ),
    Operation(
        "GET",
        f"{API}/versions/app",
        "unit",
        "The version of the program",
        (answer(answers.VersionAnswer, {"version": "v0.1.0"}, "The version."),),
        conditional=True,
    ),
    Operation(
        "GET",
        f"{API}/capabilities",
        "unit",
        "All jobs, automations and settings that this unit has",
        (answer(answers.CapabilitiesAnswer, CAPABILITIES, "Those of plugins too."),),
        conditional=True,
    ),
    Operation(
        "GET",
        f"{API}/openapi.json",
        "unit",
        "This description",
        (answer({"type": "object"}, {"openapi": "3.1.0"}, "OpenAPI 3.1."),),
        errors=(429,),
        conditional=True,
    ),
    Operation(
        "GET",
        f"{API}/docs",
        "unit",
        "This description for people",
        (Answer(200, "A page without scripts.", (Content(STRING, None, "text/html"),)),),
        errors=(429,),
        conditional=True,
    ),
    Operation(
        "GET",
        "/metrics",
        "unit",
        "What the unit counts, for Prometheus",
        (
            Answer(
                200,
                "In the OpenMetrics format.",
                (Content(STRING, "# TYPE reactor_unit_job_up gauge\n# EOF\n", "application/openmetrics-text"),),
            ),
        ),
    ),
    Operation(
        "POST",
        f"{API}/hardware/check",
        "unit",
        "Check the hardware part by part",
        accepted(hardware.LOCK),
        "With `pumps`, liquid is moved. Models that the owner of the unit added may be named too.",
        Body(
            "HardwareCheck",
            _models(),
            {"the unit's own model": {}, "a model": {"model_name": "pioreactor_20ml", "model_version": "1.5"}},
        ),
        patch_too=True,
    ),
    _wish(f"{API}/system/reboot", "system", "Reboot the machine", POWER_LOCK, "Jobs are stopped first."),
    _wish(f"{API}/system/shutdown", "system", "Turn the machine off", POWER_LOCK, "Jobs are stopped first."),
    Operation(
        "GET",
        f"{API}/system/utc_clock",
        "system",
        "The machine's time",
        (answer(answers.ClockAnswer, {"status": "success", "clock_time": TIME}, "In UTC."),),
        conditional=True,
    ),
    Operation(
        "POST",
        f"{API}/system/utc_clock",
        "system",
        "Set the clock of the leader, or have it fetched",
        accepted(CLOCK_LOCK),
        "A unit that is not the leader of its cluster fetches the time, whatever the body is.",
        Body(
            "SetClock", schemas.SetClockRequest, {"a time": {"utc_clock_time": "2026-01-31T12:45:00Z"}}, required=True
        ),
        patch_too=True,
    ),
    Operation(
        "GET",
        f"{API}/system/web_server/status",
        "system",
        "Whether the processes of the unit answer",
        (
            answer(
                answers.WebServerAnswer,
                {
                    "service": "web,supervisor",
                    "state": "ready",
                    "raw_status": "web=active, supervisor=active",
                },
                "Their state.",
            ),
        ),
        "On the leader only.",
        errors=(403,),
        conditional=True,
    ),
    _wish(
        f"{API}/system/web_server/restart",
        "system",
        "Replace the web process by a new one, without a gap",
        WEB_RESTART_LOCK,
        "On the leader only.",
    ),
    Operation(
        "GET",
        f"{API}/system/path",
        "files",
        "The data folder",
        PATH_ANSWERS[:1],
        errors=(403, 404),
        conditional=True,
    ),
    Operation(
        "GET",
        f"{API}/system/path/{{req_path}}",
        "files",
        "A folder or file of the data folder",
        PATH_ANSWERS,
        "Databases and secrets are not shown.",
        parameters=(
            Parameter("req_path", "path", "Where, with its slashes as they are.", STRING, "storage"),
            *CONDITIONS,
        ),
        errors=(403, 412, 416, 429),
        conditional=True,
    ),
    Operation(
        "POST",
        f"{API}/system/remove_file",
        "files",
        "Delete a file of the data folder",
        accepted(),
        "What the unit needs, databases and secrets are not removed.",
        Body(
            "RemoveFile",
            {
                "type": "object",
                "properties": {"filepath": {"type": "string", "minLength": 1}},
                "required": ["filepath"],
                "additionalProperties": False,
            },
            {"a file": {"filepath": "storage/cache.txt"}},
            required=True,
        ),
        errors=(404,),
        patch_too=True,
    ),
    Operation(
        "GET",
        f"{API}/zipped_dot_pioreactor",
        "files",
        "Everything in the data folder",
        (Answer(200, "An archive.", (Content(BINARY, None, ZIP),)),),
        errors=(403, 429),
    ),
    Operation(
        "POST",
        f"{API}/import_zipped_dot_pioreactor",
        "files",
        "Replace the data folder by an archive's",
        accepted(IMPORT_LOCK),
        body=Body("ImportArchive", ARCHIVE_FORM, {}, required=True, media_type="multipart/form-data"),
        errors=(507,),
        runs_code=True,
    ),
    Operation(
        "GET",
        f"{API}/plugins/installed",
        "plugins",
        "The plugins, and whether they can be used",
        (answer(list_of(answers.InstalledPlugin), [PLUGIN], "An entry for each."),),
        conditional=True,
    ),
    Operation(
        "GET",
        f"{API}/plugins/installed/{{filename}}",
        "plugins",
        "The text of a plugin",
        (Answer(200, "The file.", (Content(STRING, PLUGIN_TEXT, TEXT),)),),
        parameters=(name("filename", "A file's name, ending in `.py`.", "my_job.py"),),
        conditional=True,
    ),
    *(
        Operation(
            "POST",
            f"{API}/{path}",
            tag,
            summary,
            accepted(lock),
            "The owner of the unit may forbid it (403), or allow some plugins only.",
            body,
            parameters,
            (404,),
            patch_too=True,
            runs_code=True,
        )
        for path, tag, summary, lock, body, parameters in (
            ("plugins/install", "plugins", "Install a plugin", PLUGINS_LOCK, INSTALL_BODY, ()),
            ("plugins/uninstall", "plugins", "Uninstall a plugin", PLUGINS_LOCK, UNINSTALL_BODY, ()),
            ("system/update", "system", "Update the unit", UPDATE_LOCK, UPDATE_BODY, ()),
            ("system/update/{target}", "system", "Update the unit", UPDATE_LOCK, UPDATE_BODY, (TARGET,)),
        )
    ),
]
