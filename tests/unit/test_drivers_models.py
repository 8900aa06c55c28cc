import pytest

from reactor_unit.drivers import board, models
from reactor_unit.drivers.board import ADCInput
from reactor_unit.drivers.errors import HardwareFault

DEMO = """
model_name: demo_100ml
model_version: "0.1"
display_name: Demo
reactor_capacity_ml: 100
reactor_diameter_mm: 40
reactor_max_fill_volume_ml: 90
max_temp_to_reduce_heating: 60
max_temp_to_disable_heating: 62
max_temp_to_shutdown: 65
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("name", "version", "ml", "fill", "limits", "legacy"),
    [
        ("pioreactor_20ml", "1.0", 20, 18, (63, 65, 66), True),
        ("pioreactor_20ml", "1.1", 20, 18, (78, 80, 85), True),
        ("pioreactor_20ml", "1.5", 20, 18, (78, 80, 85), False),
        ("pioreactor_20ml_XR", "1.5", 20, 18, (78, 80, 85), False),
        ("pioreactor_40ml", "1.0", 40, 38, (78, 80, 85), True),
        ("pioreactor_40ml", "1.5", 40, 38, (78, 80, 85), False),
        ("pioreactor_40ml_XR", "1.5", 40, 38, (78, 80, 85), False),
    ],
)
def test_the_registered_models(name, version, ml, fill, limits, legacy):
    model = models.load_models()[name, version]
    assert (model.reactor_capacity_ml, model.reactor_max_fill_volume_ml, model.reactor_diameter_mm) == (ml, fill, 27)
    assert (
        model.max_temp_to_reduce_heating,
        model.max_temp_to_disable_heating,
        model.max_temp_to_shutdown,
    ) == limits
    assert (model.is_legacy, model.is_contrib) == (legacy, False)
    assert model.display_name == f"Pioreactor {name.removeprefix('pioreactor_').replace('_', ' ')}, v{version}"


def test_there_are_seven_and_the_default_is_one_of_them():
    assert len(models.load_models()) == 7
    assert models.DEFAULT_MODEL in models.load_models()


def test_a_file_adds_a_model_that_is_contributed(tmp_path):
    write(tmp_path / "demo.yaml", DEMO + "is_contrib: false\nis_legacy: true\n")
    model = models.load_models(tmp_path)["demo_100ml", "0.1"]
    assert model.as_dict() == {
        "model_name": "demo_100ml",
        "model_version": "0.1",
        "display_name": "Demo",
        "reactor_capacity_ml": 100.0,
        "reactor_diameter_mm": 40.0,
        "reactor_max_fill_volume_ml": 90.0,
        "max_temp_to_reduce_heating": 60.0,
        "max_temp_to_disable_heating": 62.0,
        "max_temp_to_shutdown": 65.0,
        "is_legacy": False,
        "is_contrib": True,
    }


def test_a_file_overrides_the_limits_but_not_the_wiring(tmp_path):
    write(tmp_path / "mine.yml", DEMO.replace("demo_100ml", "pioreactor_40ml_XR").replace('"0.1"', '"1.5"'))
    model = models.load_models(tmp_path)["pioreactor_40ml_XR", "1.5"]
    assert model.reactor_capacity_ml == 100.0
    assert board.load(model=model).photodiode_channels == ("1", "2", "3", "4")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("just text", "not a mapping"),
        ("a: [1", "while parsing"),
        ("[" * 20_000, "recursion"),
        ("x" * 70_000, "larger than"),
        (DEMO.replace("display_name: Demo\n", ""), "display_name is missing"),
        (DEMO.replace('"0.1"', "0.1"), "model_version is not text: put it in quotes"),
        (DEMO.replace("demo_100ml", "../../etc"), "may hold"),
        (DEMO.replace("100\n", "lots\n"), "reactor_capacity_ml has to be a number above 0"),
        (DEMO.replace("ml: 90", "ml: .nan"), "reactor_max_fill_volume_ml has to be a number"),
        (DEMO.replace("ml: 90", "ml: true"), "reactor_max_fill_volume_ml has to be a number"),
        (DEMO.replace("ml: 90", "ml: 110"), "reactor_max_fill_volume_ml 110 is above reactor_capacity_ml 100"),
        (DEMO.replace("heating: 60", "heating: 63"), "is above max_temp_to_disable_heating 62"),
        (DEMO.replace("shutdown: 65", "shutdown: 61"), "is above max_temp_to_shutdown 61"),
    ],
)
def test_an_invalid_file_is_skipped_with_its_reason(tmp_path, caplog, text, reason):
    write(tmp_path / "bad.yaml", text)
    write(tmp_path / "good.yaml", DEMO)
    found, skipped = models.read_models(tmp_path)
    assert ("demo_100ml", "0.1") in found
    assert len(found) == 8
    [(path, told)] = skipped
    assert path == tmp_path / "bad.yaml"
    assert reason in told
    assert models.load_models(tmp_path) == found
    assert "bad.yaml is skipped" in caplog.text


def test_a_folder_that_is_not_there_and_other_files_are_nothing(tmp_path):
    assert len(models.load_models(tmp_path / "nowhere")) == 7
    write(tmp_path / "notes.txt", "hello")
    assert models.read_models(tmp_path)[1] == ()


def xr():
    return models.load_models()["pioreactor_20ml_XR", "1.5"]


@pytest.mark.parametrize(
    ("hat", "addresses", "pd1", "aux"),
    [
        ("1.0", (0x48, 0x49, 0x4F), ADCInput("ads1115", 0x48, 1), ADCInput("ads1115", 0x48, 3)),
        ("1.1", (0x2C, 0x4F), ADCInput("pico", 0x2C, 2), ADCInput("pico", 0x2C, 1)),
        ("1.2", (0x2C, 0x4F), ADCInput("pico", 0x2C, 2), ADCInput("pico", 0x2C, 1)),
    ],
)
def test_the_chips_of_each_hat(hat, addresses, pd1, aux):
    loaded = board.load(hat)
    assert loaded.i2c_addresses == addresses
    assert (loaded.adc["pd1"], loaded.adc["aux"]) == (pd1, aux)
    assert loaded.photodiode_channels == ("1", "2")


def test_a_model_replaces_the_photodiodes_and_keeps_the_rest():
    loaded = board.load("1.2", model=xr())
    assert loaded.i2c_addresses == (0x2C, 0x48, 0x49, 0x4A, 0x4B, 0x4F)
    assert loaded.adc["aux"] == ADCInput("pico", 0x2C, 1)
    assert [loaded.adc[f"pd{n}"].address for n in (1, 2, 3, 4)] == [0x49, 0x4A, 0x4B, 0x48]


@pytest.mark.parametrize(
    ("there", "addresses"),
    [
        ({0x2C, 0x49, 0x4A}, [0x49, 0x4A]),
        ({0x2C, 0x48, 0x49}, [0x48, 0x49]),
        ({0x2C, 0x48, 0x49, 0x4A}, [0x49, 0x4A]),
        ({0x2C, 0x49}, [0x49, 0x4A]),
        (set(), [0x49, 0x4A]),
    ],
    ids=["as the XR", "one lower", "both", "one is missing", "nothing there"],
)
def test_the_layout_whose_chips_answer_is_taken(there, addresses):
    loaded = board.load(model=models.load_models()["pioreactor_20ml", "1.5"]).settle_adc(there.__contains__)
    assert [loaded.adc[name].address for name in ("pd1", "pd2")] == addresses
    assert loaded.other_adc == ()
    assert "aux" in loaded.adc


def test_a_units_own_files_are_merged_and_the_models_win(tmp_path):
    hardware = tmp_path / "hardware"
    write(hardware / "hats/1.2/adc.yaml", "pd1: {channel: 0}\npd2: {driver: pico, address: '0x2D', channel: 3}\n")
    write(hardware / "hats/1.2/gpio.yaml", "hall_sensor_pin: 5\n")
    write(hardware / "hats/1.2/temp.yaml", "address: 0x4E\n")
    write(hardware / "models/pioreactor_20ml_XR/1.5/adc.yaml", "pd4: {address: 0x44}\n")
    plain = board.load("1.2", home=tmp_path)
    assert plain.adc["pd1"] == ADCInput("pico", 0x2C, 0)
    assert plain.adc["pd2"] == ADCInput("pico", 0x2D, 3)
    assert (plain.hall_sensor_pin, plain.button_pin, plain.temperature_address) == (5, 4, 0x4E)
    with_model = board.load("1.2", model=xr(), home=tmp_path)
    assert with_model.adc["pd1"] == ADCInput("ads1114", 0x49, 0)
    assert with_model.adc["pd4"] == ADCInput("ads1114", 0x44, 0)
    assert with_model.hall_sensor_pin == 5
    assert board.load("1.2").hall_sensor_pin == 21  # what is built in stays as it is


def test_a_units_own_photodiode_addresses_are_not_guessed_at(tmp_path):
    write(tmp_path / "hardware/models/pioreactor_20ml/1.5/adc.yaml", "pd1: {address: 0x48}\npd2: {address: 0x49}\n")
    loaded = board.load(model=models.load_models()["pioreactor_20ml", "1.5"], home=tmp_path)
    assert loaded.other_adc == ()
    assert loaded.adc["pd2"].address == 0x49


@pytest.mark.parametrize(
    ("mod", "text", "told"),
    [
        ("adc", "pd1: {driver: ads9000}", "ads9000"),
        ("adc", "pd3: {driver: pico, channel: 1}", "address is missing"),
        ("adc", "pd1: 5", "pd1 is 5"),
        ("adc", "pd1: {address: 0x99}", "the I2C address of pd1 is 153"),
        ("adc", "pd1: {channel: 4}", "the channel of pd1 is 4"),
        ("pwm", "pwm_to_pin: {'1': 40}", "PWM channel 1 is 40"),
        ("pwm", "pwm_to_pin: {'1': 12}", "two PWM channels"),
        ("pwm", "heater_pwm_channel: 9", "channel 9 has no pin"),
        ("gpio", "hall_sensor_pin: many", "many"),
        ("gpio", "hall_sensor_pin: true", "True"),
        ("temp", "- 1", "not a mapping"),
        ("dac", "{", "while parsing"),
    ],
)
def test_a_description_that_is_nonsense_is_refused_naming_it(tmp_path, mod, text, told):
    write(tmp_path / "hardware" / "hats" / "1.2" / f"{mod}.yaml", text)
    with pytest.raises(HardwareFault) as caught:
        board.load("1.2", home=tmp_path)
    assert told.lower() in caught.value.cause.lower()
    assert str(tmp_path) in f"{caught.value} {caught.value.remediation}"
