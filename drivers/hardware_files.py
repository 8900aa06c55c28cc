"""YAML that says what is wired to what: the built-in data, and the files of a data folder merged over it."""

import functools
from pathlib import Path
from typing import Any

import yaml

from .errors import HardwareFault

MODS = ("pwm", "gpio", "adc", "dac", "temp")
MAX_FILE_BYTES = 65536
_DATA = Path(__file__).with_name("data")


@functools.cache
def built_in(name: str) -> Any:
    """Return the content of a built-in file; it is shared, so it must not be changed."""
    return yaml.safe_load((_DATA / name).read_text(encoding="utf-8"))


def read_yaml(path: Path) -> Any:
    """Return the content of a user's file; raises ValueError with a reason in words, or FileNotFoundError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ValueError(f"it is larger than {MAX_FILE_BYTES} bytes")
        return yaml.safe_load(content)
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as ex:
        raise ValueError(" ".join(str(ex).split()) or type(ex).__name__) from ex


def read_mods(folder: Path) -> dict[str, Any]:
    """Return what the files `<mod>.yaml` of a folder say, mod -> content, without those that are missing.

    Raises HardwareFault for a file that says nothing usable: pins are not guessed.
    """
    mods: dict[str, Any] = {}
    for mod in MODS:
        path = folder / f"{mod}.yaml"
        try:
            content = read_yaml(path)
            if not isinstance(content, dict | None):
                raise ValueError("it is not a mapping of names to values")
        except FileNotFoundError:
            continue
        except ValueError as ex:
            raise HardwareFault(
                f"The hardware description {path} cannot be used.",
                cause=str(ex),
                remediation="Correct the file, or delete it to use what is built in.",
            ) from ex
        mods[mod] = content or {}
    return mods


def merged(base: Any, over: Any) -> Any:
    """Return `base` with `over` merged over it, mappings entry by entry; neither is changed.

    >>> merged({"adc": {"pd1": 1, "aux": 2}}, {"adc": {"pd1": 3}})
    {'adc': {'pd1': 3, 'aux': 2}}
    """
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return {**base, **{key: merged(base[key], value) if key in base else value for key, value in over.items()}}
