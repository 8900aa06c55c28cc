"""What may be asked to be installed: names, versions and places, and nothing that pip could take for something else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reactor_unit.errors import Forbidden, InvalidRequest

OWN_NAME = "reactor-unit"
DISALLOW_FLAG = "DISALLOW_UI_INSTALLS"
ALLOW_LIST = "api_plugins_allowlist.json"
SUFFIXES = (".whl", ".tar.gz", ".zip")
MAX_SOURCE = 2000  # characters
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?"
_VERSION = r"[0-9][0-9A-Za-z.+!]{0,63}"
_REQUIREMENT = re.compile(rf"({_NAME})(?:\s*((?:==|>=|<=|~=|!=|<|>)\s*{_VERSION}))?", re.ASCII)
_VERSION_ALONE = re.compile(rf"v?({_VERSION})", re.ASCII)
_URL = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?/[!-~]+", re.ASCII)


@dataclass(frozen=True)
class Wanted:
    """A distribution to install: its name, and which versions (`==1.2`), or where it is: an https URL or a file."""

    name: str
    versions: str = ""
    source: str = ""

    @property
    def requirement(self) -> str:
        """The one word that pip is given; it begins with the name."""
        if not self.source:
            return f"{self.name}{self.versions}"
        where = self.source if self.source.startswith("https://") else Path(self.source).as_uri()
        return f"{self.name} @ {where}"

    def to_dict(self) -> dict[str, str]:
        """Return the arguments from which `Wanted(**arguments)` makes the same."""
        return {"name": self.name, "versions": self.versions, "source": self.source}


def canonical(name: str) -> str:
    """Return a distribution's name as indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted_plugin(text: str, source: str | None = None) -> Wanted:
    """Return the plugin that a person names. Raises InvalidRequest."""
    found = _REQUIREMENT.fullmatch(text.strip())
    if found is None:
        raise InvalidRequest(
            f"{text[:200]!r} is not the name of a plugin.",
            remediation="Give a name, or a name and a version such as my-plugin==1.2.",
        )
    name, versions = canonical(found[1]), re.sub(r"\s", "", found[2] or "")
    if name == OWN_NAME:
        raise InvalidRequest(f"{OWN_NAME} is no plugin.", remediation="Use POST /unit_api/system/update.")
    if source is not None and versions:
        raise InvalidRequest("A version is given, and a source that has its own.", remediation="Leave one of them out.")
    return Wanted(name, versions, "" if source is None else _source(source, is_url_allowed=True))


def wanted_to_remove(text: str) -> str:
    """Return the name of the plugin that is to go, as it was written. Raises InvalidRequest."""
    name = text.strip()
    if not re.fullmatch(_NAME, name, re.ASCII) and not re.fullmatch(r"[A-Za-z0-9_]{1,100}", name, re.ASCII):
        raise InvalidRequest(
            f"{text[:200]!r} is not the name of a plugin.", remediation="See GET .../plugins/installed."
        )
    if canonical(name) == OWN_NAME:
        raise InvalidRequest(f"{OWN_NAME} is no plugin.", remediation="A unit does not uninstall itself.")
    return name


def wanted_update(options: Mapping[str, Any]) -> Wanted:
    """Return the version of the unit that the options of an update name: `source`, `version` or the newest.

    Raises InvalidRequest.
    """
    unknown = sorted(set(options) - {"source", "version"})
    if unknown:
        raise InvalidRequest(
            f"The option {unknown[0][:100]!r} is not one of this unit's.",
            remediation="Give `source`, a wheel or archive on the unit, or `version`; without both it is the newest.",
        )
    source, version = options.get("source"), options.get("version")
    if source is not None and version is not None:
        raise InvalidRequest("Both a source and a version are given.", remediation="Leave one of them out.")
    if source is not None:
        return Wanted(OWN_NAME, source=_source(source, is_url_allowed=False))
    if version is None:
        return Wanted(OWN_NAME)
    found = _VERSION_ALONE.fullmatch(version) if isinstance(version, str) else None
    if found is None:
        raise InvalidRequest(f"The version {str(version)[:100]!r} is none.", remediation="Give one such as 1.2.3.")
    return Wanted(OWN_NAME, f"=={found[1]}")


def _source(source: Any, *, is_url_allowed: bool) -> str:
    kinds = ", ".join(SUFFIXES)
    if not isinstance(source, str) or not source or len(source) > MAX_SOURCE or not source.isprintable():
        raise InvalidRequest("The source is no text of a reasonable length.")
    if is_url_allowed and _URL.fullmatch(source):
        if not source.partition("#")[0].endswith(SUFFIXES):
            raise InvalidRequest(f"{source[:200]!r} does not end in one of {kinds}.")
        return source
    path = Path(source)
    if not path.is_absolute() or ".." in path.parts or not source.endswith(SUFFIXES):
        what = f"the absolute path of a file that ends in one of {kinds}" + (
            ", or an https URL of one" * is_url_allowed
        )
        raise InvalidRequest(f"The source {source[:200]!r} is not {what}.")
    if not path.is_file():
        raise InvalidRequest(f"There is no file {source[:200]} on this unit.")
    return str(path)


def check_allowed(plugins: Path | None, name: str | None = None) -> None:
    """Raise Forbidden where the data folder, that of `plugins`, forbids to install anything, or this plugin.

    The flag forbids everything; the list, where there is one, all plugins but those it names.
    """
    if plugins is None:
        return
    if (plugins.parent / DISALLOW_FLAG).exists():
        raise Forbidden(
            "This unit installs nothing on request.",
            cause=f"Its data folder has a file {DISALLOW_FLAG}.",
            remediation="Remove that file on the unit, or install by hand there.",
        )
    allowed = _allow_list(plugins / ALLOW_LIST)
    if name is not None and allowed is not None and name not in allowed:
        raise Forbidden(
            f"The plugin {name} is not allowed on this unit.",
            cause=f"plugins/{ALLOW_LIST} does not name it.",
            remediation="Add it to that file on the unit.",
        )


def _allow_list(path: Path) -> set[str] | None:
    """Return the names that a list allows; None where there is none. One that cannot be read allows nothing."""
    try:
        entries = json.loads(path.read_bytes())
        return {canonical(re.split(r"\[|[=<>~!]", entry["name"].strip())[0]) for entry in entries}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return set()
