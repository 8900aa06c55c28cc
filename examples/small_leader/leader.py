"""A small leader: has many units run one experiment, and tells how they do. Nothing but the public client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from reactor_unit.client import UnitClient

PUMP_CALIBRATION = """\
calibration_type: simple_peristaltic_pump
calibration_name: {name}
calibrated_on_pioreactor_unit: {unit}
created_at: 2026-11-22T12:00:00Z
curve_data_: {{type: poly, coefficients: [{ml_per_s}, 0.0]}}
recorded_data: {{x: [10.0, 20.0], y: [{ten_s_ml}, {twenty_s_ml}]}}
hz: 250.0
dc: 100.0
voltage: 12.0
"""


@dataclass(frozen=True)
class Dilution:
    """What one unit has done: media it pumped, in ml, and how full its vial is by its own account, in ml."""

    unit: str
    media_ml: float
    volume_ml: float


class Leader:
    """Runs one experiment on many units, all at the same time; a context manager."""

    def __init__(self, urls: Sequence[str], experiment: str) -> None:
        self._units = [UnitClient(url) for url in urls]
        self._experiment = experiment
        self._threads = ThreadPoolExecutor(len(urls))

    def __enter__(self) -> Leader:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()
        for unit in self._units:
            unit.close()

    def calibrate_pumps(self, flows_ml_per_s: Mapping[str, float]) -> None:
        """Give each unit an active calibration for each of these pumps."""

        def calibrate(unit: UnitClient) -> None:
            name = unit.health()["pioreactor_unit"]
            for pump, flow in flows_ml_per_s.items():
                text = PUMP_CALIBRATION.format(
                    name=f"{pump}-linear", unit=name, ml_per_s=flow, ten_s_ml=10 * flow, twenty_s_ml=20 * flow
                )
                unit.create_calibration(f"{pump}_pump", text, set_as_active=True)

        list(self._threads.map(calibrate, self._units))

    def start(self, job_name: str, options: Sequence[Mapping[str, object]]) -> None:
        """Start a job on every unit, with its own options; return when all are ready. Raises ClientError."""

        def start(unit: UnitClient, own: Mapping[str, object]) -> None:
            accepted = unit.run_job(job_name, options=own, experiment=self._experiment)
            unit.wait_for(accepted["task_id"])

        list(self._threads.map(start, self._units, options))

    @contextmanager
    def running(self, job_name: str, options: Sequence[Mapping[str, object]]) -> Iterator[None]:
        """Have a job running on every unit meanwhile, and nothing afterwards."""
        self.start(job_name, options)
        try:
            yield
        finally:
            list(self._threads.map(lambda unit: unit.wait_for(unit.stop_all_jobs()["task_id"]), self._units))

    def dilutions(self) -> list[Dilution]:
        """Return how far each unit is."""

        def look(unit: UnitClient) -> Dilution:
            settings = unit.settings("dosing_automation", typed=True)
            name = unit.health()["pioreactor_unit"]
            return Dilution(name, settings.get("media_throughput", 0.0), settings["current_volume_ml"])

        return list(self._threads.map(look, self._units))
