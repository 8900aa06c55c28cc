"""The registered models of the reactor: their volumes, temperature limits, and what is wired differently in them."""

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from .hardware_files import built_in, read_yaml

log = logging.getLogger(__name__)

DEFAULT_MODEL = ("pioreactor_40ml", "1.5")  # what an unknown model is taken as
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # also the name of a folder
_TEXTS = ("model_name", "model_version", "display_name")
_NUMBERS = (
    "reactor_capacity_ml",
    "reactor_diameter_mm",
    "reactor_max_fill_volume_ml",
    "max_temp_to_reduce_heating",
    "max_temp_to_disable_heating",
    "max_temp_to_shutdown",
)


@dataclass(frozen=True)
class Model:
    """One model; the fields are named as in the API. Volumes are in mL, the diameter in mm, temperatures in degC."""

    model_name: str
    model_version: str
    display_name: str
    reactor_capacity_ml: float
    reactor_diameter_mm: float
    reactor_max_fill_volume_ml: float
    max_temp_to_reduce_heating: float
    max_temp_to_disable_heating: float
    max_temp_to_shutdown: float
    is_legacy: bool = False
    is_contrib: bool = True
    hardware: Mapping[str, Any] = field(default_factory=dict, repr=False)  # merged over the HAT's data

    @property
    def key(self) -> tuple[str, str]:
        """Name and version, which together say which model it is."""
        return self.model_name, self.model_version

    def as_dict(self) -> dict[str, str | float | bool]:
        """Return the record that the API shows."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "hardware"}


class SkippedFile(NamedTuple):
    """A user's model file that was not taken, and why."""

    path: Path
    reason: str


def load_models(extra_folder: Path | None = None) -> Mapping[tuple[str, str], Model]:
    """Return the registered models by (name, version): the built-in ones and those of the files in `extra_folder`.

    A file adds a model or takes the place of one with the same name and version. One that cannot be used is logged
    and skipped; `read_models` returns the reasons.
    """
    models, skipped = read_models(extra_folder)
    for path, reason in skipped:
        log.warning("The model file %s is skipped: %s.", path, reason)
    return models


def read_models(extra_folder: Path | None = None) -> tuple[Mapping[tuple[str, str], Model], tuple[SkippedFile, ...]]:
    """Return the registered models, and the files that were skipped."""
    models = {model.key: model for model in map(_built_in_model, built_in("models.yaml"))}
    skipped = []
    for path in _yaml_files(extra_folder):
        try:
            model = parse_model(read_yaml(path))
        except (ValueError, FileNotFoundError) as ex:
            skipped.append(SkippedFile(path, str(ex)))
            continue
        # How the boards are wired goes with the name: a user's other limits do not move a photodiode.
        old = models.get(model.key)
        models[model.key] = replace(model, hardware=old.hardware) if old else model
    return MappingProxyType(models), tuple(skipped)


def parse_model(content: Any) -> Model:
    """Return a user's model, forced to contrib and not legacy; raises ValueError with a reason in words."""
    if not isinstance(content, dict):
        raise ValueError("it is not a mapping of names to values")
    missing = [name for name in (*_TEXTS, *_NUMBERS) if name not in content]
    if missing:
        raise ValueError(f"{', '.join(missing)} is missing")
    texts = {name: _text(name, content[name]) for name in _TEXTS}
    for name in ("model_name", "model_version"):
        if not _NAME.fullmatch(texts[name]):
            raise ValueError(f"{name} {texts[name]!r} may hold letters, digits, '_', '.' and '-'")
    numbers = {name: _number(name, content[name]) for name in _NUMBERS}
    _check_order(numbers, "reactor_max_fill_volume_ml", "reactor_capacity_ml")
    _check_order(numbers, "max_temp_to_reduce_heating", "max_temp_to_disable_heating")
    _check_order(numbers, "max_temp_to_disable_heating", "max_temp_to_shutdown")
    values: dict[str, Any] = {**texts, **numbers}
    return Model(**values)


def _built_in_model(entry: Mapping[str, Any]) -> Model:
    legacy = entry.get("is_legacy", False)
    return replace(parse_model(entry), is_legacy=legacy, is_contrib=False, hardware=entry.get("hardware", {}))


def _yaml_files(folder: Path | None) -> list[Path]:
    """Return the YAML files of a folder in the order of their names; of two for one model the later wins."""
    if folder is None or not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml") and path.is_file())


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is not text: put it in quotes")
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name} has to be a number above 0, not {value!r:.40}")
    return float(value)


def _check_order(numbers: Mapping[str, float], lower: str, upper: str) -> None:
    if numbers[lower] > numbers[upper]:
        raise ValueError(f"{lower} {numbers[lower]:g} is above {upper} {numbers[upper]:g}")
