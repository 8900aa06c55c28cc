"""The data folder of a real unit over a real connection: looked at, downloaded, removed from, exported."""

from __future__ import annotations

import io
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import zipfile
from contextlib import closing
from pathlib import Path

from harness import DEADLINE_S, RunningUnit, wait_for

MB = 1_000_000


def raw(unit: RunningUnit, target: str, method: str = "GET") -> tuple[int, bytes]:
    """Send a target as it is, which no client would; return the status and the whole answer."""
    with socket.create_connection(("127.0.0.1", unit.port), timeout=DEADLINE_S) as client:
        client.sendall(f"{method} {target} HTTP/1.1\r\nHost: pio01\r\nConnection: close\r\n\r\n".encode("latin-1"))
        received = b""
        while more := client.recv(65536):
            received += more
    return int(received.split()[1]), received


def cli(unit: RunningUnit, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    url = f"http://127.0.0.1:{unit.port}"
    return subprocess.run(
        [sys.executable, "-m", "reactor_unit", *words, "--url", url],
        cwd=cwd, env=unit.environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def web_memory(unit: RunningUnit, name: str) -> int:
    lines = Path(f"/proc/{unit.web().pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def test_the_folder_is_listed_and_read(unit: RunningUnit) -> None:
    found = unit.get("/system/path/").json
    assert found["current"] == str(unit.dot)
    assert {"logs", "plugins", "storage"} <= set(found["dirs"])
    assert "config.ini" in found["files"]
    assert "reactor_unit.sqlite" in unit.get("/system/path/storage").json["files"]
    shown = unit.get("/system/path/config.ini")
    assert shown.body == (unit.dot / "config.ini").read_bytes()
    assert unit.ask("GET", "/system/path/config.ini", headers={"If-None-Match": shown.headers["etag"]}).status == 304


ODD_PATHS = [
    ("/unit_api/system/path/../../outside", 403),
    ("/unit_api/system/path/%2e%2e/outside", 403),
    ("/unit_api/system/path/logs/..%2f..%2foutside", 404),
    ("/unit_api/system/path/%252e%252e/outside", 404),
    ("/unit_api/system/path//etc/passwd", 404),
    ("/unit_api/system/path/%2fetc%2fpasswd", 404),
    ("//unit_api/system/path/config.ini", 404),
    ("/unit_api//system/path/config.ini", 404),
    ("/unit_api/system/path/logs//", 404),
    ("/unit_api/system/path/..%5coutside", 404),
    ("/unit_api/system/path/config.ini%00", 404),
    ("/unit_api/system/path/config.ini\x00", 404),
    ("/unit_api/system/path/\xff", 400),
    ("/unit_api/system/path/link", 403),
    ("/unit_api/system/path/storage/reactor_unit.sqlite", 403),
    ("/unit_api/system/path/storage/Reactor_Unit.SQLite-WAL", 403),
    ("http://pio01/unit_api/system/path/%2e%2e/outside", 403),
]


def test_no_path_leaves_the_folder_and_none_is_redirected(unit: RunningUnit) -> None:
    (unit.dot.parent / "outside").write_text("never shown")
    (unit.dot / "link").symlink_to("../outside")
    for target, status in ODD_PATHS:
        for method in ("GET", "HEAD"):
            answered, answer = raw(unit, target, method)
            assert answered == status, target
            assert b"never shown" not in answer
            assert b"location:" not in answer.lower()


def test_a_download_adds_little_memory_and_is_exact(unit: RunningUnit) -> None:
    content = os.urandom(60 * MB)
    (unit.dot / "large").write_bytes(content)
    unit.get("/system/path/config.ini")
    Path(f"/proc/{unit.web().pid}/clear_refs").write_text("5")
    before = web_memory(unit, "VmRSS")
    assert unit.get("/system/path/large").body == content
    assert web_memory(unit, "VmHWM") - before < 4 * MB
    part = unit.ask("GET", "/system/path/large", headers={"Range": "bytes=30000000-30999999"})
    assert (part.status, part.body) == (206, content[30 * MB : 31 * MB])


def test_downloads_that_nobody_reads_leave_the_unit_usable(unit: RunningUnit) -> None:
    (unit.dot / "large").write_bytes(bytes(50 * MB))
    clients = [socket.create_connection(("127.0.0.1", unit.port)) for _ in range(12)]
    try:
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET /unit_api/system/path/large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert unit.get("/system/path/large").status == 429
        assert unit.get("/health").status == 200
        unit.run_stirring()
        assert unit.ended(unit.accepted("/jobs/stop/all"))["status"] == "complete"
    finally:
        for client in clients:
            client.close()
    wait_for(lambda: unit.get("/system/path/large").status == 200, "a free place")


def test_a_file_that_shrinks_while_it_is_sent_is_broken_off(unit: RunningUnit) -> None:
    path = unit.dot / "large"
    path.write_bytes(bytes(50 * MB))
    with socket.create_connection(("127.0.0.1", unit.port), timeout=DEADLINE_S) as client:
        client.sendall(b"GET /unit_api/system/path/large HTTP/1.1\r\nHost: x\r\n\r\n")
        received = len(client.recv(1000))
        os.truncate(path, 0)
        while more := client.recv(65536):
            received += len(more)
    assert received < 50 * MB
    assert unit.get("/health").status == 200


def test_a_file_is_removed_by_a_task(unit: RunningUnit) -> None:
    (unit.dot / "logs" / "old.log").write_text("old")
    record = unit.ended(unit.accepted("/system/remove_file", {"filepath": "logs/old.log"}))
    assert (record["status"], record["result"]) == ("complete", True)
    assert not (unit.dot / "logs" / "old.log").exists()
    again = unit.ended(unit.accepted("/system/remove_file", {"filepath": "logs/old.log"}))
    assert again["status"] == "failed"
    assert "There is no logs/old.log" in again["error"]
    folder = unit.ended(unit.accepted("/system/remove_file", {"filepath": "logs"}))
    assert folder["status"] == "failed"
    assert (unit.dot / "logs").is_dir()


def test_what_became_forbidden_after_the_request_is_not_removed(unit: RunningUnit) -> None:
    """The task looks again: between request and task the path may have been turned into another one."""
    (unit.dot.parent / "outside").write_text("outside")
    assert unit.post("/system/remove_file", {"filepath": "../outside"}).status == 403
    task = unit.accepted("/system/remove_file", {"filepath": "way"})
    (unit.dot / "way").symlink_to("../outside")
    assert unit.ended(task)["status"] == "failed"
    assert (unit.dot.parent / "outside").read_text() == "outside"


def test_the_archive_of_a_unit_at_work_is_whole(unit: RunningUnit, tmp_path: Path) -> None:
    unit.run_stirring()
    wait_for(lambda: unit.get("/readings/names").json["names"], "readings")
    answer = unit.get("/zipped_dot_pioreactor")
    assert answer.headers["content-disposition"] == 'attachment; filename="pio01_dot_pioreactor.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "out")
        assert json.loads(archive.read(archive.namelist()[-1]))["name"] == "pio01"
    copies = list((tmp_path / "out").rglob("*.sqlite"))
    assert {path.name for path in copies} >= {"reactor_unit.sqlite", "readings.sqlite"}
    for path in copies:
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with closing(sqlite3.connect(tmp_path / "out" / "storage" / "reactor_unit.sqlite")) as history:
        tables = [name for (name,) in history.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert any(history.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables)
    assert unit.get("/jobs/running").json[0]["job_name"] == "stirring"


def test_an_archive_adds_little_memory(unit: RunningUnit) -> None:
    for number in range(20):
        (unit.dot / f"noise-{number}").write_bytes(os.urandom(2 * MB))
        (unit.dot / f"text-{number}").write_bytes(b"2031-03-04,od,0.123\n" * 100_000)
    for number in range(2000):
        (unit.dot / "plugins" / f"note-{number}.yaml").write_text("x: 1")
    Path(f"/proc/{unit.web().pid}/clear_refs").write_text("5")
    before = web_memory(unit, "VmRSS")
    assert len(unit.ask("GET", "/zipped_dot_pioreactor", timeout_s=50).body) > 40 * MB
    assert web_memory(unit, "VmHWM") - before < 8 * MB


def test_a_client_that_goes_away_frees_the_place_and_leaves_nothing(unit: RunningUnit) -> None:
    for number in range(20):
        (unit.dot / f"noise-{number}").write_bytes(os.urandom(2 * MB))
    with socket.create_connection(("127.0.0.1", unit.port), timeout=DEADLINE_S) as client:
        client.sendall(b"GET /unit_api/zipped_dot_pioreactor HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(1000)
        second = unit.get("/zipped_dot_pioreactor")
        assert (second.status, second.headers["retry-after"]) == (429, "5")
    wait_for(lambda: unit.ask("HEAD", "/zipped_dot_pioreactor").status == 200, "an answer")
    with zipfile.ZipFile(io.BytesIO(_archive_when_free(unit))) as archive:
        assert archive.testzip() is None
    assert list(unit.dot.rglob("*.reactor-unit-tmp")) == []


def _archive_when_free(unit: RunningUnit) -> bytes:
    def free() -> bytes | None:
        answer = unit.ask("GET", "/zipped_dot_pioreactor", timeout_s=50)
        return answer.body if answer.status == 200 else None

    found: bytes = wait_for(free, "a free place")
    return found


def test_an_archive_that_cannot_become_whole_is_broken_off(unit: RunningUnit, tmp_path: Path) -> None:
    """Another program keeps its database to itself; 10 s are waited for it."""
    (unit.dot / "a-noise").write_bytes(os.urandom(MB))
    with closing(sqlite3.connect(unit.dot / "zz.sqlite", isolation_level=None)) as database:
        database.execute("CREATE TABLE t (x)")
        database.execute("BEGIN EXCLUSIVE")
        done = cli(unit, "export", "--output", "all.zip", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "gave no answer" in done.stderr or "closed" in done.stderr
    assert list(tmp_path.glob("all.zip*")) == []
    assert "zz.sqlite" in unit.log() or "locked" in unit.log()
    assert list(unit.dot.rglob("*.reactor-unit-tmp")) == []
    assert cli(unit, "export", "--output", "all.zip", cwd=tmp_path).returncode == 0


def test_the_command_line_lists_downloads_and_removes(unit: RunningUnit, tmp_path: Path) -> None:
    (unit.dot / "logs" / "old log.txt").write_text("old")
    assert "old log.txt\n" in cli(unit, "files", "ls", "logs", cwd=tmp_path).stdout
    assert "logs/\n" in cli(unit, "files", "ls", cwd=tmp_path).stdout
    got = cli(unit, "files", "get", "logs/old log.txt", cwd=tmp_path)
    assert got.stdout == "Wrote 3 bytes to old log.txt.\n", got.stderr
    assert (tmp_path / "old log.txt").read_text() == "old"
    again = cli(unit, "files", "get", "logs/old log.txt", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (1, "Error: old log.txt exists; --force replaces it.\n")
    folder = cli(unit, "files", "get", "logs", "here", cwd=tmp_path)
    assert folder.returncode == 1
    assert "is a folder" in folder.stderr
    assert not (tmp_path / "here").exists()
    assert cli(unit, "files", "get", "storage/reactor_unit.sqlite", cwd=tmp_path).returncode == 1
    removed = cli(unit, "files", "rm", "logs/old log.txt", "--yes", cwd=tmp_path)
    assert removed.stdout == "Removed logs/old log.txt.\n", removed.stderr
    assert not (unit.dot / "logs" / "old log.txt").exists()
    missing = cli(unit, "files", "rm", "logs/old log.txt", "--yes", cwd=tmp_path)
    assert missing.returncode == 1
    assert "There is no logs/old log.txt" in missing.stderr
    exported = cli(unit, "export", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    with zipfile.ZipFile(tmp_path / "pio01_dot_pioreactor.zip") as archive:
        assert archive.testzip() is None


def test_archive_and_downloads_leave_jobs_and_stops_alone(unit: RunningUnit) -> None:
    """A stop is answered while an archive is made and files are sent."""
    for number in range(10):
        (unit.dot / f"noise-{number}").write_bytes(os.urandom(2 * MB))
    unit.run_stirring()
    threads = [
        threading.Thread(target=unit.ask, args=("GET", path), kwargs={"timeout_s": 50})
        for path in ("/zipped_dot_pioreactor", "/system/path/noise-1", "/system/path/noise-2")
    ]
    for thread in threads:
        thread.start()
    assert unit.ended(unit.accepted("/jobs/stop", {"job_name": "stirring"}))["status"] == "complete"
    for thread in threads:
        thread.join()
    assert unit.get("/jobs/running").json == []
