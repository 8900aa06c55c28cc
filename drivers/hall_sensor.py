"""The hall sensor under the stirrer: one falling edge for each revolution."""

import threading
import time
from collections.abc import Callable

from .closing import Closing
from .errors import HardwareFault
from .gpio_api import GPIO

FASTEST_RPM = 5000.0
"""What the API accepts as a target, more than twice what the motor reaches; an edge sooner than a turn at this
speed (12 ms) is contact noise."""

POLL_INTERVAL_S = 0.001
"""At 2000 rpm, where readings stop being trusted, a turn takes 30 ms and the magnet passes in about a tenth of it.
Looking every 1 ms sees that three times, so one late look misses no edge, and one early look does not shift a
reading over 1 s by more than 0.1 %. Polling faster costs a small Pi more than it gains."""


class HallSensor(Closing):
    """Measure the stirrer's speed from the falling edges on one pin (BCM number, pulled up).

    Edges come from the library's edge detection or, where the kernel no longer offers what the library needs
    (RPi.GPIO on kernel 6.6 and later), from polling in a thread that lives for the measurement; `polls` says which.
    `close()` may be called twice.

    `clock` gives seconds; called within an edge's callback, it says when the edge came.

    Detection is set up at the first measurement and stays until `close()`; edges outside a measurement are dropped.
    RPi.GPIO keeps a pointer to the callback while it waits for the interpreter's lock and `remove_event_detect`
    frees it. Removing it after each measurement, with the motor turning, would sooner or later crash the process.
    """

    def __init__(self, gpio: GPIO, pin: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.pin = pin
        self.polls = False
        self._gpio = gpio
        self._clock = clock
        self._detecting = False
        self._closed = False
        self._edges: list[float] | None = None  # times in s while a measurement runs
        self._fault: Exception | None = None  # what ended polling early
        try:
            gpio.setup(pin, gpio.IN, pull_up_down=gpio.PUD_UP)
        except (RuntimeError, ValueError, OSError) as ex:
            raise HardwareFault(f"GPIO {pin} cannot be the hall sensor's input.", cause=str(ex)) from ex

    def measure_rpm(self, window_s: float, wait: Callable[[float], object] = time.sleep) -> float:
        """Return the mean speed in rpm, 1 decimal, over the edges of the next `window_s` seconds.

        That is 60 x periods / their sum, and 0.0 with fewer than two edges. `wait(window_s)` is how the caller
        sleeps; what it raises passes through and ends the measurement.
        """
        if self._closed:
            raise HardwareFault(f"The hall sensor on GPIO {self.pin} is closed.", remediation="Open it again.")
        self._detect()
        edges: list[float] = []
        began = self._clock()
        self._edges = edges
        try:
            if self.polls:
                self._poll_during(window_s, wait)
            else:
                wait(window_s)
            ended = self._clock()  # a simulated sensor calls back now for what its thread was late for
        finally:
            self._edges = None
        edges = [at for at in edges if began <= at <= ended]
        if len(edges) < 2:
            return 0.0
        return round(60.0 * (len(edges) - 1) / (edges[-1] - edges[0]), 1)

    def close(self) -> None:
        """End edge detection and free the pin. May be called twice."""
        if self._closed:
            return
        self._closed = True
        try:
            self._gpio.cleanup(self.pin)  # ends detection as well, and leaves the callback's memory alone
        except (RuntimeError, ValueError, OSError) as ex:
            raise HardwareFault(f"GPIO {self.pin} could not be freed.", cause=str(ex)) from ex

    def _detect(self) -> None:
        if self._detecting or self.polls:
            return
        try:
            self._gpio.add_event_detect(self.pin, self._gpio.FALLING, callback=self._on_edge)
            self._detecting = True
        except RuntimeError:
            self.polls = True

    def _on_edge(self, _pin: int) -> None:
        now = self._clock()
        edges = self._edges
        if edges is not None and (not edges or now - edges[-1] >= 60.0 / FASTEST_RPM):
            edges.append(now)

    def _poll_during(self, window_s: float, wait: Callable[[float], object]) -> None:
        self._fault = None
        done = threading.Event()
        poller = threading.Thread(target=self._poll, args=(done,), name="hall sensor", daemon=True)
        poller.start()
        try:
            wait(window_s)
        finally:
            done.set()
            poller.join()
        if self._fault is not None:
            raise HardwareFault(f"GPIO {self.pin} cannot be read.", cause=str(self._fault)) from self._fault

    def _poll(self, done: threading.Event) -> None:
        try:
            before = self._gpio.input(self.pin)
            while not done.wait(POLL_INTERVAL_S):
                level = self._gpio.input(self.pin)
                if before and not level:
                    self._on_edge(self.pin)
                before = level
        except (RuntimeError, ValueError, OSError) as ex:
            self._fault = ex
