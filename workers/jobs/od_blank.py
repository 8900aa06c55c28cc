"""The blank: the optical density of media without cells, which growth rates are calculated against."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from reactor_unit.config import Config
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.job_spec import Command, JobSpec, Option, Setting
from reactor_unit.series import Series
from reactor_unit.workers.job import Job, JobRuntime
from reactor_unit.workers.laws.averages import trimmed_mean
from reactor_unit.workers.live import Finished
from reactor_unit.workers.od_reader import ODReader

log = logging.getLogger(__name__)

TABLE = "od_blank"
INTERVAL_S = 1.5
DEFAULT_SAMPLES, FEWEST_SAMPLES, MOST_SAMPLES = 30, 5, 1000
LEFT_OUT = 2  # readings at each end
TARGET_RPM = 500.0
STIRRED_WITHIN_S = 40.0


class ODBlank(Job):
    """Take `n_samples` readings of what is in the vial, remember their mean for the experiment, and end.

    The vial is stirred meanwhile. `run_delete` forgets an experiment's blank.
    """

    spec = JobSpec(
        name="od_blank",
        help="Measure the optical density of a blank.",
        options=(
            Option(
                "n_samples",
                "integer",
                "Readings to take the mean of.",
                default=DEFAULT_SAMPLES,
                minimum=FEWEST_SAMPLES,
                maximum=MOST_SAMPLES,
            ),
        ),
        settings=(Setting("means", "json", series=Series("od_blank.{key}", each="")),),
        subscribes=(("stirring", "measured_rpm"),),
        excludes=("od_reading",),
        commands=(
            Command("delete", "Forget a blank.", (Option("experiment", "text", "Whose; the request's by default."),)),
        ),
    )

    def __init__(self, runtime: JobRuntime, hardware: Hardware, config: Config, options: Mapping[str, Any]) -> None:
        super().__init__(runtime, hardware, config, options)
        self._samples: int = options.get("n_samples") or DEFAULT_SAMPLES
        self._ods: dict[str, list[float]] = {}
        self._reader: ODReader | None = None
        self._is_stirred = False
        self._stirred_by = runtime.clock() + STIRRED_WITHIN_S

    @property
    def interval_s(self) -> float:
        """Seconds from one reading to the next."""
        return INTERVAL_S

    def start(self) -> float:
        """Have the vial stirred; readings begin when it is, or after 40 s without."""
        self.runtime.start_job("stirring", {"target_rpm": TARGET_RPM})
        return STIRRED_WITHIN_S

    def run_delete(self) -> None:
        """Forget the blank of an experiment."""
        self.runtime.remember(TABLE, None, experiment=self.options.get("experiment"))

    def hear(self, job_name: str, setting: str, value: Any) -> None:
        """Take note that the stirrer turns; readings begin then."""
        if setting == "measured_rpm" and value and value["measured_rpm"] > 0 and not self._is_stirred:
            self._is_stirred = True
            self.runtime.schedule.bring_forward(self.runtime.clock())

    def tick(self) -> None:
        """Take a reading; after the last one, remember what they say."""
        for reading in self._opened_reader().read():
            self._ods.setdefault(reading.channel, []).append(reading.od)
        if len(next(iter(self._ods.values()))) >= self._samples:
            self._remember()
            raise Finished

    def _opened_reader(self) -> ODReader:
        """Return what takes the readings, ready for the first one."""
        if self._reader is None:
            if not self._is_stirred:
                log.warning("Nothing was heard of a stirrer that turns; the blank is measured all the same.")
            self._reader = ODReader(self.runtime, self.hardware, self.config, interval_s=INTERVAL_S)
            self._reader.start()
        return self._reader

    def _remember(self) -> None:
        means = {channel: round(trimmed_mean(ods, LEFT_OUT), 10) for channel, ods in self._ods.items()}
        self.runtime.remember(TABLE, json.dumps(means))
        self.runtime.publish({"means": means})
        log.info("The blank is %s.", ", ".join(f"{od:.5f} on channel {channel}" for channel, od in means.items()))

    def close(self) -> None:
        """Leave the infrared LED off. May be called twice."""
        if self._reader is not None:
            self._reader.close()
