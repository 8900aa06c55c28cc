"""What the pool does to install and uninstall plugins."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from reactor_unit.environment import BeingChanged, CannotChange, Environment
from reactor_unit.errors import Conflict, Forbidden, InstallFailed
from reactor_unit.install_requests import Wanted, canonical
from reactor_unit.plugins import GROUP, REFERENCE_GROUP
from reactor_unit.workers.installer import Found, Installer, changes, check_pip, protected, required_names
from reactor_unit.workers.tasks import TaskContext

STEPS = 4
LATER = "Try again when the other change is over."
OWNERSHIP = "Let the unit's user own the environment (see docs/install.md), or install by hand."


def install(folder: Path, context: TaskContext, plugin: Wanted) -> dict[str, Any]:
    """Install a plugin, if the unit is as sound with it as it was; else raise InstallFailed and change nothing.

    `folder` is the data folder.
    """
    check_pip()
    kept = protected()
    with _changed_environment(context, folder) as change:
        context.progress(1, STEPS, f"installs {plugin.name}")
        change.installer.install(plugin, kept)
        context.progress(2, STEPS, "checks the unit with it")
        found = change.installer.check()
        _check_plugin(plugin.name, found, kept)
        made = change.put_in_place(found)
    return {"name": plugin.name, "version": found.distributions[plugin.name], "installed": True, "changes": made}


def uninstall(folder: Path, context: TaskContext, name: str) -> dict[str, Any]:
    """Remove the plugin's file, or the distribution; what is not there is no error, what is no plugin is left.

    Raises Forbidden or InstallFailed.
    """
    file = folder / "plugins" / f"{name}.py"
    if file.is_file():
        file.unlink()
        return {"name": name, "uninstalled": True, "file": f"plugins/{file.name}"}
    name = canonical(name)
    if name not in _distributions():
        return {"name": name, "uninstalled": False, "message": f"{name} is not installed."}
    _check_removable(name)
    check_pip()
    with _changed_environment(context, folder) as change:
        context.progress(1, STEPS, f"removes {name}")
        change.installer.uninstall(name)
        context.progress(2, STEPS, "checks the unit without it")
        found = change.installer.check()
        if name in found.distributions:
            raise InstallFailed(f"pip left {name} where it was.", remediation="Uninstall it by hand.")
        made = change.put_in_place(found)
    return {"name": name, "uninstalled": True, "changes": made}


class _Change:
    """One change of the environment, under its lock."""

    def __init__(self, context: TaskContext, environment: Environment, folder: Path) -> None:
        self._context = context
        self._environment = environment
        self._before = _distributions()
        self.installer = Installer(environment, folder)

    def put_in_place(self, found: Found) -> dict[str, Any]:
        """Make it, and return what is different."""
        self._context.progress(3, STEPS, "puts it in place")
        self.installer.put_in_place()
        with suppress(OSError):  # the next change deletes it
            self._environment.drop_copy()
        return changes(self._before, found.distributions)


@contextmanager
def _changed_environment(context: TaskContext, folder: Path) -> Iterator[_Change]:
    try:
        environment = Environment.current()
        with environment.locked():
            context.progress(0, STEPS, "copies the environment")
            yield _Change(context, environment, folder)
    except BeingChanged as ex:
        raise Conflict(str(ex), remediation=LATER) from ex
    except CannotChange as ex:
        raise InstallFailed(str(ex), remediation=OWNERSHIP) from ex


def _distributions() -> dict[str, str]:
    found: dict[str, str] = {}
    for one in importlib.metadata.distributions():
        if one.metadata["Name"]:
            found.setdefault(canonical(one.metadata["Name"]), one.version)
    return found


def _check_plugin(name: str, found: Found, kept: dict[str, str]) -> None:
    """Raise InstallFailed unless it is a plugin that works, with what the unit needs as it was."""
    for needed, version in kept.items():
        if found.distributions.get(needed) != version:
            raise InstallFailed(
                f"{name} was not installed because the unit would not have what it needs.",
                cause=f"{needed} {version} became {found.distributions.get(needed)}.",
            )
    if name not in found.plugins:
        raise InstallFailed(
            f"{name} is no plugin.",
            cause=f"It has no entry point in the groups {GROUP} and {REFERENCE_GROUP}.",
            remediation="See docs/plugins.md.",
        )
    error = found.plugins[name]
    if error is not None:
        raise InstallFailed(f"The plugin {name} does not work, and was not installed.", cause=error)


def _check_removable(name: str) -> None:
    """Raise Forbidden unless it is a plugin that nothing else needs."""
    distribution = importlib.metadata.distribution(name)
    if name in protected() or not any(one.group in (GROUP, REFERENCE_GROUP) for one in distribution.entry_points):
        raise Forbidden(f"{name} is no plugin, and is not uninstalled.")
    for other in importlib.metadata.distributions():
        if name in map(canonical, required_names(other.requires or ())):
            raise Forbidden(f"{name} is needed by {other.metadata['Name']}.", remediation="Uninstall that first.")
