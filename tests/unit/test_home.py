from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import harness
import pytest

from reactor_unit import home
from reactor_unit.config import load_config
from reactor_unit.errors import AlreadyServing, ConfigError, StorageFault
from reactor_unit.home import DataFolder, Lock, board_lock, run_directory, write_atomically

# Python 3.12 warns of any fork beside threads; the children here open, close and exit.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def exit_code_of_child(work: Callable[[], int]) -> int:
    """Return the exit code of a forked child that does `work`."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# The data folder


@pytest.mark.parametrize(
    ("flag", "environ", "path"),
    [
        ("/a", {"DOT_PIOREACTOR": "/b"}, Path("/a")),
        (None, {"DOT_PIOREACTOR": "/b"}, Path("/b")),
        (None, {"DOT_PIOREACTOR": ""}, Path.home() / ".pioreactor"),
        (None, {}, Path.home() / ".pioreactor"),
        ("~/unit", {}, Path.home() / "unit"),
        ("unit", {}, Path.cwd() / "unit"),
    ],
    ids=["flag", "environment", "blank environment", "default", "home", "relative"],
)
def test_where_the_data_folder_is(flag: str | None, environ: dict[str, str], path: Path) -> None:
    assert DataFolder.find(flag, environ).path == path


def test_a_new_folder_works(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "unit")
    folder.create()
    assert load_config(folder.path).get_int("http", "port") == 4999
    assert folder.storage.is_dir()
    assert folder.plugins.is_dir()
    assert folder.log_file.parent.is_dir()
    assert mode_of(folder.path) & 0o027 == 0
    assert mode_of(folder.path / "config.ini") & 0o027 == 0


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o2775)
    (tmp_path / "config.ini").write_text("[http]\nport=5000\n")
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "pioreactor.sqlite").touch()
    DataFolder(tmp_path).create()
    DataFolder(tmp_path).create()
    assert (tmp_path / "config.ini").read_text() == "[http]\nport=5000\n"
    assert mode_of(tmp_path) == 0o2775


def test_a_folder_that_lost_its_configuration_does_not_get_another_wiring(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.create()
    folder.job_history.touch()
    (tmp_path / "config.ini").unlink()
    with pytest.raises(ConfigError, match=r"config\.ini is missing, but this data folder has been in use"):
        folder.create()
    assert not (tmp_path / "config.ini").exists()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing/unit", "missing does not exist"),
        ("file", "file is not a folder"),
        ("file/unit", "Not a directory"),
        ("x" * 300, "File name too long"),
    ],
    ids=["missing parent", "a file", "below a file", "too long"],
)
def test_a_folder_that_cannot_be_made_is_named_with_the_reason(tmp_path: Path, path: str, reason: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFault, match=reason):
        DataFolder(tmp_path / path).create()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with 64 KiB, read-only on `mount -o remount,ro`."""
    with harness.small_disk(tmp_path / "disk", 64) as path:
        yield path


def test_a_read_only_disk_is_named(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StorageFault, match="Read-only file system"):
        DataFolder(small_disk / "unit").create()
    with pytest.raises(StorageFault, match="Read-only file system"):
        write_atomically(small_disk / "a", b"x")
    with pytest.raises(StorageFault, match="Read-only file system"):
        DataFolder(small_disk).lock().acquire()


# Atomic writes


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    write_atomically(path, b"one")
    assert path.read_bytes() == b"one"
    assert mode_of(path) == 0o640
    path.chmod(0o664)
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert mode_of(path) == 0o664
    assert os.listdir(tmp_path) == ["a.yaml"]


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_bytes(b"one")
    (tmp_path / "a").symlink_to("real/a")
    write_atomically(tmp_path / "a", b"two")
    assert (tmp_path / "a").is_symlink()
    assert (tmp_path / "real" / "a").read_bytes() == b"two"
    assert os.listdir(tmp_path / "real") == ["a"]


def test_a_full_disk_leaves_the_old_file_and_no_other(small_disk: Path) -> None:
    path = small_disk / "a"
    write_atomically(path, b"old")
    with pytest.raises(StorageFault, match="No space left on device"):
        write_atomically(path, b"x" * 200_000)
    assert path.read_bytes() == b"old"
    assert os.listdir(small_disk) == ["a"]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("failing", ["fsync", "replace", "fchmod"])
def test_a_failure_at_any_step_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(StorageFault, match="cannot be written: Input/output error"):
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_the_content_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else f"{os.fstat(descriptor).st_size} bytes"
        steps.append(f"fsync {kind}")
        fsync(descriptor)

    def record_replace(source: Path, target: Path) -> None:
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    write_atomically(tmp_path / "a", b"12345")
    assert steps == ["fsync 5 bytes", "rename", "fsync folder"]


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from reactor_unit.home import write_atomically
path, number = Path(sys.argv[1]), 0
while True:
    write_atomically(path, (b"%d\\n" % number) * 20_000)
    number += 1
    print(number, flush=True)
"""


def test_a_killed_writer_leaves_one_whole_content_or_the_other(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    path = folder.path / "a"
    for trial in range(24):
        with subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, path], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(1 + trial % 5):
                writer.stdout.readline()
            with contextlib.suppress(subprocess.TimeoutExpired):
                writer.wait(0.0004 * trial)  # somewhere within the next write
            writer.send_signal(signal.SIGKILL)
        lines = path.read_bytes().split(b"\n")
        assert len(lines) == 20_001
        assert len(set(lines[:-1])) == 1
    folder.remove_leftovers()
    assert os.listdir(tmp_path) == ["a"]


def test_a_leftover_that_cannot_be_deleted_is_logged_and_does_not_keep_the_unit_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stuck, other = tmp_path / ".a.1.reactor-unit-tmp", tmp_path / ".b.2.reactor-unit-tmp"
    stuck.mkdir()
    other.touch()
    DataFolder(tmp_path).remove_leftovers()
    assert os.listdir(tmp_path) == [stuck.name]
    assert f"{stuck} cannot be deleted: Is a directory" in caplog.text


# The run directory


def test_the_run_directory_is_private_and_stays_the_same(tmp_path: Path) -> None:
    environ = {"TMPDIR": str(tmp_path)}
    path = run_directory(tmp_path / "unit", environ)
    assert mode_of(path) == 0o700
    assert path.parent == tmp_path
    assert run_directory(tmp_path / "unit", environ) == path


def test_two_data_folders_have_two_run_directories(tmp_path: Path) -> None:
    environ = {"TMPDIR": str(tmp_path)}
    assert run_directory(tmp_path / "one", environ) != run_directory(tmp_path / "two", environ)


def test_two_ways_to_one_data_folder_have_one_run_directory(tmp_path: Path) -> None:
    (tmp_path / "unit").mkdir()
    (tmp_path / "link").symlink_to("unit")
    environ = {"TMPDIR": str(tmp_path)}
    assert run_directory(tmp_path / "unit", environ) == run_directory(tmp_path / "link", environ)


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        (["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR", "TMPDIR"], "RUNTIME_DIRECTORY"),
        (["XDG_RUNTIME_DIR", "TMPDIR"], "XDG_RUNTIME_DIR"),
        (["TMPDIR"], "TMPDIR"),
    ],
    ids=["systemd", "session", "temp dir"],
)
def test_where_the_run_directory_is(tmp_path: Path, given: list[str], chosen: str) -> None:
    for name in given:
        (tmp_path / name).mkdir()
    environ = {name: str(tmp_path / name) for name in given}
    assert run_directory(tmp_path / "unit", environ).parent == tmp_path / chosen


def test_the_first_of_several_runtime_directories_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    environ = {"RUNTIME_DIRECTORY": f"{tmp_path}/a:{tmp_path}/b"}
    assert run_directory(tmp_path / "unit", environ).parent == tmp_path / "a"


@root_only
def test_a_session_folder_of_another_user_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "session").mkdir()
    os.chown(tmp_path / "session", 12345, 12345)
    environ = {"XDG_RUNTIME_DIR": str(tmp_path / "session"), "TMPDIR": str(tmp_path)}
    assert run_directory(tmp_path / "unit", environ).parent == tmp_path


@pytest.mark.parametrize("inside", [".", "below"])
def test_it_is_never_inside_the_data_folder(tmp_path: Path, inside: str) -> None:
    (tmp_path / inside).mkdir(exist_ok=True)
    with pytest.raises(ConfigError, match="inside the data folder"):
        run_directory(tmp_path, {"RUNTIME_DIRECTORY": str(tmp_path / inside)})


def link(path: Path) -> None:
    path.rmdir()
    (path.parent / "elsewhere").mkdir(mode=0o700)
    path.symlink_to("elsewhere")


def file(path: Path) -> None:
    path.rmdir()
    path.touch(mode=0o600)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (link, "is a symbolic link"),
        (lambda path: path.chmod(0o750), "is open to other users"),
        (lambda path: path.chmod(0o701), "is open to other users"),
        pytest.param(lambda path: os.chown(path, 12345, 12345), "belongs to user 12345", marks=root_only),
        (file, "cannot be made|is not a folder"),
    ],
    ids=["link", "group", "world", "owner", "file"],
)
def test_a_run_directory_that_others_control_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    environ = {"TMPDIR": str(tmp_path)}
    spoil(run_directory(tmp_path / "unit", environ))
    with pytest.raises(StorageFault, match=reason):
        run_directory(tmp_path / "unit", environ)


def test_a_runtime_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageFault, match="No such file or directory"):
        run_directory(tmp_path / "unit", {"RUNTIME_DIRECTORY": str(tmp_path / "gone")})


# Locks

HOLD = """
import sys
from pathlib import Path
from reactor_unit.home import DataFolder
DataFolder(Path(sys.argv[1])).lock().acquire()
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_process_is_kept_out_and_told_the_first_ones_pid(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(AlreadyServing) as caught:
            DataFolder(tmp_path).lock().acquire()
        assert str(process.pid) in caught.value.message
        assert str(tmp_path) in caught.value.message


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
    lock = DataFolder(tmp_path).lock()
    lock.acquire()
    assert lock.path.read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_released_lock_is_free_and_names_nobody(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "lock", "It"), Lock(tmp_path / "lock", "It")
    first.acquire()
    first.acquire()
    with pytest.raises(AlreadyServing, match=f"It is already in use by process {os.getpid()}"):
        second.acquire()
    first.release()
    first.release()
    assert (tmp_path / "lock").read_text() == ""
    second.acquire()
    second.release()


def test_a_child_that_closes_the_lock_does_not_take_it_from_its_parent(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock", "It")
    lock.acquire()

    def close() -> int:
        lock.let_go()
        return 0

    assert exit_code_of_child(close) == 0
    with pytest.raises(AlreadyServing):
        Lock(tmp_path / "lock", "It").acquire()
    lock.release()


@pytest.mark.parametrize("closes", [True, False], ids=["closes", "keeps"])
def test_only_a_child_that_closed_the_lock_frees_it_for_the_parents_successor(tmp_path: Path, closes: bool) -> None:
    """The parent's end is played by closing its descriptor, as the kernel does."""
    lock = Lock(tmp_path / "lock", "It")
    lock.acquire()
    ready, tell_ready = os.pipe()
    stay, let_go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(let_go)
            if closes:
                lock.let_go()
            os.write(tell_ready, b"x")
            os.read(stay, 1)
        finally:
            os._exit(0)
    os.read(ready, 1)
    lock.let_go()
    successor = Lock(tmp_path / "lock", "It")
    try:
        if closes:
            successor.acquire()
        else:
            with pytest.raises(AlreadyServing):
                successor.acquire()
    finally:
        for descriptor in (ready, tell_ready, stay, let_go):
            os.close(descriptor)
        os.waitpid(pid, 0)
        successor.release()


def test_a_program_that_is_started_does_not_inherit_the_lock(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock", "It")
    lock.acquire()
    assert os.get_inheritable(lock.fileno()) is False
    lock.release()


def test_a_lock_file_that_is_replaced_while_it_is_opened_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    path.touch()
    flock = home.fcntl.flock

    def replace_then_lock(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(home.fcntl, "flock", flock)
        path.unlink()
        path.touch()
        flock(descriptor, operation)

    monkeypatch.setattr(home.fcntl, "flock", replace_then_lock)
    lock = Lock(path, "It")
    lock.acquire()
    assert os.path.samestat(os.fstat(lock.fileno()), path.stat())
    lock.release()


def test_a_holder_without_a_pid_is_another_process(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock", "It")
    lock.acquire()
    os.ftruncate(lock.fileno(), 0)
    with pytest.raises(AlreadyServing, match="by another process"):
        Lock(tmp_path / "lock", "It").acquire()
    lock.release()


def test_a_link_in_place_of_the_lock_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StorageFault, match="cannot be used"):
        Lock(tmp_path / "lock", "It").acquire()
    assert not (tmp_path / "victim").exists()


def test_the_board_has_one_lock_whatever_the_data_folder(tmp_path: Path) -> None:
    lock = board_lock(tmp_path)
    lock.acquire()
    with pytest.raises(AlreadyServing, match="The reactor board of this machine is already in use by process"):
        board_lock(tmp_path).acquire()
    lock.release()


@root_only
def test_the_board_lock_of_one_user_can_be_taken_by_another_later(tmp_path: Path) -> None:
    shared = Path("/tmp") / f"reactor-unit-test-{os.getpid()}"
    shared.mkdir()
    shared.chmod(0o1777)
    lock = board_lock(shared)
    lock.acquire()

    def as_another_user() -> int:
        os.setgid(12345)
        os.setuid(12345)
        if lock.fileno() >= 0:
            lock.let_go()
        try:
            board_lock(shared).acquire()
        except AlreadyServing:
            return 1
        return 0

    try:
        assert exit_code_of_child(as_another_user) == 1
        lock.release()
        assert exit_code_of_child(as_another_user) == 0
    finally:
        lock.release()
        lock.path.unlink()
        shared.rmdir()


def test_the_board_lock_lies_where_all_users_of_the_machine_find_it() -> None:
    assert board_lock().path.parent in (Path("/run/lock"), Path("/tmp"))
