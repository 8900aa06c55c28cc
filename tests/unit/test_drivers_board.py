import pytest

from reactor_unit.drivers import board
from reactor_unit.drivers.errors import HardwareFault

SHIPPED = {"1": "stirring", "2": "media", "3": "alt_media", "4": "waste", "5": "heating"}


@pytest.mark.parametrize(("version", "hall", "button"), [("1.0", 25, 24), ("1.1", 21, 4), ("1.2", 21, 4)])
def test_each_hat_version_has_its_pins(version, hall, button):
    hat = board.load(version)
    assert dict(hat.pwm_to_pin) == {"1": 17, "2": 13, "3": 16, "4": 12, "5": 18}
    assert (hat.hall_sensor_pin, hat.button_pin, hat.pcb_led_pin, hat.heater_pwm_channel) == (hall, button, 23, "5")


def test_the_newest_version_is_the_default():
    assert board.load() == board.load("1.2")


def test_an_unknown_version_is_refused_with_those_that_are_known():
    with pytest.raises(HardwareFault, match=r"'9\.9'") as caught:
        board.load("9.9")
    assert "1.0, 1.1, 1.2" in caught.value.cause


def test_the_shared_pin_map_cannot_be_changed():
    with pytest.raises(TypeError):
        board.load().pwm_to_pin["1"] = 99


@pytest.mark.parametrize(
    ("role", "pin"), [("stirring", 17), ("media", 13), ("alt_media", 16), ("waste", 12), ("heating", 18)]
)
def test_a_role_is_found_on_the_pin_of_its_channel(role, pin):
    assert board.load().pwm_pin(role, SHIPPED) == pin


def test_the_assignment_decides_and_not_the_shipped_order():
    assert board.load().pwm_pin("waste", {**SHIPPED, "2": "waste", "4": "media"}) == 13


def test_the_heater_stays_on_its_channel_whatever_the_section_says():
    assert board.load().pwm_pin("heating", {"1": "heating", "5": "stirring"}) == 18


@pytest.mark.parametrize(
    ("assignment", "news"),
    [
        ({**SHIPPED, "1": ""}, "No PWM channel"),
        ({**SHIPPED, "3": "stirring"}, "1, 3"),
        ({"7": "stirring"}, "'7'"),
        ({"5": "stirring"}, "the heater's"),
    ],
    ids=["nobody has it", "two have it", "no such channel", "the heater has it"],
)
def test_a_role_without_exactly_one_channel_is_refused_naming_it_and_the_section(assignment, news):
    with pytest.raises(HardwareFault) as caught:
        board.load().pwm_pin("stirring", assignment)
    told = f"{caught.value} {caught.value.cause} {caught.value.remediation}"
    assert "stirring" in told
    assert "[PWM]" in told
    assert news in told


def test_output_pins_are_all_that_can_drive_something():
    hat = board.load()
    assert sorted(hat.output_pins) == [12, 13, 16, 17, 18, 23]


def device_tree(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({"hat__vendor": b"Pioreactor Inc.\0", "hat__product_ver": b"0x0012\0"}, "1.2"),
        ({"hat__product_ver": b"0x0010\n"}, "1.0"),
        ({"hat__vendor": b"Somebody else\0", "hat__product_ver": b"0x0012\0"}, None),
        ({"hat__product_ver": b"twelve\0"}, None),
        ({}, None),
    ],
    ids=["NUL at the end", "newline at the end", "another vendor", "not a number", "no HAT"],
)
def test_the_hat_version_is_read_from_the_device_tree(tmp_path, files, version):
    assert board.detect_hat_version(device_tree(tmp_path, **files)) == version


def test_the_model_is_read_from_the_device_tree(tmp_path):
    assert board.pi_model(tmp_path) is None
    assert board.pi_model(device_tree(tmp_path, model=b"Raspberry Pi 5 Model B Rev 1.0\0")) == (
        "Raspberry Pi 5 Model B Rev 1.0"
    )
