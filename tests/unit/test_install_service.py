"""`reactor-unit install-service`: what it writes, says, has the system do, and refuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reactor_unit import install_service
from reactor_unit.cli import cli
from reactor_unit.client import ClientError
from reactor_unit.install_service import Installation, closed_folder, what_to_enable
from reactor_unit.service_files import POLKIT_RULE, SERVICE, SYSUSERS, TMPFILES, UNIT_FILE, Service

FILES = (SYSUSERS, TMPFILES, POLKIT_RULE, UNIT_FILE)
TEXTS = {SYSUSERS: "users\n", UNIT_FILE: "unit\n"}
Install = Callable[..., Result]


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["install-service", *words], catch_exceptions=False)


@pytest.fixture
def install(tmp_path: Path) -> Install:
    return lambda *words: run("--destination", str(tmp_path), *words)


def at(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


class Commands:
    def __init__(self) -> None:
        self.run: list[str] = []

    def __call__(self, words: Sequence[str]) -> None:
        self.run.append(" ".join(words))


def test_files_are_written_and_nothing_is_started(install: Install, tmp_path: Path) -> None:
    done = install()
    assert done.exit_code == 0, done.output
    for path in FILES:
        assert at(tmp_path, path).stat().st_mode & 0o777 == 0o644
        assert f"new        {at(tmp_path, path)}" in done.output
    assert "Nothing was started." in done.output
    assert f"sudo systemctl enable --now {SERVICE}" in done.output
    assert "Only programs on this computer can use port 4999 of 127.0.0.1" in done.output


def test_a_second_run_changes_nothing_and_says_so(install: Install, tmp_path: Path) -> None:
    install()
    before = {path: at(tmp_path, path).stat().st_ino for path in FILES}
    done = install()
    assert done.output.count("unchanged  ") == len(FILES)
    assert {path: at(tmp_path, path).stat().st_ino for path in FILES} == before
    assert "restart" not in done.output


def test_a_run_with_another_port_shows_what_changes(install: Install, tmp_path: Path) -> None:
    install()
    done = install("--host", "0.0.0.0", "--port", "80")
    assert done.output.count("unchanged  ") == len(FILES) - 1
    assert "  +AmbientCapabilities=CAP_NET_BIND_SERVICE" in done.output
    assert "Everybody whose computer reaches any of this computer's addresses can use port 80" in done.output
    assert "serve --dot" in at(tmp_path, UNIT_FILE).read_text()
    assert "--host 0.0.0.0 --port 80" in at(tmp_path, UNIT_FILE).read_text()


def test_print_shows_the_files_and_writes_nothing(install: Install, tmp_path: Path) -> None:
    done = install("--print")
    assert [line for line in done.output.splitlines() if line.startswith("# ==> ")] == [f"# ==> {p}" for p in FILES]
    assert list(tmp_path.iterdir()) == []
    install()
    assert at(tmp_path, UNIT_FILE).read_text() in done.output


def test_remove_takes_away_exactly_what_was_written(install: Install, tmp_path: Path) -> None:
    other = at(tmp_path, UNIT_FILE).with_name("other.service")
    other.parent.mkdir(parents=True)
    other.write_text("[Service]\n")
    install()
    done = install("--remove")
    assert done.output.count("removed") == len(FILES)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [other]
    assert "There is nothing to remove." in install("--remove").output


def test_without_root_it_is_refused_and_says_what_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(install_service, "Installation", None)  # this machine stays as it is, whatever is wrong
    done = run()
    assert done.exit_code == 1
    assert "Only root can install a service." in done.stderr
    assert "sudo " in done.stderr
    assert "--print" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--user", "nobody-of-this-name"), "There is no user 'nobody-of-this-name'"),
        (("--user", "root"), "'root' is not a user that a service can have"),
        (("--port", "70000"), "70000"),
        (("--host", "a b"), "is not an address"),
        (("--dot", "/srv/a\nUser=root"), "is not a path"),
    ],
    ids=["an unknown user", "root", "no port", "no host", "a path that is two lines"],
)
def test_what_cannot_be_a_service_is_refused_and_nothing_written(
    install: Install, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = install(*words)
    assert done.exit_code != 0
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_program_of_the_operating_systems_own_python_is_refused(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise all of /usr would be writable for the service."""
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    done = install()
    assert done.exit_code == 1
    assert "virtual environment" in done.stderr


def test_a_configuration_says_where_the_unit_listens(install: Install, tmp_path: Path) -> None:
    dot = tmp_path / "dot"
    dot.mkdir()
    (dot / "config.ini").write_text("[http]\nhost = 192.168.1.7\n[ui]\nport = 80\n")
    done = install("--dot", str(dot))
    assert "the address 192.168.1.7 can use port 80" in done.output
    unit = at(tmp_path, UNIT_FILE).read_text()
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in unit
    assert "--port" not in unit.split("ExecStart=")[1].splitlines()[0]  # the configuration goes on deciding


def test_a_broken_configuration_is_named(install: Install, tmp_path: Path) -> None:
    dot = tmp_path / "dot"
    dot.mkdir()
    (dot / "config.ini").write_text("[http]\nport = many\n")
    done = install("--dot", str(dot))
    assert done.exit_code == 1
    assert "many" in done.stderr


def test_the_system_is_told_in_order_and_starts_nothing_unasked(tmp_path: Path) -> None:
    commands = Commands()
    installation = Installation(tmp_path, commands)
    installation.take_effect(changed=installation.write(TEXTS), now=False)
    assert commands.run == [
        f"systemd-sysusers {SYSUSERS}",
        f"systemd-tmpfiles --create {TMPFILES}",
        "systemctl daemon-reload",
    ]


@pytest.mark.parametrize(("changed", "verb"), [(True, "restart"), (False, "start")])
def test_now_interrupts_a_unit_only_for_a_change(tmp_path: Path, changed: bool, verb: str) -> None:
    commands = Commands()
    Installation(tmp_path, commands).take_effect(changed=changed, now=True)
    assert commands.run[-2:] == [f"systemctl enable {SERVICE}", f"systemctl {verb} {SERVICE}"]


def test_a_removed_service_is_ended_before_its_files_go(tmp_path: Path) -> None:
    there: list[bool] = []
    unit = at(tmp_path, UNIT_FILE)
    commands: list[str] = []

    def command(words: Sequence[str]) -> None:
        commands.append(" ".join(words))
        there.append(unit.exists())

    Installation(tmp_path, None).write(TEXTS)
    Installation(tmp_path, command).remove(list(TEXTS))
    assert commands == [f"systemctl disable --now {SERVICE}", "systemctl daemon-reload"]
    assert there == [True, False]


def test_a_file_that_cannot_be_written_is_named(install: Install, tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("in the way")
    done = install()
    assert done.exit_code == 1
    assert "etc" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_home_that_is_closed_is_found_before_the_service_fails(tmp_path: Path) -> None:
    home = tmp_path / "home"
    program = home / "venv" / "bin" / "reactor-unit"
    program.parent.mkdir(parents=True)
    for folder in (home, *program.parents):
        if folder.is_relative_to(tmp_path):
            folder.chmod(0o755)
    outside = tmp_path.parents  # pytest closes its own folders
    assert closed_folder(program, -1, []) in (None, *outside)
    owner, group = home.stat().st_uid, home.stat().st_gid
    home.chmod(0o700)
    assert closed_folder(program, owner, []) is None
    assert closed_folder(program, owner + 1, [group]) in (home, *outside)
    home.chmod(0o710)
    assert closed_folder(program, owner + 1, [group]) in (None, *outside)


@pytest.mark.parametrize(
    ("program", "dot", "said"),
    [
        ("/usr/bin/env", "{tmp}/missing/dot", "{tmp}/missing, which is to hold the data folder, does not exist"),
        ("/usr/bin/env", "{tmp}/closed/dot", "could not use {tmp}/closed/dot"),
        ("{tmp}/closed/reactor-unit", "/usr/dot", "could not use {tmp}/closed/reactor-unit"),
        ("/usr/bin/env", "/usr", "The data folder /usr does not belong to nobody"),
    ],
    ids=["a mistyped folder", "closed data", "a closed program", "data of somebody else"],
)
def test_a_service_that_could_not_run_is_refused(tmp_path: Path, program: str, dot: str, said: str) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    places = {name: Path(text.format(tmp=tmp_path)) for name, text in (("program", program), ("dot", dot))}
    service = Service(
        "nobody", "nogroup", environment=tmp_path, reads=(), effective_host="", effective_port=1, **places
    )
    with pytest.raises(ClientError) as caught:
        install_service._check_reach(service)
    assert said.format(tmp=tmp_path) in str(caught.value)


BOOT = "boot/firmware/config.txt"
ALL = "dtparam=i2c_arm=on\n[all]\ndtparam=strict_gpiod\ndtoverlay=pwm-2chan,pin=12,func=4,pin2=13,func2=4\n"


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (ALL, []),
        (ALL.replace("dtparam=strict", "#dtparam=strict"), ["strict_gpiod"]),
        (ALL.replace("pin=12,func=4,", ""), ["pwm-2chan"]),
        ("", ["i2c_arm", "strict_gpiod", "pwm-2chan"]),
    ],
    ids=["all there", "a comment", "the overlay on other pins", "an empty file"],
)
def test_what_the_boot_configuration_lacks_is_said_with_a_command(
    tmp_path: Path, text: str, missing: list[str]
) -> None:
    (tmp_path / BOOT).parent.mkdir(parents=True)
    (tmp_path / BOOT).write_text(text)
    lines = what_to_enable(tmp_path)
    command = next((line for line in lines if "printf" in line), "")
    assert [word for word in ("i2c_arm", "strict_gpiod", "pwm-2chan") if word in command] == missing
    assert ("sudo tee -a /boot/firmware/config.txt" in command) == bool(missing)


def test_a_computer_that_is_no_raspberry_pi_is_told_so(tmp_path: Path) -> None:
    assert what_to_enable(tmp_path) == [
        "There is no /boot/firmware/config.txt, so nothing can be said about what to enable."
    ]
