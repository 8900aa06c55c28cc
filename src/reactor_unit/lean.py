"""Measures that keep the serving processes small; each with what it saves. Import before anything heavy.

The rules for the rest are in docs/architecture.md, Memory; tests/end_to_end/test_lean.py says what may not be imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

_M_ARENA_MAX = -8  # malloc.h
PICKLE_PROTOCOL = 5  # the highest there is; diskcache asks for it while it is imported


class _LoadedWhenCalled(types.ModuleType):
    """Stands for a module while another one is imported: any name is a function that calls the real one.

    But for `Runner` of asyncio: Falcon makes one while it is imported, and does without where there is none.
    `constants` are what the importing module reads besides.
    """

    def __init__(self, name: str, **constants: Any) -> None:
        super().__init__(name)
        vars(self).update(constants)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "Runner":
            raise AttributeError(name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return getattr(importlib.import_module(self.__name__), name)(*args, **kwargs)

        return call


@contextlib.contextmanager
def _stand_ins(*modules: types.ModuleType) -> Iterator[None]:
    """Have these in the place of the modules of their names while something is imported, then no more.

    A module that is loaded already is left as it is.
    """
    absent = [module for module in modules if module.__name__ not in sys.modules]
    for module in absent:
        package, _, name = module.__name__.rpartition(".")
        sys.modules[module.__name__] = module
        if package:
            setattr(importlib.import_module(package), name, module)  # where `import package.name` looks for it
    try:
        yield
    finally:
        for module in absent:
            package, _, name = module.__name__.rpartition(".")
            del sys.modules[module.__name__]
            if package:
                delattr(sys.modules[package], name)


@contextlib.contextmanager
def _without(name: str) -> Iterator[None]:
    """Have a module that cannot be imported, unless it is loaded already."""
    absent = name not in sys.modules
    if absent:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if absent:
            del sys.modules[name]


def import_libraries() -> None:
    """Import the libraries of the serving processes without what they name and these processes never use.

    - Falcon names asyncio for its other half (ASGI) and http.cookiejar for a type; they bring along ssl, http.client,
      concurrent.futures and more: 3.3 MB. It names ElementTree for errors in XML; ours are JSON.
    - hashlib and hmac prefer OpenSSL to their own functions: 0.3 MB of relocations and a large library in memory for
      a few digests of short texts. Without it, they use their own, as on a Python built without OpenSSL.
    - marshmallow names email.utils for the times of e-mails; diskcache names pickle and pickletools, and the task store
      keeps JSON: 1.1 MB, with ElementTree.

    What is called all the same is imported then.
    """
    with _without("_hashlib"):
        import hashlib  # noqa: F401
        import hmac  # noqa: F401
    names = ("asyncio", "http.cookiejar", "xml.etree.ElementTree", "email.utils", "pickletools")
    pickle = _LoadedWhenCalled("pickle", HIGHEST_PROTOCOL=PICKLE_PROTOCOL)
    with _stand_ins(*map(_LoadedWhenCalled, names), pickle):
        import diskcache  # noqa: F401
        import falcon  # noqa: F401
        import marshmallow  # noqa: F401


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
