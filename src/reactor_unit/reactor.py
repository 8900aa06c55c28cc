"""Which reactor a unit has, as its configuration says: the model, and how a simulated one is put together."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from reactor_unit import config as configuration
from reactor_unit.drivers.models import Model, load_models
from reactor_unit.drivers.simulation.constants import ANGLES, LED_CHANNELS, PHOTODIODES
from reactor_unit.drivers.simulation.setup import Setup

log = logging.getLogger(__name__)

INFRARED = "IR"  # the label of the LED that optical density is measured with
SMALLEST_VIAL_ML, LARGEST_VIAL_ML = 1.0, 1000.0  # that the simulated reactor can have


def find_model(
    environ: Mapping[str, str], config: configuration.Config, folder: Path, *, simulated: bool
) -> Model | None:
    """Return the reactor's model, also from the files in `folder`/models; None when nobody said or knows which it is.

    Without a model the map of the HAT holds as it is. Raises ConfigError where only half of a model's name is given.
    """
    key = configuration.model(environ, config, simulated)
    if key is None:
        return None
    model = load_models(folder / "models").get(key)
    if model is None:
        log.warning("The model %s, %s is not known: the reactor is taken as what its HAT alone has.", *key)
    return model


def simulation_setup(
    config: configuration.Config, model: Model | None, *, speed: float | None = None, seed: int | None = None
) -> Setup:
    """Return how the simulated reactor is put together for this configuration and model.

    What it cannot have is logged and left out: an angle without constants, a vial for which there is no room.
    Raises ConfigError.
    """
    return Setup(
        speed=1.0 if speed is None else speed,
        seed=seed,
        vial_ml=None if model is None else _vial_ml(config, model),
        photodiodes=_photodiodes(config),
        ir_led=next(
            (led for led, label in config.section("leds").items() if label == INFRARED and led in LED_CHANNELS), None
        ),
    )


def _vial_ml(config: configuration.Config, model: Model) -> tuple[float, float] | None:
    """Return capacity and waste tube of the model's vial; the tube is where the configuration has it."""
    capacity_ml = model.reactor_capacity_ml
    tube_ml = min(config.get_float("bioreactor", "max_working_volume_ml"), model.reactor_max_fill_volume_ml)
    if SMALLEST_VIAL_ML <= tube_ml <= capacity_ml <= LARGEST_VIAL_ML:
        return capacity_ml, tube_ml
    log.warning("The simulated reactor has no vial of %g ml with its waste tube at %g ml.", capacity_ml, tube_ml)
    return None


def _photodiodes(config: configuration.Config) -> dict[str, str]:
    """Return channel -> angle."""
    angles = config.section("od_config.photodiode_channel")
    possible = {channel: angle for channel, angle in angles.items() if channel in PHOTODIODES and angle in ANGLES}
    for channel in angles.keys() - possible.keys():
        log.warning("The simulated reactor has no photodiode %s at %r.", channel, angles[channel])
    return possible
