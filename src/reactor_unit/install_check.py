"""The program that looks at an environment from inside: whether the unit can be imported, what its plugins are like.

`python -m reactor_unit.install_check PLUGINS_FOLDER RESULT_FILE`
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
from pathlib import Path

from reactor_unit import __version__, lean
from reactor_unit.install_requests import canonical
from reactor_unit.workers.plugin_check import look_once

SERVING = ("reactor_unit.serve_command", "reactor_unit.serve", "reactor_unit.environment", "reactor_unit.update_watch")


def main(plugins: Path, result: Path) -> None:
    """Write down what is found; whatever is raised is for whoever started this."""
    lean.import_libraries()
    for name in (*SERVING, "reactor_unit.cli"):
        _import(name)
    distributions: dict[str, str] = {}
    for one in importlib.metadata.distributions():
        name = one.metadata["Name"]
        if name:  # the first on the path is the one that is imported
            distributions.setdefault(canonical(name), one.version)
    reports = {report.plugin.source: report.error for report in look_once(plugins)}
    result.write_text(json.dumps({"version": __version__, "distributions": distributions, "plugins": reports}))


def _import(name: str) -> None:
    """Import a module, or end with a line that says why that is not possible."""
    try:
        importlib.import_module(name)
    except BaseException as ex:  # SystemExit, too
        raise SystemExit(f"{name}: {type(ex).__name__}: {ex}") from ex


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
