"""What the serving processes import: each module is in the memory of every one of them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Each costs 0.1 to 3 MB, and some library names it. docs/architecture.md says how they are kept out.
KEPT_OUT = (
    "asyncio",
    "click",
    "email.utils",
    "encodings.idna",
    "http.client",
    "http.cookiejar",
    "httpx",
    "multiprocessing",
    "numpy",
    "pickle",
    "pickletools",
    "rich",
    "scipy",
    "ssl",
    "statistics",
    "unittest",
    "xml.etree.ElementTree",
)
LIBRARIES = {"diskcache", "falcon", "marshmallow", "waitress", "yaml", "_yaml"}
COMPILERS_OWN = ("cython_runtime", "_cython_")  # what a library compiled with Cython brings along

PROGRAM = """
import json, os, sys, sysconfig
before = set(sys.modules)
from reactor_unit.serve_command import main
main(["safe", "--hardware", "simulated", "--dot", sys.argv[1]])
from reactor_unit import serve
from reactor_unit.web_server import make_server
with serve._listen("127.0.0.1", 0) as listener:
    make_server(None, listener)
    added = {name: getattr(sys.modules[name], "__file__", None) for name in set(sys.modules) - before}
    libraries = tuple(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    foreign = {name.partition(".")[0] for name, file in added.items() if file and file.startswith(libraries)}
    sys.stderr.write(json.dumps([sorted(added), sorted(foreign)]))
    sys.stderr.flush()
    os._exit(0)  # the server's threads wait for requests
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str]]:
    """Return the modules of a serving program, and the libraries among their packages."""
    folder = tmp_path_factory.mktemp("dot")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)], capture_output=True, text=True, check=True, timeout=30
    )
    modules, libraries = json.loads(done.stderr)
    return set(modules), set(libraries)


def test_serving_processes_import_what_serves(imported: tuple[set[str], set[str]]) -> None:
    modules, _ = imported
    assert {"falcon", "diskcache.core", "reactor_unit.serve", "reactor_unit.workers.supervisor"} <= modules


@pytest.mark.parametrize("name", KEPT_OUT)
def test_serving_processes_do_without(imported: tuple[set[str], set[str]], name: str) -> None:
    modules, _ = imported
    assert name not in modules


def test_serving_processes_import_no_further_library(imported: tuple[set[str], set[str]]) -> None:
    _, libraries = imported
    unexpected = {name for name in libraries - LIBRARIES - {"reactor_unit"} if not name.startswith(COMPILERS_OWN)}
    assert unexpected == set()
