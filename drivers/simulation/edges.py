"""Edge detection on the simulated pins: who waits for which edge, and the one thread that calls back.

The thread lives while a detection is registered. It sleeps until the plant's next edge, as predicted from what
drives it now, and at most LONGEST_SLEEP_S, since another process may change the drive at any time. It sleeps at
least SHORTEST_SLEEP_S: in a plant that runs 60 times as fast as the clock, the stirrer gives 500 edges a second, and a
few of them are called back at each wake-up. Each edge has the moment at which the plant says that it came, which
`now()` tells its callback. On a virtual clock there is no thread: whoever lets the clock's time pass calls back, at
the right moments.
"""

import math
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .clock import VirtualClock
from .plant import edge_moments, seconds_to_next_edge
from .plant_file import Look
from .state import HALL_SENSOR, SharedPlant

RISING, FALLING, BOTH = 31, 32, 33  # RPi.GPIO's numbers
LONGEST_SLEEP_S = 0.25
SHORTEST_SLEEP_S = 0.01  # a third of a turn at full speed, so that nothing is gathered in a plant at real speed


@dataclass
class Detection:
    """What is looked for on one pin (BCM number), and what came of it."""

    pin: int
    channel: int  # the pin's number as the program calls it
    edge: int
    bouncetime_ms: int | None
    callbacks: list[Callable[[int], object]] = field(default_factory=list)
    occurred: bool = False
    last_event_s: float | None = None  # the plant's time
    seen: Look | None = None

    def look(self, now: Look) -> list[float]:
        """Return when edges came since the last look, in s of the plant's time, switch bounce left out."""
        before, self.seen = self.seen, now
        if before is None:
            return []
        moments = sorted(at for rising in _directions(self.edge) for at in _moments(before, now, rising))
        return [at for at in moments if not self._bounces(at)]

    def _bounces(self, at_s: float) -> bool:
        elapsed_s = None if self.last_event_s is None else at_s - self.last_event_s
        if self.bouncetime_ms is not None and elapsed_s is not None and elapsed_s <= self.bouncetime_ms / 1000.0:
            return True
        self.last_event_s = at_s
        return False

    def fire(self) -> None:
        """Note the event and call back; like RPi.GPIO, print what a callback raises and go on."""
        self.occurred = True
        for callback in list(self.callbacks):
            try:
                callback(self.channel)
            except Exception:  # the caller's code, in a thread of ours
                sys.excepthook(*sys.exc_info())


class EdgeWatcher:
    """The edge detections of one process."""

    def __init__(self, plant: SharedPlant) -> None:
        self._plant = plant
        self._changed = threading.Condition()
        self._detections: dict[int, Detection] = {}
        self._thread: threading.Thread | None = None
        self._stale = False  # what the thread predicted no longer holds
        self._calling_back = threading.RLock()  # edges are called back by one thread at a time, in their order
        self._here = threading.local()  # `edge_s`: the moment of the edge that this thread calls back for

    def now(self) -> float:
        """Return the plant's time in s; in a callback, the moment of its edge.

        Outside of one, what passed until then is called back first, by the caller: so whoever reads the time knows all
        edges before it, also when the thread is late.
        """
        edge_s: float | None = getattr(self._here, "edge_s", None)
        if edge_s is not None:
            return edge_s
        now_s = self._plant.plant_time_s()
        self.wake()
        return now_s

    def get(self, pin: int) -> Detection | None:
        """Return the detection on a pin, or None."""
        return self._detections.get(pin)

    def add(self, detection: Detection) -> None:
        """Begin a detection; the thread is started with the first one."""
        detection.seen = self._plant.look_back()
        with self._changed:
            self._detections[detection.pin] = detection
            self._stale = True
            if isinstance(self._plant.clock, VirtualClock):
                self._plant.clock.attend(self)
            elif self._thread is None:
                self._thread = threading.Thread(target=self._run, name="simulated edges", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def remove(self, pin: int) -> None:
        """End the detection on a pin, if there is one; the thread ends with the last one."""
        with self._changed:
            self._detections.pop(pin, None)
            self._changed.notify_all()

    def predict_again(self) -> None:
        """Take note that this process changed what drives the plant."""
        with self._changed:
            self._stale = True
            self._changed.notify_all()

    def close(self) -> None:
        """End all detections, and wait for the thread unless it is the caller."""
        with self._changed:
            self._detections.clear()
            self._changed.notify_all()
            thread = self._thread
        if isinstance(self._plant.clock, VirtualClock):
            self._plant.clock.leave(self)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def wait_for(self, detection: Detection, timeout_s: float | None) -> bool:
        """Wait in the calling thread until the edge comes; return False when the plant's time is over before."""
        detection.seen = self._plant.look_back()
        speed = self._plant.speed
        deadline = None if timeout_s is None else time.monotonic() + timeout_s / speed
        while not self._came(detection):
            left_s = LONGEST_SLEEP_S if deadline is None else deadline - time.monotonic()
            if left_s <= 0.0:
                return False
            time.sleep(min(left_s, LONGEST_SLEEP_S, self._predicted([detection])))
        return True

    def seconds_to_next(self) -> float:
        """Return in how many seconds of the clock the next edge comes that is looked for, infinity for none."""
        return self._predicted(self._detections.values()) if self._detections else math.inf

    def wake(self) -> None:
        """Call back for what passed since the last look."""
        with self._calling_back:
            self._call_back()

    def _run(self) -> None:
        while True:
            with self._changed:
                detections = list(self._detections.values())
                if not detections:
                    self._thread = None
                    return
                self._stale = False
            # Never waited for: who calls back just now may wait for this thread's end.
            if self._calling_back.acquire(blocking=False):
                try:
                    self._call_back()
                finally:
                    self._calling_back.release()
            with self._changed:
                if not self._stale and self._detections:
                    self._changed.wait(min(LONGEST_SLEEP_S, max(SHORTEST_SLEEP_S, self._predicted(detections))))

    def _call_back(self) -> None:
        """Call back for each edge since the last look; the lock is held."""
        for detection in list(self._detections.values()):
            for edge_s in self._came(detection):
                if self._detections.get(detection.pin) is not detection:  # removed meanwhile
                    break
                self._here.edge_s = edge_s
                try:
                    detection.fire()
                finally:
                    self._here.edge_s = None

    def _came(self, detection: Detection) -> list[float]:
        """Return when edges came on a pin since the last look."""
        # Nothing but the hall sensor moves on the simulated inputs.
        if detection.pin not in self._plant.pins_of(HALL_SENSOR):
            detection.seen = None
            return []
        return detection.look(self._plant.look_back())

    def _predicted(self, detections: Iterable[Detection]) -> float:
        state, drives = self._plant.look_with_drives()
        rising = {rising for detection in detections for rising in _directions(detection.edge)}
        soonest_s = min((seconds_to_next_edge(state, drives, rising=r) for r in rising), default=math.inf)
        return soonest_s / self._plant.speed


def _moments(before: Look, now: Look, rising: bool) -> list[float]:
    """Return when edges of one direction came between two looks; of several changes in between the last counts."""
    if now.changed.time_s <= before.state.time_s:
        return edge_moments(before.state, now.state, now.drives, rising=rising)
    until_change = edge_moments(before.state, now.changed, before.drives, rising=rising)
    return until_change + edge_moments(now.changed, now.state, now.drives, rising=rising)


def _directions(edge: int) -> tuple[bool, ...]:
    """Return which of falling (False) and rising (True) an edge constant means."""
    return {RISING: (True,), FALLING: (False,), BOTH: (False, True)}[edge]
