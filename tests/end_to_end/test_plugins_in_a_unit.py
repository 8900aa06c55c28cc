"""Plugins in a real unit, over HTTP: they appear, run, publish and end like built-in jobs; broken ones harm nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from calibration_examples import PUMP, replaced
from harness import RunningUnit, kill, running_unit, wait_for
from plugin_examples import BLINK, BROKEN, HANGS, install, write_plugin

from reactor_unit.drivers.simulation.constants import FLOW_ML_PER_S

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
LOOK_S = 40.0


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[RunningUnit]:
    with running_unit(tmp_path) as unit:
        yield unit


def example(name: str) -> str:
    """Return the program that the page says to put into `plugins/NAME.py`."""
    found = re.search(rf"`plugins/{name}\.py`:\n\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found, name
    return found[1]


def installed(unit: RunningUnit) -> dict[str, Any]:
    answer = unit.ask("GET", "/plugins/installed", timeout_s=LOOK_S)
    assert answer.status == 200, answer
    return {one["name"]: one for one in answer.json}


def entries(unit: RunningUnit, job_name: str) -> list[Any]:
    return [one for one in unit.get("/capabilities").json["jobs"] if one["job_name"] == job_name]


def settings(unit: RunningUnit, job_name: str) -> dict[str, Any]:
    return dict(unit.get(f"/jobs/settings/job_name/{job_name}?typed=true").json["settings"])


def led_b(unit: RunningUnit) -> float:
    return unit.plant().look().leds[1]


def loaded(unit: RunningUnit, word: str) -> list[int]:
    """Return the processes of the unit in whose memory this word stands."""
    return [one.pid for one in [unit.supervisor, *unit.children()] if _has(one.pid, word.encode())]


def _has(pid: int, word: bytes) -> bool:
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights, *_ = line.split()
            begin, end = (int(part, 16) for part in span.split("-"))
            if rights.startswith("rw"):
                try:
                    memory.seek(begin)
                    if word in memory.read(end - begin):
                        return True
                except OSError:
                    continue
    return False


def test_the_job_of_the_page_appears_runs_publishes_and_ends(unit: RunningUnit) -> None:
    before = unit.get("/capabilities")
    write_plugin(unit.dot / "plugins", "light_pulses", example("light_pulses"))
    wait_for(lambda: entries(unit, "light_pulses"), "the plugin's job among the capabilities", within_s=LOOK_S)
    assert unit.get("/capabilities").headers["etag"] != before.headers["etag"]
    about = installed(unit)["light-pulses"]
    assert (about["version"], about["author"], about["error"]) == ("1.0.0", "A. Biologist", None)
    row = unit.run_job("light_pulses", every_s=1, intensity=40)
    assert row["pid"] in unit.jobs_pids()
    wait_for(lambda: round(led_b(unit)) == 40, "a pulse")
    wait_for(lambda: settings(unit, "light_pulses")["pulses"] >= 2, "two pulses")
    put = "/jobs/settings/job_name/light_pulses/setting/intensity"
    assert unit.ask("PUT", put, {"value": 60}).json["value"] == 60
    assert unit.ask("PUT", put, {"value": 101}).status == 400
    wait_for(lambda: round(led_b(unit)) == 60, "a brighter pulse")
    assert unit.get("/readings?names=light_pulses.pulses").json["readings"]
    assert unit.post("/jobs/run/job_name/light_pulses", {"options": {"every_s": 0}}).status == 400
    unit.ended(unit.accepted("/jobs/stop", {"job_name": "light_pulses"}))
    assert unit.get("/jobs/running/light_pulses").json == []
    assert led_b(unit) == 0


def test_a_killed_job_of_a_plugin_leaves_its_outputs_off(unit: RunningUnit) -> None:
    write_plugin(unit.dot / "plugins", "blink", BLINK)
    row = unit.run_job("blink", intensity=50)  # without having been asked for before
    wait_for(lambda: round(led_b(unit)) == 50, "light")
    unit.plant().wait_until_off(lambda: led_b(unit), kill(row["pid"]), 2.0)
    last = wait_for(lambda: next((one for one in unit.get("/jobs").json if one["ended_at"]), None), "its end")
    assert (last["job_name"], last["state"]) == ("blink", "lost")


def test_a_job_of_a_plugin_that_hangs_is_ended(unit: RunningUnit) -> None:
    hangs = BLINK.replace("self.count += 1", "import time; time.sleep(1000)").replace(
        "interval_s = 0.05", "interval_s = 9"
    )
    write_plugin(unit.dot / "plugins", "blink", hangs)
    unit.run_job("blink")
    wait_for(lambda: round(led_b(unit)) == 30, "light")
    began = unit.post("/jobs/stop", {"job_name": "blink"}).json["task_id"]
    assert unit.ended(began)["status"] == "complete"
    assert led_b(unit) == 0


def test_the_automation_of_the_page_doses_under_the_units_interlocks(tmp_path: Path) -> None:
    with running_unit(tmp_path, "--speed", "60", "--seed", "7") as unit:
        write_plugin(unit.dot / "plugins", "od_steps", example("od_steps"))
        for pump, flow in FLOW_ML_PER_S.items():
            text = replaced(replaced(PUMP, "media-demo", f"{pump}-exact"), "0.06, 0.0", f"{flow}, 0.0")
            text = replaced(text, "y: [0.48, 0.96]", f"y: [{8 * flow}, {16 * flow}]")
            body = {"calibration_data": text, "set_as_active": True}
            assert unit.post(f"/calibrations/{pump}_pump", body).status == 201
        unit.run_stirring(target_rpm=500)
        unit.run_job("od_reading")
        options = {"automation_name": "od_steps", "threshold_od": 0.001, "volume_ml": 1, "duration": 1}
        unit.run_job("dosing_automation", **options)
        assert [one["automation_name"] for one in entries(unit, "dosing_automation")].count("od_steps") == 1
        wait_for(lambda: settings(unit, "dosing_automation")["media_throughput"] >= 1.0, "an exchange")
        assert settings(unit, "dosing_automation")["automation_name"] == "od_steps"
        assert unit.get("/readings?names=dose.media").json["readings"]
        put = "/jobs/settings/job_name/dosing_automation/setting/threshold_od"
        assert unit.ask("PUT", put, {"value": 100}, timeout_s=20).status == 200
        wait_for(lambda: settings(unit, "dosing_automation")["latest_event"]["event_name"] == "NoEvent", "no event")
        unit.ended(unit.accepted("/jobs/stop", {"job_name": "dosing_automation"}))
        assert not any(unit.plant().look_with_drives()[1].get(pump) for pump in FLOW_ML_PER_S)
        wrong = {"options": {**options, "volume_ml": 6}}
        assert unit.post("/jobs/run/job_name/dosing_automation", wrong).status == 400


def test_broken_plugins_are_told_and_harm_nobody(unit: RunningUnit) -> None:
    stirring = unit.run_stirring(target_rpm=400)
    children = {unit.supervisor.pid, unit.web().pid, stirring["pid"]}
    for name, (text, _) in BROKEN.items():
        write_plugin(unit.dot / "plugins", name, text)
    write_plugin(unit.dot / "plugins", "a_loop", HANGS)
    write_plugin(unit.dot / "plugins", "good", BLINK)
    assert unit.get("/capabilities").status == 200  # which has the unit look, and waits for nothing
    assert unit.ended(unit.accepted("/jobs/run/job_name/led_intensity", {"options": {"A": 5}}))["status"] == "complete"
    by_source = wait_for(lambda: _all_looked_at(unit, len(BROKEN) + 2), "all plugins", within_s=LOOK_S)
    for name, (_, said) in BROKEN.items():
        assert said in by_source[f"plugins/{name}.py"]["error"], name
    assert "took longer than 10 s" in by_source["plugins/a_loop.py"]["error"]
    assert by_source["plugins/good.py"]["error"] is None
    assert "plugins/raises.py: ZeroDivisionError" in unit.log()
    assert children <= {one.pid for one in [unit.supervisor, *unit.children()]}
    assert len(entries(unit, "stirring")) == 1
    assert unit.post("/jobs/run/job_name/leds", {}).status == 404
    unit.run_job("blink")
    checked = unit.ended(unit.accepted("/hardware/check"), within_s=60)["result"]
    (finding,) = (one for one in checked["findings"] if one["name"] == "plugins")
    assert finding["status"] == "fail"


def _all_looked_at(unit: RunningUnit, count: int) -> dict[str, Any] | None:
    answer = unit.ask("GET", "/plugins/installed", timeout_s=LOOK_S)
    if answer.status != 200 or len(answer.json) < count:
        return None
    return {one["source"]: one for one in answer.json}


def test_a_plugin_is_in_the_memory_of_its_own_job_alone(unit: RunningUnit) -> None:
    word = "a word of " + "the plugin alone"
    write_plugin(unit.dot / "plugins", "blink", BLINK + f"\nWORDS = ['{word}' + str(number) for number in range(9)]\n")
    job = unit.run_job("blink")
    stirring = unit.run_stirring(target_rpm=300)
    has = loaded(unit, word)
    assert job["pid"] in has
    assert not {unit.supervisor.pid, unit.web().pid, stirring["pid"]} & set(has)


def test_a_changed_plugin_is_run_as_it_is_now_and_a_removed_one_no_more(unit: RunningUnit) -> None:
    path = write_plugin(unit.dot / "plugins", "blink", BLINK)
    unit.run_job("blink")
    write_plugin(unit.dot / "plugins", "blink", BLINK.replace('Option("intensity"', 'Option("brightness"'))
    assert unit.get("/jobs/running/blink").json  # it goes on with the code it started with
    unit.ended(unit.accepted("/jobs/stop", {"job_name": "blink"}))
    assert unit.post("/jobs/run/job_name/blink", {"options": {"intensity": 3}}).status == 400
    unit.run_job("blink", brightness=70)
    unit.ended(unit.accepted("/jobs/stop", {"job_name": "blink"}))
    path.unlink()
    assert unit.post("/jobs/run/job_name/blink", {}).status == 404
    assert installed(unit) == {}


def test_a_running_job_refuses_what_only_its_changed_plugin_has(unit: RunningUnit) -> None:
    write_plugin(unit.dot / "plugins", "blink", BLINK)
    unit.run_job("blink")
    more = 'Setting("level", "float", settable=True), Setting("count"'
    text = BLINK.replace('Setting("count"', more) + "\n    def set_level(self, level):\n        pass\n"
    write_plugin(unit.dot / "plugins", "blink", text)
    wait_for(lambda: "level" in entries(unit, "blink")[0]["published_settings"], "the new setting", within_s=LOOK_S)
    refused = unit.ask("PUT", "/jobs/settings/job_name/blink/setting/level", {"value": 1})
    assert refused.status == 409
    assert "has changed since it started" in refused.json["error"]
    assert unit.ask("PUT", "/jobs/settings/job_name/blink/setting/intensity", {"value": 1}).status == 200


def test_a_new_web_process_knows_the_plugins(unit: RunningUnit) -> None:
    write_plugin(unit.dot / "plugins", "blink", BLINK)
    assert "blink-demo" in installed(unit)
    web: psutil.Process = unit.web()
    web.kill()
    wait_for(lambda: not web.is_running(), "its end")
    assert wait_for(lambda: entries(unit, "blink"), "the job among the capabilities")


def test_a_probe_that_hangs_ends_with_the_supervisor(unit: RunningUnit) -> None:
    mark = unit.dot / "hangs"
    write_plugin(unit.dot / "plugins", "hangs", f"open({str(mark)!r}, 'w').close()\n{HANGS}")
    wait_for(lambda: unit.get("/capabilities") and mark.exists(), "a probe that hangs")
    everybody = unit.children()
    assert len(everybody) >= 2
    unit.supervisor.kill()
    wait_for(lambda: not any(one.is_running() for one in everybody), "the end of all")


def test_a_unit_that_ends_waits_for_no_probe(unit: RunningUnit) -> None:
    mark = unit.dot / "hangs"
    write_plugin(unit.dot / "plugins", "hangs", f"open({str(mark)!r}, 'w').close()\n{HANGS}")
    wait_for(lambda: unit.get("/capabilities") and mark.exists(), "a probe that hangs")
    everybody = unit.children()
    assert unit.end() == 0
    assert not any(one.is_running() for one in everybody)


def test_a_distribution_with_the_entry_point_is_a_plugin(tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(site, "blink-package", "2.0", "reactor_unit.plugins", ["blink_package:Blink"], {"blink_package": BLINK})
    install(site, "their-plugin", "0.1", "pioreactor.plugins", ["theirs"], {"theirs": "1 / 0"})
    with running_unit(tmp_path, environ={"PYTHONPATH": str(site)}) as unit:
        found = installed(unit)
        assert found["blink-package"]["version"] == "2.0"
        assert found["their-plugin"]["error"] is None
        unit.run_job("blink")
        wait_for(lambda: settings(unit, "blink")["count"] >= 2, "counting")


def test_a_unit_may_do_without_plugins(tmp_path: Path) -> None:
    with running_unit(tmp_path, environ={"SKIP_PLUGINS": "1"}) as unit:
        write_plugin(unit.dot / "plugins", "blink", BLINK)
        assert installed(unit) == {}
        assert unit.post("/jobs/run/job_name/blink", {}).status == 404
