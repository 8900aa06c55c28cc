from __future__ import annotations

import configparser
import re
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_unit.config import INITIAL_CONFIG, Config, load_config, model, unit_name
from reactor_unit.errors import ConfigError, InvalidRequest


def write(dot: Path, config: str | bytes | None = None, unit_config: str | None = None) -> Config:
    if config is not None:
        (dot / "config.ini").write_bytes(config if isinstance(config, bytes) else config.encode())
    if unit_config is not None:
        (dot / "unit_config.ini").write_text(unit_config)
    return load_config(dot)


# Defaults


def test_an_empty_folder_has_the_shipped_wiring(tmp_path: Path) -> None:
    config = load_config(tmp_path)
    assert config.pwm_assignment() == {"1": "stirring", "2": "media", "3": "alt_media", "4": "waste", "5": "heating"}
    assert config.section("PWM_reverse")["waste"] == "4"
    assert config.section("leds_reverse") == {"IR": "A"}
    assert config.section("od_config.photodiode_channel") == {"1": "REF", "2": "90"}
    assert config.section("od_config.photodiode_channel_reverse") == {"REF": "1", "90": "2"}


@pytest.mark.parametrize(
    ("section", "option", "value"),
    [
        ("stirring.config", "initial_target_rpm", 500),
        ("stirring.config", "initial_duty_cycle", 30),
        ("stirring.config", "pwm_hz", 200),
        ("stirring.config", "duration_between_updates_seconds", 23),
        ("stirring.pid", "Kp", 0.005),
        ("od_reading.config", "samples_per_second", 0.2),
        ("od_reading.config", "ir_led_intensity", 80),
        ("od_reading.config", "pd_reference_ema", 0.75),
        ("bioreactor", "max_working_volume_ml", 14),
        ("dosing_automation.config", "max_subdose", 1.0),
        ("dosing_automation.config", "waste_removal_multiplier", 2),
        ("temperature_automation.thermostat", "Kp", 2.6),
        ("temperature_automation.thermostat", "Kd", 4.6),
        ("growth_rate_kalman", "od_std", 0.0025),
        ("growth_rate_calculating.config", "samples_for_od_statistics", 20),
        ("http", "port", 4999),
    ],
    ids=lambda value: str(value),
)
def test_the_shipped_values(tmp_path: Path, section: str, option: str, value: float) -> None:
    assert load_config(tmp_path).get_float(section, option) == value


def test_the_first_config_file_changes_nothing_and_names_only_what_exists(tmp_path: Path) -> None:
    defaults = load_config(tmp_path)
    assert write(tmp_path, INITIAL_CONFIG).section("PWM") == defaults.section("PWM")
    parser = configparser.ConfigParser()
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    lines = INITIAL_CONFIG.splitlines()
    parser.read_string("\n".join(line[1:] for line in lines if line.startswith("#") and not line.startswith("# ")))
    for section in parser.sections():
        for option, value in parser[section].items():
            if not option.startswith("model_"):
                assert defaults.get(section, option) == value


# Layers


def test_later_files_win_option_by_option(tmp_path: Path) -> None:
    config = write(
        tmp_path,
        "[stirring.config]\ninitial_target_rpm=400\ninitial_duty_cycle=20\n",
        "[stirring.config]\ninitial_target_rpm=300\n",
    )
    assert config.get("stirring.config", "initial_target_rpm") == "300"
    assert config.get("stirring.config", "initial_duty_cycle") == "20"
    assert config.get("stirring.config", "pwm_hz") == "200"
    assert config.source("stirring.config", "initial_target_rpm") == str(tmp_path / "unit_config.ini")
    assert config.source("stirring.config", "initial_duty_cycle") == str(tmp_path / "config.ini")
    assert config.source("stirring.config", "pwm_hz") == "default_config.ini"


def test_names_keep_their_case(tmp_path: Path) -> None:
    config = write(tmp_path, "[stirring.pid]\nkp=7\n[leds]\na=white\n")
    assert config.get_float("stirring.pid", "Kp") == 0.005
    assert config.get_float("stirring.pid", "kp") == 7
    assert config.get("leds", "A") == "IR"
    assert config.get("LEDS", "A", None) is None


def test_what_the_reference_tolerates_is_read(tmp_path: Path) -> None:
    config = write(
        tmp_path,
        "\ufeff# comment\n[ui]\nbare\nempty=\ncolon: 5\nspaced  =  a = b ; c  \n[x]\na=1\n[ui]\nport=80\nport=81\n"
        "[DEFAULT]\neverywhere=1\n[multi]\nlines=one\n  two\n",
    )
    assert config.section("ui") == {
        "bare": "", "empty": "", "colon": "5", "spaced": "a = b ; c", "port": "81", "everywhere": "1",
    }  # fmt: skip
    assert config.get("multi", "lines") == "one\ntwo"
    assert config.get("x", "everywhere") == "1"
    assert config.get("nowhere", "everywhere", None) is None
    assert config.has_section("x")
    assert not config.has_section("y")


def test_a_section_outranks_default_even_from_a_later_file(tmp_path: Path) -> None:
    config = write(tmp_path, "[x]\na=own\n", "[DEFAULT]\na=default\nb=default\n")
    assert config.section("x") == {"a": "own", "b": "default"}


def test_percent_signs_interpolate(tmp_path: Path) -> None:
    config = write(tmp_path, "[x]\nhome=/data\nlogs=%(home)s/logs\nshare=80%%\ndeep=%(logs)s/%(share)s\n")
    assert config.get("x", "deep") == "/data/logs/80%"


def test_interpolation_uses_the_value_that_won(tmp_path: Path) -> None:
    assert write(tmp_path, "[x]\nhome=/a\nlogs=%(home)s/logs\n", "[x]\nhome=/b\n").get("x", "logs") == "/b/logs"


# Broken files


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (b"a=1\n[x]\n", 1, "before the first [section]"),
        (b"\n\n[x]\n=5\n", 4, "neither [section] nor option=value"),
        (b"[x]\na=1\n\nb=\xff\n", 4, "not UTF-8 text"),
        (b"\x00" * 64, 1, "before the first [section]"),
        (b"# ok\n[x]\nbare\n  more\n", 4, "an indented line follows an option without a value"),
        (b"[stirring.config]\n\npwm_hz=%(nothing)s\n", 3, "has a wrong percent sign"),
        (b"[stirring.config]\npwm_hz=50%\n", 2, "has a wrong percent sign"),
        (b"[bioreactor]\nx=%(y)s\ny=%(x)s\n", 2, "has a wrong percent sign"),
    ],
    ids=[
        "no section", "no name", "not UTF-8", "zeros after a power cut", "continuation of nothing", "unknown reference",
        "lone percent", "circle",
    ],
)  # fmt: skip
def test_a_broken_file_is_named_with_line_and_reason(tmp_path: Path, text: bytes, line: int, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        write(tmp_path, text)
    assert f"{tmp_path / 'config.ini'}, line {line}: " in caught.value.message
    assert reason in caught.value.message


def test_a_broken_unit_config_is_named_itself(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unit_config\.ini, line 1"):
        write(tmp_path, "[x]\na=1\n", "nonsense\n")


def test_a_wrong_percent_sign_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[stirring\.config\] pwm_hz='50%'"):
        write(tmp_path, "[stirring.config]\npwm_hz=50%\n")


def test_a_section_of_somebody_else_is_judged_only_when_it_is_asked_for(tmp_path: Path) -> None:
    config = write(tmp_path, "[my_plugin]\npassword=a%b\n")
    with pytest.raises(ConfigError, match=r"\[my_plugin\] password='a%b'"):
        config.get("my_plugin", "password")


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.ini").mkdir()
    with pytest.raises(ConfigError, match=r"config\.ini cannot be read: Is a directory"):
        load_config(tmp_path)


def test_a_link_to_nowhere_is_an_error_and_not_an_empty_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.ini").symlink_to(tmp_path / "gone.ini")
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path)


@given(st.text(max_size=200) | st.text("[]=:%#; \n\tab()s", max_size=60))
def test_any_text_is_a_configuration_or_a_config_error(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            config = write(Path(folder), text.encode("utf-8", "surrogatepass"))
        except ConfigError as ex:
            outcome = ex.message
        else:
            outcome = config.source("http", "host")
        assert folder in outcome or outcome == "default_config.ini"


@pytest.mark.parametrize(
    ("text", "named"),
    [("[PWM]\n2=waste\n", ["'waste'", "2 (in", "4 (in"]), ("[leds]\nC=IR\n", ["'IR'", "A (in", "C (in"])],
    ids=["a pump on two channels", "a label on two channels"],
)
def test_half_a_rewiring_is_refused(tmp_path: Path, text: str, named: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        write(tmp_path, text)
    for part in (*named, str(tmp_path / "config.ini"), "default_config.ini"):
        assert part in caught.value.message


def test_a_whole_rewiring_is_taken(tmp_path: Path) -> None:
    config = write(tmp_path, "[PWM]\n2=waste\n3=media\n4=alt_media\n")
    assert config.section("PWM_reverse") == {
        "stirring": "1", "waste": "2", "media": "3", "alt_media": "4", "heating": "5",
    }  # fmt: skip


def test_a_channel_can_be_left_unused(tmp_path: Path) -> None:
    assert "alt_media" not in write(tmp_path, "[PWM]\n3=\n").section("PWM_reverse")


# Types


def test_a_value_of_the_wrong_type_names_section_option_value_and_file(tmp_path: Path) -> None:
    config = write(tmp_path, None, "[stirring.config]\npwm_hz=fast\n")
    with pytest.raises(ConfigError) as caught:
        config.get_float("stirring.config", "pwm_hz")
    assert caught.value.message == (
        f"[stirring.config] pwm_hz='fast' in {tmp_path / 'unit_config.ini'} is not a number."
    )


@pytest.mark.parametrize(
    "value", ["", "x", "1,5", "nan", "inf", "-Infinity", "1e999", "0x10", "1_0", "\u0661"], ids=repr
)
def test_what_is_no_finite_number_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="is not a number"):
        write(tmp_path, f"[x]\na={value}\n").get_float("x", "a", 1.0)


@pytest.mark.parametrize("value", ["", "1.0", "1e3", "x"], ids=repr)
def test_what_is_no_whole_number_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="is not a whole number"):
        write(tmp_path, f"[x]\na={value}\n").get_int("x", "a", 1)


@pytest.mark.parametrize("value", ["", "2", "y", "t", "enabled"], ids=repr)
def test_what_is_no_boolean_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="is not one of 1/yes/true/on"):
        write(tmp_path, f"[x]\na={value}\n").get_boolean("x", "a", True)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1", True),
        ("yes", True),
        ("True", True),
        ("ON", True),
        ("0", False),
        ("no", False),
        ("False", False),
        ("off", False),
    ],
)
def test_booleans(tmp_path: Path, word: str, value: bool) -> None:
    assert write(tmp_path, f"[x]\na={word}\n").get_boolean("x", "a") is value


def test_a_missing_option_has_its_fallback_or_is_an_error(tmp_path: Path) -> None:
    config = load_config(tmp_path)
    assert config.get_float("od_reading.config", "local_ac_hz", None) is None
    assert config.get_int("nowhere", "x", 5) == 5
    assert config.get_boolean("nowhere", "x", fallback=False) is False
    assert config.get("nowhere", "x", fallback="y") == "y"
    for read in (config.get, config.get_float, config.get_int, config.get_boolean):
        with pytest.raises(ConfigError, match=r"\[nowhere\] x is missing"):
            read("nowhere", "x")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_as_it_was_written(number: float) -> None:
    assert _with("a", repr(number)).get_float("x", "a") == number


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_an_override_is_read_as_it_was_given(value: str) -> None:
    assert _with("a", value.replace("%", "%%")).get("x", "a") == value


def _with(option: str, value: str) -> Config:
    return Config({"x": {}}).with_overrides([["x", option, value]])


# Overrides


def test_overrides_make_a_new_configuration(tmp_path: Path) -> None:
    config = load_config(tmp_path)
    changed = config.with_overrides([["stirring.config", "pwm_hz", "100"], ["stirring.config", "extra", "%(pwm_hz)s"]])
    assert changed.get_float("stirring.config", "pwm_hz") == 100
    assert changed.get("stirring.config", "extra") == "100"
    assert config.get_float("stirring.config", "pwm_hz") == 200
    assert config.get("stirring.config", "extra", None) is None


def test_a_wrong_type_in_an_override_names_the_override(tmp_path: Path) -> None:
    config = load_config(tmp_path).with_overrides([["stirring.config", "pwm_hz", "fast"]])
    with pytest.raises(ConfigError, match="in config_overrides is not a number"):
        config.get_float("stirring.config", "pwm_hz")


def test_two_pumps_can_be_swapped_by_overrides(tmp_path: Path) -> None:
    swapped = load_config(tmp_path).with_overrides([["PWM", "2", "waste"], ["PWM", "4", "media"]])
    assert swapped.section("PWM_reverse")["media"] == "4"


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        (["stirring.config", "pwm_hz"], "is not [section, option, value]"),
        (["stirring.config", "pwm_hz", "1", "2"], "is not [section, option, value]"),
        (["stirring.config", "pwm_hz", 200], "is not [section, option, value]"),
        ("abc", "is not [section, option, value]"),
        (None, "is not [section, option, value]"),
        (["stiring.config", "pwm_hz", "200"], "Did you mean 'stirring.config'?"),
        (["stirring.config", "initial_targt_rpm", "200"], "Did you mean 'initial_target_rpm'?"),
        (["PWM_reverse", "media", "4"], "[PWM_reverse] is made from [PWM]"),
        (["stirring.config", "pwm_hz", "50%"], "has a wrong percent sign"),
        (["PWM", "2", "waste"], "gives 'waste' to both"),
    ],
    ids=["short", "long", "number", "three letters", "null", "typo", "option", "made section", "percent", "pump twice"],
)
def test_a_wrong_override_is_a_wrong_request(tmp_path: Path, override: Any, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        load_config(tmp_path).with_overrides([override])
    assert reason in caught.value.message


# Who we are


@pytest.mark.parametrize(
    ("flag", "environ", "name"),
    [
        ("unit1", {"HOSTNAME": "unit2"}, "unit1"),
        (None, {"HOSTNAME": "unit2"}, "unit2"),
        (None, {"HOSTNAME": " "}, socket.gethostname()),
        (None, {}, socket.gethostname()),
    ],
    ids=["flag", "environment", "blank environment", "host"],
)
def test_the_unit_name(flag: str | None, environ: dict[str, str], name: str) -> None:
    assert unit_name(flag, environ) == name


@pytest.mark.parametrize(
    ("text", "leader"),
    [
        ("", "unit7"),
        ("[cluster.topology]\n", "unit7"),
        ("[cluster.topology]\nleader_hostname=\n", "unit7"),
        ("[cluster.topology]\nleader_hostname=lead1\n", "lead1"),
    ],
    ids=["no section", "no option", "no value", "named"],
)
def test_a_unit_without_a_leader_leads_itself(tmp_path: Path, text: str, leader: str) -> None:
    assert write(tmp_path, text).leader_hostname("unit7") == leader


CONFIGURED = "[bioreactor]\nmodel_name=pioreactor_40ml\nmodel_version=1.0\n"


@pytest.mark.parametrize(
    ("environ", "text", "simulated", "expected"),
    [
        ({"MODEL_NAME": "a", "MODEL_VERSION": "2"}, CONFIGURED, False, ("a", "2")),
        ({}, CONFIGURED, False, ("pioreactor_40ml", "1.0")),
        ({}, CONFIGURED, True, ("pioreactor_40ml", "1.0")),
        ({}, "", True, ("pioreactor_20ml", "1.5")),
        ({}, "", False, None),
    ],
    ids=["run", "configured", "configured and simulated", "simulated", "unknown on a real board"],
)
def test_the_model(
    tmp_path: Path, environ: dict[str, str], text: str, simulated: bool, expected: tuple[str, str] | None
) -> None:
    assert model(environ, write(tmp_path, text), simulated) == expected


@pytest.mark.parametrize("environ", [{"MODEL_NAME": "a"}, {"MODEL_VERSION": "2"}], ids=["name only", "version only"])
def test_half_a_model_is_not_completed_from_elsewhere(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="Only one of MODEL_NAME and MODEL_VERSION"):
        model(environ, write(tmp_path, CONFIGURED), True)


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("", 4999),
        ("[ui]\nport = 80\n", 80),
        ("[http]\nport = 5001\n[ui]\nport = 80\n", 5001),
        ("[http]\nport = 4999\n[ui]\nport = 80\n", 4999),
        ("[ui]\nport =\n", 4999),
    ],
    ids=["neither", "a leader's", "both", "the default, on purpose", "an empty one"],
)
def test_the_port_is_the_units_own_before_the_leaders(tmp_path: Path, text: str, port: int) -> None:
    (tmp_path / "config.ini").write_text(text)
    assert load_config(tmp_path).port() == port


@pytest.mark.parametrize("text", ["[http]\nport = 65536\n", "[ui]\nport = -1\n", "[ui]\nport = http\n"])
def test_a_port_that_is_none_is_named_with_its_section(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.ini").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(text.splitlines()[0])):
        load_config(tmp_path).port()
