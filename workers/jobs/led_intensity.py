"""LEDs by hand: light or darken channels; the job lives as long as one of its channels is lit."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from reactor_unit.config import Config
from reactor_unit.drivers.claims import OutputClaimed
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.drivers.leds import LED_CHANNELS, LEDs
from reactor_unit.errors import Conflict, InvalidRequest
from reactor_unit.job_spec import JobSpec, Option, Setting
from reactor_unit.series import Series
from reactor_unit.workers.job import Job, JobRuntime
from reactor_unit.workers.job_desk import SLEEPING
from reactor_unit.workers.live import Finished

log = logging.getLogger(__name__)

QUIET_S = 3600.0  # from tick to tick: there is nothing to do in them


class LEDIntensity(Job):
    """Hold LED channels at intensities; a further run request changes the channels it names."""

    spec = JobSpec(
        name="led_intensity",
        help="Set the intensity of LEDs.",
        options=(
            *(
                Option(channel, "float range", f"Intensity of LED {channel}.", minimum=0.0, maximum=100.0, unit="%")
                for channel in LED_CHANNELS
            ),
            Option("source_of_event", "text", "Who asks for it, for the log.", default="CLI"),
            Option("no_log", "flag", "Write no line into the log for each change.", default=False),
        ),
        settings=(Setting("intensity", "json", "%", series=Series("led.{key}", each="")),),
        joins=True,
        interlocks=("Its LEDs are off when it ends, for any reason.",),
    )

    def __init__(self, runtime: JobRuntime, hardware: Hardware, config: Config, options: Mapping[str, Any]) -> None:
        super().__init__(runtime, hardware, config, options)
        self._leds: LEDs | None = None
        self._intensities: dict[str, float] = {}  # channels that are lit -> %
        self._named: set[str] = set()  # channels that somebody asked for

    @property
    def interval_s(self) -> float:
        """Seconds from tick to tick."""
        return QUIET_S

    def start(self) -> float:
        """Set the channels that were given."""
        self._leds = self.hardware.open_leds(self.config.section("leds"))
        self.run_again(self.options)
        return QUIET_S

    def run_again(self, options: Mapping[str, Any]) -> None:
        """Set the channels that are given, all of them or none. Raises Finished when all four are dark."""
        wanted = {channel: options[channel] for channel in LED_CHANNELS if options.get(channel) is not None}
        if not wanted:
            raise InvalidRequest("No channel is given.", remediation="Give an intensity for A, B, C or D.")
        if self.runtime.state == SLEEPING:
            raise Conflict("led_intensity sleeps.", remediation="Wake it first: set its $state to ready.")
        before = dict(self._intensities)
        try:
            for channel, intensity in wanted.items():
                self._set(channel, intensity)
        except OutputClaimed as ex:
            for channel in wanted:
                self._set(channel, before.get(channel, 0.0))
            raise Conflict(str(ex), cause=ex.cause, remediation=ex.remediation) from ex
        self._named |= wanted.keys()
        self._publish(self._intensities)
        if not options.get("no_log"):
            for channel, intensity in wanted.items():
                log.info("LED %s is at %g %% now (%s).", channel, intensity, options.get("source_of_event") or "CLI")
        if not self._intensities:
            raise Finished

    def _set(self, channel: str, intensity: float) -> None:
        """Light a channel; one that is dark is free for other jobs, such as od_reading."""
        if self._leds is None:
            raise RuntimeError("the LEDs have not been opened")
        if intensity > 0:
            self._leds.set_intensity(channel, intensity)
            self._intensities[channel] = intensity
        else:
            self._leds.release(channel)
            self._intensities.pop(channel, None)

    def _publish(self, lit: Mapping[str, float]) -> None:
        """Publish the channels that this job had to do with; others may be another job's."""
        self.runtime.publish({"intensity": {channel: lit.get(channel, 0.0) for channel in sorted(self._named)}})

    def tick(self) -> None:
        """Do nothing: what is lit stays lit."""

    def sleep(self) -> None:
        """Be dark until `wake`."""
        for channel in self._intensities:
            self._light(channel, 0.0)
        self._publish({})

    def wake(self) -> None:
        """Light the channels as before."""
        for channel, intensity in self._intensities.items():
            self._light(channel, intensity)
        self._publish(self._intensities)

    def _light(self, channel: str, intensity: float) -> None:
        if self._leds is not None:
            self._leds.set_intensity(channel, intensity)

    def close(self) -> None:
        """Turn off what this job lit. May be called twice."""
        if self._leds is not None:
            self._leds.close()
