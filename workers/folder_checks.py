"""Checks of what the unit keeps on disk: data folder, configuration, files that would be skipped, room."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from reactor_unit import config as configuration
from reactor_unit.config import Config
from reactor_unit.drivers.checks import FAIL, OK, SKIPPED, Finding
from reactor_unit.drivers.hardware_files import read_yaml
from reactor_unit.drivers.models import read_models
from reactor_unit.errors import ConfigError, StorageFault
from reactor_unit.home import DataFolder

LEAST_ROOM_MB = 100  # logs, job history and readings of weeks
LISTED = 10  # problems that are told one by one
_NOT_NUMBERS = {("od_reading.config", "ir_led_intensity")}  # takes a word too, though its default is a number
_WORDS = ("PWM", "leds", "od_config.photodiode_channel")  # sections whose values are names, even where they look so

BrokenFiles = Callable[[], Iterable[str]]


def check_folder(folder: DataFolder, broken_files: BrokenFiles = tuple) -> list[Finding]:
    """Run every check of the data folder. One that does not exist yet is no fault.

    `broken_files` tells of each calibration and estimator that cannot be used.
    """
    if not folder.path.exists():
        what = f"There is no data folder {folder.path} yet."
        return [
            Finding("data_folder", SKIPPED, what, "`reactor-unit serve` makes it; else check --dot for typing errors.")
        ]
    return [
        check_data_folder(folder),
        check_configuration(folder.path),
        check_files(folder, broken_files),
        check_room(folder.path),
    ]


def check_data_folder(folder: DataFolder) -> Finding:
    """See whether files can be made where the unit makes them."""
    for path in (folder.path, folder.storage, folder.log_file.parent):
        try:
            if path.exists() or path == folder.path:
                with tempfile.TemporaryFile(dir=path) as file:
                    file.write(b"\0")
        except OSError as ex:
            remedy = f"Give the folder to this user (`sudo chown -R {os.geteuid()} {folder.path}`); is the disk full?"
            return Finding("data_folder", FAIL, f"No file can be made in {path}: {ex.strerror}.", remedy)
    return Finding("data_folder", OK, f"The data folder {folder.path} can be written.")


def check_configuration(dot: Path) -> Finding:
    """Read the configuration and every value whose default is a number; all that is wrong is told at once."""
    problems = _listed(list(configuration_problems(dot)))
    if problems:
        return Finding("configuration", FAIL, problems, "Correct the file; jobs that need a wrong value cannot start.")
    files = [name for name in (configuration.CONFIG_FILE, configuration.UNIT_CONFIG_FILE) if (dot / name).exists()]
    said = " and ".join(files) or "no file, so built-in defaults"
    return Finding("configuration", OK, f"The configuration is valid ({said}).")


def configuration_problems(dot: Path) -> Iterator[str]:
    """Yield what is wrong in the configuration of a data folder, each with file, section and option."""
    try:
        config = configuration.load_config(dot)
    except ConfigError as ex:
        yield ex.message
        return
    defaults = configuration.default_config()
    for section in defaults.section_names():
        if section not in _WORDS:
            for option, default in defaults.section(section).items():
                yield from _wrong_number(config, section, option, default)
    yield from _mistyped(config, defaults)
    try:
        named = configuration.model(os.environ, config, simulated=True)
        models, _ = read_models(dot / "models")
        if named not in models and named is not None:
            yield f"[bioreactor] model_name, model_version: there is no model {named[0]!r}, version {named[1]!r}."
    except ConfigError as ex:
        yield ex.message


def _mistyped(config: Config, defaults: Config) -> Iterator[str]:
    """Yield each option that nobody reads, and that is spelled nearly as one that no file sets.

    Of a section that nobody reads that is so if all its options are those of the other one. What resembles nothing is
    left alone: files of the reference system have much that is for others.
    """
    known = defaults.section_names()
    for section in config.section_names():
        try:
            options = config.section(section).keys()
        except ConfigError:  # others' section, with what only they can read
            continue
        if section in known:
            for option in options - defaults.section(section).keys():
                if likely := configuration.meant(option, _unset(section, config, defaults)):
                    source = config.source(section, option)
                    yield f"[{section}] {option} in {source} is not known. Did you mean {likely!r}?"
        elif options and (likely := configuration.meant(section, known)):
            source = config.source(section, next(iter(options)))
            if options <= set(_unset(likely, config, defaults)):
                yield f"[{section}] in {source} is not known. Did you mean [{likely}]?"


def _unset(section: str, config: Config, defaults: Config) -> list[str]:
    """Return the options of a section that only the defaults set."""
    return [
        name for name in defaults.section(section) if config.source(section, name) == defaults.source(section, name)
    ]


def _wrong_number(config: Config, section: str, option: str, default: str) -> Iterator[str]:
    try:
        float(default)
    except ValueError:
        return
    try:
        config.get_float(section, option)
    except ConfigError as ex:
        if (section, option) in _NOT_NUMBERS:
            return
        try:
            if default not in ("0", "1"):
                raise ex
            config.get_boolean(section, option)
        except ConfigError as wrong:
            yield wrong.message


def check_files(folder: DataFolder, broken_files: BrokenFiles = tuple) -> Finding:
    """Read the files that a unit would skip, or refuse, if they were damaged."""
    problems = list(_damaged_files(folder))
    try:
        problems += broken_files()
    except StorageFault as ex:
        problems.append(ex.message)
    if problems:
        remedy = "Put a good copy back, or delete the file; the unit does without it."
        return Finding("files", FAIL, _listed(problems), remedy)
    return Finding(
        "files", OK, "All models, hardware descriptions, calibrations, estimators and databases can be read."
    )


def check_plugins(problems: Collection[str]) -> Finding:
    """Tell which plugins cannot be used, and why; they have been looked at elsewhere."""
    if problems:
        remedy = "Correct the plugin, or remove it; the unit does without it."
        return Finding("plugins", FAIL, _listed(list(problems)), remedy)
    return Finding("plugins", OK, "No plugin is broken.")


def _damaged_files(folder: DataFolder) -> Iterator[str]:
    _, skipped = read_models(folder.path / "models")
    for path, reason in skipped:
        yield f"{path}: {reason}."
    for path in sorted((folder.path / "hardware").rglob("*.y*ml")):
        yield from _damage(path)
    for path in sorted(folder.storage.glob("*.sqlite")):
        yield from _damaged_database(path)


def _damage(path: Path) -> Iterator[str]:
    try:
        if not isinstance(read_yaml(path), dict | None):
            yield f"{path}: it is not a mapping of names to values."
    except (ValueError, OSError) as ex:
        yield f"{path}: {ex}."


def _damaged_database(path: Path) -> Iterator[str]:
    """Yield what the first page says; the database is not opened, since a reader that hangs holds up its writer."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(18)
    except OSError as ex:
        yield f"{path}: {ex.strerror}."
        return
    page_size = int.from_bytes(head[16:18]) or 1
    page_size = 65536 if page_size == 1 else page_size
    if size and (not head.startswith(b"SQLite format 3\0") or size % page_size):
        yield f"{path}: it is no whole SQLite database."


def check_room(dot: Path) -> Finding:
    """Compare the free room of the data folder's disk with what a unit needs."""
    disk = os.statvfs(dot)
    free_mb, total_mb = disk.f_bavail * disk.f_frsize // 10**6, disk.f_blocks * disk.f_frsize // 10**6
    said = f"{free_mb} of {total_mb} MB are free on the disk of {dot}"
    if free_mb < LEAST_ROOM_MB:
        return Finding(
            "disk", FAIL, f"{said}; {LEAST_ROOM_MB} MB have to be.", "Delete or move files that are not needed."
        )
    return Finding("disk", OK, f"{said}.")


def _listed(problems: list[str]) -> str:
    more = len(problems) - LISTED
    return " ".join([*problems[:LISTED], *([f"And {more} more."] if more > 0 else [])])
