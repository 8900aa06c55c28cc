"""Which paths of the data folder are shown, read and removed; what is refused leaves everything as it was."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
from pathlib import Path

import pytest

from reactor_unit.confined import FileForbidden, NoSuchFile
from reactor_unit.errors import Forbidden
from reactor_unit.served_files import FLAG, Listing, ServedFiles, path_parts


@pytest.fixture
def dot(tmp_path: Path) -> Path:
    """A data folder with something of everything, beside a folder that nobody may see."""
    dot = tmp_path / "dot"
    (dot / "storage" / "calibrations" / "od90").mkdir(parents=True)
    (dot / "logs").mkdir()
    (dot / "plugins" / "__pycache__").mkdir(parents=True)
    (dot / "config.ini").write_text("[x]\n")
    (dot / "logs" / "old.log").write_text("old")
    (dot / "storage" / "calibrations" / "od90" / "a.yaml").write_text("a: 1")
    (dot / "storage" / "faults.json").write_text("[]")
    (dot / "storage" / "readings.sqlite").write_bytes(b"database")
    (dot / "storage" / "readings.sqlite-wal").write_bytes(b"wal")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (tmp_path / "dot-2").mkdir()
    (tmp_path / "dot-2" / "near").write_text("near")
    return dot


@pytest.fixture
def files(dot: Path) -> ServedFiles:
    return ServedFiles(dot)


def tree(folder: Path) -> dict[str, object]:
    """Return everything below a folder: what must not change by a refusal."""
    return {
        str(path.relative_to(folder)): (os.lstat(path).st_mode, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
        if not stat.S_ISFIFO(os.lstat(path).st_mode)
    }


def listing(files: ServedFiles, path: str) -> Listing:
    found = files.look(path)
    if not isinstance(found, Listing):
        found.close()
        raise NoSuchFile("It is a file.")
    return found


def read(files: ServedFiles, path: str) -> bytes:
    found = files.look(path)
    if isinstance(found, Listing):
        raise NoSuchFile("It is a folder.")
    with found:
        content = found.read()
    with files.open(path_parts(path)) as again:
        assert again.read() == content
    return content


def refused(files: ServedFiles, path: str, error: type[Exception]) -> None:
    """Check that a path is refused to readers and to removers, and that nothing changed."""
    before = tree(files.path.parent)
    with pytest.raises(error):
        read(files, path)
    with pytest.raises(error):
        files.remove(path)
    assert tree(files.path.parent) == before


# What is there


def test_the_listing_of_the_root_is_sorted_and_says_where_it_is(files: ServedFiles, dot: Path) -> None:
    (dot / ".hidden").write_text("")
    found = listing(files, "")
    assert found.current == str(dot)
    assert found.dirs == ["logs", "plugins", "storage"]
    assert found.files == [".hidden", "config.ini"]


def test_a_listing_names_databases_and_leaves_out_caches_of_python(files: ServedFiles) -> None:
    assert listing(files, "storage").files == ["faults.json", "readings.sqlite", "readings.sqlite-wal"]
    assert listing(files, "plugins").dirs == []


def test_a_file_is_read(files: ServedFiles) -> None:
    assert read(files, "storage/calibrations/od90/a.yaml") == b"a: 1"


def test_a_link_that_stays_inside_is_followed_wherever_it_stands(files: ServedFiles, dot: Path) -> None:
    (dot / "relative.yaml").symlink_to("storage/calibrations/od90/a.yaml")
    (dot / "absolute.yaml").symlink_to(dot / "storage" / "calibrations" / "od90" / "a.yaml")
    (dot / "logs" / "up").symlink_to("../storage/./calibrations")
    assert read(files, "relative.yaml") == read(files, "absolute.yaml") == read(files, "logs/up/od90/a.yaml") == b"a: 1"
    assert listing(files, "").files == ["absolute.yaml", "config.ini", "relative.yaml"]
    assert listing(files, "logs").dirs == ["up"]


def test_a_data_folder_that_is_a_link_itself_is_served(dot: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(dot)
    (dot / "absolute.yaml").symlink_to(dot / "logs" / "old.log")
    files = ServedFiles(tmp_path / "link")
    assert read(files, "logs/old.log") == read(files, "absolute.yaml") == b"old"


@pytest.mark.parametrize("path", ["nothing", "logs", "logs/old.log/x", "logs/nothing/x", "storage/calibrations"])
def test_what_is_no_file_is_not_found(files: ServedFiles, path: str) -> None:
    with pytest.raises(NoSuchFile):
        read(files, path)


def test_a_file_is_no_folder(files: ServedFiles) -> None:
    with pytest.raises(NoSuchFile):
        listing(files, "config.ini")


def test_a_folder_that_is_gone_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NoSuchFile):
        ServedFiles(tmp_path / "gone").look("")


# Ways out


@pytest.mark.parametrize(
    "path", ["..", "../outside/secret", "logs/../../outside/secret", "logs/..", "logs/../config.ini"]
)
def test_a_path_that_climbs_is_refused(files: ServedFiles, path: str) -> None:
    refused(files, path, FileForbidden)


@pytest.mark.parametrize(
    "path",
    ["a\0b", "\0", "logs\\old.log", "..\\outside", ".", "./config.ini", "logs//old.log", "logs/", "a\nb", "\x7f",
     "a\ufffd", "\udcff", "x" * 256, "ö" * 128, "\u202e"],
)  # fmt: skip
def test_what_can_be_no_path_is_not_found(files: ServedFiles, path: str) -> None:
    refused(files, path, NoSuchFile)


def test_an_absolute_path_is_not_found_by_readers(files: ServedFiles) -> None:
    with pytest.raises(NoSuchFile):
        read(files, "/etc/passwd")


@pytest.mark.parametrize("name", ["%2e%2e", "%2e%2e%2foutside", "~", "~root"])
def test_what_looks_encoded_is_only_a_name(files: ServedFiles, name: str) -> None:
    with pytest.raises(NoSuchFile):
        read(files, name)


@pytest.mark.parametrize(
    "target",
    ["../outside", "../dot-2", "logs/../../outside", "logs/up/../../../outside", "/etc", "{tmp}/outside", "{tmp}/dot-2",
     "{tmp}/dot/../outside", "{tmp}", "/", "..", "../dot"],
)  # fmt: skip
def test_a_link_that_leaves_is_refused_and_not_listed(
    files: ServedFiles, dot: Path, tmp_path: Path, target: str
) -> None:
    (dot / "logs" / "up").symlink_to("..")
    (dot / "way").symlink_to(target.format(tmp=tmp_path))
    (tmp_path / "outside" / "x").write_text("x")
    for path in ("way", "way/secret", "way/near", "way/passwd", "way/outside/secret"):
        refused(files, path, FileForbidden)
    with pytest.raises(FileForbidden):
        listing(files, "way")
    assert "way" not in listing(files, "").dirs


def test_a_link_to_a_file_outside_is_refused_and_not_listed(files: ServedFiles, dot: Path) -> None:
    (dot / "way").symlink_to("../outside/secret")
    refused(files, "way", FileForbidden)
    assert listing(files, "").files == ["config.ini"]


def test_a_link_by_way_of_another_link_is_judged_by_its_end(files: ServedFiles, dot: Path) -> None:
    (dot / "one").symlink_to("logs/two")
    (dot / "logs" / "two").symlink_to("../../outside/secret")
    refused(files, "one", FileForbidden)


def test_links_in_a_circle_end(files: ServedFiles, dot: Path) -> None:
    (dot / "one").symlink_to("two")
    (dot / "two").symlink_to("one")
    refused(files, "one", NoSuchFile)


def test_a_folder_swapped_for_a_link_after_it_was_found_leads_nowhere(files: ServedFiles, dot: Path) -> None:
    with files.find(("logs",)) as place:
        (dot / "logs").rename(dot / "moved")
        (dot / "logs").symlink_to("../outside")
        assert [name for name, _ in place.scan()] == ["old.log"]
    with files.find(("moved", "old.log")) as place:
        (dot / "moved" / "old.log").unlink()
        (dot / "moved" / "old.log").symlink_to("../../outside/secret")
        with place.open() as file:
            assert file.read() == b"old"


# What is never shown


@pytest.mark.parametrize(
    "name",
    ["a.sqlite", "a.SQLITE", "A.SqLite-WAL", "a.sqlite-shm", "a.sqlite-journal", "a.sqlite.backup", "a.sqlite3", "a.db",
     "a.sqlite.corrupt-20310304T050607Z"],
)  # fmt: skip
def test_databases_and_what_belongs_to_them_are_refused(files: ServedFiles, dot: Path, name: str) -> None:
    (dot / "storage" / name).write_text("data")
    refused(files, f"storage/{name}", FileForbidden)


def test_a_database_is_refused_by_any_other_name(files: ServedFiles, dot: Path) -> None:
    (dot / "soft.txt").symlink_to("storage/readings.sqlite")
    (dot / "logs" / "far.txt").symlink_to("../soft.txt")
    os.link(dot / "storage" / "readings.sqlite", dot / "hard.txt")
    for path in ("soft.txt", "logs/far.txt", "hard.txt"):
        refused(files, path, FileForbidden)


def test_a_file_with_two_names_that_is_no_database_is_read(files: ServedFiles, dot: Path) -> None:
    os.link(dot / "logs" / "old.log", dot / "logs" / "older.log")
    assert read(files, "logs/older.log") == b"old"


SECRETS = [
    ".ssh/known", "id_rsa", "id_ed25519.pub", "server.pem", "SERVER.PEM", "tls.key", "x.p12", "api_token", "token.txt",
    "tokens.json", "my-secret.yaml", ".env", ".env.local", ".netrc", "passwords.txt", "credentials", ".gnupg/x",
    "apitoken.txt", "accessToken.json", "api_key.txt", "apikey", "API-KEYS.yaml", "private_key", "privateKey.json",
    "secretkey", "ssh_host_key",
]  # fmt: skip


@pytest.mark.parametrize("path", SECRETS)
def test_keys_and_tokens_are_refused_and_not_listed(files: ServedFiles, dot: Path, path: str) -> None:
    (dot / path).parent.mkdir(exist_ok=True)
    (dot / path).write_text("key")
    (dot / "plain.txt").symlink_to(path)
    refused(files, path, FileForbidden)
    refused(files, "plain.txt", FileForbidden)
    found = listing(files, "")
    assert (found.dirs, found.files) == (["logs", "plugins", "storage"], ["config.ini"])


def test_a_secret_is_refused_whether_or_not_it_is_there(files: ServedFiles) -> None:
    with pytest.raises(FileForbidden):
        read(files, ".ssh/id_rsa")


@pytest.mark.parametrize(
    "name", ["tokenizer.py", "keyboard.txt", "environment.yaml", "monkey", "public_keys.md", "secretary", "key_map.py"]
)
def test_names_that_only_contain_such_words_are_read(files: ServedFiles, dot: Path, name: str) -> None:
    (dot / name).write_text("fine")
    assert read(files, name) == b"fine"


def test_pipes_sockets_and_devices_are_not_waited_for(
    files: ServedFiles, dot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(dot / "pipe")
    (dot / "null").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(dot)  # a socket's path is short
        listener.bind("socket")
    for path in ("pipe", "socket"):
        with pytest.raises(NoSuchFile):
            read(files, path)
        with pytest.raises(FileForbidden):
            files.remove(path)
        assert os.path.lexists(dot / path)
    refused(files, "null", FileForbidden)
    assert listing(files, "").files == ["config.ini"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_the_unit_may_not_read_is_refused(files: ServedFiles, dot: Path) -> None:
    (dot / "closed").write_text("x")
    (dot / "closed").chmod(0)
    with pytest.raises(FileForbidden):
        read(files, "closed")


# The flag


def test_the_flag_closes_the_folder(files: ServedFiles, dot: Path) -> None:
    files.check_allowed()
    (dot / FLAG).touch()
    with pytest.raises(Forbidden):
        files.check_allowed()


def test_a_folder_of_the_flags_name_is_no_flag(files: ServedFiles, dot: Path) -> None:
    (dot / FLAG).mkdir()
    files.check_allowed()


# Removal


@pytest.mark.parametrize("path", ["logs/old.log", "{dot}/logs/old.log"])
def test_a_file_is_removed_by_its_relative_or_absolute_path(files: ServedFiles, dot: Path, path: str) -> None:
    files.remove(path.format(dot=dot))
    assert sorted(os.listdir(dot / "logs")) == []


def test_a_file_is_removed_by_the_home_folder(files: ServedFiles, dot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(dot.parent))
    files.remove("~/dot/logs/old.log")
    assert os.listdir(dot / "logs") == []


def test_of_a_link_the_file_that_it_leads_to_is_removed(files: ServedFiles, dot: Path) -> None:
    (dot / "link").symlink_to("logs/old.log")
    files.remove("link")
    assert os.listdir(dot / "logs") == []


@pytest.mark.parametrize(
    "path",
    ["", "logs", "storage", "config.ini", "CONFIG.INI", "unit_config.ini", "storage/faults.json", ".reactor-unit.lock",
     "storage/vial.account", "storage/VIAL.account",
     "DISALLOW_UI_INSTALLS", "plugins/api_plugins_allowlist.json", "storage/readings.sqlite", "{tmp}/outside/secret",
     "/etc/passwd", "{tmp}/dot-2/near", "{tmp}", "~", "~/x", "{dot}/../outside/secret"],
)  # fmt: skip
def test_what_is_no_file_or_needed_or_outside_is_not_removed(
    files: ServedFiles, dot: Path, tmp_path: Path, path: str
) -> None:
    for name in (
        "unit_config.ini",
        ".reactor-unit.lock",
        "DISALLOW_UI_INSTALLS",
        "plugins/api_plugins_allowlist.json",
        "storage/vial.account",
    ):
        (dot / name).write_text("needed")
    before = tree(tmp_path)
    with pytest.raises(FileForbidden):
        files.remove(path.format(tmp=tmp_path, dot=dot))
    assert tree(tmp_path) == before


def test_what_the_unit_needs_is_not_removed_by_another_way(files: ServedFiles, dot: Path) -> None:
    (dot / "logs" / "up").symlink_to("..")
    (dot / "link").symlink_to("config.ini")
    for path in ("link", "logs/up/config.ini", "logs/up/storage/faults.json"):
        with pytest.raises(FileForbidden):
            files.removable(path)
        with pytest.raises(FileForbidden):
            files.remove(path)
    assert (dot / "config.ini").exists()


def test_a_missing_file_may_be_asked_for_and_is_not_found_when_its_turn_comes(files: ServedFiles) -> None:
    assert files.removable("logs/gone.log") == ("logs", "gone.log")
    with pytest.raises(NoSuchFile):
        files.remove("logs/gone.log")


# The walk


def test_the_walk_goes_everywhere_once_in_order(files: ServedFiles, dot: Path) -> None:
    (dot / "logs" / "up").symlink_to("../storage")
    (dot / "logs" / "a").symlink_to("old.log")
    (dot / "out").symlink_to("../outside")
    (dot / "gone").symlink_to("nowhere")
    (dot / "id_rsa").write_text("key")
    os.mkfifo(dot / "pipe")
    assert ["/".join(parts) for parts, kind in files.walk() if kind] == [
        "config.ini",
        "logs",
        "logs/a",
        "logs/old.log",
        "plugins",
        "plugins/__pycache__",
        "storage",
        "storage/calibrations",
        "storage/calibrations/od90",
        "storage/calibrations/od90/a.yaml",
        "storage/faults.json",
        "storage/readings.sqlite",
        "storage/readings.sqlite-wal",
    ]


def test_the_walk_tells_what_it_leaves_out(files: ServedFiles, dot: Path) -> None:
    (dot / "logs" / "up").symlink_to("../storage")
    (dot / "out").symlink_to("../outside")
    (dot / "id_rsa").write_text("key")
    (dot / os.fsdecode(b"no-\xff-text")).write_text("x")
    left = sorted("/".join(parts) for parts, kind in files.walk() if not kind)
    assert left == ["id_rsa", "logs/up", "no-\udcff-text", "out"]


def test_a_path_has_a_greatest_depth(files: ServedFiles, dot: Path) -> None:
    """Catches who keeps a descriptor for each of ten thousand folders."""
    deep = Path(*["d"] * 70)
    (dot / deep).mkdir(parents=True)
    with pytest.raises(NoSuchFile):
        listing(files, str(deep))
    assert listing(files, str(Path(*["d"] * 64))).dirs == ["d"]
    assert max(len(parts) for parts, kind in files.walk() if kind) == 65


def test_what_the_unit_is_writing_is_not_there(files: ServedFiles, dot: Path) -> None:
    (dot / ".snapshot.x.reactor-unit-tmp").write_text("half")
    refused(files, ".snapshot.x.reactor-unit-tmp", NoSuchFile)
    assert listing(files, "").files == ["config.ini"]


def test_reading_beside_a_database_leaves_its_locks_alone(files: ServedFiles, dot: Path) -> None:
    """A descriptor of a database that is closed drops the locks that this process holds on it."""
    path = dot / "storage" / "locked.sqlite"
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("CREATE TABLE t (x)")
    database.execute("BEGIN EXCLUSIVE")
    listing(files, "storage")
    with pytest.raises(FileForbidden):
        read(files, "storage/locked.sqlite")
    locked = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    inode = str(path.stat().st_ino)
    assert any(words[-3].endswith(f":{inode}") for words in locked if "POSIX" in words)
    database.close()
