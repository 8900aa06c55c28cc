"""The page about the jobs: it says what their descriptions say, and is the one in the repository."""

from __future__ import annotations

from pathlib import Path

from reactor_unit.job_spec import Automation, Command, JobSpec, Option, Setting
from reactor_unit.series import Series
from reactor_unit.workers.jobs import JOBS
from reactor_unit.workers.jobs_page import page

PAGE = Path(__file__).parents[2] / "docs" / "jobs.md"
DOSING = JobSpec(
    "dosing",
    "Dose media.",
    options=(
        Option("volume_ml", "float range", "Volume | dose.", required=True, minimum=0.0, maximum=14.0, unit="mL"),
        Option("duration", "float", default=60.0, unit="min"),
        Option("skip_first_run", "flag"),
    ),
    settings=(
        Setting("volume_ml", "float", "mL", settable=True, minimum=0.5, series=Series("dosing.volume_ml")),
        Setting("pump", "string", choices=("media", "waste")),
    ),
    is_long_running=True,
    needs=("stirring",),
    subscribes=(("od_reading", "ods"), ("od_reading", "interval"), ("monitor", "voltage")),
    excludes=("od_blank",),
    joins=True,
    commands=(Command("clear", "Forget doses.", (Option("experiment", "text", choices=("E1", "E2")),)),),
    interlocks=("No dose into a full vial.",),
    automations=(Automation("silent", "Nothing.", (Option("why", "text"),), (Setting("event", "json"),)),),
)


def test_everything_a_description_says_is_on_the_page() -> None:
    assert page({"dosing": DOSING}).partition("## ")[2].splitlines() == [
        "dosing",
        "",
        "Dose media.",
        "",
        "A long-running job: it starts on an inactive unit too.",
        "",
        "It is not started without `stirring`.",
        "",
        "It is not started beside `od_blank`.",
        "",
        "A further run request while it runs changes its options.",
        "",
        "It hears of `od_reading`: `ods`, `interval`; of `monitor`: `voltage`.",
        "",
        "| option | type | range | default | meaning |",
        "| --- | --- | --- | --- | --- |",
        "| `automation_name` | text | `silent` | required | Which automation. |",
        "| `volume_ml` | float range | 0..14 mL | required | Volume \\| dose. |",
        "| `duration` | float | min | `60` |  |",
        "| `skip_first_run` | flag |  |  |  |",
        "",
        "`dosing clear`: Forget doses.",
        "",
        "| option | type | range | default | meaning |",
        "| --- | --- | --- | --- | --- |",
        "| `experiment` | text | `E1`, `E2` |  |  |",
        "",
        "| setting | type | range | can be set | history |",
        "| --- | --- | --- | --- | --- |",
        "| `volume_ml` | float | 0.5.. mL | yes | `dosing.volume_ml` |",
        "| `pump` | string | `media`, `waste` |  |  |",
        "",
        "Interlocks:",
        "",
        "- No dose into a full vial.",
        "",
        "### dosing: silent",
        "",
        "Nothing.",
        "",
        "| option | type | range | default | meaning |",
        "| --- | --- | --- | --- | --- |",
        "| `why` | text |  |  |  |",
        "",
        "| setting | type | range | can be set | history |",
        "| --- | --- | --- | --- | --- |",
        "| `event` | json |  |  |  |",
    ]


def test_jobs_stand_in_alphabetical_order_and_without_empty_parts() -> None:
    text = page({name: JobSpec(name, "Help.") for name in ("stirring", "monitor")})
    assert text.partition("## ")[2] == "monitor\n\nHelp.\n\n## stirring\n\nHelp.\n"


def test_the_page_in_the_repository_is_up_to_date() -> None:
    assert PAGE.read_text() == page({name: job.spec for name, job in JOBS.items()}), (
        "write it anew: python -m reactor_unit.workers.jobs_page > docs/jobs.md"
    )


def test_steps_and_what_options_are_together_are_on_the_page() -> None:
    text = page(
        {
            "pumps": JobSpec("pumps", "Dose.", steps=(Option("media", "float", "Media.", minimum=0.0, unit="ml"),)),
            "add": JobSpec("add", "Add.", one_of=("ml", "duration"), requires=(("manually", "ml"),)),
        }
    )
    assert "| step | type |" in text
    assert "| `media` | float | 0.. ml |  | Media. |" in text
    assert "Exactly one of `ml`, `duration` is given." in text
    assert "`manually` needs `ml`." in text
