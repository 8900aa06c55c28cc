"""Write the description anew: `python -m reactor_unit.openapi`, into the folder of this package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reactor_unit.openapi.document import document
from reactor_unit.openapi.page import page

FOLDER = Path(__file__).parent


def texts(described: dict[str, Any]) -> dict[str, str]:
    """Return the files of the description by name."""
    return {"openapi.json": json.dumps(described, indent=1, ensure_ascii=False) + "\n", "docs.html": page(described)}


def main() -> None:
    """Write the files."""
    for name, text in texts(document()).items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"{FOLDER / name}: {len(text.encode())} bytes")


if __name__ == "__main__":
    main()
