"""One pump by hand: add media or alt-media, or remove waste, by volume, by time, or until it is stopped."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from reactor_unit.config import Config
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.job_spec import JobSpec, Option
from reactor_unit.vial import ALT_MEDIA, MEDIA, WASTE
from reactor_unit.workers.dosing import DOSING_EVENT, FAULT, SLICE_S, TABLES, Dose, Doser
from reactor_unit.workers.job import Job, JobRuntime
from reactor_unit.workers.live import Finished

log = logging.getLogger(__name__)

QUIET_S = 3600.0  # there is one tick
SOURCE_OF_EVENT = Option("source_of_event", "text", "Who asks for it, for the record.", default="CLI")
OFF = "Its pumps stand still when it ends or sleeps, for any reason."
NEVER_FULL = "What would or could bring the vial to the model's maximum volume is refused, or ended before it does."


class DosingAction(Job):
    """Run pumps once, and end. All is checked in `start`, so that a refusal is the answer to the run request.

    Put to sleep it stops its pumps; woken it ends, and what is missing is not made up for.
    """

    trouble_limit: ClassVar[int] = 1  # a dose that failed is not given a second time

    def __init__(self, runtime: JobRuntime, hardware: Hardware, config: Config, options: Mapping[str, Any]) -> None:
        super().__init__(runtime, hardware, config, options)
        self._doser = Doser(runtime, hardware, config)
        self._was_broken_off = False

    @property
    def interval_s(self) -> float:
        """Seconds from tick to tick; the first one is the last."""
        return QUIET_S

    @property
    def source_of_event(self) -> str:
        """Who asks for it."""
        return str(self.options.get("source_of_event") or "CLI")

    def start(self) -> float:
        """Check everything; nothing moves yet."""
        roles = self.check()
        with self._doser.claimed(roles, self.source_of_event):
            return 0.0

    @abstractmethod
    def check(self) -> tuple[str, ...]:
        """Raise what speaks against it; return the pumps that will run."""

    @abstractmethod
    def act(self) -> None:
        """Run the pumps."""

    def tick(self) -> None:
        """Do it, and end."""
        if not self._was_broken_off:
            self.act()
        raise Finished

    def sleep(self) -> None:
        """Stay still; the pumps were stopped when the tick was broken off."""
        self._was_broken_off = True

    def wake(self) -> None:
        """End."""
        log.warning("%s slept, and does not make up for what is missing.", self.spec.name)
        self.runtime.schedule.plan(self.runtime.clock())

    def close(self) -> None:
        """Stop the pumps. May be called twice."""
        self._doser.close()


class PumpAction(DosingAction):
    """Move `ml`, run for `duration`, or run until stopped; `manually` only counts what a person did."""

    role: ClassVar[str]

    def check(self) -> tuple[str, ...]:
        """Check the amount against calibration, longest run and vial; of what was moved by hand, that it can count."""
        if self.options.get("manually"):
            self._doser.state()
            return ()
        self._doser.check([Dose(self.role, self.options.get("ml"), self._duration_s())])
        return (self.role,)

    def _duration_s(self) -> float | None:
        """Return for how long it is to run; of a run without an end, the first seconds."""
        duration_s: float | None = self.options.get("duration")
        return SLICE_S if self.options.get("continuously") else duration_s

    def act(self) -> None:
        """Run the pump, or count."""
        if self.options.get("manually"):
            self._doser.by_hand(self.role, self.options["ml"])
        elif self.options.get("continuously"):
            self._doser.pump_continuously(self.role, self.source_of_event)
        else:
            moved_ml = self._doser.pump(
                self.role,
                ml=self.options.get("ml"),
                duration_s=self._duration_s(),
                source_of_event=self.source_of_event,
            )
            log.info("%s: %.3f ml (%s).", self.spec.name, moved_ml, self.source_of_event)


def _spec(name: str, help_text: str, role: str, interlocks: tuple[str, ...]) -> JobSpec:
    return JobSpec(
        name=name,
        help=help_text,
        options=(
            Option("ml", "float", "Volume; needs an active calibration of the pump.", minimum=0.0, unit="ml"),
            Option("duration", "float", "Time to run for.", minimum=0.0, unit="s"),
            Option("continuously", "flag", "Run until stopped.", default=False),
            Option("manually", "flag", "A person moved `ml`: count it, and run no pump.", default=False),
            SOURCE_OF_EVENT,
        ),
        settings=(DOSING_EVENT, FAULT),
        recalls=TABLES,
        calibrations=(f"{role}_pump",),
        one_of=("ml", "duration", "continuously"),
        requires=(("manually", "ml"),),
        interlocks=interlocks,
    )


class AddMedia(PumpAction):
    """Bring media into the vial."""

    role = MEDIA
    spec = _spec("add_media", "Add media to the vial.", MEDIA, (NEVER_FULL, OFF))


class AddAltMedia(PumpAction):
    """Bring alt-media into the vial."""

    role = ALT_MEDIA
    spec = _spec("add_alt_media", "Add alt-media to the vial.", ALT_MEDIA, (NEVER_FULL, OFF))


class RemoveWaste(PumpAction):
    """Take liquid out of the vial, down to the end of the waste tube."""

    role = WASTE
    spec = _spec("remove_waste", "Remove waste from the vial.", WASTE, (OFF,))
