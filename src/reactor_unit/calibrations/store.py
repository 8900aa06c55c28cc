"""Calibrations and estimators as files: `storage/calibrations/<device>/<name>.yaml`, and which one is active."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from reactor_unit import strict_yaml
from reactor_unit.calibrations import schemas
from reactor_unit.calibrations.file_cache import FileCache, Reading
from reactor_unit.calibrations.names import InvalidName, check_existing_name, check_new_name
from reactor_unit.errors import Conflict, Json, NotFound, StorageFault, UnitError
from reactor_unit.home import open_regular, write_atomically
from reactor_unit.persistent_cache import PersistentCache
from reactor_unit.strict_json import dumps, loads

SUFFIX = ".yaml"
_FOLDER_MODE = 0o750

log = logging.getLogger(__name__)


class NoSuchCalibration(NotFound):
    """There is no calibration or estimator of this name for this device."""

    default_remediation = "List those there are with `reactor-unit calibrations list`."


class CalibrationExists(Conflict):
    """Another calibration has this name."""

    default_remediation = 'Use another name, or say "overwrite": true.'


class UnusableFile(UnitError):
    """The file of a calibration or estimator is not what it should be."""

    default_remediation = "Correct the file, or delete it."


@dataclass(frozen=True)
class Kind:
    """What differs between calibrations and estimators."""

    word: str  # calibration; also the start of the field names
    folder: str
    active_cache: str
    types: Mapping[str, schemas.RecordSchema]

    def load(self, data: bytes) -> Any:
        """Return what the text of a file says. Raises InvalidCalibration."""
        try:
            content = strict_yaml.loads(data)
        except strict_yaml.BadYaml as ex:
            raise schemas.InvalidCalibration(f"The {self.word} is not YAML that is accepted: {ex}.") from ex
        return schemas.load(content, f"{self.word}_type", self.types)

    def name_of(self, record: Any) -> str:
        """Return the record's name."""
        name: str = getattr(record, f"{self.word}_name")
        return name


CALIBRATIONS = Kind("calibration", "calibrations", "active_calibrations", schemas.CALIBRATION_TYPES)
ESTIMATORS = Kind("estimator", "estimators", "active_estimators", schemas.ESTIMATOR_TYPES)


class Found(NamedTuple):
    """One file: its name without suffix, and what it says."""

    device: str
    name: str
    folder: str
    reading: Reading

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.folder, self.name + SUFFIX)

    @property
    def json(self) -> bytes:
        """Its content as a JSON object; empty for a file that cannot be used."""
        return self.reading.json

    @property
    def problem(self) -> str:
        """Why it cannot be used; empty for one that can."""
        return self.reading.problem


class RecordStore:
    """The files of one kind, for the web process, which alone writes them. Safe to call from several threads.

    Files are read again when their inode, time or size changed, so a file that a person changes by hand is seen.
    A file that cannot be used hides no other: it is left out of lists, and the log says once what is wrong with it.
    """

    def __init__(self, kind: Kind, storage: Path, cache: PersistentCache) -> None:
        self.kind = kind
        self.folder = storage / kind.folder
        self._active_names = cache
        self._writing = threading.Lock()
        self._readings = FileCache(self._read)
        self._logged: dict[Path, str] = {}

    # Reading

    def devices(self) -> list[str]:
        """Return the devices that have a folder."""
        try:
            with os.scandir(self.folder) as entries:
                return sorted(entry.name for entry in entries if _is_device(entry))
        except FileNotFoundError:
            return []
        except OSError as ex:
            raise StorageFault(f"{self.folder} cannot be read: {ex.strerror}.") from ex

    def has_device(self, device: str) -> bool:
        """Return whether the device has a folder. Raises InvalidName."""
        return (self.folder / check_existing_name(device, "device")).is_dir()

    def usable(self, device: str) -> list[Found]:
        """Return the device's usable files in the order of their names. Raises InvalidName, StorageFault."""
        return [found for found in self._files(device) if not found.reading.problem]

    def broken(self) -> list[Found]:
        """Return every file that cannot be used, with the reason in `problem`."""
        return [found for device in self.devices() for found in self._files(device) if found.problem]

    def find(self, device: str, name: str) -> Found:
        """Return one file. Raises InvalidName, NoSuchCalibration, UnusableFile."""
        path = self._path(device, name)
        try:
            reading = self._readings.reading(str(path.parent), path.name, os.stat(path))
        except (FileNotFoundError, NotADirectoryError) as ex:
            raise self._missing(device, name) from ex
        except OSError as ex:
            raise StorageFault(f"{path} cannot be read: {ex.strerror}.") from ex
        if reading.problem:
            raise UnusableFile(f"The file {path} cannot be used.", cause=reading.problem)
        return Found(device, name, str(path.parent), reading)

    def active(self) -> dict[str, str]:
        """Return the active name of each device that has one. Raises StorageFault."""
        names = self._active_names.items(self.kind.active_cache)
        return {device: name for device, name in names.items() if isinstance(name, str)}

    def active_files(self) -> list[Found]:
        """Return the active file of each device that has one; a name without a usable file is left out and logged."""
        found = []
        for device, name in sorted(self.active().items()):
            try:
                found.append(self.find(device, name))
            except (NoSuchCalibration, UnusableFile, InvalidName) as ex:
                self._log_once(self.folder / device / name, f"The active {self.kind.word} of {device}: {ex.message}")
        return found

    def in_use(self, devices: Collection[str]) -> dict[str, Json]:
        """Return what the active file of each of these devices says; a device without an active one is left out.

        Raises UnusableFile where an active one cannot be used, and StorageFault.
        """
        names = self.active()
        return {device: self._in_use(device, names[device]) for device in devices if device in names}

    def _in_use(self, device: str, name: str) -> Json:
        try:
            content: Json = loads(self.find(device, name).json)
        except (NoSuchCalibration, UnusableFile, InvalidName) as ex:
            raise UnusableFile(
                f"The active {self.kind.word} {name!r} of {device} cannot be used.",
                cause=f"{self.folder / device / (name + SUFFIX)}: {ex.cause}",
                remediation=f"Correct the file, make another {self.kind.word} of {device} active, or none.",
            ) from ex
        return content

    def files(self) -> Iterator[tuple[str, Path]]:
        """Return `<device>/<name>.yaml` and path of every file, usable or not."""
        for device in self.devices():
            for entry in self._entries(device):
                if entry.name.isprintable():  # which a name that is not UTF-8 is not
                    yield f"{device}/{entry.name}", Path(entry.path)

    # Writing

    def create(self, device: str, text: bytes, *, overwrite: bool = False, set_as_active: bool = False) -> Path:
        """Write a new file as it was sent; return its path.

        The same text once more is no conflict. Raises InvalidName, InvalidCalibration, CalibrationExists, StorageFault.
        """
        check_new_name(device, "device")
        name = check_new_name(self.kind.name_of(self.kind.load(text)), f"{self.kind.word}_name")
        path = self.folder / device / (name + SUFFIX)
        with self._writing:
            if not overwrite and path.exists() and _content(path) != text:
                raise CalibrationExists(f"The device {device} has a {self.kind.word} named {name!r} already.")
            self._make_folders(path.parent)
            write_atomically(path, text)
            if set_as_active:
                self._active_names.put(self.kind.active_cache, device, name)
        return path

    def save(self, device: str, record: schemas.Record) -> Path:
        """Write a record, over one of the same name if there is one, and make it the active one; return its path."""
        text = strict_yaml.dumps(schemas.to_file(record))
        return self.create(device, text, overwrite=True, set_as_active=True)

    def delete(self, device: str, name: str) -> None:
        """Delete a file, broken or not; if it was the active one, none is. Raises InvalidName, NoSuchCalibration."""
        path = self._path(device, name)
        with self._writing:
            if not os.path.lexists(path):
                raise self._missing(device, name)
            if self.active().get(device) == name:  # first: a name that is active without a file would be an error
                self._active_names.delete(self.kind.active_cache, device)
            try:
                path.unlink()
            except OSError as ex:
                raise StorageFault(f"{path} cannot be deleted: {ex.strerror}.") from ex

    def activate(self, device: str, name: str) -> None:
        """Make a usable file the device's active one. Raises InvalidName, NoSuchCalibration, UnusableFile."""
        with self._writing:
            self.find(device, name)
            self._active_names.put(self.kind.active_cache, device, name)

    def deactivate(self, device: str) -> None:
        """Let the device have no active one. Raises InvalidName, StorageFault."""
        check_existing_name(device, "device")
        with self._writing:
            self._active_names.delete(self.kind.active_cache, device)

    # Files

    def _path(self, device: str, name: str) -> Path:
        check_existing_name(device, "device")
        return self.folder / device / (check_existing_name(name, f"{self.kind.word}_name") + SUFFIX)

    def _missing(self, device: str, name: str) -> NoSuchCalibration:
        return NoSuchCalibration(f"The device {device} has no {self.kind.word} named {name!r}.")

    def _entries(self, device: str) -> list[os.DirEntry[str]]:
        folder = self.folder / check_existing_name(device, "device")
        try:
            with os.scandir(folder) as entries:
                found = [entry for entry in entries if entry.name.endswith(SUFFIX) and not entry.name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            found = []
        except OSError as ex:
            raise StorageFault(f"{folder} cannot be read: {ex.strerror}.") from ex
        self._readings.forget_others(str(folder), [entry.name for entry in found])
        return sorted(found, key=lambda entry: entry.name)

    def _files(self, device: str) -> Iterator[Found]:
        folder = str(self.folder / device)
        for entry in self._entries(device):
            try:
                reading = self._readings.reading(folder, entry.name, entry.stat())
            except OSError:  # deleted a moment ago, or a link to nowhere or to itself
                continue
            yield Found(device, entry.name.removesuffix(SUFFIX), folder, reading)

    def _read(self, path: Path) -> Reading:
        try:
            return Reading(json=dumps(schemas.to_json(self.kind.load(_content(path)))))
        except UnitError as ex:
            self._log_once(path, f"The {self.kind.word} {path} cannot be used: {ex.message}")
            return Reading(problem=ex.message)

    def _log_once(self, path: Path, problem: str) -> None:
        if self._logged.get(path) != problem:
            self._logged[path] = problem
            log.error("%s", problem)

    def _make_folders(self, folder: Path) -> None:
        try:
            for path in (folder.parent.parent, folder.parent, folder):
                path.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        except OSError as ex:
            raise StorageFault(f"The folder {folder} cannot be made: {ex.strerror}.") from ex


def _is_device(entry: os.DirEntry[str]) -> bool:
    """Return whether this is a folder whose name a device may have; a link to itself is none."""
    try:
        return entry.is_dir() and bool(check_existing_name(entry.name, "device"))
    except (OSError, InvalidName):
        return False


def _content(path: Path) -> bytes:
    """Return a file's content, or just too much of it. Raises FileNotFoundError, StorageFault."""
    try:
        with open_regular(path) as file:
            return file.read(strict_yaml.MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as ex:
        raise StorageFault(f"{path} cannot be read: {ex.strerror}.") from ex
