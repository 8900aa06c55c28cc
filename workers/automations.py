"""Dosing automations: what one is, what it may use, and those that come with the unit.

An automation decides, every `duration` minutes, what happens to the liquid. To make one, subclass `DosingAutomation`:
give it a `name`, a `help`, its `options`, and an `execute` that looks at `self.reactor`, doses, and returns an `Event`.

    class HalfAndHalf(DosingAutomation):
        name = "half_and_half"
        help = "Exchange some liquid for equal parts of both media."
        options = (Option("volume_ml", "float", "How much.", required=True, minimum=0.0, unit="mL"),)
        calibrations = ("media_pump", "alt_media_pump", "waste_pump")

        def execute(self) -> Event:
            half_ml = self.parameters["volume_ml"] / 2.0
            self.reactor.exchange(media_ml=half_ml, alt_media_ml=half_ml)
            return Event("DilutionEvent", f"Exchanged {2.0 * half_ml:g} mL.")

The job `dosing_automation` does the rest: when it runs, the pumps and their interlocks, the account of the liquid, what
is published and remembered, sleep, and the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

from reactor_unit.config import Config
from reactor_unit.job_spec import Automation, Option, Setting

STALE_AFTER_S = 300.0  # a reading that is older says nothing of the culture as it is


class JobRequired(Exception):
    """A reading that an automation needs is not there, or too old: the job that makes it does not run, or fails."""


@dataclass(frozen=True)
class Event:
    """What a run of an automation came to; published as `latest_event`."""

    name: str  # as DilutionEvent, AddMediaEvent, NoEvent
    message: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


class Reading(NamedTuple):
    """The newest value that a job published, and how long ago."""

    value: float
    age_s: float


class DosingReactor(Protocol):
    """What an automation may use. Readings older than 5 minutes, or none, raise JobRequired.

    Volumes are in mL. Dosing waits until the pumps have run; what would fill the vial, or has no calibration, is
    refused before any of them moves. An automation lets these errors pass: the job answers them.
    """

    @property
    def config(self) -> Config:
        """The configuration."""

    @property
    def duration_min(self) -> float:
        """Minutes from one run to the next."""

    @property
    def current_volume_ml(self) -> float:
        """What is in the vial."""

    @property
    def max_working_volume_ml(self) -> float:
        """What is in the vial below the end of the waste tube."""

    @property
    def alt_media_fraction(self) -> float:
        """Share of alternative media in the vial, 0..1."""

    @property
    def since_dose_s(self) -> float:
        """Seconds since the last pump stood still, infinite when there was none."""

    def growth_rate_per_h(self) -> Reading:
        """Return the growth rate that growth_rate_calculating found."""

    def normalized_od(self) -> Reading:
        """Return the filtered optical density relative to the experiment's start, of growth_rate_calculating."""

    def od(self) -> Reading:
        """Return the optical density of od_reading's first photodiode."""

    def fused_od(self) -> Reading:
        """Return the optical density that od_reading makes of several angles."""

    def is_calibrated(self, device: str) -> bool:
        """Return whether there is an active calibration or estimator of a device: `media_pump`, `od90`, `od_fused`."""

    def exchange(
        self, *, media_ml: float = 0.0, alt_media_ml: float = 0.0, waste_ml: float | None = None
    ) -> Mapping[str, float]:
        """Add liquid and remove as much, or `waste_ml`, in small parts; return what moved by role.

        The roles are `media`, `alt_media` and `waste`.
        """

    def add_media(self, media_ml: float) -> float:
        """Add media and remove nothing; return what moved."""

    def publish(self, settings: Mapping[str, Any]) -> None:
        """Publish settings that the automation declares."""


class DosingAutomation(ABC):
    """One way to dose. A subclass says what it is in its class attributes, and does it in `execute`.

    `options` are what a person gives at the start, in `parameters` by name, with their defaults. A setting that has the
    name of an option shows the parameter, and changes it if it is settable; `check` may refuse. Settings beyond those
    of the job and these are published by `self.reactor.publish`.
    """

    name: ClassVar[str]
    help: ClassVar[str]
    options: ClassVar[tuple[Option, ...]] = ()
    settings: ClassVar[tuple[Setting, ...]] = ()
    calibrations: ClassVar[tuple[str, ...]] = ("media_pump", "waste_pump")  # of pumps, without which it does not start
    duration_min: ClassVar[float | None] = None  # an automation with a pace of its own, which nobody can change

    def __init__(self, reactor: DosingReactor, parameters: Mapping[str, Any]) -> None:
        self.reactor = reactor
        self.parameters = dict(parameters)
        self.check(self.parameters)

    def check(self, parameters: Mapping[str, Any]) -> None:  # noqa: B027 - all are fine, unless a subclass says more
        """Raise InvalidRequest for parameters that do not go together; ranges stand in `options` and `settings`."""

    @abstractmethod
    def execute(self) -> Event:
        """Look, decide, dose; return what was done. Called every `duration` minutes, never while another one runs."""

    def change(self, name: str, value: Any) -> None:
        """Take another value of a parameter. Raises InvalidRequest."""
        changed = {**self.parameters, name: value}
        self.check(changed)
        self.parameters = changed

    @classmethod
    def description(cls) -> Automation:
        """Return what the job's description says of this automation."""
        settings = cls.settings
        if cls.duration_min is not None:
            settings = (Setting("duration", "float", "min"), *settings)  # in place of the one that can be set
        return Automation(cls.name, cls.help, options=cls.options, settings=settings)
