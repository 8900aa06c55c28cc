"""The command line of the serving processes."""

from __future__ import annotations

import pytest

from reactor_unit.drivers.simulation.plant_file import FASTEST_SPEED
from reactor_unit.errors import ConfigError
from reactor_unit.serve import check_simulated
from reactor_unit.serve_command import ServeOptions, parse


def test_speed_and_seed_are_taken() -> None:
    assert parse(["serve", "--speed", "0.5", "--seed", "7"]) == ("serve", ServeOptions(speed=0.5, seed=7))
    assert parse(["serve", "--speed", f"{FASTEST_SPEED}"])[1].speed == FASTEST_SPEED
    assert parse(["serve"]) == ("serve", ServeOptions())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--speed", "0"], "above 0, up to 10000"),
        (["--speed", "-1"], "above 0, up to 10000"),
        (["--speed", "10001"], "above 0, up to 10000"),
        (["--speed", "nan"], "above 0, up to 10000"),
        (["--speed", "fast"], "invalid speed value"),
        (["--seed", "-1"], "not a seed"),
        (["--seed", str(2**64)], "not a seed"),
        (["--seed", "1.5"], "invalid seed value"),
    ],
)
def test_what_is_no_speed_or_seed_is_refused_with_what_would_be(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["serve", *words])
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "guess"), [(["--prot", "80"], "'--port'"), (["--hardwear=pi"], "'--hardware'")], ids=["two words", "one"]
)
def test_a_mistyped_option_is_told_with_the_options_of_its_command(
    words: list[str], guess: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["serve", *words])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert "usage: reactor-unit serve" in said
    assert f"Did you mean {guess}?" in said


@pytest.mark.parametrize("options", [ServeOptions(speed=1.0), ServeOptions(seed=0)], ids=["speed", "seed"])
def test_a_raspberry_pi_has_neither_speed_nor_seed(options: ServeOptions) -> None:
    with pytest.raises(ConfigError, match="is for the simulated reactor"):
        check_simulated(options, "pi")
    check_simulated(options, "simulated")
    check_simulated(ServeOptions(), "pi")
