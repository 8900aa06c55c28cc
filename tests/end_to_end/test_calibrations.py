"""Calibrations of a real unit: kept across restarts and kills, seen when changed by hand, downloaded whole."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
from calibration_examples import OD600, PUMP
from harness import RunningUnit, running_unit, wait_for

OD90 = "/calibrations/od90"


def upload(unit: RunningUnit, text: str, **more: object) -> int:
    return unit.post(OD90, {"calibration_data": text, **more}).status


def test_a_calibrations_life(unit: RunningUnit) -> None:
    assert unit.get("/calibrations").json == {}
    created = unit.post(OD90, {"calibration_data": OD600})
    assert created.status == 201
    path = Path(created.json["path"])
    assert path == unit.dot / "storage" / "calibrations" / "od90" / "od-demo.yaml"
    assert unit.get("/calibrations").json["od90"][0]["is_active"] is False
    assert unit.ask("PATCH", "/active_calibrations/od90/od-demo").json == {"status": "success"}
    assert unit.get("/active_calibrations").json["od90"]["pioreactor_unit"] == "pio01"
    path.write_text(OD600.replace("70.0", "55.0"))
    assert unit.get(f"{OD90}/od-demo").json["ir_led_intensity"] == 55.0
    assert upload(unit, OD600) == 409
    assert unit.post(OD90, {"calibration_data": OD600.replace("od-demo", "'../x'")}).status == 400
    assert unit.ask("DELETE", f"{OD90}/od-demo").status == 200
    assert unit.get("/active_calibrations").json == {}
    assert not path.exists()


def test_the_archive_comes_whole_over_a_real_connection(unit: RunningUnit) -> None:
    upload(unit, OD600)
    (unit.dot / "storage/calibrations/od90/large.yaml").write_bytes(os.urandom(3_000_000))
    answer = unit.get("/zipped_calibrations")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["od90/large.yaml", "od90/od-demo.yaml"]
    head = unit.ask("HEAD", "/zipped_calibrations")
    assert (head.status, head.body) == (200, b"")


def test_the_active_one_is_still_active_after_a_restart(tmp_path: Path) -> None:
    with running_unit(tmp_path) as unit:
        upload(unit, OD600, set_as_active=True)
        unit.post("/calibrations/media_pump", {"calibration_data": PUMP})
    with running_unit(tmp_path) as unit:
        assert list(unit.get("/active_calibrations").json) == ["od90"]
        assert set(unit.get("/calibrations").json) == {"od90", "media_pump"}


def test_eight_clients_creating_one_name_leave_one_whole_file(unit: RunningUnit) -> None:
    texts = [f"{OD600}# client {number}\n" for number in range(8)]
    answers: list[int] = []
    threads = [threading.Thread(target=lambda text=text: answers.append(upload(unit, text))) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [201, *[409] * 7]
    assert (unit.dot / "storage/calibrations/od90/od-demo.yaml").read_text() in texts


# The command line


def command(unit: RunningUnit, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "reactor_unit", "--url", f"http://127.0.0.1:{unit.port}", "calibrations", *words]
    return subprocess.run(line, input=stdin, capture_output=True, text=True, timeout=30)


def said(unit: RunningUnit, *words: str) -> str:
    done = command(unit, *words)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def test_calibrations_on_the_command_line(unit: RunningUnit, tmp_path: Path) -> None:
    assert said(unit, "list") == "There are no calibrations.\n"
    upload(unit, OD600)
    assert said(unit, "activate", "od90", "od-demo") == "od-demo is the active calibration of od90.\n"
    assert re.search(r"^od90 +od-demo +active +2031-03-04T05:06:07.089000Z$", said(unit, "list"), re.M)
    assert said(unit, "list", "od90") == said(unit, "list")
    shown = said(unit, "show", "od90")
    assert re.search(r"^active +yes$", shown, re.M)
    assert re.search(r"^monotonic +yes$", shown, re.M)
    assert re.search(r"^points +3$", shown, re.M)
    assert json.loads(said(unit, "show", "od90", "od-demo", "--json"))["ir_led_intensity"] == 70.0
    drawn = said(unit, "plot", "od90").splitlines()
    assert drawn[0] == "od-demo of od90"
    assert sum(line.count("o") for line in drawn[2:-1]) == 3
    assert max(line.count(".") for line in drawn) > 2
    archive = tmp_path / "all.zip"
    said(unit, "export", str(archive))
    assert zipfile.ZipFile(archive).namelist() == ["od90/od-demo.yaml"]
    refused = command(unit, "export", str(archive))
    assert (refused.returncode, "exists" in refused.stderr) == (1, True)
    said(unit, "export", "--force", str(archive))
    said(unit, "deactivate", "od90")
    nothing = command(unit, "show", "od90")
    assert nothing.returncode == 1
    assert "no active calibration" in nothing.stderr
    assert command(unit, "delete", "od90", "od-demo", stdin="n\n").returncode == 130
    assert said(unit, "delete", "od90", "od-demo", "--yes") == "Deleted calibration od-demo of od90.\n"
    assert json.loads(said(unit, "list", "--json")) == {}
    gone = command(unit, "activate", "od90", "od-demo")
    assert gone.returncode == 1
    assert "no calibration named" in gone.stderr


def kill_rounds(tmp_path: Path, rounds: int) -> None:
    """Kill the web process while it writes; each time the file is whole, one that was sent, and the active one."""
    with running_unit(tmp_path) as unit:
        path = unit.dot / "storage" / "calibrations" / "od90" / "od-demo.yaml"
        assert upload(unit, OD600, set_as_active=True) == 201
        found = OD600
        for number in range(rounds):
            web = unit.web()
            sent = [found]
            over = threading.Event()
            writer = threading.Thread(target=write_until, args=(unit, over, sent, number))
            writer.start()
            wait_for(lambda sent=sent, least=number % 7: len(sent) > 1 + least, "a few writes")
            time.sleep(0.0007 * (number % 10))  # another moment of the write each time
            web.send_signal(signal.SIGKILL)
            over.set()
            writer.join()
            found = path.read_text()
            assert found in sent
            wait_for(lambda web=web: unit_answers(unit, web.pid), "another web process")
            assert unit.get("/active_calibrations").json["od90"]["calibration_name"] == "od-demo"
        assert unit.get("/calibrations").json["od90"][0]["is_active"] is True
    with running_unit(tmp_path) as unit:  # what killed writers left is swept away at the start
        assert os.listdir(path.parent) == ["od-demo.yaml"]


def write_until(unit: RunningUnit, over: threading.Event, sent: list[str], number: int) -> None:
    for count in range(10_000):
        if over.is_set():
            return
        text = f"{OD600}# round {number} write {count} {'x' * 20_000} end\n"
        sent.append(text)
        try:
            upload(unit, text, overwrite=True, set_as_active=True)
        except OSError:  # the web process was killed
            return


def unit_answers(unit: RunningUnit, killed_pid: int) -> bool:
    try:
        return unit.get("/health").status == 200 and unit.web().pid != killed_pid
    except OSError:
        return False


def test_five_kills_while_writing_leave_whole_files(tmp_path: Path) -> None:
    kill_rounds(tmp_path, 5)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_two_hundred_kills_while_writing_leave_whole_files(tmp_path: Path) -> None:
    kill_rounds(tmp_path, 200)
    print("\n200 of 200 kills of the web process while it wrote: no file lost or half written")
