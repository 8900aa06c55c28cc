"""The jobs of light over HTTP, on a reactor 60 times as fast as the clock."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import RunningUnit, running_unit, wait_for

from reactor_unit.persistent_cache import PersistentCache

EXPERIMENT = {"EXPERIMENT": "E1"}
LONG_S = 40.0


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[RunningUnit]:
    """A unit in which a minute takes a second."""
    with running_unit(tmp_path, "--speed", "60") as unit:
        yield unit


def run(unit: RunningUnit, job_name: str, *args: str, **options: Any) -> dict[str, Any]:
    """Ask for a job, again while its name was used less than a second ago; return the task's final record."""

    def accepted() -> Any:
        body = {"options": options, "args": list(args), "env": EXPERIMENT}
        answer = unit.post(f"/jobs/run/job_name/{job_name}", body)
        assert answer.status in (202, 429), answer
        return answer.json if answer.status == 202 else None

    return dict(unit.ended(wait_for(accepted, f"an accepted start of {job_name}")["task_id"], within_s=LONG_S))


def completed(unit: RunningUnit, job_name: str, *args: str, **options: Any) -> dict[str, Any]:
    record = run(unit, job_name, *args, **options)
    assert record["status"] == "complete", record
    return dict(record["result"])


def setting(unit: RunningUnit, job_name: str, name: str) -> Any:
    answer = unit.get(f"/jobs/settings/job_name/{job_name}/setting/{name}?typed=true")
    return answer.json[name] if answer.status == 200 else None


def stop(unit: RunningUnit, job_name: str) -> None:
    assert unit.ended(unit.accepted("/jobs/stop", {"job_name": job_name}))["status"] == "complete"


def values(unit: RunningUnit, name: str) -> list[float]:
    return [reading["value"] for reading in unit.get(f"/readings?names={name}&limit=1000").json["readings"]]


def lit(unit: RunningUnit) -> dict[str, int]:
    with contextlib.closing(unit.plant()) as plant:
        return {channel: round(plant.led(channel)) for channel in "ABCD" if plant.led(channel) > 0}


def remembered(unit: RunningUnit, table: str) -> dict[str, Any]:
    return PersistentCache(unit.dot / "storage" / "local_persistent_pioreactor_metadata.sqlite").items(table)


def is_over(unit: RunningUnit, job_name: str) -> bool:
    return not unit.get(f"/jobs/running/{job_name}").json


def test_optical_density_is_read_and_leaves_no_light(fast: RunningUnit) -> None:
    with contextlib.closing(fast.plant()) as plant:
        plant.put_standard(1.0)
    completed(fast, "od_reading")
    wait_for(lambda: len(values(fast, "od.90.2")) >= 4, "four readings", within_s=LONG_S)
    assert 0.05 < setting(fast, "od_reading", "od2")["od"] < 0.2
    assert setting(fast, "od_reading", "ods")["ods"].keys() == {"2"}
    assert setting(fast, "od_reading", "first_od_obs_time") > 0
    assert values(fast, "od.relative_intensity_of_ir_led")
    changed = fast.ask("PUT", "/jobs/settings/job_name/od_reading/setting/ir_led_intensity", {"value": 50})
    assert changed.json["value"] == 50.0
    wait_for(
        lambda: setting(fast, "od_reading", "od2")["ir_led_intensity"] == 50.0, "a reading at 50 %", within_s=LONG_S
    )
    stop(fast, "od_reading")
    assert lit(fast) == {}


def test_a_killed_od_reading_leaves_no_light(fast: RunningUnit) -> None:
    completed(fast, "od_reading", interval=0.5)  # which reads nearly all the time
    completed(fast, "led_intensity", B=50)
    wait_for(lambda: "A" in lit(fast), "the infrared LED", within_s=LONG_S)
    (row,) = fast.get("/jobs/running/od_reading").json
    os.kill(row["pid"], signal.SIGKILL)
    wait_for(lambda: is_over(fast, "od_reading"), "the end of od_reading")
    wait_for(lambda: lit(fast) == {"B": 50}, "B alone, lit again")


def test_a_snapshot_is_one_reading(fast: RunningUnit) -> None:
    completed(fast, "od_reading", snapshot=True)
    wait_for(lambda: is_over(fast, "od_reading"), "the end of the snapshot", within_s=LONG_S)
    assert len(values(fast, "od.90.2")) == 1
    (row,) = fast.get("/jobs").json
    assert (row["state"], row["cause"]) == ("disconnected", None)


def test_too_much_light_ends_od_reading_and_says_why(fast: RunningUnit) -> None:
    completed(fast, "od_reading")
    with contextlib.closing(fast.plant()) as plant:
        plant.inject("adc_saturated")
    wait_for(lambda: is_over(fast, "od_reading"), "the end of od_reading", within_s=LONG_S)
    assert lit(fast) == {}
    assert "too bright" in fast.get("/jobs").json[0]["cause"]


def test_the_blank_is_measured_kept_and_used_for_the_growth_rate(fast: RunningUnit) -> None:
    with contextlib.closing(fast.plant()) as plant:
        plant.put_blank()
        completed(fast, "od_blank", n_samples=6)
        wait_for(lambda: is_over(fast, "od_blank"), "the end of od_blank", within_s=LONG_S)
        blank = json.loads(wait_for(lambda: remembered(fast, "od_blank"), "the stored blank")["E1"])
        assert 0.001 < blank["2"] < 0.02
        assert values(fast, "od_blank.2") == [pytest.approx(blank["2"])]
        wait_for(lambda: is_over(fast, "stirring"), "the end of the stirring that the blank had started")
        plant.inoculate(1.0)
    refused = fast.post("/jobs/run/job_name/growth_rate_calculating", {"env": EXPERIMENT})
    assert (refused.status, "od_reading" in refused.json["error"]) == (409, True)
    completed(fast, "stirring")
    completed(fast, "od_reading")
    refused = fast.post("/jobs/run/job_name/od_blank", {"env": EXPERIMENT})
    assert (refused.status, "od_reading" in refused.json["error"]) == (409, True)
    completed(fast, "growth_rate_calculating")
    wait_for(lambda: len(values(fast, "growth_rate")) >= 3, "growth rates", within_s=LONG_S)
    assert setting(fast, "growth_rate_calculating", "od_filtered")["od_filtered"] == pytest.approx(1.0, abs=0.1)
    assert len(setting(fast, "growth_rate_calculating", "kalman_filter_outputs")["state"]) == 2
    assert values(fast, "od_filtered")
    stop(fast, "growth_rate_calculating")
    restarted = completed(fast, "growth_rate_calculating")  # it knows the statistics, from memory or disk
    wait_for(lambda: setting(fast, "growth_rate_calculating", "growth_rate"), "an early growth rate")
    assert restarted["state"] == "ready"
    assert fast.end() == 0
    mean = json.loads(remembered(fast, "od_normalization_mean")["E1"])
    assert mean["2"] > 5 * blank["2"]
    assert remembered(fast, "od_filtered")["E1"] == pytest.approx(1.0, abs=0.1)


def test_what_is_remembered_is_forgotten_on_demand(fast: RunningUnit) -> None:
    completed(fast, "od_blank", n_samples=5)
    wait_for(lambda: is_over(fast, "od_blank"), "the end of od_blank", within_s=LONG_S)
    assert completed(fast, "od_blank", "delete")["state"] == "disconnected"
    assert completed(fast, "growth_rate_calculating", "clear_cache")["state"] == "disconnected"
    assert fast.end() == 0
    assert remembered(fast, "od_blank") == {}


def test_leds_are_set_by_hand_until_all_are_dark(fast: RunningUnit) -> None:
    first = completed(fast, "led_intensity", B=50)
    assert completed(fast, "led_intensity", C=20) == first  # the same job
    assert lit(fast) == {"B": 50, "C": 20}
    assert values(fast, "led.C") == [20.0]
    completed(fast, "led_intensity", B=0)
    assert lit(fast) == {"C": 20}
    completed(fast, "led_intensity", C=0)
    wait_for(lambda: is_over(fast, "led_intensity"), "the end of led_intensity")
    assert lit(fast) == {}


def test_leds_that_another_job_has_are_refused(fast: RunningUnit) -> None:
    completed(fast, "od_reading")
    completed(fast, "led_intensity", B=50)
    record = run(fast, "led_intensity", A=10)
    assert record["status"] == "failed"
    assert "od_reading" in record["error"]
    assert not is_over(fast, "led_intensity")


@pytest.mark.parametrize("how", ["stop", "kill -9"])
def test_leds_are_off_after_their_job(fast: RunningUnit, how: str) -> None:
    for job_name, options in (
        ("led_intensity", {"B": 50}),
        (
            "led_automation",
            {
                "automation_name": "light_dark_cycle",
                "light_intensity": 30,
                "light_duration_minutes": 960,
                "dark_duration_minutes": 480,
            },
        ),
    ):
        completed(fast, job_name, **options)
        wait_for(lambda: lit(fast), f"the light of {job_name}", within_s=LONG_S)
        (row,) = fast.get(f"/jobs/running/{job_name}").json
        if how == "stop":
            stop(fast, job_name)
        else:
            os.kill(row["pid"], signal.SIGKILL)
            wait_for(lambda name=job_name: is_over(fast, name), f"the end of {job_name}")
        assert lit(fast) == {}


def test_the_automation_changes_light_and_tells_of_it(fast: RunningUnit) -> None:
    assert fast.post("/jobs/run/job_name/led_automation", {"options": {"automation_name": "no"}}).status == 400
    cycle = {"light_intensity": 30, "light_duration_minutes": 2, "dark_duration_minutes": 2}
    completed(fast, "led_automation", automation_name="light_dark_cycle", **cycle)
    assert setting(fast, "led_automation", "automation_name") == "light_dark_cycle"
    wait_for(lambda: values(fast, "led.D")[:3] == [30.0, 0.0, 30.0], "light, dark, light", within_s=LONG_S)
    assert setting(fast, "led_automation", "latest_event")["event_name"] == "ChangedLedIntensity"
    put = "/jobs/settings/job_name/led_automation/setting/light_intensity"
    assert fast.ask("PUT", put, {"value": 10}).json["value"] == 10.0
