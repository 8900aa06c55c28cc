"""Growth rate: what the readings of `od_reading` say of how fast the culture grows."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from reactor_unit.config import Config
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.errors import ConfigError, Conflict, InternalError
from reactor_unit.job_spec import Command, JobSpec, Option, Setting
from reactor_unit.series import Series
from reactor_unit.workers.heard_dosing import SUBSCRIBED as DOSING
from reactor_unit.workers.heard_dosing import HeardDosing
from reactor_unit.workers.job import Job, JobRuntime
from reactor_unit.workers.laws.growth_rate import (
    SKIPPED_READINGS,
    GrowthEstimate,
    GrowthRateFilter,
    GrowthRateState,
    Normalization,
    normalization,
)

log = logging.getLogger(__name__)

BLANK, MEAN, VARIANCE = "od_blank", "od_normalization_mean", "od_normalization_variance"
OD_FILTERED, GROWTH_RATE = "od_filtered", "growth_rate"
OWN_TABLES = (MEAN, VARIANCE, OD_FILTERED, GROWTH_RATE)
SECTION, FILTER_SECTION = "growth_rate_calculating.config", "growth_rate_kalman"
FEWEST_SAMPLES = 7
QUIET_S = 3600.0  # from tick to tick while nothing is heard; each reading brings one forward
MAX_UNREAD = 100


class _Reading(NamedTuple):
    """Optical densities of all channels at one time, by the job's clock."""

    at_s: float
    angles: tuple[tuple[str, str], ...]  # (channel, angle)
    ods: tuple[float, ...]
    was_dosed: bool = False  # liquid was added since the reading before


class GrowthRateCalculating(Job):
    """Estimate growth rate and filtered optical density with each reading that `od_reading` publishes.

    Readings are normalised by the first ones of the experiment; what these were, and the last estimate, outlive the
    job. `run_clear_cache` forgets it. While liquid is added the optical density may jump, which is no growth.
    """

    spec = JobSpec(
        name="growth_rate_calculating",
        help="Start calculating the growth rate.",
        options=(Option("ignore_cache", "flag", "Begin anew, also within an experiment.", default=False),),
        settings=(
            Setting("growth_rate", "GrowthRate", "1/h", series=Series("growth_rate", value="growth_rate")),
            Setting("od_filtered", "ODFiltered", series=Series("od_filtered", value="od_filtered")),
            Setting("kalman_filter_outputs", "KalmanFilterOutput"),
        ),
        subscribes=(("od_reading", "ods"), *DOSING),
        needs=("od_reading",),
        recalls=(BLANK, *OWN_TABLES),
        commands=(Command("clear_cache", "Forget the statistics and the last estimate of the experiment."),),
    )

    def __init__(self, runtime: JobRuntime, hardware: Hardware, config: Config, options: Mapping[str, Any]) -> None:
        super().__init__(runtime, hardware, config, options)
        self._samples = config.get_int(SECTION, "samples_for_od_statistics")
        if self._samples < FEWEST_SAMPLES:
            raise ConfigError(f"[{SECTION}] samples_for_od_statistics {self._samples} is below {FEWEST_SAMPLES}.")
        self._outlier_threshold = config.get_float(SECTION, "ekf_outlier_std_threshold")
        if self._outlier_threshold <= 2:
            raise ConfigError(f"[{SECTION}] ekf_outlier_std_threshold {self._outlier_threshold:g} is not above 2.")
        self._unread: deque[_Reading] = deque(maxlen=MAX_UNREAD)
        self._dosing = HeardDosing()
        self._to_skip = SKIPPED_READINGS
        self._first: list[_Reading] = []
        self._angles: tuple[tuple[str, str], ...] | None = None
        self._normalizations = {} if options.get("ignore_cache") else self._recalled_normalizations()
        self._filter: GrowthRateFilter | None = None
        self._state: GrowthRateState | None = None

    @property
    def interval_s(self) -> float:
        """Seconds to the next tick, unless a reading comes."""
        return QUIET_S

    def start(self) -> float:
        """Wait for readings."""
        return QUIET_S

    def run_clear_cache(self) -> None:
        """Forget what was remembered for the experiment, but not its blank."""
        for table in OWN_TABLES:
            self.runtime.remember(table, None)

    def hear(self, job_name: str, setting: str, value: Any) -> None:
        """Take readings; they are worked on in the next tick, which is now."""
        if self._dosing.hear(job_name, setting, value) or setting != "ods" or not value:
            return
        ods = sorted(value["ods"].items())
        angles = tuple((channel, od["angle"]) for channel, od in ods)
        was_dosed = self._dosing.take()
        self._unread.append(_Reading(self.runtime.clock(), angles, tuple(od["od"] for _, od in ods), was_dosed))
        self.runtime.schedule.bring_forward(self.runtime.clock())

    def tick(self) -> None:
        """Work on the readings that have come."""
        while self._unread:
            self._take(self._unread.popleft())

    def _take(self, reading: _Reading) -> None:
        if self._angles is None:
            self._angles = reading.angles
        if reading.angles != self._angles:
            raise Conflict(
                "The photodiodes are not the same any more: other channels or angles are read than at the start.",
                remediation="Start growth_rate_calculating again, after its clear_cache.",
            )
        if self._to_skip > 0:
            self._to_skip -= 1
        elif self._knows_normalizations():
            self._estimate(reading)
        else:
            self._first.append(reading)
            if len(self._first) >= self._samples:
                self._make_statistics()

    # Statistics

    def _recalled_normalizations(self) -> dict[str, Normalization]:
        means, variances, blanks = (self._recalled(table) for table in (MEAN, VARIANCE, BLANK))
        found = {}
        for channel in means.keys() & variances.keys():
            mean, blank = means[channel], blanks.get(channel, 0.0)
            found[channel] = Normalization(mean, variances[channel], 0.0 if blank > 0.9 * mean else blank)
        return found

    def _recalled(self, table: str) -> dict[str, float]:
        """Return the object channel -> number in a table; empty where there is none, or another program's."""
        text = self.runtime.recalled(table)
        try:
            return {str(channel): float(number) for channel, number in json.loads(text or "{}").items()}
        except (ValueError, TypeError, AttributeError):
            log.warning("What is remembered as %s is not used, it cannot be read: %.80r", table, text)
            return {}

    def _knows_normalizations(self) -> bool:
        return self._normalizations.keys() == {channel for channel, _ in self._angles or ()}

    def _make_statistics(self) -> None:
        """Find what later readings are relative to, and remember it for the experiment."""
        blanks = self._recalled(BLANK)
        channels = [channel for channel, _ in self._angles or ()]
        first, self._first = self._first, []
        try:
            found = {
                channel: normalization([(r.at_s, r.ods[place]) for r in first], blanks.get(channel, 0.0))
                for place, channel in enumerate(channels)
            }
        except ValueError as ex:
            log.error("The first %d readings say nothing, the next ones are taken: %s", len(first), ex)
            return
        self._normalizations = found
        self.runtime.remember(MEAN, json.dumps({channel: entry.mean for channel, entry in found.items()}))
        self.runtime.remember(VARIANCE, json.dumps({channel: entry.variance for channel, entry in found.items()}))
        self._to_skip = SKIPPED_READINGS
        log.info("The statistics of the first %d readings are made.", len(first))

    # Estimates

    def _estimate(self, reading: _Reading) -> None:
        if self._filter is None or self._state is None:
            self._filter = self._new_filter()
            self._state = self._first_state(self._filter)
        try:
            observation = self._filter.normalized(reading.ods)
            estimate, self._state = self._filter.next(self._state, observation, reading.at_s, dosed=reading.was_dosed)
        except ValueError as ex:
            log.error("A reading is left out: %s", ex)
            return
        self._publish(estimate)

    def _new_filter(self) -> GrowthRateFilter:
        if self._angles is None:
            raise InternalError("There is no reading yet to make the filter for.")
        obs_std, od_std, rate_std = (
            self.config.get_float(FILTER_SECTION, name) for name in ("obs_std", "od_std", "rate_std")
        )
        return GrowthRateFilter(
            tuple(angle for _, angle in self._angles),
            tuple(self._normalizations[channel] for channel, _ in self._angles),
            samples_per_second=self.config.get_float("od_reading.config", "samples_per_second"),
            outlier_std_threshold=self._outlier_threshold,
            obs_std=obs_std,
            od_std=od_std,
            rate_std=rate_std,
        )

    def _first_state(self, growth: GrowthRateFilter) -> GrowthRateState:
        """Return where the filter begins: where it ended before, within an experiment."""
        if self.options.get("ignore_cache"):
            return growth.begin()
        od_filtered, rate = self.runtime.recalled(OD_FILTERED), self.runtime.recalled(GROWTH_RATE)
        return growth.begin(
            od_filtered=1.0 if od_filtered is None else float(od_filtered),
            growth_rate_per_h=0.0 if rate is None else float(rate),
        )

    def _publish(self, estimate: GrowthEstimate) -> None:
        timestamp = self.runtime.utc_timestamp()
        od, rate = estimate.od_filtered, estimate.growth_rate_per_h
        self.runtime.publish(
            {
                "growth_rate": {"growth_rate": rate, "timestamp": timestamp},
                "od_filtered": {"od_filtered": od, "timestamp": timestamp},
                "kalman_filter_outputs": {
                    "state": [od, rate],
                    "covariance_matrix": [list(row) for row in estimate.covariance],
                    "timestamp": timestamp,
                },
            }
        )
        self.runtime.remember(OD_FILTERED, od)
        self.runtime.remember(GROWTH_RATE, rate)

    def close(self) -> None:
        """Do nothing: this job has no outputs."""
