"""A clock for tests in one process: time passes when somebody sleeps, and only then."""


class VirtualClock:
    """A monotonic clock in s, which `sleep` moves: `SharedPlant(path, clock=clock)`, and `clock.sleep` for the job.

    >>> clock = VirtualClock(100.0)
    >>> clock.sleep(86400.0)
    >>> clock()
    86500.0
    """

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        """Return the time in s."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Let time pass; raises ValueError for a negative time, as `time.sleep` does."""
        if seconds < 0.0:
            raise ValueError("sleep length must be non-negative")
        self.now_s += seconds
