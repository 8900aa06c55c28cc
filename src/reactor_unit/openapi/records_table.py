"""Calibrations, estimators and the sessions that make them: the operations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reactor_unit.calibrations.protocols import PROTOCOLS
from reactor_unit.config import load_config
from reactor_unit.openapi.json_schemas import NAME
from reactor_unit.openapi.operation import (
    ZIP,
    Answer,
    Body,
    Content,
    Operation,
    Schema,
    answer,
    list_of,
    object_of,
)
from reactor_unit.openapi.shared import API, TIME, file_name, name
from reactor_unit.resources import calibration_sessions as sessions
from reactor_unit.resources import response_schemas as answers

NO_FOLDER = Path("/nonexistent")
PUMP_FILE = """\
calibration_type: simple_peristaltic_pump
calibration_name: media-1
calibrated_on_pioreactor_unit: pio01
created_at: 2026-01-31T12:45:00Z
curve_data_: {type: poly, coefficients: [0.06, 0.0]}
recorded_data: {x: [8.0, 16.0], y: [0.48, 0.96]}
hz: 250.0
dc: 100
voltage: 12.1
"""
CALIBRATION: dict[str, Any] = {
    "calibration_type": "simple_peristaltic_pump",
    "calibration_name": "media-1",
    "calibrated_on_pioreactor_unit": "pio01",
    "created_at": "2026-01-31T12:45:00Z",
    "curve_data_": {"type": "poly", "coefficients": [0.06, 0.0]},
    "x": "Duration",
    "y": "Volume",
    "recorded_data": {"x": [8.0, 16.0], "y": [0.48, 0.96]},
    "hz": 250.0,
    "dc": 100.0,
    "voltage": 12.1,
    "is_active": True,
    "pioreactor_unit": "pio01",
}
ESTIMATOR: dict[str, Any] = {
    "estimator_type": "od_fused_estimator",
    "estimator_name": "fused-1",
    "calibrated_on_pioreactor_unit": "pio01",
    "created_at": "2026-01-31T12:45:00Z",
    "device": "od_fused",
    "is_active": False,
    "pioreactor_unit": "pio01",
}
SESSION: dict[str, Any] = {
    "session": {
        "session_id": "0f4a",
        "protocol_name": "duration_based",
        "target_device": "media_pump",
        "status": "in_progress",
        "step_id": "intro_confirm_1",
        "data": {},
        "created_at": TIME,
        "updated_at": TIME,
        "result": None,
        "error": None,
        "revision": 0,
        "task_id": None,
    },
    "step": {
        "step_id": "intro_confirm_1",
        "step_type": "info",
        "title": "Before you begin",
        "body": "Have water and a scale at hand.",
        "fields": [],
        "metadata": {},
    },
}
ENDED = {"session": {**SESSION["session"], "status": "aborted"}, "step": None}
PROTOCOL = {
    "id": "duration_based",
    "target_device": "media_pump",
    "protocol_name": "duration_based",
    "priority": 1,
    "title": "Media pump",
    "description": "Weigh what the pump moves in given times.",
    "requirements": ["A scale"],
}
SUCCESS = answer(answers.StatusAnswer, {"status": "success"}, "It is so.")
SESSION_ID = name("session_id", "The session's id.", "0f4a")


def _records(word: str, schema: Schema, example: dict[str, Any], device: str, own_name: str) -> Iterator[Operation]:
    """Yield what can be done with calibrations, and alike with estimators."""
    words, tag = f"{word}s", f"{word}s"
    article = "an" if word[0] in "aeiou" else "a"
    of_device = file_name("device", "Of what.", device)
    of_name = file_name(f"{word}_name", f"The {word}'s name.", own_name)
    yield Operation(
        "GET",
        f"{API}/{words}",
        tag,
        f"All {words} by device",
        (answer(object_of(list_of(schema)), {device: [example]}, "A list for each device that has any."),),
        conditional=True,
    )
    yield Operation(
        "GET",
        f"{API}/{words}/{{device}}",
        tag,
        f"The {words} of a device",
        (answer(list_of(schema), [example], "A list, which may be empty."),),
        parameters=(of_device,),
        conditional=True,
    )
    yield Operation(
        "GET",
        f"{API}/{words}/{{device}}/{{{word}_name}}",
        tag,
        f"One {word}",
        (answer(schema, example, "What is in its file, and whether it is active."),),
        parameters=(of_device, of_name),
        conditional=True,
    )
    yield Operation(
        "DELETE",
        f"{API}/{words}/{{device}}/{{{word}_name}}",
        tag,
        f"Delete {article} {word}",
        (answer(answers.MessageAnswer, {"msg": f"{word.capitalize()} '{own_name}' deleted."}, "It is deleted."),),
        parameters=(of_device, of_name),
    )
    yield Operation(
        "GET",
        f"{API}/active_{words}",
        tag,
        f"The active {word} of each device",
        (answer(object_of(schema), {device: {**example, "is_active": True}}, "One for each device that has one."),),
        conditional=True,
    )
    yield Operation(
        "DELETE",
        f"{API}/active_{words}/{{device}}",
        tag,
        f"Let a device have no active {word}",
        (SUCCESS,),
        parameters=(of_device,),
    )
    yield Operation(
        "PATCH",
        f"{API}/active_{words}/{{device}}/{{{word}_name}}",
        tag,
        f"Make {article} {word} the active one of its device",
        (SUCCESS,),
        parameters=(of_device, of_name),
    )


def _protocols() -> dict[str, Any]:
    """Return the schema of the body that starts a session: the guided ways of a unit as it comes."""
    config = load_config(NO_FOLDER)
    pairs = [
        {"properties": {"protocol_name": {"const": name}, "target_device": {"enum": list(one.target_devices(config))}}}
        for name, one in sorted(PROTOCOLS.items())
        if one.walk is not None
    ]
    return {
        "type": "object",
        "properties": {"target_device": NAME, "protocol_name": NAME},
        "required": ["target_device", "protocol_name"],
        "additionalProperties": False,
        "anyOf": pairs,
    }


OPERATIONS = [
    Operation(
        "GET",
        f"{API}/calibration_protocols",
        "calibrations",
        "The guided ways to calibrate",
        (answer(list_of(answers.ProtocolAnswer), [PROTOCOL], "An entry for each protocol and device."),),
        conditional=True,
    ),
    *_records("calibration", answers.CalibrationAnswer, CALIBRATION, "media_pump", "media-1"),
    Operation(
        "POST",
        f"{API}/calibrations/{{device}}",
        "calibrations",
        "Add a calibration",
        (
            answer(
                answers.CreatedAnswer,
                {
                    "msg": "Calibration created successfully.",
                    "path": "/home/pi/.pioreactor/storage/calibrations/media_pump/media-1.yaml",
                },
                "Its file is written.",
                201,
            ),
        ),
        "Its file in YAML, as in `docs/calibrations.md`, is checked before it is written.",
        Body(
            "CreateCalibration",
            {
                "type": "object",
                "properties": {
                    "calibration_data": {"type": "string", "format": "calibration"},
                    "set_as_active": {"type": "boolean", "default": False},
                    "overwrite": {"type": "boolean", "default": False},
                },
                "required": ["calibration_data"],
                "additionalProperties": False,
            },
            {"of a pump": {"calibration_data": PUMP_FILE, "set_as_active": True, "overwrite": True}},
            required=True,
        ),
        (file_name("device", "Of what.", "media_pump", is_new=True),),
        (409,),
    ),
    Operation(
        "GET",
        f"{API}/zipped_calibrations",
        "calibrations",
        "The files of all calibrations",
        (Answer(200, "An archive.", (Content({"type": "string", "format": "binary"}, None, ZIP),)),),
        errors=(429,),
    ),
    *_records("estimator", answers.EstimatorAnswer, ESTIMATOR, "od_fused", "fused-1"),
    Operation(
        "POST",
        f"{API}/calibrations/sessions",
        "calibration sessions",
        "Start a guided calibration",
        (answer(answers.SessionAnswer, SESSION, "The session and its first step.", 201),),
        "Which protocols there are for which device is told by `/unit_api/calibration_protocols`; one that there is "
        "not is answered with 400.",
        Body(
            "StartSession",
            _protocols(),
            {"a pump": {"target_device": "media_pump", "protocol_name": "duration_based"}},
            required=True,
        ),
        errors=(409,),
    ),
    Operation(
        "GET",
        f"{API}/calibrations/sessions/{{session_id}}",
        "calibration sessions",
        "A session and the step it is at",
        (answer(answers.SessionAnswer, SESSION, "The session."),),
        parameters=(SESSION_ID,),
        conditional=True,
    ),
    Operation(
        "POST",
        f"{API}/calibrations/sessions/{{session_id}}/inputs",
        "calibration sessions",
        "Answer a step",
        (answer(answers.SessionAnswer, SESSION, "The session and its next step."),),
        "The answer comes when what the step does with the hardware is done. What the step asks for is in its "
        "`fields`; other inputs are answered with 400.",
        Body(
            "AnswerStep",
            sessions.AdvanceSessionRequest,
            {"a step that asks for nothing": {"inputs": {}}, "a number": {"inputs": {"volume_ml": 10}, "revision": 3}},
        ),
        (SESSION_ID,),
        (409,),
    ),
    Operation(
        "POST",
        f"{API}/calibrations/sessions/{{session_id}}/abort",
        "calibration sessions",
        "Abort a session",
        (answer(answers.SessionAnswer, ENDED, "Its hardware is off."),),
        parameters=(SESSION_ID,),
        errors=(409,),
    ),
]
