"""A clock for tests in one process: time passes when somebody sleeps, and only then."""

from typing import Protocol

PAST_S = 1e-6
"""s. How far past a predicted moment an attendant is woken, so that rounding does not wake it before."""


class Attendant(Protocol):
    """Somebody who has to act at moments of its own while time passes."""

    def seconds_to_next(self) -> float:
        """Return in how many seconds it has to be woken, infinity for never as things are."""
        ...

    def wake(self) -> None:
        """Do what is to be done by now."""
        ...


class VirtualClock:
    """A monotonic clock in s, which `sleep` moves: `SharedPlant(path, clock=clock)`, and `clock.sleep` for the job.

    For one thread. While it sleeps, attendants are woken at their moments: so edges of the simulated hall sensor
    call back in virtual time, inside the sleep.

    >>> clock = VirtualClock(100.0)
    >>> clock.sleep(86400.0)
    >>> clock()
    86500.0
    """

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s
        self._attendants: list[Attendant] = []

    def __call__(self) -> float:
        """Return the time in s."""
        return self.now_s

    def attend(self, attendant: Attendant) -> None:
        """Wake somebody from now on."""
        if attendant not in self._attendants:
            self._attendants.append(attendant)

    def leave(self, attendant: Attendant) -> None:
        """Wake somebody no more; one who does not attend is ignored."""
        if attendant in self._attendants:
            self._attendants.remove(attendant)

    def sleep(self, seconds: float) -> None:
        """Let time pass; raises ValueError for a negative time, as `time.sleep` does."""
        if seconds < 0.0:
            raise ValueError("sleep length must be non-negative")
        end_s = self.now_s + seconds
        while self._attendants:
            next_s = self.now_s + PAST_S + min(attendant.seconds_to_next() for attendant in self._attendants)
            if next_s >= end_s:
                break
            self._move(next_s)
        self._move(end_s)

    def _move(self, to_s: float) -> None:
        self.now_s = to_s
        for attendant in list(self._attendants):
            attendant.wake()
