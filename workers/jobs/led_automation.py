"""LEDs by a programme: day and night for phototrophs, or nothing at all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from reactor_unit.config import Config
from reactor_unit.drivers.claims import OutputClaimed
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.drivers.leds import LEDs
from reactor_unit.errors import Conflict, InvalidRequest
from reactor_unit.job_spec import Automation, JobSpec, Option, Setting
from reactor_unit.series import Series
from reactor_unit.workers.job import Job, JobRuntime
from reactor_unit.workers.laws.light import LightDarkCycle

log = logging.getLogger(__name__)

LIGHT_DARK_CYCLE, SILENT = "light_dark_cycle", "silent"
LIGHT_CHANNELS = ("D", "C")  # where the lamps of a light_dark_cycle are plugged in
DEFAULT_DURATION_MIN = 60.0
CYCLE_DURATION_MIN = 1.0  # the cycle is decided for whole minutes
LONGEST_FIRST_WAIT_S = 10.0
LONGEST_MIN = 1e6
CYCLE_SETTINGS = ("light_intensity", "light_duration_minutes", "dark_duration_minutes")


def _minutes_option(name: str, help_text: str) -> Option:
    return Option(name, "float", help_text, required=True, minimum=0.0, maximum=LONGEST_MIN, unit="min")


class LEDAutomation(Job):
    """Run one automation every `duration` minutes.

    `light_dark_cycle` looks at its cycle every minute; `silent` only says that it does nothing. Time counts from the
    job's start. LEDs that are lit stay so while the job sleeps.
    """

    spec = JobSpec(
        name="led_automation",
        help="Start an automation of the LEDs.",
        options=(
            Option(
                "duration",
                "float",
                "Time from one run to the next; always 1 for light_dark_cycle.",
                default=DEFAULT_DURATION_MIN,
                minimum=0.01,
                maximum=LONGEST_MIN,
                unit="min",
            ),
            Option(
                "skip_first_run", "integer", "1: the first run comes after a duration.", default=0, minimum=0, maximum=1
            ),
        ),
        settings=(
            Setting("automation_name", "string"),
            Setting("latest_event", "AutomationEvent"),
            Setting("duration", "float", "min", settable=True, minimum=0.01, maximum=LONGEST_MIN),
            Setting("intensity", "json", "%", series=Series("led.{key}", each="")),
        ),
        automations=(
            Automation(
                LIGHT_DARK_CYCLE,
                "Day and night, for phototrophs.",
                options=(
                    Option(
                        "light_intensity",
                        "float",
                        "While it is light.",
                        required=True,
                        minimum=0.0,
                        maximum=100.0,
                        unit="%",
                    ),
                    _minutes_option("light_duration_minutes", "How long it is light."),
                    _minutes_option("dark_duration_minutes", "How long it is dark."),
                ),
                settings=(
                    Setting("light_intensity", "float", "%", settable=True, minimum=0.0, maximum=100.0),
                    Setting("light_duration_minutes", "float", "min", settable=True, minimum=0.0, maximum=LONGEST_MIN),
                    Setting("dark_duration_minutes", "float", "min", settable=True, minimum=0.0, maximum=LONGEST_MIN),
                ),
            ),
            Automation(SILENT, "Nothing but a word every `duration` that nothing was done."),
        ),
        interlocks=("Its LEDs are off when it ends, for any reason.",),
    )

    def __init__(self, runtime: JobRuntime, hardware: Hardware, config: Config, options: Mapping[str, Any]) -> None:
        super().__init__(runtime, hardware, config, options)
        self._name = str(options["automation_name"])
        self._duration_min = options.get("duration") or DEFAULT_DURATION_MIN
        self._parameters: dict[str, float] = {}
        if self._name == LIGHT_DARK_CYCLE:
            self._parameters = _cycle_parameters(options)
            if options.get("duration") not in (None, CYCLE_DURATION_MIN):
                log.warning("light_dark_cycle looks at its cycle every minute; duration is not used.")
            self._duration_min = CYCLE_DURATION_MIN
        self._leds: LEDs | None = None
        self._is_light: bool | None = False  # None after a change that the hardware failed: one lamp may have it
        self._began = runtime.clock()

    @property
    def interval_s(self) -> float:
        """Seconds from one run to the next."""
        return 60.0 * self._duration_min

    def start(self) -> float:
        """Publish what was chosen; the first run comes within seconds, or after a duration."""
        self._leds = self.hardware.open_leds(self.config.section("leds"))
        samples_per_second = self.config.get_float("od_reading.config", "samples_per_second")
        self.runtime.publish({"automation_name": self._name, "duration": self._duration_min, **self._parameters})
        first_s = min(1.0 / samples_per_second, LONGEST_FIRST_WAIT_S)
        if self.options.get("skip_first_run"):
            first_s = self.interval_s
        self._began = self.runtime.clock() + first_s
        return first_s

    def tick(self) -> None:
        """Run the automation once."""
        if self._name == SILENT:
            self._publish_event("NoEvent", "", {})
        else:
            self._follow_cycle()

    def _follow_cycle(self) -> None:
        """Have it light or dark as the cycle says; only a change is an event."""
        cycle = LightDarkCycle(self._parameters["light_duration_minutes"], self._parameters["dark_duration_minutes"])
        is_light = cycle.is_light(max(0.0, self.runtime.clock() - self._began))
        if is_light == self._is_light:
            return
        before, self._is_light = self._is_light, None
        changed = self._light(self._parameters["light_intensity"] if is_light else 0.0)
        self._is_light = is_light if changed else before

    def _light(self, intensity: float) -> bool:
        """Set the lamps and tell it; return False when another job has one of them, which the next run tries again."""
        if self._leds is None:
            raise RuntimeError("the LEDs have not been opened")
        before = self._leds.intensity(LIGHT_CHANNELS[0])
        try:
            for channel in LIGHT_CHANNELS:
                self._leds.set_intensity(channel, intensity)
        except OutputClaimed as ex:
            if channel != LIGHT_CHANNELS[0]:
                self._leds.set_intensity(LIGHT_CHANNELS[0], before)
            log.warning("The light was not changed: %s", ex)
            self._publish_event("ErrorOccurred", str(ex), {})
            return False
        channels = dict.fromkeys(LIGHT_CHANNELS, intensity)
        self.runtime.publish({"intensity": channels})
        what = f"{' and '.join(LIGHT_CHANNELS)} are at {intensity:g} % now."
        self._publish_event("ChangedLedIntensity", what, channels)
        return True

    def _publish_event(self, event_name: str, message: str, data: dict[str, Any]) -> None:
        self.runtime.publish({"latest_event": {"event_name": event_name, "message": message, "data": data}})

    # Settings

    def set_duration(self, duration_min: float) -> None:
        """Run at another pace; the next run comes no later than that. Raises Conflict for light_dark_cycle."""
        if self._name == LIGHT_DARK_CYCLE and duration_min != self._duration_min:
            raise Conflict("light_dark_cycle looks at its cycle every minute.", remediation="Leave duration at 1.")
        self._duration_min = duration_min
        self.runtime.publish({"duration": duration_min})
        self.runtime.schedule.bring_forward(self.runtime.clock() + self.interval_s)

    def set_light_intensity(self, intensity: float) -> None:
        """Have another intensity while it is light, from now on."""
        self._set("light_intensity", intensity)
        if self._is_light:
            self._light(intensity)

    def set_light_duration_minutes(self, minutes: float) -> None:
        """Have longer or shorter days; the cycle still counts from the job's start."""
        self._set("light_duration_minutes", minutes)

    def set_dark_duration_minutes(self, minutes: float) -> None:
        """Have longer or shorter nights."""
        self._set("dark_duration_minutes", minutes)

    def _set(self, name: str, value: float) -> None:
        if self._name != LIGHT_DARK_CYCLE:
            raise Conflict(f"{self._name} has no {name}.", remediation="Stop it, and start light_dark_cycle.")
        changed = {**self._parameters, name: value}
        _check_cycle(changed)
        self._parameters = changed
        self.runtime.publish({name: value})
        self.runtime.schedule.bring_forward(self.runtime.clock())

    def close(self) -> None:
        """Turn off what this job lit. May be called twice."""
        if self._leds is not None:
            self._leds.close()


def _cycle_parameters(options: Mapping[str, Any]) -> dict[str, float]:
    """Return what a light_dark_cycle needs. Raises InvalidRequest."""
    missing = [name for name in CYCLE_SETTINGS if options.get(name) is None]
    if missing:
        raise InvalidRequest(f"light_dark_cycle needs {', '.join(missing)}.", remediation="Give all three.")
    parameters = {name: float(options[name]) for name in CYCLE_SETTINGS}
    _check_cycle(parameters)
    return parameters


def _check_cycle(parameters: Mapping[str, float]) -> None:
    try:
        LightDarkCycle(parameters["light_duration_minutes"], parameters["dark_duration_minutes"])
    except ValueError as ex:
        raise InvalidRequest(str(ex), remediation="Let light and dark be a minute or more together.") from ex
