"""The administrator's token: made for its user alone, and not believed where others could have written it."""

import os
from pathlib import Path

import pytest

from reactor_unit.errors import Conflict, NotFound, StorageFault
from reactor_unit.token_file import TokenFile


@pytest.fixture
def token_file(tmp_path):
    return TokenFile(tmp_path / "reactor-unit" / "token")


def test_a_new_token_is_readable_by_its_user_alone_and_read_as_it_was_made(token_file):
    token = token_file.create()
    assert len(token) >= 40
    assert token_file.read() == token
    assert token_file.path.stat().st_mode & 0o777 == 0o600
    assert token_file.path.parent.stat().st_mode & 0o077 == 0


def test_a_token_is_replaced_only_when_that_is_meant(token_file):
    first = token_file.create()
    token_file.path.chmod(0o644)
    with pytest.raises(Conflict, match="already"):
        token_file.create()
    second = token_file.create(replace=True)
    assert second != first
    assert token_file.read() == second
    assert token_file.path.stat().st_mode & 0o777 == 0o600


def test_a_revoked_token_is_gone(token_file):
    assert token_file.read() is None
    token_file.create()
    token_file.revoke()
    assert token_file.read() is None
    with pytest.raises(NotFound):
        token_file.revoke()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_file_that_others_may_touch_is_refused(token_file, mode):
    token_file.create()
    token_file.path.chmod(mode)
    with pytest.raises(StorageFault, match=f"{mode:04o}"):
        token_file.read()


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 2000], ids=["empty", "blank", "endless"])
def test_what_is_no_token_is_refused(token_file, content):
    token_file.create()
    token_file.path.write_bytes(content)
    with pytest.raises(StorageFault, match="does not hold a token"):
        token_file.read()


def test_links_folders_and_pipes_are_refused(token_file, tmp_path):
    token_file.create()
    link = TokenFile(tmp_path / "link")
    link.path.symlink_to(token_file.path)
    (tmp_path / "folder").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "folder", "pipe"):
        with pytest.raises(StorageFault, match="is not used"):
            TokenFile(tmp_path / name).read()


def test_another_users_file_is_refused(token_file, monkeypatch):
    token_file.create()
    monkeypatch.setattr("os.geteuid", lambda: 4242)
    if token_file.path.stat().st_uid == 0:
        os.chown(token_file.path, 4243, -1)
    with pytest.raises(StorageFault, match="another user"):
        token_file.read()


def test_it_is_found_by_the_environment(monkeypatch):
    monkeypatch.setenv("HOME", "/home/pi")
    assert TokenFile.find({}).path == Path("/home/pi/.config/reactor-unit/token")
    assert TokenFile.find({"XDG_CONFIG_HOME": "/c"}).path == Path("/c/reactor-unit/token")
    named = {"REACTOR_UNIT_TOKEN_FILE": "/etc/reactor-unit/token", "XDG_CONFIG_HOME": "/c"}
    assert TokenFile.find(named).path == Path("/etc/reactor-unit/token")


def test_it_may_not_lie_in_the_data_folder(tmp_path):
    data = tmp_path / "dot"
    data.mkdir()
    (tmp_path / "link").symlink_to(data)
    for place in (data / "token", data / "storage" / "token", tmp_path / "link" / "token"):
        with pytest.raises(Conflict, match="data folder"):
            TokenFile(place).check_outside(data)
    TokenFile(tmp_path / "token").check_outside(data)
