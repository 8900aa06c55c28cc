"""Everything a unit knows about calibrations, as its web process holds it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from reactor_unit import config as configuration
from reactor_unit.calibrations import walks  # noqa: F401 - registers the protocols
from reactor_unit.calibrations.protocols import descriptors
from reactor_unit.calibrations.session_store import SessionStore
from reactor_unit.calibrations.store import CALIBRATIONS, ESTIMATORS, RecordStore
from reactor_unit.config import Config
from reactor_unit.errors import Json
from reactor_unit.home import DataFolder
from reactor_unit.persistent_cache import PersistentCache


@dataclass(frozen=True)
class Library:
    """The files of both kinds, and what is known about the protocols that make them and their sessions.

    `cache` is the persistent cache, where the active names and the sessions are among other things; it is the one
    writer of its file. `load_config` reads the configuration as it is now.
    """

    cache: PersistentCache
    calibrations: RecordStore
    estimators: RecordStore
    protocols: list[Json]
    sessions: SessionStore
    load_config: Callable[[], Config]

    def in_use(self, calibrations: Collection[str], estimators: Collection[str]) -> dict[str, Json]:
        """Return what the active files of these devices say, by device, as JSON has it; one without is left out.

        What an estimator was made of is left out as well, it may be large. Raises UnusableFile, StorageFault.
        """
        fused = {device: {**one, "recorded_data": {}} for device, one in self.estimators.in_use(estimators).items()}
        return {**self.calibrations.in_use(calibrations), **fused}


def open_library(folder: DataFolder, config: Config) -> Library:
    """Return the library of a data folder; nothing is read or made before it is used."""
    cache = PersistentCache(folder.path / config.get("storage", "persistent_cache"))
    return Library(
        cache,
        RecordStore(CALIBRATIONS, folder.storage, cache),
        RecordStore(ESTIMATORS, folder.storage, cache),
        descriptors(config),
        SessionStore(cache),
        partial(configuration.load_config, folder.path),
    )


def broken_files(folder: DataFolder) -> list[str]:
    """Return each file of a calibration or estimator that cannot be used, with the reason. Raises StorageFault."""
    library = open_library(folder, configuration.default_config())
    found = [*library.calibrations.broken(), *library.estimators.broken()]
    return [f"{one.path}: {one.problem}" for one in found]
