"""What a dosing automation may use, on the unit: readings of the culture, the account of the vial, and the pumps."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

from reactor_unit.config import Config
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.errors import Conflict, Unavailable
from reactor_unit.vial import MEDIA, VialState
from reactor_unit.workers.automations import Reading
from reactor_unit.workers.culture_readings import CultureReadings, first_signal
from reactor_unit.workers.dosing import TABLES, Doser
from reactor_unit.workers.job import JobRuntime

log = logging.getLogger(__name__)

REMEMBERED = frozenset({"current_volume_ml", "alt_media_fraction"})  # of what a person says; the rest the doser does


class JobsReactor:
    """The `DosingReactor` of the job `dosing_automation`.

    What happens to the vial is published. `source` names who doses in the events.
    """

    def __init__(self, runtime: JobRuntime, hardware: Hardware, config: Config, *, source: str) -> None:
        self.config = config
        self.duration_min = 0.0  # the job's
        channel, _ = first_signal(config.section("od_config.photodiode_channel"))
        self.readings = CultureReadings(runtime.clock, lambda: runtime.unit_clock.utc_now().timestamp(), channel)
        self.doser = Doser(runtime, hardware, config, on_dose=self._show)
        self._runtime = runtime
        self._source = source
        self._dosed_at = -math.inf
        self._vial = self.doser.vial.look()

    # The vial

    @property
    def current_volume_ml(self) -> float:
        """What is in the vial."""
        return self._vial.volume_ml

    @property
    def max_working_volume_ml(self) -> float:
        """What is in the vial below the end of the waste tube."""
        return self._vial.working_ml

    @property
    def alt_media_fraction(self) -> float:
        """Share of alternative media in the vial, 0..1."""
        return self._vial.alt_media_fraction

    @property
    def since_dose_s(self) -> float:
        """Seconds since the last pump stood still, infinite when there was none."""
        return self._runtime.clock() - self._dosed_at

    def correct(self, **known: float) -> None:
        """Be told what is in the vial, as `Vial.put` takes it, and remember it.

        Raises InvalidRequest, and Conflict while a pump runs.
        """
        self._show(self.doser.vial.put(**known))
        for table in REMEMBERED & known.keys():
            self._runtime.remember(table, known[table])

    def look(self) -> None:
        """Look at the account, and publish it; one that cannot be read stays as it was last seen."""
        try:
            self._show(self.doser.vial.look())
        except (Conflict, Unavailable) as ex:
            log.warning("What is in the vial is not known now: %s", ex)

    def hear_dose(self) -> None:
        """Take note that somebody else's pump moved something."""
        self._dosed_at = self._runtime.clock()
        self.look()

    def _show(self, vial: VialState) -> None:
        self._vial = vial
        known = {
            "current_volume_ml": vial.volume_ml,
            "alt_media_fraction": vial.alt_media_fraction,
            "max_working_volume_ml": vial.working_ml,
            **self._throughputs(vial),
        }
        published = self._runtime.published
        self._runtime.publish({name: value for name, value in known.items() if published.get(name) != value})

    def _throughputs(self, vial: VialState) -> dict[str, float]:
        """Return what went through in the experiment, which the account knows of since its last dose."""
        if vial.experiment == self._runtime.request.experiment:
            return {table: getattr(vial, table) for table in TABLES}
        return {table: float(self._runtime.recalled(table) or 0.0) for table in TABLES}

    # The culture

    def growth_rate_per_h(self) -> Reading:
        """Return the growth rate that growth_rate_calculating found."""
        return self.readings.growth_rate_per_h()

    def normalized_od(self) -> Reading:
        """Return the filtered optical density relative to the experiment's start."""
        return self.readings.normalized_od()

    def od(self) -> Reading:
        """Return the optical density of od_reading's first photodiode."""
        return self.readings.od()

    def fused_od(self) -> Reading:
        """Return the optical density that od_reading makes of several angles."""
        return self.readings.fused_od()

    def is_calibrated(self, device: str) -> bool:
        """Return whether there is an active calibration or estimator of a device."""
        return device in self._runtime.calibrations

    # Dosing

    def exchange(
        self, *, media_ml: float = 0.0, alt_media_ml: float = 0.0, waste_ml: float | None = None
    ) -> Mapping[str, float]:
        """Add liquid and remove as much, or `waste_ml`, in small parts; return what moved by role."""
        with self._dosing(media_ml + alt_media_ml):
            return self.doser.exchange(
                media_ml=media_ml,
                alt_media_ml=alt_media_ml,
                waste_ml=media_ml + alt_media_ml if waste_ml is None else waste_ml,
                source_of_event=self._source,
            )

    def add_media(self, media_ml: float) -> float:
        """Add media and remove nothing; return what moved."""
        with self._dosing(media_ml):
            return self.doser.pump(MEDIA, ml=media_ml, source_of_event=self._source)

    @contextlib.contextmanager
    def _dosing(self, volume_ml: float) -> Iterator[None]:
        """Say that pumps run, and afterwards what that made of the vial."""
        self._publish_event("DosingStarted", volume_ml)
        try:
            yield
        finally:
            self._dosed_at = self._runtime.clock()
            self.look()
            self._publish_event("DosingStopped", volume_ml)

    def _publish_event(self, name: str, volume_ml: float) -> None:
        event = {"event_name": name, "message": f"{volume_ml:g} mL", "data": {"volume": volume_ml}}
        self._runtime.publish({"latest_event": event})

    def publish(self, settings: Mapping[str, Any]) -> None:
        """Publish settings that the automation declares."""
        self._runtime.publish(settings)

    def close(self) -> None:
        """Leave the pumps standing still. May be called twice."""
        self.doser.close()
