"""What the service manager that started a unit hears of it: readiness, signs of life, the end (systemd's sd_notify).

A message is one datagram, `NAME=value` a line, to the Unix socket that NOTIFY_SOCKET names; a leading `@` stands for
the NUL byte of the abstract namespace. Nothing here waits: a socket that is full or gone is tried again.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping

from reactor_unit.workers.loop import Loop, Timer

log = logging.getLogger(__name__)

RETRY_AFTER_S = 1.0  # for what has to arrive: a service that never is ready is killed
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class ServiceManager:
    """Tells it; or nobody, where nobody asked: then every call does nothing.

    `watchdog_s` is after how many seconds without a sign of life the manager kills the unit, None where it does not.
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog_s = watchdog_s
        self._retry: Timer | None = None
        self._is_deaf = False

    @classmethod
    def adopt(cls, environ: MutableMapping[str, str]) -> ServiceManager:
        """Return the manager that the environment names, and take it out of there: children have nothing to tell it."""
        address, watchdog_us, pid = (environ.pop(name, "") for name in VARIABLES)
        is_watched = watchdog_us.isdecimal() and int(watchdog_us) > 0 and pid in ("", str(os.getpid()))
        return cls(address, int(watchdog_us) / 1e6 if is_watched else None)

    def environ(self) -> dict[str, str]:
        """Return what `adopt` took out of the environment, for a program that this process becomes."""
        if not self._address:
            return {}
        address = f"@{self._address[1:]}" if self._address.startswith("\0") else self._address
        watchdog = {} if self._watchdog_s is None else {"WATCHDOG_USEC": str(round(self._watchdog_s * 1e6))}
        return {"NOTIFY_SOCKET": address, **watchdog}

    def ready(self, loop: Loop, status: str) -> None:
        """Say that the unit serves, with one line for people, and from then on, on `loop`, that it lives."""
        if not self._tell("READY=1", f"STATUS={status}"):
            if self._address:
                self._retry = loop.call_later(RETRY_AFTER_S, lambda: self.ready(loop, status))
        elif self._watchdog_s is not None:
            self._live(loop, self._watchdog_s / 2)

    def alive(self) -> None:
        """Give a sign of life now, before something that the loop waits for."""
        if self._watchdog_s is not None:
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the unit ends in order; it may still be in doing so for seconds."""
        if self._retry is not None:
            self._retry.cancel()
        self._tell("STOPPING=1", "STATUS=Ending")

    def _live(self, loop: Loop, every_s: float) -> None:
        self._tell("WATCHDOG=1")
        loop.call_later(every_s, lambda: self._live(loop, every_s))

    def _tell(self, *lines: str) -> bool:
        """Send one message; return whether it went."""
        if not self._address:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, self._address)
        except OSError as ex:
            if not self._is_deaf:  # once, until it hears again
                log.warning("The service manager does not hear %s: %s.", lines[0], ex.strerror or ex)
            self._is_deaf = True
            return False
        self._is_deaf = False
        return True
