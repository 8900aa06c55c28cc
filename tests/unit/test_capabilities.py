"""What a unit says that it can do: the reference system's entries, made from descriptions."""

from __future__ import annotations

from reactor_unit.capabilities import capabilities
from reactor_unit.job_spec import Automation, Command, JobSpec, Option, Setting
from reactor_unit.workers.jobs import JOBS

ENTRY_KEYS = ["job_name", "help", "arguments", "options", "published_settings", "cli_example"]
OPTION_KEYS = ["name", "long_flag", "help", "required", "multiple", "default", "type"]


def jobs_of(*specs: JobSpec) -> list[dict]:
    return capabilities({spec.name: spec for spec in specs})["jobs"]


def test_the_entry_of_a_job_is_in_the_references_shape() -> None:
    spec = JobSpec(
        "stirring",
        "Stir.",
        options=(Option("target_rpm", "float range", "How fast.", minimum=0), Option("dry_run", "flag")),
        settings=(
            Setting("target_rpm", "float", "RPM", settable=True, persist=True, minimum=0.0),
            Setting("measured_rpm", "MeasuredRPM"),
        ),
    )
    assert jobs_of(spec) == [
        {
            "job_name": "stirring",
            "help": "Stir.",
            "arguments": [],
            "options": [
                {
                    "name": "target_rpm",
                    "long_flag": "target-rpm",
                    "help": "How fast.",
                    "required": False,
                    "multiple": False,
                    "default": None,
                    "type": "float range",
                },
                {
                    "name": "dry_run",
                    "long_flag": "dry-run",
                    "help": "",
                    "required": False,
                    "multiple": False,
                    "default": False,
                    "type": "flag",
                },
            ],
            "published_settings": {
                "target_rpm": {"datatype": "float", "settable": True, "unit": "RPM", "persist": True},
                "measured_rpm": {"datatype": "MeasuredRPM", "settable": False},
                "$state": {"datatype": "text", "settable": True},
            },
            "cli_example": "reactor-unit jobs run stirring [OPTIONS]",
        }
    ]


def test_each_automation_has_an_entry_that_offers_what_can_be_set_as_options() -> None:
    spec = JobSpec(
        "dosing_automation",
        "Dose.",
        options=(Option("duration", "float", "Pause.", default=60.0),),
        settings=(Setting("duration", "float", "min", settable=True), Setting("latest_event", "json")),
        automations=(
            Automation(
                "turbidostat",
                "Hold.",
                options=(Option("target", "float", required=True),),
                settings=(Setting("target", "float", settable=True), Setting("signal", "string", settable=True)),
            ),
            Automation("silent", "Nothing.", settings=(Setting("duration", "float", "min"),)),
        ),
    )
    silent, turbidostat = jobs_of(spec)
    assert list(silent) == ["job_name", "automation_name", *ENTRY_KEYS[1:]]
    assert (silent["automation_name"], silent["help"]) == ("silent", "Nothing.")
    assert [option["name"] for option in silent["options"]] == ["duration"]
    assert silent["published_settings"]["duration"]["settable"] is False
    assert turbidostat["cli_example"] == (
        "reactor-unit jobs run dosing_automation --automation-name turbidostat [OPTIONS]"
    )
    assert [(o["name"], o["required"], o["type"], o["default"]) for o in turbidostat["options"]] == [
        ("duration", False, "float", 60.0),
        ("target", True, "float", None),
        ("signal", False, "string", None),
    ]
    assert list(turbidostat["published_settings"]) == ["duration", "latest_event", "target", "signal", "$state"]


def test_commands_have_entries_of_their_own_and_arguments_are_told() -> None:
    pumps = JobSpec("pumps", "Run pumps.", steps=(Option("media", "float"),))
    blank = JobSpec("od_blank", "Blank.", commands=(Command("delete", "Forget.", (Option("experiment", "text"),)),))
    entries = jobs_of(pumps, blank)
    assert [entry["job_name"] for entry in entries] == ["od_blank", "od_blank delete", "pumps"]
    assert entries[1]["published_settings"] == {}
    assert [option["name"] for option in entries[1]["options"]] == ["experiment"]
    assert entries[1]["cli_example"] == "reactor-unit jobs run od_blank delete [OPTIONS]"
    assert entries[2]["arguments"] == [{"name": "steps", "nargs": -1, "required": True, "type": "text"}]
    assert entries[2]["cli_example"] == "reactor-unit jobs run pumps STEPS [OPTIONS]"


def test_settings_are_told_with_the_limits_that_the_entries_have_no_room_for() -> None:
    spec = JobSpec(
        "light",
        "",
        settings=(Setting("level", "float", "%", settable=True, minimum=0.0, maximum=100.0),),
        automations=(Automation("blink", "", settings=(Setting("mode", "text", choices=("on", "off")),)),),
    )
    assert capabilities({"light": spec})["settings"] == [
        {
            "job_name": "light",
            "setting": "level",
            "datatype": "float",
            "settable": True,
            "unit": "%",
            "minimum": 0.0,
            "maximum": 100.0,
        },
        {
            "job_name": "light",
            "automation_name": "blink",
            "setting": "mode",
            "datatype": "text",
            "settable": False,
            "choices": ["on", "off"],
        },
    ]


def test_every_job_of_the_unit_is_told_and_every_entry_is_of_one_shape() -> None:
    specs = {name: job.spec for name, job in JOBS.items()}
    entries = capabilities(specs)["jobs"]
    assert entries == sorted(entries, key=lambda one: (one["job_name"], one.get("automation_name", "")))
    assert {entry["job_name"].split()[0] for entry in entries} == set(specs)
    for entry in entries:
        assert [key for key in entry if key != "automation_name"] == ENTRY_KEYS
        assert ("automation_name" in entry) == bool(specs[entry["job_name"].split()[0]].automations)
        assert all(list(option) == OPTION_KEYS for option in entry["options"])
        names = [option["name"] for option in entry["options"]]
        assert len(set(names)) == len(names)
        assert "automation_name" not in names
