"""Optical density: a reading every few seconds, on a grid that does not drift."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from reactor_unit.config import Config
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.errors import InvalidRequest
from reactor_unit.job_spec import JobSpec, Option, Setting
from reactor_unit.series import Series
from reactor_unit.workers.job import Job, JobRuntime
from reactor_unit.workers.live import Finished
from reactor_unit.workers.od_calibrator import DEVICES, FUSED, ODCalibrator
from reactor_unit.workers.od_reader import ODReader, ODReading
from reactor_unit.workers.optics import SECTION

log = logging.getLogger(__name__)

FIRST_REFERENCE = "ir_led_reference_normalization"  # the reference's first voltage in the experiment, in V
TIGHT_S = 1.0  # a reading takes about this long
TRY_AGAIN_S = 5.0  # after a reading that the hardware failed, where the next one is later
CHANNELS = ("1", "2", "3", "4")
LAMP_EVERY = 5  # readings; the lamp's light is published with one of so many
SHORTEST_S, LONGEST_S = 0.1, 86400.0


class ODReadingJob(Job):
    """Read the optical density every `interval` seconds, or once for a snapshot."""

    spec = JobSpec(
        name="od_reading",
        help="Start reading the optical density.",
        options=(
            Option("fake_data", "flag", "Make readings up, without LEDs and photodiodes.", default=False),
            Option(
                "interval",
                "float",
                "Time from one reading to the next.",
                minimum=SHORTEST_S,
                maximum=LONGEST_S,
                unit="s",
            ),
            Option("ir_led_intensity", "float", "Intensity of the infrared LED.", minimum=0.0, maximum=100.0, unit="%"),
            Option("snapshot", "flag", "Take one reading, then end.", default=False),
        ),
        settings=(
            Setting("first_od_obs_time", "float", "s"),
            Setting(
                "ir_led_intensity",
                "float",
                "%",
                settable=True,
                minimum=0.0,
                maximum=100.0,
                series=Series("od.ir_led_intensity"),
            ),
            Setting("interval", "float", "s", settable=True, minimum=SHORTEST_S, maximum=LONGEST_S),
            Setting(
                "relative_intensity_of_ir_led",
                "float",
                series=Series("od.relative_intensity_of_ir_led", value="relative_intensity_of_ir_led"),
            ),
            Setting("ods", "ODReadings", series=Series("od.{angle}.{channel}", value="od", each="ods")),
            *(Setting(f"od{channel}", "ODReading") for channel in CHANNELS),
            *(Setting(f"raw_od{channel}", "RawODReading") for channel in CHANNELS),
            *(Setting(f"calibrated_od{channel}", "CalibratedODReading") for channel in CHANNELS),
            Setting("od_fused", "ODFused", series=Series("od.fused", value="od_fused")),
        ),
        recalls=(FIRST_REFERENCE,),
        calibrations=DEVICES,
        estimators=(FUSED,),
        interlocks=(
            "A photodiode that is too bright for its ADC turns the LEDs off and ends the job.",
            "Its LEDs are off when it ends, for any reason.",
        ),
    )

    def __init__(self, runtime: JobRuntime, hardware: Hardware, config: Config, options: Mapping[str, Any]) -> None:
        super().__init__(runtime, hardware, config, options)
        self._snapshot = bool(options.get("snapshot"))
        self._interval_s = options.get("interval") or 1.0 / _samples_per_second(config)
        self._reader: ODReader | None = None
        self._calibrator: ODCalibrator | None = None
        self._count = 0
        self._on_a_new_grid = True
        if options.get("ir_led_intensity") == 0:
            raise _no_light()
        if not self._snapshot and self._interval_s <= TIGHT_S:
            log.warning("A reading takes about %g s: every %g s is too often.", TIGHT_S, self._interval_s)

    @property
    def interval_s(self) -> float:
        """Seconds from one reading to the next."""
        return self._interval_s

    @property
    def reader(self) -> ODReader:
        """What takes the readings, from `start` on."""
        if self._reader is None:
            raise RuntimeError("od_reading has not been started")
        return self._reader

    @property
    def calibrator(self) -> ODCalibrator:
        """What the active calibrations make of readings, from `start` on."""
        if self._calibrator is None:
            raise RuntimeError("od_reading has not been started")
        return self._calibrator

    def start(self) -> float:
        """Measure the dark and tune to the light; the first reading follows at once."""
        made_up = bool(self.options.get("fake_data"))
        self._reader = ODReader(
            self.runtime,
            self.hardware,
            self.config,
            interval_s=None if self._snapshot else self._interval_s,
            intensity=self.options.get("ir_led_intensity"),
            first_ref_v=None if made_up else self.runtime.recalled(FIRST_REFERENCE),
            made_up=made_up,
        )
        records = {} if made_up else self.runtime.calibrations
        self._calibrator = ODCalibrator(records, self._reader.signals, self.runtime.clock)
        self._reader.start()
        self.runtime.publish({"ir_led_intensity": self._reader.intensity})
        if not self._snapshot:
            self.runtime.publish({"interval": self._interval_s})
        return 0.0

    def tick(self) -> None:
        """Take a reading and publish it."""
        if self._on_a_new_grid:
            self._on_a_new_grid = False
            self.runtime.publish({"first_od_obs_time": self.runtime.unit_clock.utc_now().timestamp()})
        self._publish(self.reader.read())
        if self._snapshot:
            raise Finished

    def _publish(self, readings: list[ODReading]) -> None:
        """Publish readings, or what the active calibrations make of them, beside the raw ones."""
        timestamp = self.runtime.utc_timestamp()
        settings: dict[str, Any] = self.calibrator.settings(readings, timestamp)
        if self._count % LAMP_EVERY == 0:
            settings["relative_intensity_of_ir_led"] = {
                "relative_intensity_of_ir_led": self.reader.relative_intensity,
                "timestamp": timestamp,
            }
        self._count += 1
        self.runtime.publish(settings)
        self._remember_first_reference()

    def _remember_first_reference(self) -> None:
        first_ref_v = self.reader.first_ref_v
        is_real = not self.options.get("fake_data")
        if is_real and first_ref_v is not None and self.runtime.recalled(FIRST_REFERENCE) is None:
            self.runtime.remember(FIRST_REFERENCE, first_ref_v)

    def on_trouble(self, error: HardwareFault) -> None:
        """Try again soon: the LED may not have taken that it is to be off. A new grid begins then."""
        if self._interval_s > TRY_AGAIN_S:
            self._on_a_new_grid = True
            self.runtime.schedule.plan(self.runtime.clock() + TRY_AGAIN_S)

    def set_ir_led_intensity(self, intensity: float) -> None:
        """Read with another intensity from the next reading on."""
        if intensity == 0:
            raise _no_light()
        self.reader.set_intensity(intensity)
        self.runtime.publish({"ir_led_intensity": intensity})

    def set_interval(self, interval_s: float) -> None:
        """Read at another interval: a new grid begins with the next reading, which comes no later than that."""
        self._interval_s = interval_s
        self.reader.set_interval(interval_s)
        self._on_a_new_grid = True
        self.runtime.publish({"interval": interval_s})
        self.runtime.schedule.bring_forward(self.runtime.clock() + interval_s)

    def close(self) -> None:
        """Leave the infrared LED off. May be called twice."""
        if self._reader is not None:
            self._reader.close()


def _no_light() -> InvalidRequest:
    return InvalidRequest("Without light there is no optical density.", remediation="Stop od_reading instead.")


def _samples_per_second(config: Config) -> float:
    samples_per_second = config.get_float(SECTION, "samples_per_second")
    if samples_per_second <= 0:
        raise InvalidRequest(f"[{SECTION}] samples_per_second {samples_per_second:g} is not above 0.")
    return samples_per_second
