"""Several pumps one after the other, in the order that is given."""

from __future__ import annotations

from reactor_unit.job_spec import JobSpec, Option
from reactor_unit.vial import ROLES
from reactor_unit.workers.dosing import CALIBRATIONS, DOSING_EVENT, FAULT, TABLES, Dose
from reactor_unit.workers.jobs.pump_actions import NEVER_FULL, OFF, DosingAction

SLEEP = "sleep"


class Pumps(DosingAction):
    """Carry out steps: a volume for a pump, or a time to wait. All of them are checked before the first one."""

    spec = JobSpec(
        name="pumps",
        help="Run pumps one after the other.",
        steps=(
            Option("media", "float", "Media to add.", minimum=0.0, unit="ml"),
            Option("alt_media", "float", "Alt-media to add.", minimum=0.0, unit="ml"),
            Option("waste", "float", "Waste to remove.", minimum=0.0, unit="ml"),
            Option(SLEEP, "float", "Time to wait.", minimum=0.0, unit="s"),
        ),
        settings=(DOSING_EVENT, FAULT),
        recalls=TABLES,
        calibrations=CALIBRATIONS,
        interlocks=(
            "Every step is checked before the first pump runs, with the volume that the vial would have by then.",
            NEVER_FULL,
            OFF,
        ),
    )

    def check(self) -> tuple[str, ...]:
        """Follow the volume through all steps."""
        doses = [Dose(name, value) for name, value in self.options["steps"] if name != SLEEP]
        self._doser.check(doses)
        wanted = {dose.role for dose in doses}
        return tuple(role for role in ROLES if role in wanted)

    def act(self) -> None:
        """Carry out the steps."""
        for name, value in self.options["steps"]:
            if name == SLEEP:
                self.runtime.wait(value)
            else:
                self._doser.pump(name, ml=value, source_of_event=self.source_of_event)
