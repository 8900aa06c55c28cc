"""What the configuration says about the reactor: its model, and how a simulated one is put together."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from reactor_unit.config import Config, load_config
from reactor_unit.drivers.models import load_models
from reactor_unit.reactor import find_model, simulation_setup

V40 = load_models()["pioreactor_40ml", "1.5"]


def config(folder: Path, text: str = "") -> Config:
    (folder / "config.ini").write_text(text)
    return load_config(folder)


def test_the_model_is_the_configurations_and_the_environments_comes_first(tmp_path: Path) -> None:
    configured = config(tmp_path, "[bioreactor]\nmodel_name=pioreactor_40ml\nmodel_version=1.0\n")
    model = find_model({}, configured, tmp_path, simulated=False)
    assert model is not None
    assert model.key == ("pioreactor_40ml", "1.0")
    environ = {"MODEL_NAME": "pioreactor_40ml", "MODEL_VERSION": "1.5"}
    assert find_model(environ, configured, tmp_path, simulated=False) == V40


def test_nobody_named_a_model(tmp_path: Path) -> None:
    assert find_model({}, config(tmp_path), tmp_path, simulated=False) is None
    simulated = find_model({}, config(tmp_path), tmp_path, simulated=True)
    assert simulated is not None
    assert simulated.key == ("pioreactor_20ml", "1.5")


def test_a_model_that_is_not_known_is_logged_and_the_hat_alone_holds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {"MODEL_NAME": "bathtub", "MODEL_VERSION": "1.0"}
    with caplog.at_level(logging.WARNING):
        assert find_model(environ, config(tmp_path), tmp_path, simulated=True) is None
    assert "bathtub, 1.0 is not known" in caplog.text


def test_a_model_of_the_data_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    record = {**V40.as_dict(), "model_name": "mine", "reactor_capacity_ml": 55.0}
    lines = (f'{name}: "{value}"' if isinstance(value, str) else f"{name}: {value}" for name, value in record.items())
    (tmp_path / "models" / "mine.yaml").write_text("\n".join(lines))
    model = find_model({"MODEL_NAME": "mine", "MODEL_VERSION": "1.5"}, config(tmp_path), tmp_path, simulated=True)
    assert model is not None
    assert simulation_setup(config(tmp_path), model).vial_ml == (55.0, 14.0)


@pytest.mark.parametrize(
    ("volume", "vial_ml"), [("30", (40.0, 30.0)), ("39", (40.0, 38.0)), ("0.5", None)], ids=["fits", "too full", "none"]
)
def test_the_waste_tube_is_where_the_configuration_has_it_and_below_the_models_limit(
    tmp_path: Path, volume: str, vial_ml: tuple[float, float] | None
) -> None:
    assert simulation_setup(config(tmp_path, f"[bioreactor]\nmax_working_volume_ml={volume}\n"), V40).vial_ml == vial_ml


def test_photodiodes_and_the_infrared_led_are_where_the_configuration_has_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "[od_config.photodiode_channel]\n1=90\n2=REF\n3=33\n[leds]\nA=\nC=IR\n"
    with caplog.at_level(logging.WARNING):
        setup = simulation_setup(config(tmp_path, text), None)
    assert (setup.photodiodes, setup.ir_led, setup.vial_ml) == ({"1": "90", "2": "REF"}, "C", None)
    assert "photodiode 3 at '33'" in caplog.text


def test_without_a_speed_the_plant_runs_at_real_speed_and_keeps_its_seed(tmp_path: Path) -> None:
    setup = simulation_setup(config(tmp_path), None)
    assert (setup.speed, setup.seed) == (1.0, None)
    setup = simulation_setup(config(tmp_path), None, speed=60.0, seed=7)
    assert (setup.speed, setup.seed) == (60.0, 7)
