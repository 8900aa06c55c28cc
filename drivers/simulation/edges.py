"""Edge detection on the simulated pins: who waits for which edge, and the one thread that calls back.

The thread lives while a detection is registered. It sleeps until the plant's next edge, as predicted from what
drives it now, and at most LONGEST_SLEEP_S, since another process may change the drive at any time. Several edges
that pass while it does not run are one event, as they are for RPi.GPIO, which reads them from the kernel's edge
files. On a virtual clock there is no thread: whoever lets the clock's time pass calls back, at the right moments.
"""

import math
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .clock import VirtualClock
from .plant import PlantState, edges_passed, seconds_to_next_edge
from .state import HALL_SENSOR, SharedPlant

RISING, FALLING, BOTH = 31, 32, 33  # RPi.GPIO's numbers
LONGEST_SLEEP_S = 0.25


@dataclass
class Detection:
    """What is looked for on one pin (BCM number), and what came of it."""

    pin: int
    channel: int  # the pin's number as the program calls it
    edge: int
    bouncetime_ms: int | None
    callbacks: list[Callable[[int], object]] = field(default_factory=list)
    occurred: bool = False
    last_event_s: float | None = None
    seen: PlantState | None = None

    def look(self, now: PlantState) -> bool:
        """Return whether an edge passed since the last look, switch bounce left out."""
        before, self.seen = self.seen, now
        if before is None or not any(edges_passed(before, now, rising=rising) for rising in _directions(self.edge)):
            return False
        elapsed_s = None if self.last_event_s is None else now.time_s - self.last_event_s
        if self.bouncetime_ms is not None and elapsed_s is not None and elapsed_s <= self.bouncetime_ms / 1000.0:
            return False
        self.last_event_s = now.time_s
        return True

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

    def get(self, pin: int) -> Detection | None:
        """Return the detection on a pin, or None."""
        return self._detections.get(pin)

    def add(self, detection: Detection) -> None:
        """Begin a detection; the thread is started with the first one."""
        detection.seen = self._plant.look()
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
        """Wait in the calling thread until the edge comes; return False when the time is over before."""
        detection.seen = self._plant.look()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._came(detection):
            left_s = LONGEST_SLEEP_S if deadline is None else deadline - time.monotonic()
            if left_s <= 0.0:
                return False
            time.sleep(min(left_s, self._seconds_to_next([detection])))
        return True

    def seconds_to_next(self) -> float:
        """Return in how many seconds of the clock the next edge comes that is looked for, infinity for none."""
        return self._predicted(self._detections.values()) if self._detections else math.inf

    def wake(self) -> None:
        """Call back for what passed since the last look."""
        for detection in list(self._detections.values()):
            if self._came(detection):
                detection.fire()

    def _run(self) -> None:
        while True:
            with self._changed:
                detections = list(self._detections.values())
                if not detections:
                    self._thread = None
                    return
                self._stale = False
            for detection in detections:
                if self._came(detection) and self._detections.get(detection.pin) is detection:  # not removed meanwhile
                    detection.fire()
            with self._changed:
                if not self._stale and self._detections:
                    self._changed.wait(self._seconds_to_next(detections))

    def _came(self, detection: Detection) -> bool:
        # Nothing but the hall sensor moves on the simulated inputs.
        return detection.look(self._plant.look()) and detection.pin in self._plant.pins_of(HALL_SENSOR)

    def _seconds_to_next(self, detections: Iterable[Detection]) -> float:
        return min(LONGEST_SLEEP_S, self._predicted(detections))

    def _predicted(self, detections: Iterable[Detection]) -> float:
        state, drives = self._plant.look_with_drives()
        rising = {rising for detection in detections for rising in _directions(detection.edge)}
        soonest_s = min((seconds_to_next_edge(state, drives, rising=r) for r in rising), default=math.inf)
        return soonest_s / self._plant.speed


def _directions(edge: int) -> tuple[bool, ...]:
    """Return which of falling (False) and rising (True) an edge constant means."""
    return {RISING: (True,), FALLING: (False,), BOTH: (False, True)}[edge]
