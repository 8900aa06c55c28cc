"""The self-test of a real unit: by the command, by HTTP, stopped in the middle, and what is left of it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

from harness import DEADLINE_S, RunningUnit, running_unit, wait_for

from reactor_unit.persistent_cache import PersistentCache
from reactor_unit.workers.self_tests import TESTS

NAMES = [test.name for test in TESTS]
STIRRING = NAMES[-1]
LONG_S = 120.0
PAGE = Path(__file__).parents[2] / "docs" / "self-test.md"


def command(unit: RunningUnit, *words: str) -> list[str]:
    return [sys.executable, "-m", "reactor_unit", "self-test", "--url", f"http://127.0.0.1:{unit.port}", *words]


def self_test(unit: RunningUnit, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command; a job is not started twice within a second."""

    def run() -> subprocess.CompletedProcess[str] | None:
        done = subprocess.run(command(unit, *words), capture_output=True, text=True, timeout=LONG_S, check=False)
        return None if "less than 1 s ago" in done.stderr else done

    return wait_for(run, "a second between two starts")  # type: ignore[no-any-return]


def outputs_on(unit: RunningUnit) -> bool:
    state, drives = unit.plant().look_with_drives()
    return any(state.leds) or any(drives.values())


def start(unit: RunningUnit, **options: object) -> str:
    record = unit.ended(unit.accepted("/jobs/run/job_name/self_test", {"options": options}), within_s=40.0)
    assert record["status"] == "complete", record
    return str(record["result"]["job_id"])


def test_a_person_sees_what_passed_what_failed_and_what_to_do(tmp_path: Path) -> None:
    with running_unit(tmp_path, "--speed", "60", "--seed", "7") as unit:
        passed = self_test(unit)
        assert passed.returncode == 0, passed
        lines = passed.stdout.splitlines()
        assert [line.split()[2] for line in lines if line[0] != " " and "/10" in line] == NAMES
        assert lines[-1] == "All 10 tests passed."
        assert not outputs_on(unit)

        unit.plant().inject("hall_silent")
        failed = self_test(unit, "-k", "rpm")
        assert failed.returncode == 1, failed
        assert failed.stdout.startswith(f"1/1     FAILED  {STIRRING}\n")
        assert "-> See whether the stirrer turns freely." in failed.stdout

        unit.plant().clear()
        again = self_test(unit, "--retry-failed", "--json")
        assert again.returncode == 0, again
        (result,) = json.loads(again.stdout)["results"]
        assert (result["name"], result["status"], result["remedy"]) == (STIRRING, "ok", "")

        wait_for(lambda: unit.get("/jobs/running/self_test").json == [], "the end of the job")
        report = unit.get("/self_test/results").json
        assert [one["name"] for one in report["results"]] == NAMES
        assert report["planned"] == [STIRRING]
        row = next(one for one in unit.get("/jobs").json if one["job_name"] == "self_test")
        assert row["experiment"] == "$experiment"
        readings = unit.get(f"/readings?names=self_test.{STIRRING}").json["readings"]
        assert [reading["value"] for reading in readings] == [1.0, 0.0, 1.0]
    cache = PersistentCache(tmp_path / "dot" / "storage" / "local_persistent_pioreactor_metadata.sqlite")
    assert cache.items("self_test_results") == dict.fromkeys(NAMES, 1)


def transcript() -> list[tuple[list[str], str]]:
    """Return each command of the page's console block, as words, with the output shown for it."""
    (block,) = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    parts = [part.partition("\n") for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [(command.split()[1:], output) for command, _, output in parts]


def same_each_time(output: str) -> list[str]:
    return re.sub(r"\d+\.\d+(e-\d+)?|\d+(?= (to|rpm))", "NUMBER", output).split()


def test_the_page_shows_what_the_commands_say(tmp_path: Path) -> None:
    with running_unit(tmp_path, "--speed", "60", "--seed", "7") as unit:
        environ = {**unit.environ, "DOT_PIOREACTOR": str(unit.dot)}
        for words, output in transcript():
            if words[0] == "self-test":
                said = self_test(unit, *words[1:])
            else:
                simulate = [sys.executable, "-m", "reactor_unit", *words]
                said = subprocess.run(simulate, env=environ, capture_output=True, text=True, timeout=LONG_S, check=True)
            assert same_each_time(said.stdout) == same_each_time(output), words


def test_a_stop_ends_it_at_once_and_a_job_that_needs_the_same_is_refused(tmp_path: Path) -> None:
    with running_unit(tmp_path) as unit:
        start(unit)
        wait_for(lambda: outputs_on(unit), "a test that has something on")
        refused = unit.post("/jobs/run/job_name/stirring")
        record = refused.json if refused.status == 409 else unit.ended(refused.json["task_id"])
        assert "stirring cannot run beside self_test" in json.dumps(record)
        stopped = unit.ended(unit.accepted("/jobs/stop", {"job_name": "self_test"}))
        assert stopped["status"] == "complete"
        assert not outputs_on(unit)
        assert unit.get("/jobs/running/self_test").json == []
        report = unit.get("/self_test/results").json
        assert report["planned"] == NAMES
        assert [one["name"] for one in report["results"]] == NAMES[:1]


def test_ctrl_c_stops_the_job_and_says_so(tmp_path: Path) -> None:
    with (
        running_unit(tmp_path) as unit,
        subprocess.Popen(
            command(unit, "-k", "REF"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as shown,
    ):
        wait_for(lambda: outputs_on(unit), "a test that has something on")
        shown.send_signal(signal.SIGINT)
        _, said = shown.communicate(timeout=DEADLINE_S)
        assert shown.returncode == 130
        assert "what it had on is off" in said
        assert not outputs_on(unit)
        assert unit.get("/jobs/running/self_test").json == []


def test_one_that_is_stopped_by_somebody_else_is_an_error_of_the_command(tmp_path: Path) -> None:
    with (
        running_unit(tmp_path) as unit,
        subprocess.Popen(
            command(unit, "-k", "blank"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as shown,
    ):
        wait_for(lambda: outputs_on(unit), "a test that has something on")
        unit.ended(unit.accepted("/jobs/stop/all"))
        _, said = shown.communicate(timeout=DEADLINE_S)
        assert shown.returncode == 1
        assert "ended before 1 of its tests: test_PD_is_near_0_volts_for_blank" in said


def test_a_choice_of_none_is_refused_with_the_names(tmp_path: Path) -> None:
    with running_unit(tmp_path, "--speed", "60") as unit:
        refused = self_test(unit, "-k", "nonsense")
        assert refused.returncode == 1
        assert "No self-test has 'nonsense' in its name" in refused.stderr
        assert STIRRING in refused.stderr
