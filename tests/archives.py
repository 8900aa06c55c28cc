"""Archives of data folders, whole and broken, and uploads of them, as tests need them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from reactor_unit.export import METADATA_FILE
from reactor_unit.home import BACKUPS_FOLDER, IMPORT_FOLDER, LOCK_FILE, TEMPORARY_SUFFIX
from reactor_unit.uploads import Upload

BOUNDARY = b"xyz"
CONTENT_TYPE = "multipart/form-data; boundary=xyz"
FILES = {"config.ini": b"[stirring.config]\ninitial_target_rpm=321\n", "plugins/mine.txt": b"mine\n" * 500}
UNIT_ITSELF = {"logs", LOCK_FILE, IMPORT_FOLDER, BACKUPS_FOLDER}


def metadata(name: str, **more: Any) -> bytes:
    """Return what an archive says about itself, as the reference system writes it."""
    facts = {"metadata_version": 1, "name": name, "leader_hostname": "lead1", "is_leader": False}
    return json.dumps({**facts, "app_version": "26.2.26", **more}).encode()


def archive(
    name: str | None, files: dict[str, bytes] | None = None, *entries: tuple[zipfile.ZipInfo, bytes], **packing: Any
) -> bytes:
    """Return an archive of the unit `name` (None: it does not say) with `files`, and further `entries` behind them."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **{"compression": zipfile.ZIP_DEFLATED, **packing}) as packed:
        for path, content in (FILES if files is None else files).items():
            packed.writestr(path, content)
        if name is not None:
            packed.writestr(METADATA_FILE, metadata(name))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile warns of names that come twice
            for info, content in entries:
                packed.writestr(info, content)
    return out.getvalue()


def entry(name: str, mode: int = 0, content: bytes = b"x") -> tuple[zipfile.ZipInfo, bytes]:
    """Return an entry with any name and mode."""
    info = zipfile.ZipInfo("placeholder")
    info.filename = info.orig_filename = name
    info.external_attr = mode << 16
    return info, content


def form(content: bytes, field: str = "archive", file_name: str = "a.zip") -> bytes:
    """Return a form with one file."""
    head = f'Content-Disposition: form-data; name="{field}"; filename="{file_name}"\r\nContent-Type: application/zip'
    return b"--xyz\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n--xyz--\r\n"


def uploaded(
    folder: Path, content: bytes, body: bytes | None = None, release: Callable[[], None] = lambda: None
) -> Upload:
    """Return an upload of a form with the file `content`, or of `body`, that has come."""
    file = open(folder / f"upload-{os.urandom(4).hex()}", "xb+")  # noqa: SIM115
    upload = Upload(file, BOUNDARY, lambda: None, release)
    upload.append(form(content) if body is None else body)
    return upload


def digest(folder: Path, but: Collection[str] = ()) -> str:
    """Return a digest of the names and contents of all that an import exchanges in a data folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if parts[0] in UNIT_ITSELF or parts[0] in but or path.name.endswith(TEMPORARY_SUFFIX):
            continue
        found.update(repr(parts).encode())
        if path.is_file() and not path.is_symlink():
            found.update(path.read_bytes())
    return found.hexdigest()
