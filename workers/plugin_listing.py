"""What plugins there are, found without running any: for forked children, since it takes memory and time."""

from __future__ import annotations

import ast
import importlib.metadata
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from reactor_unit.home import open_regular
from reactor_unit.plugins import (
    GROUP,
    MAX_FILE_BYTES,
    MAX_PLUGINS,
    MAX_TEXT,
    REFERENCE_GROUP,
    UNKNOWN,
    Plugin,
    plugin_files,
    stamp_of,
)

log = logging.getLogger(__name__)

ABOUT = {  # what a file says of itself, in the reference system's words
    "__plugin_name__": "name",
    "__plugin_version__": "version",
    "__plugin_summary__": "description",
    "__plugin_homepage__": "homepage",
    "__plugin_author__": "author",
}


def list_plugins(folder: Path) -> list[Plugin]:
    """Return the files of `plugins/`, then the installed distributions, each in the order of their names."""
    found = [*_files(folder), *sorted(_distributions(), key=lambda plugin: plugin.source)]
    if len(found) > MAX_PLUGINS:
        log.error("There are %d plugins; only the first %d are used.", len(found), MAX_PLUGINS)
    return found[:MAX_PLUGINS]


def _files(folder: Path) -> Iterator[Plugin]:
    for path in plugin_files(folder):
        try:
            stamp = stamp_of(path)
        except OSError:
            continue  # it has just been removed, or is a link to nothing
        yield Plugin(f"plugins/{path.name}", stamp, path=str(path), name=path.stem)


def _distributions() -> Iterator[Plugin]:
    seen = set()
    for distribution in importlib.metadata.distributions():
        try:
            plugin = _distribution(distribution)
        except Exception as ex:
            # Whatever may be in somebody's metadata, the others are plugins all the same.
            log.warning("The metadata of an installed distribution cannot be read: %r", ex)
            continue
        if plugin is not None and plugin.source not in seen:  # the first one on the path is the one that is imported
            seen.add(plugin.source)
            yield plugin


def _distribution(distribution: importlib.metadata.Distribution) -> Plugin | None:
    points = distribution.entry_points
    targets = tuple(sorted(point.value for point in points if point.group == GROUP))
    if not targets and not any(point.group == REFERENCE_GROUP for point in points):
        return None
    about = distribution.metadata

    def said(*keys: str) -> str | None:
        text = next((about[key] for key in keys if about[key]), UNKNOWN)
        return None if text == "UNKNOWN" else text[:MAX_TEXT]

    name = re.sub(r"[-_.]+", "-", about["Name"]).lower()
    return Plugin(
        source=name,
        stamp=f"{distribution.version} {_stamp(distribution)}",
        targets=targets,
        name=about["Name"],
        version=distribution.version,
        description=said("Summary"),
        homepage=said("Home-page"),
        author=said("Author", "Author-email"),
    )


def _stamp(distribution: importlib.metadata.Distribution) -> str:
    """Return what changes when a distribution is installed again."""
    path = getattr(distribution, "_path", None)  # its folder of metadata, where it comes from files
    return stamp_of(path) if isinstance(path, Path) else ""


def with_its_own_words(plugin: Plugin) -> Plugin:
    """Return a plugin that is a file with what it says of itself at its top level; it is read, not run.

    Raises OSError, SyntaxError or ValueError for a file that is no Python.
    """
    with open_regular(Path(plugin.path)) as file:
        source = file.read(MAX_FILE_BYTES + 1)
    if len(source) > MAX_FILE_BYTES:
        raise ValueError(f"It is larger than {MAX_FILE_BYTES} bytes.")
    said = dict(_constants(ast.parse(source).body))
    fields: dict[str, Any] = {field: said[word] for word, field in ABOUT.items() if word in said}
    return replace(plugin, **fields)


def _constants(statements: Iterable[ast.stmt]) -> Iterator[tuple[str, str]]:
    for statement in statements:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        value = getattr(statement, "value", None)
        if isinstance(value, ast.Constant) and isinstance(value.value, str | int | float):
            for target in targets:
                if isinstance(target, ast.Name):
                    yield target.id, str(value.value)[:MAX_TEXT]
