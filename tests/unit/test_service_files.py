"""The files of a service: what systemd itself says of them, and what cannot stand in them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reactor_unit.service_files import (
    POLKIT_RULE,
    SYSUSERS,
    TMPFILES,
    UNIT_FILE,
    Service,
    service_files,
    who_can_reach,
)

MOST_EXPOSURE = 3.0
SYSTEMD_ANALYZE = shutil.which("systemd-analyze")
PYTHON = Path(sys.executable)  # a program that exists, as systemd wants it


def a_service(**changes: Any) -> Service:
    given = {
        "user": "reactor-unit",
        "group": "reactor-unit",
        "dot": Path("/var/lib/reactor-unit/.pioreactor"),
        "program": PYTHON,
        "environment": Path("/opt/reactor-unit"),
        "reads": (),
        "effective_host": "127.0.0.1",
        "effective_port": 4999,
    }
    return Service(**{**given, **changes})


def unit_file(service: Service) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in service_files(service)[UNIT_FILE].splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


KINDS = {
    "as shipped": a_service(),
    "in a home, below port 1024": a_service(
        user="pi",
        group="pi",
        dot=Path("/home/pi/.pioreactor"),
        host="0.0.0.0",
        port=80,
        effective_host="0.0.0.0",
        effective_port=80,
    ),
    "with odd names": a_service(dot=Path("/srv/lab 1/50% $HOME; rm")),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if SYSTEMD_ANALYZE is None:
        pytest.skip("there is no systemd-analyze here")
    path = tmp_path / UNIT_FILE.name
    path.write_text(service_files(request.param)[UNIT_FILE])
    return path


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60)


def test_systemd_finds_nothing_wrong_with_the_unit_file(written: Path) -> None:
    done = analyze("verify", str(written))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_service_is_exposed_to_little(written: Path) -> None:
    done = analyze("security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSURE * 10:.0f}", str(written))
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stderr
    print(f"exposure {found[1]}")
    assert float(found[1]) <= MOST_EXPOSURE
    assert done.returncode == 0


def test_the_service_is_watched_started_again_and_made_safe_after() -> None:
    unit = unit_file(a_service())
    program, dot = f'"{PYTHON}"', '"/var/lib/reactor-unit/.pioreactor"'
    assert unit["ExecStart"] == [f"{program} serve --dot {dot}"]
    assert unit["ExecStopPost"] == [f"{program} safe --dot {dot}"]
    expected = {
        "Type": "notify",
        "NotifyAccess": "main",
        "Restart": "always",
        "StartLimitIntervalSec": "0",
        "WatchdogSec": "30",
        "KillMode": "mixed",
        "RuntimeDirectory": "reactor-unit",
        "WorkingDirectory": "/run/reactor-unit",
        "User": "reactor-unit",
        "SupplementaryGroups": "gpio i2c",
    }
    assert {name: unit[name] for name in expected} == {name: [value] for name, value in expected.items()}
    assert unit["ReadWritePaths"] == [f'{dot} "/opt/reactor-unit" -/run/lock']


def test_host_and_port_stand_in_the_command_line_only_where_they_were_given() -> None:
    given = a_service(host="fe80::1%eth0", port=8080, effective_host="fe80::1%eth0", effective_port=8080)
    assert unit_file(given)["ExecStart"][0].endswith(" --host fe80::1%%eth0 --port 8080")
    assert "--" not in unit_file(a_service(effective_port=80))["ExecStart"][0].replace("--dot", "")


@pytest.mark.parametrize(
    ("port", "capability"), [(80, "CAP_NET_BIND_SERVICE"), (1023, "CAP_NET_BIND_SERVICE"), (1024, "")]
)
def test_a_capability_is_had_below_port_1024_alone(port: int, capability: str) -> None:
    unit = unit_file(a_service(effective_port=port))
    assert (unit["AmbientCapabilities"], unit["CapabilityBoundingSet"]) == ([capability], [capability])


@pytest.mark.parametrize(
    ("changes", "homes"),
    [
        ({}, "yes"),
        ({"dot": Path("/home/pi/.pioreactor")}, "read-only"),
        ({"environment": Path("/home/pi/venv")}, "read-only"),
        ({"reads": (Path("/home/pi/reactor-unit"),)}, "read-only"),
        ({"dot": Path("/homestead/pi")}, "yes"),
    ],
    ids=["elsewhere", "the data", "the environment", "the program's source", "a name that begins alike"],
)
def test_homes_are_hidden_unless_the_service_lives_in_one(changes: dict[str, Any], homes: str) -> None:
    assert unit_file(a_service(**changes))["ProtectHome"] == [homes]


def test_no_sign_of_a_path_is_taken_for_systemds_own() -> None:
    unit = unit_file(a_service(dot=Path("/srv/lab 1/50% $HOME")))
    assert unit["ExecStart"][0].endswith('serve --dot "/srv/lab 1/50%% $$HOME"')
    assert unit["ReadWritePaths"][0].startswith('"/srv/lab 1/50%% $HOME" ')


@pytest.mark.parametrize(
    "changes",
    [
        {"user": "root"},
        {"user": 'pi") { return "'},
        {"user": "pi\nUser=root"},
        {"user": ""},
        {"host": "0.0.0.0 --dot /"},
        {"host": "a\nb"},
        {"dot": Path("/srv/a\nUser=root")},
        {"dot": Path('/srv/a" "b')},
        {"dot": Path("relative")},
        {"program": Path("/opt/\x1bx")},
    ],
    ids=lambda changes: json.dumps({name: str(value) for name, value in changes.items()}),
)
def test_what_would_change_the_meaning_of_a_file_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a"):
        a_service(**changes)


def test_the_user_may_switch_off_and_set_the_clock_and_nothing_else() -> None:
    rule = service_files(a_service(user="pi", group="pi"))[POLKIT_RULE]
    assert set(re.findall(r'"org\.freedesktop\.(\w+)\.', rule)) == {"login1", "timedate1"}
    assert 'subject.user == "pi"' in rule
    assert "systemd1" not in rule  # who may start any unit is root


def test_a_user_of_its_own_is_made_and_a_person_is_left_as_it_is() -> None:
    own, person = service_files(a_service()), service_files(a_service(user="pi", group="users"))
    assert 'u reactor-unit - "Bioreactor unit" /var/lib/reactor-unit\n' in own[SYSUSERS]
    assert not re.search(r"^u ", person[SYSUSERS], re.MULTILINE)
    assert "m pi gpio\nm pi i2c\n" in person[SYSUSERS]
    assert "d /var/lib/reactor-unit 0750 reactor-unit reactor-unit -\n" in own[TMPFILES]
    assert 'd "/var/lib/reactor-unit/.pioreactor" :0750 :pi :users -\n' in person[TMPFILES]


def below(root: Path, program: str, *words: str) -> None:
    done = subprocess.run([program, f"--root={root}", *words], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize("times", [1, 2])
def test_systemd_makes_user_groups_and_folders_as_written(tmp_path: Path, times: int) -> None:
    if os.geteuid() != 0 or not (shutil.which("systemd-sysusers") and shutil.which("systemd-tmpfiles")):
        pytest.skip("only root makes users, and with systemd-sysusers and systemd-tmpfiles")
    for path, text in service_files(a_service()).items():
        target = tmp_path / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    for folder in ("run/lock", "var/lib"):
        (tmp_path / folder).mkdir(parents=True)
    for _ in range(times):
        below(tmp_path, "systemd-sysusers", SYSUSERS.name)
        below(tmp_path, "systemd-tmpfiles", "--create", TMPFILES.name)
    name, _, uid, _, _, home, shell = (tmp_path / "etc/passwd").read_text().strip().split(":")
    assert (name, home, shell) == ("reactor-unit", "/var/lib/reactor-unit", "/usr/sbin/nologin")
    groups = dict(line.split(":")[::3] for line in (tmp_path / "etc/group").read_text().split())
    assert groups == {"gpio": "reactor-unit", "i2c": "reactor-unit", "reactor-unit": ""}
    data = (tmp_path / "var/lib/reactor-unit/.pioreactor").stat()
    assert (data.st_uid, data.st_mode & 0o777) == (int(uid), 0o750)
    assert (tmp_path / "run/lock/reactor-unit-board.lock").stat().st_mode & 0o777 == 0o666


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("127.0.0.1", "Only programs on this computer"),
        ("::1", "Only programs on this computer"),
        ("0.0.0.0", "any of this computer's addresses"),
        ("::", "any of this computer's addresses"),
        ("192.168.1.7", "the address 192.168.1.7"),
        ("fe80::1%eth0", "the address fe80::1%eth0"),
        ("reactor7.local", "the address of reactor7.local"),
    ],
)
def test_who_can_reach_the_unit_is_said_plainly(host: str, words: str) -> None:
    said = who_can_reach(host, 4999)
    assert words in said
    assert ("no password" in said) != ("Only" in said)
    assert "4999" in said
