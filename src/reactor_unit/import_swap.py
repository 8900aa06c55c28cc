"""The data folder's content replaced by another one, so that every end of the unit leaves it entirely old or new.

What is to come in lies unpacked in the folder `.reactor-unit-import/new`; a journal beside it says how far the exchange
is. All steps are renames within the data folder, and each may be done again. The exchange happens where a unit starts
and nothing of it runs yet; a start that finds one half done completes it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reactor_unit import strict_json
from reactor_unit.clock import utc_timestamp
from reactor_unit.errors import StorageFault, UnitError, from_dict, from_exception
from reactor_unit.home import (
    BACKUPS_FOLDER,
    IMPORT_FOLDER,
    LOCK_FILE,
    DataFolder,
    open_regular,
    sync_folder,
    write_atomically,
)
from reactor_unit.served_files import DISALLOWING, is_secret
from reactor_unit.vial import VIAL_FILE

JOURNAL = "journal.json"
NEW = "new"
KEPT_BACKUPS = 2
OUTCOME_FOR_S = 3600.0  # an outcome is told again to whoever asks, so long after the exchange

# Of these the unit has its own, whatever an archive holds.
OWN_NAMES = frozenset({LOCK_FILE, IMPORT_FOLDER, BACKUPS_FOLDER, "logs", "lost+found"})
# These stay where the archive has none, as they do in the reference system.
KEPT_FOLDERS = frozenset({"ui", "hardware"})
# What is true of this reactor, whatever was true of the one in the archive: its latched faults, its vial.
OWN_FILES = (("storage", "faults.json"), ("storage", VIAL_FILE))

READY, IN, DONE, BACK, OVER = "ready", "in", "done", "back", "over"

Journal = dict[str, Any]
Check = Callable[[], object]

log = logging.getLogger(__name__)


def begin(folder: DataFolder, task: dict[str, Any], result: dict[str, Any]) -> None:
    """Have the next start of the unit bring in what lies in `new`; `task` is the record that `result` completes."""
    moment = utc_timestamp().replace(":", "-")
    _write(folder, {"phase": READY, "task": task, "result": {**result, "backup": f"{BACKUPS_FOLDER}/{moment}"}})


def abandon(folder: DataFolder) -> None:
    """Have nothing come in, and delete what was unpacked; not for an exchange that has begun."""
    (folder.imports / JOURNAL).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        sync_folder(folder.imports)  # first of all no start must look for it
    remove(folder.imports / NEW)


def finish(folder: DataFolder, check: Check) -> dict[str, Any] | None:
    """Complete an exchange that was begun, and return the final record of its task; None when there was none.

    `check` is called with the new content in its place; if it raises UnitError the old one is put back, and the task
    fails. For the holder of the folder's lock, before anything else is read. Raises StorageFault when the disk refuses
    even to put back what was there.
    """
    journal = _read(folder)
    if journal is None or journal["phase"] == OVER:
        clear(folder, keep_journal=True)
        return _recent(journal)
    log.warning("An import is being completed: phase %r.", journal["phase"])
    if journal["phase"] == READY:
        _prepare(folder, journal)
    if journal["phase"] == IN:
        _bring_in(folder, journal)
    if journal["phase"] == DONE:
        _confirm(folder, journal, check)
    if journal["phase"] == BACK:
        _put_back(folder, journal)
    clear(folder, keep_journal=True)
    _prune(folder)
    return _recent(journal)


def clear(folder: DataFolder, *, keep_journal: bool = False) -> None:
    """Delete what an import left that is not under way: uploads, what was unpacked. What cannot go is logged."""
    with contextlib.suppress(FileNotFoundError):
        for path in folder.imports.iterdir():
            if not (keep_journal and path.name == JOURNAL):
                remove(path)


def remove(path: Path) -> None:
    """Delete a file, or a folder with all in it; what cannot go stays, and the log names it."""
    import shutil  # with what it imports, where something is imported

    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as ex:
        log.warning("%s cannot be deleted: %s.", path, ex.strerror)


def stays(name: str, new_names: frozenset[str]) -> bool:
    """Return whether what has this name in the data folder stays there when `new_names` come in.

    The unit's own things do. So do, where nothing of that name comes in, what keeps the network out, and keys and
    tokens, of which an archive has none.
    """
    if name in OWN_NAMES:
        return True
    is_kept = name in KEPT_FOLDERS or name.casefold().startswith(DISALLOWING) or is_secret(name)
    return is_kept and name not in new_names


# The phases. Each ends with the journal's next one on the disk.


def _prepare(folder: DataFolder, journal: Journal) -> None:
    """Note what is to move, and give the new content what is true of this reactor."""
    new = folder.imports / NEW
    try:
        coming = frozenset(os.listdir(new)) - OWN_NAMES
        leaving = [name for name in os.listdir(folder.path) if not stays(name, coming)]
        for parts in OWN_FILES:
            _carry_over(folder.path.joinpath(*parts), new.joinpath(*parts))
        backup = folder.path / journal["result"]["backup"]
        backup.mkdir(mode=0o750, parents=True, exist_ok=True)
        sync_folder(backup.parent)
        sync_folder(folder.path)
        _enter(folder, journal, IN, coming=sorted(coming), leaving=sorted(leaving))
    except OSError as ex:  # nothing was moved
        _fail(folder, journal, StorageFault(f"The import could not begin: {ex.strerror or ex}."))


def _carry_over(own: Path, coming: Path) -> None:
    """Have a file in the new content be as it is now, or not be there."""
    try:
        with open_regular(own) as file:
            data = file.read()
    except FileNotFoundError:
        coming.unlink(missing_ok=True)
        return
    coming.parent.mkdir(mode=0o750, exist_ok=True)
    write_atomically(coming, data)


def _bring_in(folder: DataFolder, journal: Journal) -> None:
    backup, new = folder.path / journal["result"]["backup"], folder.imports / NEW
    try:
        _move(journal["leaving"], folder.path, backup)
        _move(journal["coming"], new, folder.path)
    except OSError as ex:
        error = StorageFault(f"The data folder could not be exchanged: {ex.strerror or ex}.", cause=str(ex))
        _enter(folder, journal, BACK, error=error.to_dict())
        return
    _enter(folder, journal, DONE)


def _confirm(folder: DataFolder, journal: Journal, check: Check) -> None:
    try:
        check()
    except Exception as ex:
        log.exception("The unit cannot start with what was imported; the old data folder is put back.")
        _enter(folder, journal, BACK, error=from_exception(ex).to_dict())
        return
    log.warning("The data folder was exchanged; the old one is in %s.", journal["result"]["backup"])
    _enter(folder, journal, OVER, ended_at=time.time())


def _put_back(folder: DataFolder, journal: Journal) -> None:
    backup, new = folder.path / journal["result"]["backup"], folder.imports / NEW
    try:
        new.mkdir(exist_ok=True)
        _move(journal["coming"], folder.path, new)
        _move(journal["leaving"], backup, folder.path)
    except OSError as ex:
        raise StorageFault(
            f"The old data folder cannot be put back: {ex.strerror or ex}.",
            cause=str(ex),
            remediation=f"Free the disk, then start again; what was there is in {backup}.",
        ) from ex
    _fail(folder, journal, from_dict(journal["error"]))


def _fail(folder: DataFolder, journal: Journal, error: UnitError) -> None:
    log.error("The import failed; the data folder is as it was. %s %s", error.message, error.cause)
    _enter(folder, journal, OVER, ended_at=time.time(), error=error.to_dict())


def _move(names: list[str], source: Path, target: Path) -> None:
    """Rename what is still in `source` and not yet in `target`; on return it is so on the disk."""
    for name in names:
        if os.path.lexists(target / name) or not os.path.lexists(source / name):
            continue
        os.rename(source / name, target / name)
    for folder in (target, source):
        sync_folder(folder)


# The journal


def _enter(folder: DataFolder, journal: Journal, phase: str, **facts: Any) -> None:
    """Go on to a phase.

    Where the disk refuses to note it, the next start goes through an earlier one again, which changes nothing. Nothing
    is moved, though, before what is to move is noted: for that phase OSError is raised. What is over needs no journal.
    """
    journal.update(facts, phase=phase)
    try:
        _write(folder, journal)
    except OSError as ex:
        if phase == IN:
            raise
        log.error("The phase %r of an import could not be noted: %s.", phase, ex.strerror or ex)
        if phase == OVER:
            (folder.imports / JOURNAL).unlink(missing_ok=True)


def _write(folder: DataFolder, journal: Journal) -> None:
    write_atomically(folder.imports / JOURNAL, strict_json.dumps(journal))


def _read(folder: DataFolder) -> Journal | None:
    """Return the journal; None when there is none. Raises StorageFault for one that cannot be read."""
    path = folder.imports / JOURNAL
    try:
        with open_regular(path) as file:
            journal: Journal = strict_json.loads(file.read())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as ex:
        raise StorageFault(
            f"{path} cannot be read: {ex}.",
            cause="An import may be half done, and this file says how far.",
            remediation=f"Look into {folder.imports} and {folder.backups}; if the data folder is whole, remove it.",
        ) from ex
    return journal


def _recent(journal: Journal | None) -> dict[str, Any] | None:
    """Return the final record of the task of an import that ended a short time ago."""
    if journal is None or abs(time.time() - journal["ended_at"]) > OUTCOME_FOR_S:
        return None
    if "error" in journal:
        return {**journal["task"], "status": "failed", "error": journal["error"]}
    return {**journal["task"], "status": "complete", "result": journal["result"]}


def _prune(folder: DataFolder) -> None:
    """Delete all backups but the newest, and those of which everything was put back."""
    try:
        for path in folder.backups.iterdir():
            with contextlib.suppress(OSError):  # there is something in it
                path.rmdir()
        backups = sorted(os.listdir(folder.backups))
    except OSError as ex:
        if ex.errno != errno.ENOENT:
            log.warning("%s cannot be read: %s.", folder.backups, ex.strerror)
        return
    for name in backups[:-KEPT_BACKUPS]:
        remove(folder.backups / name)
