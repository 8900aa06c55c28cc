"""The token with which an administrator may have a unit run other people's code: a file that only its user can read."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from reactor_unit.errors import Conflict, NotFound, StorageFault, UnitError
from reactor_unit.home import write_atomically

TOKEN_BYTES = 32
MAX_TOKEN_BYTES = 1024
MODE = 0o600


class TokenFile:
    """The token at `path`, readable by its owner alone; a file that others could read or change is refused."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> TokenFile:
        """Return the one of this user.

        REACTOR_UNIT_TOKEN_FILE, else `reactor-unit/token` in XDG_CONFIG_HOME, else in `~/.config`.
        """
        named = environ.get("REACTOR_UNIT_TOKEN_FILE")
        if named:
            return cls(Path(named).expanduser().absolute())
        base = environ.get("XDG_CONFIG_HOME") or "~/.config"
        return cls(Path(base).expanduser().absolute() / "reactor-unit" / "token")

    def check_outside(self, data_folder: Path) -> None:
        """Raise Conflict where the file would lie in the data folder, whose listing and export show what is in it."""
        if data_folder.resolve() in self.path.resolve().parents:
            raise Conflict(
                f"The token file {self.path} would lie in the data folder {data_folder}.",
                cause="Listings and exports show what is in the data folder.",
                remediation="Name another file in REACTOR_UNIT_TOKEN_FILE, for the unit and for this command.",
            )

    def create(self, *, replace: bool = False) -> str:
        """Write a new token and return it. Raises Conflict when there is one, unless it is to be replaced."""
        import secrets  # the command line alone makes tokens

        if self.path.exists() and not replace:
            raise Conflict(
                f"There is a token in {self.path} already.",
                remediation="Use that one, or replace it with --replace; then the old one is worth nothing.",
            )
        token = secrets.token_hex(TOKEN_BYTES)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)  # what is replaced would leave its permissions
            write_atomically(self.path, token.encode() + b"\n", mode=MODE)
        except OSError as ex:
            raise StorageFault(f"{self.path} cannot be written: {ex.strerror or ex}.") from ex
        return token

    def revoke(self) -> None:
        """Delete the token; what was it is worth nothing from now on. Raises NotFound."""
        try:
            self.path.unlink()
        except FileNotFoundError as ex:
            raise NotFound(f"There is no token in {self.path}.") from ex
        except OSError as ex:
            raise StorageFault(f"{self.path} cannot be deleted: {ex.strerror or ex}.") from ex

    def read(self) -> str | None:
        """Return the token, None when there is none. Raises StorageFault for a file that is not to be trusted."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as ex:
            raise self._unusable(ex.strerror or str(ex)) from ex
        try:
            self._check(os.fstat(descriptor))
            text = os.read(descriptor, MAX_TOKEN_BYTES + 1).decode("ascii", "replace").strip()
        finally:
            os.close(descriptor)
        if not text or len(text) > MAX_TOKEN_BYTES:
            raise self._unusable("it does not hold a token")
        return text

    def _check(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise self._unusable("it is not a regular file")
        if found.st_uid not in (os.geteuid(), 0):
            raise self._unusable("it belongs to another user")
        if found.st_mode & 0o077:
            raise self._unusable(f"its mode {stat.S_IMODE(found.st_mode):04o} lets others at it")

    def _unusable(self, why: str) -> UnitError:
        return StorageFault(
            f"The token file {self.path} is not used: {why}.",
            remediation=f"Make a new one with `reactor-unit token create --replace`, mode {MODE:04o}.",
        )
