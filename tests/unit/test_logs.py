from __future__ import annotations

import fcntl
import logging
import os
import re
import resource
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reactor_unit import logs
from reactor_unit.logs import OneLineFormatter, RateLimit, SharedFileHandler

# Python 3.12 warns of any fork beside threads; the children here log and exit.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

START = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \[[^\]]+\] [A-Z]+ ")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("waitress").setLevel(logging.NOTSET)
    logging.getLogger("waitress.queue").setLevel(logging.NOTSET)


def record(
    message: str, *args: object, name: str = "reactor_unit.test", level: int = logging.WARNING
) -> logging.LogRecord:
    return logging.LogRecord(name, level, "file.py", 1, message, args, None)


def formatted(message: str, *args: object, name: str = "reactor_unit.test") -> str:
    return OneLineFormatter("web").format(record(message, *args, name=name))


def test_a_line_has_time_process_level_and_message(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", tmp_path / "log", "web")
    logging.getLogger("reactor_unit.x").info("%d rpm", 400)
    logging.getLogger("reactor_unit.x").debug("not this one")
    line = (tmp_path / "log").read_text()
    assert re.fullmatch(START.pattern + r"400 rpm\n", line)
    assert " [web] INFO " in line
    assert capfd.readouterr().err == line


def test_a_forked_child_has_its_own_name_and_the_same_file(tmp_path: Path) -> None:
    logs.configure("INFO", tmp_path / "log", "supervisor")
    pid = os.fork()
    if pid == 0:
        try:
            logs.rename("job stirring")
            logging.getLogger("reactor_unit.x").info("from the child")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    logging.getLogger("reactor_unit.x").info("from the parent")
    first, second = (tmp_path / "log").read_text().splitlines()
    assert first.endswith("[job stirring] INFO from the child")
    assert second.endswith("[supervisor] INFO from the parent")


def test_a_child_whose_descriptors_were_all_closed_still_logs_and_writes_into_no_other_file(tmp_path: Path) -> None:
    logs.configure("INFO", tmp_path / "log", "supervisor")
    logging.getLogger("reactor_unit.x").info("first")
    pid = os.fork()
    if pid == 0:
        try:
            os.closerange(3, 1024)
            for number in range(10):  # takes the numbers that were closed
                os.open(tmp_path / f"data{number}", os.O_WRONLY | os.O_CREAT)
            logging.getLogger("reactor_unit.x").info("second")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert len((tmp_path / "log").read_text().splitlines()) == 2
    assert {path.stat().st_size for path in tmp_path.glob("data*")} == {0}


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("a\r\n2026-01-01T00:00:00.000Z [web] INFO forged", r"a\r\n2026-01-01T00:00:00.000Z [web] INFO forged"),
        ("a\x1b[2Jb\x00\x7f\x85", r"a\x1b[2Jb\x00\x7f\x85"),
        ("a\u2028b\u2029", r"a\u2028b\u2029"),
        ("µ\ud800", "µ\ud800"),
    ],
    ids=["line end", "forged record", "terminal codes", "Unicode line ends", "half a character"],
)
def test_a_message_stays_on_its_line(message: str, shown: str) -> None:
    assert formatted("%s", message).endswith(f"WARNING {shown}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.text(max_size=50), min_size=1, max_size=5))
def test_any_messages_are_as_many_lines(tmp_path: Path, messages: list[str]) -> None:
    path = tmp_path / "log"
    path.unlink(missing_ok=True)
    handler = SharedFileHandler(path)
    handler.setFormatter(OneLineFormatter("web"))
    for message in messages:
        handler.handle(record("%s", message))
    lines = path.read_bytes().decode().splitlines()
    assert len(lines) == len(messages)
    assert all(START.match(line) for line in lines)


def test_a_traceback_follows_on_the_same_line() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        failed = logging.LogRecord("reactor_unit", logging.ERROR, "f", 1, "It failed.", None, sys.exc_info())
    line = OneLineFormatter("web").format(failed)
    assert "\n" not in line
    assert "ERROR It failed. | Traceback (most recent call last): | " in line
    assert line.endswith("| ValueError: first | second")


def test_an_endless_record_is_cut_in_the_middle() -> None:
    def fall(depth: int) -> None:
        if depth == 0:
            raise ValueError("x" * 100_000 + "the end")
        fall(depth - 1)

    try:
        fall(200)
    except ValueError:
        failed = logging.LogRecord("reactor_unit", logging.ERROR, "f", 1, "m" * 100_000, None, sys.exc_info())
    line = OneLineFormatter("web").format(failed)
    assert len(line) < 2 * logs.MAX_MESSAGE + 500
    assert "Traceback" in line
    assert line.endswith("the end")


@pytest.mark.parametrize("args", [("x",), (1, 2)], ids=["wrong type", "too many"])
def test_a_wrong_logging_call_costs_neither_record_nor_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], args: tuple[object, ...]
) -> None:
    logs.configure("INFO", tmp_path / "log", "web")
    logging.getLogger("reactor_unit.x").info("speed %d", *args)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "speed %d" in lines[0]
    assert "do not fit" in lines[0]


def test_an_object_that_cannot_be_shown_costs_no_traceback(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    class Sulking:
        def __str__(self) -> str:
            raise RuntimeError("no")

        __repr__ = __str__

    logs.configure("INFO", tmp_path / "log", "web")
    logging.getLogger("reactor_unit.x").info("%s", Sulking())
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_records_of_libraries_carry_their_name() -> None:
    assert formatted("hello", name="waitress").endswith("WARNING waitress: hello")
    assert formatted("hello", name="reactor_unit.web").endswith("WARNING hello")


def test_configuring_again_replaces_the_handlers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", tmp_path / "one", "web")
    logs.configure("INFO", None, "web")
    logging.getLogger("reactor_unit.x").info("once")
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "one").exists()


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        logs.configure("loud", None, "web")


def test_waitress_does_not_tell_of_every_queued_request(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("DEBUG", None, "web")
    logging.getLogger("waitress.queue").warning("Task queue depth is 1")
    logging.getLogger("waitress").info("Serving")
    logging.getLogger("waitress").warning("something else")
    assert [line.partition("WARNING ")[2] for line in capfd.readouterr().err.splitlines()] == [
        "waitress: something else"
    ]


def test_a_closed_stderr_is_survived() -> None:
    code = (
        "import os, logging; from reactor_unit import logs; logs.configure('INFO', None, 'web'); "
        "os.close(2); logging.getLogger('reactor_unit').info('x'); print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "alive\n"


# The file


def file_handler(path: Path, max_bytes: int) -> SharedFileHandler:
    handler = SharedFileHandler(path, max_bytes)
    handler.setFormatter(OneLineFormatter("web"))
    return handler


def test_the_file_and_its_predecessor_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "log"
    handler = file_handler(path, 10_000)
    for number in range(1000):
        handler.handle(record("%s", number))
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1"]
    assert path.stat().st_size <= 10_000
    assert 9_900 < (tmp_path / "log.1").stat().st_size <= 10_000
    kept = [
        int(line.rpartition(" ")[2]) for name in ("log.1", "log") for line in (tmp_path / name).read_text().splitlines()
    ]
    assert kept == list(range(kept[0], 1000))


TALK = """
import logging, sys
from pathlib import Path
from reactor_unit.logs import OneLineFormatter, SharedFileHandler
handler = SharedFileHandler(Path(sys.argv[1]), int(sys.argv[3]))
handler.setFormatter(OneLineFormatter(sys.argv[2]))
sys.stdin.readline()
for number in range(400):
    handler.handle(logging.LogRecord("reactor_unit", logging.INFO, "f", 1, "%d " + "x" * 60, (number,), None))
"""


def lines_of_processes(path: Path, max_bytes: int) -> dict[str, list[int]]:
    processes = [
        subprocess.Popen([sys.executable, "-c", TALK, str(path), str(name), str(max_bytes)], stdin=subprocess.PIPE)
        for name in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.close()
    for process in processes:
        assert process.wait() == 0
    heard: dict[str, list[int]] = {str(name): [] for name in range(4)}
    for file in (path.with_name("log.1"), path):
        for line in file.read_text().splitlines() if file.exists() else []:
            whole = re.fullmatch(START.pattern + r"(\d+) x{60}", line)
            assert whole, line
            heard[line.split("[")[1].split("]")[0]].append(int(whole[1]))
    return heard


def test_processes_do_not_mix_their_lines(tmp_path: Path) -> None:
    heard = lines_of_processes(tmp_path / "log", 10**9)
    assert heard == {name: list(range(400)) for name in heard}


def test_processes_lose_no_line_while_one_of_them_rotates(tmp_path: Path) -> None:
    """160 kB in a file of 100 kB: one rotation, in the middle of everybody's writing."""
    heard = lines_of_processes(tmp_path / "log", 100_000)
    assert (tmp_path / "log.1").exists()
    assert {name: sorted(numbers) for name, numbers in heard.items()} == {name: list(range(400)) for name in heard}


@pytest.mark.parametrize("held", [fcntl.LOCK_EX, fcntl.LOCK_SH], ids=["alone", "shared"])
def test_a_rotation_that_another_process_is_at_is_not_waited_for(tmp_path: Path, held: int) -> None:
    path = tmp_path / "log"
    handler = file_handler(path, 100)
    handler.handle(record("x" * 50))
    with open(path) as other:
        fcntl.flock(other, held)
        handler.handle(record("y" * 50))
    assert len(path.read_text().splitlines()) == 2
    handler.handle(record("z" * 50))
    assert len(path.read_text().splitlines()) == 1


def test_a_file_that_was_rotated_meanwhile_is_not_rotated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    handler = file_handler(path, 100)
    handler.handle(record("x" * 50))

    def rotated_by_another_just_before(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        path.rename(tmp_path / "log.1")
        path.write_text("of another process\n")
        fcntl.flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", rotated_by_another_just_before)
    handler.handle(record("y" * 50))
    assert (tmp_path / "log.1").read_text().endswith("x\n")
    first, second = path.read_text().splitlines()
    assert first == "of another process"
    assert second.endswith("y")


def test_a_deleted_file_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    handler = file_handler(path, 10_000)
    handler.handle(record("one"))
    path.unlink()
    handler.handle(record("two"))
    assert path.read_text().endswith("two\n")


def test_a_folder_that_went_away_is_told_once_and_what_was_lost_when_it_is_back(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs"
    handler = file_handler(folder / "log", 10_000)
    for _ in range(3):
        handler.handle(record("lost"))
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 1
    assert "cannot be written: No such file or directory" in told[0]
    folder.mkdir()
    handler.handle(record("back"))
    handler.handle(record("again"))
    assert [line.partition("WARNING ")[2] for line in (folder / "log").read_text().splitlines()] == [
        "3 lines before this one are lost.", "back", "again",
    ]  # fmt: skip
    folder.rename(tmp_path / "away")
    handler.handle(record("lost"))
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_full_disk_never_raises_into_the_caller(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Played by the limit on a file's size, in a process of its own; the kernel then refuses as a full disk does."""
    path = tmp_path / "log"
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1010, resource.RLIM_INFINITY))
            handler = file_handler(path, 10_000)
            for number in range(100):
                handler.handle(record("%d", number))
            code = 0 if path.stat().st_size == 1010 else 2
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            handler.handle(record("back"))
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(capfd.readouterr().err.splitlines()) == 1
    *_, torn, note, last = path.read_text().splitlines()
    assert not torn.endswith(" lost.")
    assert re.fullmatch(START.pattern + r"\d+ lines before this one are lost\.", note)
    assert last.endswith("WARNING back")


def test_the_module_is_light() -> None:
    code = "import sys, reactor_unit.logs; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"logging.handlers", "pickle", "queue", "socket", "multiprocessing"} & set(modules)


# Rate limit


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds = [100.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: seconds[0])
    return seconds


def messages(text: str) -> list[str]:
    return [re.sub(START.pattern, "", line) for line in text.splitlines()]


def test_a_burst_passes_then_records_are_counted_and_both_handlers_say_the_same(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], now: list[float]
) -> None:
    logs.configure("DEBUG", tmp_path / "log", "web")
    log = logging.getLogger("reactor_unit.x")
    for number in range(9):
        log.warning("busy %d", number)
    log.warning("other")
    now[0] += 10
    for number in range(9, 11):
        log.warning("busy %d", number)
    written = messages((tmp_path / "log").read_text())
    assert written == [
        *(f"busy {number}" for number in range(5)), "other", "busy 9 (4 more like this were left out)", "busy 10",
    ]  # fmt: skip
    assert messages(capfd.readouterr().err) == written


@pytest.mark.parametrize("name", ["waitress.queue.child", "waitress", "falcon", "reactor_unit.workers.pool"])
def test_every_logger_is_limited(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("DEBUG", None, "web")
    for _ in range(10):
        logging.getLogger(name).error("again")
    assert len(capfd.readouterr().err.splitlines()) == 5


def test_information_is_never_limited(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("DEBUG", None, "web")
    for _ in range(10):
        logging.getLogger("reactor_unit.x").info("again")
    assert len(capfd.readouterr().err.splitlines()) == 10


def test_of_many_threads_five_records_pass_and_all_are_counted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], now: list[float]
) -> None:
    logs.configure("INFO", tmp_path / "log", "web")
    log = logging.getLogger("reactor_unit.x")
    threads = [threading.Thread(target=lambda: [log.warning("again") for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    now[0] += 10
    log.warning("again")
    for text in ((tmp_path / "log").read_text(), capfd.readouterr().err):
        assert messages(text) == ["again"] * 5 + ["again (395 more like this were left out)"]


def test_a_renamed_child_does_not_tell_what_its_parent_left_out(
    capfd: pytest.CaptureFixture[str], now: list[float]
) -> None:
    logs.configure("INFO", None, "supervisor")
    for _ in range(9):
        logging.getLogger("reactor_unit.x").warning("again")
    logs.rename("job")
    for _ in range(9):
        logging.getLogger("reactor_unit.x").warning("again")
    assert messages(capfd.readouterr().err) == ["again"] * 10


def test_the_rate_limit_keeps_a_bounded_number_of_messages_and_forgets_the_oldest() -> None:
    limit = RateLimit(burst=1)
    for number in range(10_000):
        assert limit.filter(record(f"message {number}"))
    assert len(limit._windows) == 256
    assert not limit.filter(record("message 9999"))
    assert not limit.filter(record("message 9744"))
    assert limit.filter(record("message 9743"))


# A full stderr

FILL = """
import fcntl, logging, os, sys
from reactor_unit import logs
logs.configure("INFO", None, "web")
for number in range(2000):
    logging.getLogger("reactor_unit").info("%d " + "x" * 100, number)
logging.getLogger("reactor_unit").info("y" * 4096 + "\u00fc" * 3000)
print("alive", flush=True)
sys.stdin.readline()
logging.getLogger("reactor_unit").info("\u00fc" * 4000)
"""


def test_a_stderr_that_nobody_reads_blocks_nothing_and_works_again_later() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FILL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert select.select([process.stdout], [], [], 10.0)[0], "it waits for its stderr"
            assert process.stdout.readline() == b"alive\n"
            head = os.read(process.stderr.fileno(), 1_000_000)
            process.stdin.write(b"go\n")
            process.stdin.close()
            lines = (head + process.stderr.read()).decode().splitlines(keepends=True)
        finally:
            process.kill()
    assert all(START.match(line) and line.endswith("\n") for line in lines)
    assert lines[0].endswith("0 " + "x" * 100 + "\n")
    assert lines[-1].endswith("\u00fc...\n")
    assert len(lines[-1].encode()) in (4095, 4096)
