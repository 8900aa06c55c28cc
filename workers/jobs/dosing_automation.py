"""Dosing by an automation: chemostat, turbidostat and the others feed, dilute and drain the culture for days."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from reactor_unit.config import Config
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.errors import Conflict, UnitError
from reactor_unit.job_spec import AUTOMATION_NAME, JobSpec, Option, Setting
from reactor_unit.series import Series
from reactor_unit.vial import VialFull, VialUnknown
from reactor_unit.workers.automations import DosingAutomation, Event, JobRequired
from reactor_unit.workers.built_in_automations import DOSING_AUTOMATIONS
from reactor_unit.workers.culture_readings import SUBSCRIBED
from reactor_unit.workers.dosing import CALIBRATIONS, DOSING_EVENT, FAULT, TABLES
from reactor_unit.workers.dosing_reactor import JobsReactor
from reactor_unit.workers.job import Job, JobRuntime
from reactor_unit.workers.job_desk import READY
from reactor_unit.workers.live import Asleep

log = logging.getLogger(__name__)

NAME = "dosing_automation"
DEFAULT_DURATION_MIN = 60.0
SHORTEST_MIN, LONGEST_MIN = 0.05, 1e6
FIRST_RUN_S = 2.0
LATE_S = 60.0  # a run that came due while the job slept is made up for by one who wakes within this time
LARGEST_VIAL_ML = 1000.0
VIAL_OPTIONS = ("current_volume_ml", "alt_media_fraction", "max_working_volume_ml")
OD_DEVICES = ("od", "od45", "od90", "od135")
ACTIONS = ("add_media", "add_alt_media", "remove_waste", "circulate_media", "circulate_alt_media", "pumps")
ERROR = "ErrorOccurred"


def _volume_option(name: str, help_text: str) -> Option:
    return Option(name, "float", help_text, minimum=0.0, maximum=LARGEST_VIAL_ML, unit="mL")


def _volume_setting(name: str, *, settable: bool = False) -> Setting:
    return Setting(
        name,
        "float",
        "mL",
        settable=settable,
        persist=True,
        minimum=0.0,
        maximum=LARGEST_VIAL_ML if settable else None,
        series=Series(f"dosing_automation.{name}"),
    )


JOB_SETTINGS = (
    Setting(AUTOMATION_NAME, "string"),
    Setting("latest_event", "AutomationEvent"),
    Setting("duration", "float", "min", settable=True, minimum=SHORTEST_MIN, maximum=LONGEST_MIN),
    Setting(
        "alt_media_fraction",
        "float",
        settable=True,
        minimum=0.0,
        maximum=1.0,
        series=Series("dosing_automation.alt_media_fraction"),
    ),
    _volume_setting("current_volume_ml", settable=True),
    _volume_setting("max_working_volume_ml", settable=True),
    _volume_setting("media_throughput"),
    _volume_setting("alt_media_throughput"),
    DOSING_EVENT,
    FAULT,
)


def dosing_spec(automations: Iterable[type[DosingAutomation]]) -> JobSpec:
    """Return the job's description with these automations."""
    return JobSpec(
        name=NAME,
        help="Start an automation that feeds and dilutes the culture.",
        options=(
            Option(
                "duration",
                "float",
                "Time from one run to the next; always 0.25 for turbidostat.",
                default=DEFAULT_DURATION_MIN,
                minimum=SHORTEST_MIN,
                maximum=LONGEST_MIN,
                unit="min",
            ),
            Option(
                "skip_first_run",
                "integer",
                "1: the first run comes after a duration, not at once.",
                default=0,
                minimum=0,
                maximum=1,
            ),
            Option("alt_media_fraction", "float", "Share of alternative media in the vial.", minimum=0.0, maximum=1.0),
            _volume_option("current_volume_ml", "What is in the vial."),
            _volume_option("max_working_volume_ml", "What is in the vial below the end of the waste tube."),
        ),
        settings=JOB_SETTINGS,
        automations=tuple(automation.description() for automation in automations),
        subscribes=(*SUBSCRIBED, ("stirring", "$state"), *((action, DOSING_EVENT.name) for action in ACTIONS)),
        recalls=TABLES,
        calibrations=(*CALIBRATIONS, *OD_DEVICES),
        estimators=("od_fused",),
        interlocks=(
            "An exchange is checked as a whole before the first pump moves; one that would fill the vial, or whose "
            "pumps are not calibrated, is refused.",
            "At the model's limit of volume the job sleeps, fed batch included, and its `latest_event` says why.",
            "A reading of the culture that is older than 5 minutes is not acted on.",
            "Its pumps stand still when it is stopped, put to sleep, or ends for any other reason.",
        ),
    )


class DosingAutomationJob(Job):
    """Run one automation every `duration` minutes."""

    spec = dosing_spec(DOSING_AUTOMATIONS.values())
    automations: ClassVar[Mapping[str, type[DosingAutomation]]] = DOSING_AUTOMATIONS

    def __init__(self, runtime: JobRuntime, hardware: Hardware, config: Config, options: Mapping[str, Any]) -> None:
        super().__init__(runtime, hardware, config, options)
        self._name = str(options[AUTOMATION_NAME])
        self._class = self.automations[self._name]
        _check_calibrations(self._class, runtime.calibrations)
        asked_min = options.get("duration")
        self._duration_min = self._class.duration_min or asked_min or DEFAULT_DURATION_MIN
        if asked_min is not None and asked_min != self._duration_min:
            log.warning("%s runs every %g min; duration is not used.", self._name, self._duration_min)
        self.reactor = JobsReactor(runtime, hardware, config, source=f"{NAME}:{self._name}")
        self.reactor.duration_min = self._duration_min
        self._automation: DosingAutomation | None = None
        self._ran_at = runtime.clock()
        self._is_whole = True  # the last run: it was not broken off
        self._fails = False
        self._is_late = False  # and this was said
        self._is_stirred = False
        self._is_warned = False

    @property
    def interval_s(self) -> float:
        """Seconds from one run to the next."""
        return 60.0 * self._duration_min

    def start(self) -> float:
        """Publish what was chosen and what is in the vial; the first run comes in 2 s, or after a duration."""
        told = {name: self.options[name] for name in VIAL_OPTIONS if self.options.get(name) is not None}
        if told:
            self.reactor.correct(**told)
        self.reactor.look()
        defaults = {option.name: option.default for option in self._class.options}
        given = {name: self.options[name] for name in defaults if self.options.get(name) is not None}
        self._automation = self._class(self.reactor, {**defaults, **given})
        self.runtime.publish({AUTOMATION_NAME: self._name, "duration": self._duration_min})
        self.runtime.publish(self._parameters(self._automation))
        first_s = self.interval_s if self.options.get("skip_first_run") else FIRST_RUN_S
        self._ran_at = self.runtime.clock() + first_s - self.interval_s
        return first_s

    def _parameters(self, automation: DosingAutomation) -> dict[str, Any]:
        """Return the automation's settings that show a parameter."""
        names = {setting.name for setting in automation.settings}
        return {name: value for name, value in automation.parameters.items() if name in names and value is not None}

    # Runs

    def tick(self) -> None:
        """Run the automation once, and say what came of it."""
        if self._automation is None:
            raise RuntimeError("the automation has not been started")
        self._ran_at = self.runtime.clock()
        self._is_whole = False
        self._warn_unless_stirred()
        try:
            event = self._automation.execute()
        except (VialFull, VialUnknown) as ex:
            self._is_whole = True
            log.error("Dosing sleeps: %s %s", ex, ex.remediation)
            self._publish_event(Event(ERROR, str(ex), {"remediation": ex.remediation}))
            raise Asleep from ex
        except (JobRequired, UnitError) as ex:
            event = Event(ERROR, str(ex))
        self._is_whole = True
        self._note_failure(event)
        self._publish_event(event)
        self._warn_if_late()

    def _note_failure(self, event: Event) -> None:
        """Log a run that could not be made; of several in a row the first, and that it works again."""
        if event.name == ERROR and not self._fails:
            log.warning("%s was not run, and is tried again: %s", self._name, event.message)
        elif event.name != ERROR and self._fails:
            log.info("%s runs again.", self._name)
        self._fails = event.name == ERROR

    def _publish_event(self, event: Event) -> None:
        self.runtime.publish(
            {"latest_event": {"event_name": event.name, "message": event.message, "data": dict(event.data)}}
        )

    def _warn_unless_stirred(self) -> None:
        if not self._is_stirred and not self._is_warned:
            log.warning("The liquid is not stirred: what is dosed is not mixed, and leaves with the waste.")
            self._is_warned = True

    def _warn_if_late(self) -> None:
        """Say that runs are left out, since one takes longer than `duration`: it dilutes less than was set."""
        took_s = self.runtime.clock() - self._ran_at
        if took_s > self.interval_s and self._class.duration_min is None and not self._is_late:
            log.warning("A run took %.0f s, longer than the duration of %g min.", took_s, self._duration_min)
            self._is_late = True

    def wake(self) -> None:
        """Make up for a run that came due within the last minute; one that is longer ago, or was broken off, is not."""
        schedule, now = self.runtime.schedule, self.runtime.clock()
        if self._is_whole and 0.0 < schedule.late_s(now) <= LATE_S:
            schedule.plan(now - schedule.late_s(now))
        self._is_whole = True

    # What comes from outside

    def hear(self, job_name: str, setting: str, value: Any) -> None:
        """Take note of readings, of what the pumps' actions move, and whether the liquid is stirred."""
        if job_name == "stirring":
            self._is_stirred = value == READY
            self._is_warned = self._is_warned and not self._is_stirred
        elif setting == DOSING_EVENT.name and value is not None:
            self.reactor.hear_dose()
        else:
            self.reactor.readings.hear(setting, value)

    def change_setting(self, name: str, value: Any) -> None:
        """Change a setting of the job, or a parameter of the automation. Raises InvalidRequest or Conflict."""
        if any(setting.name == name for setting in JOB_SETTINGS):
            super().change_setting(name, value)
            return
        if self._automation is None or all(setting.name != name for setting in self._class.settings):
            raise Conflict(f"{self._name} has no {name}.", remediation="Stop it, and start another automation.")
        self._automation.change(name, value)
        self.runtime.publish({name: value})

    def set_duration(self, duration_min: float) -> None:
        """Run at another pace, from the last run on: a run that is due then comes now."""
        if self._class.duration_min not in (None, duration_min):
            raise Conflict(f"{self._name} always runs every {self._class.duration_min} min.")
        self._duration_min = self.reactor.duration_min = duration_min
        self.runtime.publish({"duration": duration_min})
        self.runtime.schedule.move(max(self.runtime.clock(), self._ran_at + self.interval_s))

    def set_alt_media_fraction(self, fraction: float) -> None:
        """Have been told what share of the liquid is alternative media."""
        self.reactor.correct(alt_media_fraction=fraction)

    def set_current_volume_ml(self, volume_ml: float) -> None:
        """Have been told what is in the vial. Raises InvalidRequest for more than goes in."""
        self.reactor.correct(current_volume_ml=volume_ml)

    def set_max_working_volume_ml(self, volume_ml: float) -> None:
        """Have been told where the waste tube ends. Raises InvalidRequest for a level that the vial has not."""
        self.reactor.correct(max_working_volume_ml=volume_ml)

    def close(self) -> None:
        """Leave the pumps standing still. May be called twice."""
        self.reactor.close()


def with_automations(more: Iterable[type[DosingAutomation]]) -> type[DosingAutomationJob]:
    """Return the job with further automations beside the built-in ones, or in the place of one with the same name."""
    known = {**DOSING_AUTOMATIONS, **{automation.name: automation for automation in more}}

    class DosingAutomationWithPlugins(DosingAutomationJob):
        spec = dosing_spec(known.values())
        automations = known

    return DosingAutomationWithPlugins


def _check_calibrations(automation: type[DosingAutomation], active: Mapping[str, Any]) -> None:
    missing = [device for device in automation.calibrations if device not in active]
    if missing:
        raise Conflict(
            f"{automation.name} needs an active calibration of {', '.join(missing)}.",
            remediation="Calibrate, or make a calibration active: see docs/calibrations.md.",
        )
