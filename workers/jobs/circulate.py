"""Circulation: media comes in by pulses while waste goes out, such as to rinse the vial and its tubes."""

from __future__ import annotations

from typing import ClassVar

from reactor_unit.job_spec import JobSpec, Option
from reactor_unit.vial import ALT_MEDIA, MEDIA, WASTE
from reactor_unit.workers.dosing import DOSING_EVENT, FAULT, TABLES
from reactor_unit.workers.jobs.pump_actions import NEVER_FULL, OFF, SOURCE_OF_EVENT, DosingAction


class Circulate(DosingAction):
    """Run the waste pump, and meanwhile a media pump no faster than waste goes out."""

    role: ClassVar[str]

    def check(self) -> tuple[str, ...]:
        """Check the whole time of the waste pump, and the first seconds of media."""
        self._doser.check_circulation(self.role, self.options["duration"])
        return (WASTE, self.role)

    def act(self) -> None:
        """Circulate."""
        self._doser.circulate(self.role, self.options["duration"], self.source_of_event)


def _spec(name: str, help_text: str, role: str) -> JobSpec:
    return JobSpec(
        name=name,
        help=help_text,
        options=(
            Option("duration", "float", "For how long.", required=True, minimum=0.0, unit="s"),
            SOURCE_OF_EVENT,
        ),
        settings=(DOSING_EVENT, FAULT),
        recalls=TABLES,
        calibrations=(f"{role}_pump", f"{WASTE}_pump"),
        interlocks=(
            "The waste pump runs from a second before media comes in until a second after it.",
            NEVER_FULL,
            OFF,
        ),
    )


class CirculateMedia(Circulate):
    """Circulate media."""

    role = MEDIA
    spec = _spec("circulate_media", "Remove waste and meanwhile add media.", MEDIA)


class CirculateAltMedia(Circulate):
    """Circulate alt-media."""

    role = ALT_MEDIA
    spec = _spec("circulate_alt_media", "Remove waste and meanwhile add alt-media.", ALT_MEDIA)
