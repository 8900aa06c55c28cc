"""A unit's data folder replaced by an archive: of another unit of the same name, while it runs, and refused."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import CONTENT_TYPE, archive, digest, form
from calibration_examples import PUMP
from harness import DEADLINE_S, Answer, RunningUnit, fill_disk, running_unit, small_disk, wait_for
from plugin_examples import BLINK, write_plugin

from reactor_unit.import_swap import JOURNAL
from reactor_unit.workers.import_child import NICENESS

PATH = "/import_zipped_dot_pioreactor"
LOOK_S = 40.0
CONFIG = "[stirring.config]\ninitial_target_rpm=321\n[PWM]\n1=stirring\n2=waste\n3=alt_media\n4=media\n5=heating\n"


def sent(unit: RunningUnit, content: bytes, **headers: str) -> Answer:
    return unit.ask("POST", PATH, form(content), {"Content-Type": CONTENT_TYPE, **headers}, timeout_s=60)


def imported(unit: RunningUnit, content: bytes) -> Any:
    """Import an archive and return the final record of its task."""
    answer = sent(unit, content)
    assert answer.status == 202, answer
    return unit.ended(answer.json["task_id"])


def exported(unit: RunningUnit) -> bytes:
    return unit.ask("GET", "/zipped_dot_pioreactor", timeout_s=60).body


def target_rpm(unit: RunningUnit) -> str:
    unit.run_stirring()
    return str(unit.get("/jobs/settings/job_name/stirring").json["settings"]["target_rpm"])


@contextlib.contextmanager
def another_unit(tmp_path: Path, *words: str, **options: Any) -> Iterator[RunningUnit]:
    place = tmp_path / "second"
    place.mkdir(exist_ok=True)
    with running_unit(place, *words, **options) as unit:
        yield unit


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    """An archive that a unit called pio01 made, with a configuration, a calibration and a plugin of its own."""
    place = tmp_path / "first"
    place.mkdir()
    with running_unit(place) as unit:
        (unit.dot / "config.ini").write_text(CONFIG)
        write_plugin(unit.dot / "plugins", "blink", BLINK)
        answer = unit.post("/calibrations/media_pump", {"calibration_data": PUMP})
        assert answer.status == 201, answer
        assert unit.ask("PATCH", "/active_calibrations/media_pump/media-demo").status == 200
        unit.run_stirring()
        unit.ended(unit.accepted("/jobs/stop/all"))
        return exported(unit)


def test_an_archive_works_in_a_second_unit_of_the_same_name(tmp_path: Path, whole: bytes) -> None:
    with another_unit(tmp_path, "--name", "pio01", monitor=True) as unit:
        assert target_rpm(unit) != "321"
        record = imported(unit, whole)
        assert record["status"] == "complete", record
        assert target_rpm(unit) == "321"
        assert unit.get("/active_calibrations").json["media_pump"]["calibration_name"] == "media-demo"
        wait_for(lambda: "blink" in str(unit.get("/capabilities").json["jobs"]), "the plugin's job", within_s=LOOK_S)
        assert unit.run_job("blink")["job_name"] == "blink"
        wait_for(lambda: unit.get("/jobs/running/monitor").json, "the standing job")
        assert unit.get("/system/path/config.ini").body.decode() == CONFIG
        # What was measured and run there came along.
        runs = unit.get("/jobs").json
        assert any(row["job_name"] == "stirring" and not row["is_running"] for row in runs)
        assert not list(unit.dot.glob(".reactor-unit-import/[!j]*"))
        assert unit.end() == 0
    with another_unit(tmp_path, "--name", "pio01") as unit:  # the task can be read in the unit's next life
        assert unit.task(record["task_id"])["status"] == "complete"
        assert target_rpm(unit) == "321"


def test_an_archive_of_another_unit_is_refused_and_nothing_changes(tmp_path: Path, whole: bytes) -> None:
    with another_unit(tmp_path, "--name", "pio02") as unit:
        row = unit.run_stirring()
        before = settled(unit)
        answer = sent(unit, whole)
        assert answer.status == 400
        assert "pio01" in answer.json["error"]
        assert settled(unit) == before
        assert unit.get("/jobs/running/stirring").json[0]["pid"] == row["pid"]
        assert not list(unit.dot.glob(".reactor-unit-import/*"))


def settled(unit: RunningUnit) -> dict[str, bytes]:
    """Return what is in a data folder but for what a running unit writes."""
    written = ("logs", "storage", ".reactor-unit-import", ".reactor-unit.lock")
    return {
        str(path): path.read_bytes() if path.is_file() else b""
        for path in sorted(unit.dot.rglob("*"))
        if path.relative_to(unit.dot).parts[0] not in written
    }


def test_an_archive_of_the_reference_system_is_taken(unit: RunningUnit) -> None:
    files = {"config.ini": CONFIG.encode(), "storage/pioreactor.sqlite": b"", "plugins/a.txt": b"a"}
    record = imported(unit, archive("pio01", files))
    assert record["status"] == "complete", record
    assert target_rpm(unit) == "321"


def test_jobs_are_stopped_and_what_was_there_is_kept(unit: RunningUnit) -> None:
    unit.run_stirring()
    wait_for(unit.stirrer_is_driven, "a driven stirrer")
    (unit.dot / "plugins" / "old.txt").write_text("old")
    record = imported(unit, archive("pio01"))
    assert record["status"] == "complete", record
    assert unit.get("/jobs/running").json == []
    assert not unit.stirrer_is_driven()
    backup = unit.dot / record["result"]["backup"]
    assert (backup / "plugins" / "old.txt").read_text() == "old"
    with contextlib.closing(sqlite3.connect(backup / "storage" / "reactor_unit.sqlite")) as history:
        assert history.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert "plugins/old.txt" not in str(unit.get("/system/path/").json)
    assert ".reactor-unit-backups" not in str(unit.get("/system/path/").json)


@pytest.mark.parametrize(
    ("files", "culprit"),
    [
        ({"config.ini": b"[PWM]\n1=stirring\n2=stirring\n"}, "config.ini"),
        ({"config.ini": b"", "plugins": b"a file"}, "plugins"),
        ({"config.ini": b"", "storage": b"a file"}, "storage"),
    ],
)
def test_what_no_unit_starts_with_stops_no_job(unit: RunningUnit, files: dict[str, bytes], culprit: str) -> None:
    row = unit.run_stirring()
    before = settled(unit)
    record = imported(unit, archive("pio01", files))
    assert record["status"] == "failed"
    assert culprit in record["error_info"]["cause"]
    assert settled(unit) == before
    assert unit.get("/jobs/running/stirring").json[0]["pid"] == row["pid"]


def test_requests_on_the_way_are_answered_while_the_unit_starts_again(unit: RunningUnit) -> None:
    failures: list[Exception] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                assert unit.get("/health").status == 200
            except Exception as ex:
                failures.append(ex)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert imported(unit, archive("pio01"))["status"] == "complete"
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []


def test_import_after_import_leaves_two_backups_and_no_descriptors(unit: RunningUnit) -> None:
    imported(unit, archive("pio01"))
    before = unit.supervisor.num_fds()
    for _ in range(3):
        assert imported(unit, archive("pio01"))["status"] == "complete"
    wait_for(lambda: unit.supervisor.num_fds() <= before, "the end of children that look at plugins")
    assert len(list((unit.dot / ".reactor-unit-backups").iterdir())) == 2


def test_a_second_import_is_told_of_the_first(unit: RunningUnit) -> None:
    large = archive("pio01", {"config.ini": b"", **{f"d/{i}": os.urandom(20_000) for i in range(1000)}})
    first = sent(unit, large)
    second = sent(unit, archive("pio01"))
    if second.status == 202 and "task_id" in second.json:
        assert unit.task(first.json["task_id"])["status"] == "complete"  # it was that quick
    else:
        assert second.json == {"status": "in_progress", "lock": "import-dot-pioreactor-lock"}
    assert unit.ended(first.json["task_id"])["status"] == "complete"


def test_a_unit_that_is_ended_midway_is_as_it_was_unless_the_import_was_ready(tmp_path: Path) -> None:
    with another_unit(tmp_path) as unit:
        before = settled(unit)
        large = archive("pio01", {"config.ini": b"", **{f"d/{i}": os.urandom(20_000) for i in range(1500)}})
        assert sent(unit, large).status == 202
        assert unit.end() == 0
        was_ready = (unit.dot / ".reactor-unit-import" / JOURNAL).exists()  # then the next start completes it
    with another_unit(tmp_path) as unit:
        assert (settled(unit) == before) is not was_ready
        assert not list(unit.dot.glob(".reactor-unit-import/*"))


def test_a_killed_preparation_fails_and_leaves_nothing(unit: RunningUnit) -> None:
    before = settled(unit)
    files = {"config.ini": b"", **{f"many/{number}": b"x" for number in range(15_000)}}
    answer = sent(unit, archive("pio01", files))
    wait_for((unit.dot / ".reactor-unit-import" / "new" / "many").is_dir, "the unpacked files")
    (child,) = (child for child in unit.children() if child.nice() == NICENESS)
    child.kill()
    record = unit.ended(answer.json["task_id"], 30)
    assert record["status"] == "failed"
    assert "SIGKILL" in record["error_info"]["cause"]
    assert not list((unit.dot / ".reactor-unit-import").iterdir())
    assert settled(unit) == before
    assert imported(unit, archive("pio01"))["status"] == "complete"


def test_a_full_disk_refuses_and_changes_nothing(tmp_path: Path) -> None:
    content = archive("pio01", {"config.ini": b"", "large": os.urandom(6_000_000)})
    with small_disk(tmp_path / "disk", 40 * 1024) as disk, running_unit(tmp_path, dot=disk / "dot") as unit:
        before = settled(unit)
        record = imported(unit, content)
        assert record["status"] == "failed"
        assert "MB free" in record["error"]
        assert settled(unit) == before
        filler = fill_disk(disk)
        assert sent(unit, content).status == 507
        filler.unlink()
        assert settled(unit) == before
        assert imported(unit, archive("pio01"))["status"] == "complete"


def test_an_upload_of_nobody_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    with another_unit(tmp_path, "--host", "127.0.0.1") as unit:
        with socket.create_connection(("127.0.0.1", unit.port), timeout=DEADLINE_S) as client:
            head = f"POST /unit_api{PATH} HTTP/1.1\r\nHost: pio01\r\nX-Forwarded-For: 10.0.0.9\r\n"
            more = f"Content-Type: {CONTENT_TYPE}\r\nContent-Length: 2000000000\r\nExpect: 100-continue\r\n\r\n"
            client.sendall((head + more).encode())
            answer = client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert not (unit.dot / ".reactor-unit-import").exists()


def test_curl_sends_an_archive_as_people_do(unit: RunningUnit, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(archive("pio01"))
    url = f"http://127.0.0.1:{unit.port}/unit_api{PATH}"
    told = subprocess.run(["curl", "-s", "-F", f"archive=@{tmp_path}/a.zip", url], capture_output=True, check=True)
    assert b'"task_id"' in told.stdout


# kill -9 at any moment


def kill_rounds(tmp_path: Path, rounds: int) -> dict[str, int]:
    """Kill all of a unit at random moments of an import; return how often it was then old, or new."""
    moments = random.Random(7)
    files = {f"plugins/d{i % 7}/new-{i}.bin": moments.randbytes(30_000) for i in range(60)}
    content = archive("pio01", {"config.ini": b"# new\n", "experiments/a.csv": b"1,2\n", **files})
    found = {"old": 0, "new": 0}
    with running_unit(tmp_path) as unit:
        (unit.dot / "plugins" / "old.txt").write_text("old")
        old = unit_digest(unit)
        began = time.monotonic()
        assert imported(unit, content)["status"] == "complete"
        took_s = time.monotonic() - began
        new = unit_digest(unit)
    assert old != new
    for number in range(rounds):
        place = tmp_path / str(number)
        place.mkdir()
        with running_unit(place) as unit:
            (unit.dot / "plugins" / "old.txt").write_text("old")
            assert unit_digest(unit) == old
            sender = threading.Thread(target=_sent_or_cut, args=(unit, content))
            sender.start()
            threading.Event().wait(moments.uniform(0.0, took_s))
            kill_all(unit)
            sender.join()
        with running_unit(place) as unit:
            state = unit_digest(unit)
            assert state in (old, new), f"round {number}: neither old nor new"
            found["old" if state == old else "new"] += 1
            left = [path.name for path in unit.dot.glob(".reactor-unit-import/*")]
            assert left in ([], [JOURNAL]), left
    return found


def unit_digest(unit: RunningUnit) -> str:
    """Return a digest of the data folder but for the databases, in which a running unit writes."""
    return digest(unit.dot, but=("storage",))


def _sent_or_cut(unit: RunningUnit, content: bytes) -> None:
    with contextlib.suppress(OSError):
        sent(unit, content)


def kill_all(unit: RunningUnit) -> None:
    for process in [unit.supervisor, *unit.children()]:
        with contextlib.suppress(Exception):
            process.send_signal(signal.SIGKILL)
    unit.process.wait(DEADLINE_S)


@pytest.mark.timeout(240)
def test_ten_kills_leave_the_folder_entirely_old_or_new(tmp_path: Path) -> None:
    assert sum(kill_rounds(tmp_path, 10).values()) == 10


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_a_hundred_kills_leave_the_folder_entirely_old_or_new(tmp_path: Path) -> None:
    found = kill_rounds(tmp_path, 100)
    print(f"\n100 of 100 kills: {found['old']} times old, {found['new']} times new")
    assert min(found.values()) >= 10
