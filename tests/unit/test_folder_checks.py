import os
import sqlite3
from contextlib import closing
from functools import partial
from types import SimpleNamespace

import pytest
from calibration_examples import OD600

from reactor_unit.calibrations.library import broken_files
from reactor_unit.drivers.checks import FAIL, OK, SKIPPED
from reactor_unit.home import DataFolder
from reactor_unit.workers import folder_checks
from reactor_unit.workers.folder_checks import check_configuration, check_files, check_folder, check_room


@pytest.fixture
def folder(tmp_path):
    made = DataFolder(tmp_path / "dot")
    made.create()
    return made


def test_a_new_folder_is_all_ok_and_left_as_it_was(folder):
    before = sorted(folder.path.rglob("*"))
    assert {finding.name: finding.status for finding in check_folder(folder)} == {
        "data_folder": OK,
        "configuration": OK,
        "files": OK,
        "disk": OK,
    }
    assert sorted(folder.path.rglob("*")) == before


def test_a_folder_that_is_not_there_is_no_fault_and_not_made(tmp_path):
    (finding,) = check_folder(DataFolder(tmp_path / "none"))
    assert finding.status == SKIPPED
    assert not (tmp_path / "none").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(folder):
    folder.storage.chmod(0o500)
    finding = folder_checks.check_data_folder(folder)
    assert finding.status == FAIL
    assert str(folder.storage) in finding.what


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "dot").write_text("")
    assert folder_checks.check_data_folder(DataFolder(tmp_path / "dot")).status == FAIL


def test_every_wrong_value_is_named_with_file_section_and_option(folder):
    (folder.path / "config.ini").write_text(
        "[stirring.config]\npwm_hz=fast\nuse_rpm=perhaps\ninitial_target_rpm=300\n"
        "[od_reading.config]\nir_led_intensity=auto\n[http]\nport=x\n"
    )
    (folder.path / "unit_config.ini").write_text("[stirring.config]\ninitial_duty_cycle=half\n[stirring.pid]\nKp=yes\n")
    finding = check_configuration(folder.path)
    assert finding.status == FAIL
    for name, section, option in (
        ("config.ini", "stirring.config", "pwm_hz"),
        ("config.ini", "stirring.config", "use_rpm"),
        ("config.ini", "http", "port"),
        ("unit_config.ini", "stirring.config", "initial_duty_cycle"),
        ("unit_config.ini", "stirring.pid", "Kp"),
    ):
        assert f"[{section}] {option}=" in finding.what
        assert str(folder.path / name) in finding.what
    assert "ir_led_intensity" not in finding.what
    assert "initial_target_rpm" not in finding.what


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[PWM\n1=stirring\n", "line 1"),
        ("[PWM]\n1=stirring\n2=stirring\n", "[PWM] gives 'stirring' to both"),
        ("[bioreactor]\nmodel_name=teapot\nmodel_version=1\n", "no model 'teapot'"),
        ("[bioreactor]\nmodel_name=pioreactor_20ml\n", "Only one of"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_named(folder, text, words, monkeypatch):
    monkeypatch.delenv("MODEL_NAME", raising=False)
    monkeypatch.delenv("MODEL_VERSION", raising=False)
    (folder.path / "config.ini").write_text(text)
    assert words in check_configuration(folder.path).what


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[http]\nprot=80\n", "[http] prot in "),
        ("[stirring.config]\ninitial_targt_rpm=300\n", "Did you mean 'initial_target_rpm'?"),
        ("[htpp]\nport=80\n", "Did you mean [http]?"),
    ],
    ids=["option", "long option", "section"],
)
def test_a_typing_error_is_named_with_what_was_meant(folder, text, words):
    (folder.path / "config.ini").write_text(text)
    finding = check_configuration(folder.path)
    assert finding.status == FAIL
    assert words in finding.what
    assert "Did you mean" in finding.what


@pytest.mark.parametrize(
    "text",
    [
        "[http]\nport=80\nports=81\n",
        "[pioreactor]\nmodel=pioreactor_20ml\n",
        "[led_automation.config]\nlight_intensity=5\n",
        "[od_reading.config]\nlocal_ac_hz=50\n[my_plugin]\nspeed=3\n",
        "[cluster.topology]\nleader_hostname=pio01\n[logging]\nui_log_level=INFO\n",
        "[my_plugin]\nshare=50%\n",
    ],
    ids=["the option is set too", "reference's section", "near a section", "optional", "others' options", "percent"],
)
def test_what_others_have_in_the_configuration_is_no_typing_error(folder, text):
    (folder.path / "config.ini").write_text(text)
    assert check_configuration(folder.path).status == OK


@pytest.mark.parametrize("value", ["yes", "off", "1", "True"])
def test_words_for_yes_and_no_are_valid(folder, value):
    (folder.path / "config.ini").write_text(f"[stirring.config]\nuse_rpm={value}\n")
    assert check_configuration(folder.path).status == OK


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("models/mine.yaml", b"model_name: x\n"),
        ("hardware/hats/1.2/pwm.yaml", b"- 1\n"),
        ("storage/calibrations/od/one.yaml", b"a: [1, 2\n"),
        ("storage/calibrations/od/two.yaml", b"\xff\xfe\x00"),
        ("storage/estimators/od_fused/one.yaml", b"- just a list\n"),
        ("storage/reactor_unit.sqlite", b"no database at all, whatever its name says"),
        ("storage/pioreactor.sqlite", b"SQLite format 3\0\x10\x00" + b"x" * 100),
    ],
)
def test_a_damaged_file_is_named(folder, path, content):
    (folder.path / path).parent.mkdir(parents=True, exist_ok=True)
    (folder.path / path).write_bytes(content)
    finding = check_files(folder, partial(broken_files, folder))
    assert finding.status == FAIL
    assert str(folder.path / path) in finding.what


def test_sound_files_are_ok(folder):
    calibration = folder.storage / "calibrations" / "od90" / "one.yaml"
    calibration.parent.mkdir(parents=True)
    calibration.write_text(OD600)
    with closing(sqlite3.connect(folder.job_history)) as database:
        database.execute("CREATE TABLE t (x)")
        database.commit()
    assert check_files(folder, partial(broken_files, folder)).status == OK


def test_a_calibration_with_a_wrong_field_is_named_with_the_field(folder):
    calibration = folder.storage / "calibrations" / "od90" / "one.yaml"
    calibration.parent.mkdir(parents=True)
    calibration.write_text(OD600.replace("angle: '90'", "angle: 90"))
    finding = check_files(folder, partial(broken_files, folder))
    assert f"{calibration}: angle" in finding.what


def test_many_problems_are_counted(folder):
    models = folder.path / "models"
    models.mkdir()
    for number in range(15):
        (models / f"m{number:02}.yaml").write_text("x: 1\n")
    assert check_files(folder).what.endswith("And 5 more.")


def test_a_full_disk_is_named(folder, monkeypatch):
    monkeypatch.setattr(
        folder_checks.os, "statvfs", lambda _path: SimpleNamespace(f_bavail=5, f_frsize=10**6, f_blocks=8000)
    )
    finding = check_room(folder.path)
    assert (finding.status, finding.what[:21]) == (FAIL, "5 of 8000 MB are free")
