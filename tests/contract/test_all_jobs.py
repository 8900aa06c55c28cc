"""What every job of the catalogue promises, asked of its real process on the simulated reactor, over HTTP.

A job that is added to the catalogue is asked too. What it needs to be started, and what it publishes only at times,
stands in `STARTS`; one that needs nothing special is not in it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness import DEADLINE_S, RunningUnit, kill, running_unit, wait_for

from reactor_unit.workers.jobs import JOBS

SAFE_WITHIN_S = 2.0
SLEEPS_FOR_PLANT_S = 60.0
STIRRING_DODGES = {"target_rpm_during_od_reading", "target_rpm_outside_od_reading"}
ODS = {f"{kind}{channel}" for kind in ("od", "raw_od", "calibrated_od") for channel in "1234"}


@dataclass(frozen=True)
class Start:
    """How a job is started here, with `options` or, as `args`, steps.

    `after` are the jobs it needs. `sometimes` are settings that it publishes on a condition. `keeps_outputs`: LEDs
    stay as they are while it sleeps. `ends_by_itself`: an action, which may be over before anybody looks.
    """

    options: dict[str, Any] = field(default_factory=dict)
    args: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    sometimes: frozenset[str] = frozenset()
    keeps_outputs: bool = False
    ends_by_itself: bool = False

    def body(self) -> dict[str, Any]:
        """Return the run request."""
        return {"options": self.options, "args": list(self.args)}


STARTS = {
    "add_media": Start({"duration": 10}, ends_by_itself=True),
    "add_alt_media": Start({"duration": 10}, ends_by_itself=True),
    "remove_waste": Start({"continuously": None}, ends_by_itself=True),
    "circulate_media": Start({"duration": 10}, ends_by_itself=True),
    "circulate_alt_media": Start({"duration": 10}, ends_by_itself=True),
    "pumps": Start(args=("sleep", "120"), ends_by_itself=True),
    "stirring": Start(sometimes=frozenset(STIRRING_DODGES)),
    "od_reading": Start(sometimes=frozenset(ODS | {"od_fused", "relative_intensity_of_ir_led"})),
    "growth_rate_calculating": Start(after=("od_reading",)),
    "temperature_automation": Start({"automation_name": "thermostat", "target_temperature": 37}),
    "led_automation": Start(
        {
            "automation_name": "light_dark_cycle",
            "duration": 1,
            "light_intensity": 20,
            "light_duration_minutes": 960,
            "dark_duration_minutes": 480,
        },
        keeps_outputs=True,
    ),
    "dosing_automation": Start({"automation_name": "silent", "duration": 1}, sometimes=frozenset({"dosing_event"})),
    "led_intensity": Start({"B": 30}),
    "od_blank": Start(after=("stirring",), sometimes=frozenset({"means"}), ends_by_itself=True),
    "self_test": Start(ends_by_itself=True),
    "monitor": Start(sometimes=frozenset({"button_down", "ipv4", "wlan_mac_address", "eth_mac_address"})),
}
ALWAYS_CONDITIONAL = {"fault"}


def outputs_on(unit: RunningUnit) -> dict[str, float]:
    """Return what is on in the reactor: duty cycles by role and LEDs by channel, in %."""
    state, drives = unit.plant().look_with_drives()
    on = {role: duty_cycle for role, duty_cycle in drives.items() if duty_cycle}
    return on | {led: light for led, light in zip("ABCD", state.leds, strict=True) if light}


def run(unit: RunningUnit, name: str) -> dict[str, Any] | None:
    """Start a job and what it needs; return its row, or None for an action that is over. One that runs is left."""
    start = STARTS.get(name, Start())
    for needed in start.after:
        run(unit, needed)
    if not unit.get(f"/jobs/running/{name}").json:
        record = unit.ended(unit.accepted(f"/jobs/run/job_name/{name}", start.body()), within_s=40.0)
        assert record["status"] == "complete", record
    rows = unit.get(f"/jobs/running/{name}").json
    assert rows or start.ends_by_itself
    return dict(rows[0]) if rows else None


def settings(unit: RunningUnit, name: str) -> dict[str, str]:
    answer = unit.get(f"/jobs/settings/job_name/{name}")
    return dict(answer.json["settings"]) if answer.status == 200 else {}


def put(unit: RunningUnit, name: str, setting: str, value: str) -> Any:
    return unit.ask("PUT", f"/jobs/settings/job_name/{name}/setting/{setting}", {"value": value})


def stop_everything(unit: RunningUnit) -> None:
    assert unit.ended(unit.accepted("/jobs/stop/all"))["status"] == "complete"


@pytest.mark.parametrize("name", JOBS)
class TestJob:
    """Every job, at the reactor's own speed and at 60 times that."""

    @pytest.fixture(params=[1, 60], ids=lambda speed: f"speed {speed}")
    def unit(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningUnit]:
        with running_unit(tmp_path, "--speed", str(request.param)) as unit:
            yield unit

    @pytest.fixture
    def fast_unit(self, tmp_path: Path) -> Iterator[RunningUnit]:
        with running_unit(tmp_path, "--speed", "60") as unit:
            yield unit

    def test_it_is_ready_and_publishes_what_it_declares(self, fast_unit: RunningUnit, name: str) -> None:
        start, spec = STARTS.get(name, Start()), JOBS[name].spec
        row = run(fast_unit, name)
        assert name in {past["job_name"] for past in fast_unit.get("/jobs").json}
        if row is None or start.ends_by_itself:
            return
        declared = {setting.name for setting in spec.settings_with(start.options.get("automation_name"))}
        needed = declared - start.sometimes - ALWAYS_CONDITIONAL
        wait_for(lambda: settings(fast_unit, name).keys() >= needed | {"$state"}, f"all of {sorted(needed)}")
        published = settings(fast_unit, name)
        assert published.keys() <= declared | {"$state"}
        assert published["$state"] == "ready"

    def test_each_setting_takes_its_own_value_back(self, fast_unit: RunningUnit, name: str) -> None:
        if run(fast_unit, name) is None or STARTS.get(name, Start()).ends_by_itself:
            return
        settable = [setting for setting in JOBS[name].spec.every_setting() if setting.settable]
        published = settings(fast_unit, name)
        for setting in settable:
            if setting.name in published:
                answer = put(fast_unit, name, setting.name, published[setting.name])
                assert answer.status == 200, (setting.name, published[setting.name], answer)
                assert answer.json["value"] == setting.parse(published[setting.name])
        assert put(fast_unit, name, "$state", "ready").json["value"] == "ready"
        assert fast_unit.get(f"/jobs/running/{name}").json

    def test_asleep_its_outputs_are_safe_and_it_wakes(self, fast_unit: RunningUnit, name: str) -> None:
        start = STARTS.get(name, Start())
        if run(fast_unit, name) is None or start.ends_by_itself:
            return
        for needed in reversed(start.after):
            assert put(fast_unit, needed, "$state", "sleeping").status == 200
        before = outputs_on(fast_unit)
        assert put(fast_unit, name, "$state", "sleeping").json["value"] == "sleeping"
        plant = fast_unit.plant()
        asleep_s = plant.plant_time_s()
        while plant.plant_time_s() < asleep_s + SLEEPS_FOR_PLANT_S:
            assert outputs_on(fast_unit) == (before if start.keeps_outputs else {})
            time.sleep(0.01)
        assert put(fast_unit, name, "$state", "ready").json["value"] == "ready"
        assert settings(fast_unit, name)["$state"] == "ready"

    def test_stopped_it_leaves_its_outputs_off(self, unit: RunningUnit, name: str) -> None:
        run(unit, name)
        unit.ended(unit.accepted("/jobs/stop", {"job_name": name}))
        assert unit.get(f"/jobs/running/{name}").json == []
        stop_everything(unit)
        assert outputs_on(unit) == {}
        row = next(past for past in unit.get("/jobs").json if past["job_name"] == name)
        assert row["ended_at"]

    def test_killed_it_leaves_its_outputs_off(self, unit: RunningUnit, name: str) -> None:
        row = run(unit, name)
        if row is None:
            return
        own = outputs_on(unit)
        killed_at_s = kill(row["pid"])
        wait_for(
            lambda: row["job_id"] not in {running["job_id"] for running in unit.get("/jobs/running").json},
            "the end of the job",
        )
        if not STARTS.get(name, Start()).after:
            assert outputs_on(unit).keys().isdisjoint(own)
            assert unit.plant().changed_at_s() < killed_at_s + SAFE_WITHIN_S
        stop_everything(unit)
        assert outputs_on(unit) == {}

    def test_its_outputs_are_off_when_the_supervisor_dies(self, unit: RunningUnit, name: str) -> None:
        run(unit, name)
        children = unit.children()
        unit.plant().wait_until_off(lambda: outputs_on(unit), kill(unit.process.pid), SAFE_WITHIN_S)
        _, alive = psutil.wait_procs(children, timeout=DEADLINE_S)
        assert alive == []
        assert outputs_on(unit) == {}
