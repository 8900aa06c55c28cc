"""Wheels and environments for tests, made by hand: no network, no build."""

from __future__ import annotations

import ast
import base64
import hashlib
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent.parent
WORKING_PLUGIN = """
from reactor_unit.job_spec import JobSpec
from reactor_unit.workers.job import Job


class Wink(Job):
    spec = JobSpec("wink", "Wink once.")
    interval_s = 0.1

    def start(self):
        return 0.0

    def tick(self):
        pass

    def close(self):
        pass
"""


def write_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str | bytes],
    *,
    requires: tuple[str, ...] = (),
    entry_points: str = "",
    file_version: str | None = None,
) -> Path:
    """Write a wheel with these files, and return it; `file_version` makes a name that belies the metadata."""
    stem = f"{name.replace('-', '_')}-{file_version or version}"
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {one}\n" for one in requires)
    content = {
        **files,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": entry_points,
    }
    path = folder / f"{stem}-py3-none-any.whl"
    record = []
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in content.items():
            data = text.encode() if isinstance(text, str) else text
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{member},sha256={digest},{len(data)}\n")
            archive.writestr(member, data)
        archive.writestr(f"{info}/RECORD", "".join(record) + f"{info}/RECORD,,\n")
    return path


def plugin_wheel(
    folder: Path,
    version: str = "1.0",
    text: str = WORKING_PLUGIN,
    *,
    name: str = "wink-demo",
    requires: tuple[str, ...] = (),
) -> Path:
    """Write the wheel of a plugin with one module."""
    module = name.replace("-", "_")
    points = f"[reactor_unit.plugins]\n{module} = {module}\n"
    return write_wheel(folder, name, version, {f"{module}.py": text}, entry_points=points, requires=requires)


def own_wheel(folder: Path, version: str, changes: Mapping[str, str] | None = None) -> Path:
    """Write a wheel of this project under another version; `changes` are added to the ends of its modules."""
    files: dict[str, str | bytes] = {}
    for package, source in _packages().items():
        for path in sorted((HERE / source).rglob("*")):
            member = f"{package.replace('.', '/')}/{path.relative_to(HERE / source)}"
            if path.is_file() and path.suffix != ".pyc":
                files[member] = path.read_bytes()
    files["reactor_unit/__init__.py"] = f'"""A unit for tests."""\n\n__version__ = "{version}"\n'
    for member, added in (changes or {}).items():
        files[member] = bytes(files[member]) + f"\n{added}\n".encode() if isinstance(files[member], bytes) else added
    requires = ("click", "diskcache", "falcon", "httpx", "marshmallow", "pyyaml", "waitress")
    points = "[console_scripts]\nreactor-unit = reactor_unit.__main__:main\n"
    return write_wheel(folder, "reactor-unit", version, files, requires=requires, entry_points=points)


def _packages() -> dict[str, str]:
    """Return the packages and their folders, as setup.py has them."""
    for node in ast.parse((HERE / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "FOLDERS":
            folders: dict[str, str] = ast.literal_eval(node.value)
            return {name: path for name, path in folders.items() if name.count(".") == 0 or path.count("/") == 0}
    raise AssertionError("setup.py has no FOLDERS")


def make_environment(folder: Path, wheel: Path) -> Path:
    """Make a virtual environment with this wheel of the project, and return its Python.

    What the project needs, and pip, are those of this process: their folder is put on the path.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = folder / "bin" / "python"
    command = [python, "-I", "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--ignore-installed", wheel]
    subprocess.run(command, check=True)
    return python
