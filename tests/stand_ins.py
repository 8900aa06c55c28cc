"""Executables that stand in for those of the machine, in a folder that is all the PATH there is."""

from __future__ import annotations

import os
from pathlib import Path


def stand_in(folder: Path, name: str, *, code: int = 0, says: str = "", hangs: bool = False) -> Path:
    """Make an executable that writes its words into `<name>.calls`, a line a call; return that file.

    It uses nothing but what its shell has built in. One that hangs reads from a pipe that nobody writes into.
    """
    folder.mkdir(exist_ok=True)
    calls = folder / f"{name}.calls"
    end = f"exec 9<>'{folder}/{name}.pipe'; read line <&9" if hangs else f"exit {code}"
    if hangs:
        os.mkfifo(folder / f"{name}.pipe")
    program = folder / name
    program.write_text(f"#!/bin/sh\necho \"$@\" >> '{calls}'\necho '{says}' >&2\n{end}\n")
    program.chmod(0o755)
    return calls
