"""Names and addresses on the network: which are the unit's own, which is the leader's, which is loopback."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable

log = logging.getLogger(__name__)

_MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:a.b.c.d is an IPv4 address as an IPv6 socket shows it
RESOLVE_AGAIN_AFTER_S = 60.0
WAIT_FOR_NAME_S = 1.0

Resolve = Callable[[str], list[str]]


def packed(address: str) -> bytes | None:
    """Return a literal IP address as its 4 or 16 bytes, without a zone; None for anything else.

    >>> packed("::ffff:127.0.0.1") == packed("127.0.0.1") == bytes([127, 0, 0, 1])
    True
    >>> packed("localhost") is None
    True
    """
    address = address.partition("%")[0]
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            value = socket.inet_pton(family, address)
        except (OSError, ValueError):
            continue
        return value.removeprefix(_MAPPED) if len(value) == 16 else value
    return None


def is_loopback(address: str) -> bool:
    """Return whether a literal IP address is one of this machine's loopback: 127.0.0.0/8 or ::1."""
    value = packed(address)
    if value is None:
        return False
    return value[0] == 127 if len(value) == 4 else value == bytes(15) + b"\x01"


def is_own_address(address: str) -> bool:
    """Return whether a literal IP address is one of this machine's now: one that a socket can be bound to."""
    value = packed(address)
    if value is None or not any(value) or _is_multicast(value):
        return False
    family = socket.AF_INET if len(value) == 4 else socket.AF_INET6
    plain = socket.inet_ntop(family, value)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((plain, 0))
    except OSError:
        return False
    return True


def _is_multicast(value: bytes) -> bool:
    return value[0] == 0xFF if len(value) == 16 else value[0] >= 224


def split_host(text: str) -> tuple[str, str]:
    """Return name and port of what a Host header holds, the port empty when there is none.

    Lower case, without brackets and without the dot that may end a name. Both are empty for what cannot be a host.

    >>> split_host("Pio01.Local.:4999"), split_host("[::1]:80"), split_host("::1")
    (('pio01.local', '4999'), ('::1', '80'), ('', ''))
    """
    text = text.strip().lower()
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        is_good = bracket and packed(name) is not None and (not port or port.startswith(":"))
        port = port[1:]
    else:
        name, _, port = text.partition(":")
        name = name.removesuffix(".")
        is_good = bool(name) and all(char.isalnum() or char in "-._" for char in name)
    if not is_good or (port and not (port.isascii() and port.isdigit())):
        return "", ""
    return name, port


def own_names(unit_name: str, host_name: str) -> frozenset[str]:
    """Return the names under which a unit is asked: its own, the machine's, both with `.local`, and localhost."""
    names = {"localhost"}
    for name in (unit_name, host_name, host_name.partition(".")[0]):
        name = name.lower().removesuffix(".")
        if name:
            names |= {name, name if name.endswith(".local") else f"{name}.local"}
    return frozenset(names)


def _resolve(name: str) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]


class NamedAddress:
    """Addresses of a host that is given as an address or as a name.

    A name is looked up in a thread, again when the last answer is older than RESOLVE_AGAIN_AFTER_S; whoever asks gets
    that answer at once, and waits a moment only when there has never been one. Safe to use from many threads.
    """

    def __init__(self, host: str, resolve: Resolve = _resolve, clock: Callable[[], float] = time.monotonic) -> None:
        self.host = host.strip().strip("[]")
        self._resolve = resolve
        self._clock = clock
        literal = packed(self.host)
        self._is_literal = literal is not None
        self._addresses = frozenset() if literal is None else frozenset({literal})
        self._looked_up_at: float | None = None
        self._lock = threading.Lock()
        self._answered = threading.Event()

    def has(self, address: str) -> bool:
        """Return whether `address`, a literal one, is this host's."""
        if not self.host:
            return False
        if not self._is_literal:
            self._look_up_if_due()
            self._answered.wait(WAIT_FOR_NAME_S)
        value = packed(address)
        return value is not None and value in self._addresses

    def _look_up_if_due(self) -> None:
        with self._lock:
            now = self._clock()
            if self._looked_up_at is not None and now - self._looked_up_at < RESOLVE_AGAIN_AFTER_S:
                return
            self._looked_up_at = now
        threading.Thread(target=self._look_up, name="resolver", daemon=True).start()

    def _look_up(self) -> None:
        try:
            self._addresses = frozenset(_packed_all(self._resolve(self.host)))
        except OSError as ex:  # an answer that was good before stays
            log.warning("The leader's name %s cannot be resolved: %s", self.host, ex)
        self._answered.set()


def _packed_all(addresses: Iterable[str]) -> Iterable[bytes]:
    return (value for value in map(packed, addresses) if value is not None)
