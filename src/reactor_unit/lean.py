"""Measures that keep the serving processes small; each with what it saves. Import before anything heavy."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

_M_ARENA_MAX = -8  # malloc.h


class _LoadedWhenCalled(types.ModuleType):
    """Stands for a module while another one is imported: any name is a function that calls the real one.

    But for `Runner` of asyncio: Falcon makes one while it is imported, and does without where there is none.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "Runner":
            raise AttributeError(name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return getattr(importlib.import_module(self.__name__), name)(*args, **kwargs)

        return call


@contextlib.contextmanager
def _stand_ins(**modules: types.ModuleType | None) -> Iterator[None]:
    """Have these in the place of the modules named (dots as `__`) while something is imported, then no more.

    None makes the import fail. A module that is loaded already is left as it is.
    """
    absent = {name.replace("__", "."): module for name, module in modules.items()}
    absent = {name: module for name, module in absent.items() if name not in sys.modules}
    sys.modules.update(absent)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def import_libraries() -> None:
    """Import the libraries of the serving processes without what they name and these processes never use.

    - Falcon names asyncio for its other half (ASGI) and http.cookiejar for a type; they bring along ssl, http.client,
      concurrent.futures and more: 3.3 MB.
    - hashlib and hmac prefer OpenSSL to their own functions: 0.3 MB of relocations and a large library in memory for
      a few digests of short texts. Without it, they use their own, as on a Python built without OpenSSL.
    """
    with _stand_ins(_hashlib=None):
        import hashlib  # noqa: F401
        import hmac  # noqa: F401
    names = ("asyncio", "http.cookiejar")
    with _stand_ins(**{name.replace(".", "__"): _LoadedWhenCalled(name) for name in names}):
        import falcon  # noqa: F401


def use_one_arena() -> None:
    """Let all threads of this process and its children share one heap.

    glibc gives each thread a heap of its own, and each keeps holes of the size of its largest request: after 160 bodies
    of 300 kB the web process was 22.6 MB with them and 17.1 MB with one. Does nothing where the C library has no
    `mallopt`.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def give_back_free_memory() -> None:
    """Return what the imports left unused to the system."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
