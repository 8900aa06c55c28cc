"""A `RPi.GPIO` in front of the simulated reactor.

Names, constants, arguments, exceptions and messages are those of RPi.GPIO 0.7.1, for what is used here, so that a
program that misuses the one is refused by the other; `tests/registers` compares the two case by case. Known
differences, all on the strict side or of no consequence to a driver: only the pins of the Pi's header exist (BCM
0..27), NaN is no duty cycle, duty cycles and frequencies are not rounded to 32 bits, and `stop()` of a PWM has the
pin low when it returns.
"""

import contextlib
import math
import operator
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import edges
from .state import PIN_COUNT, PinRecord, SharedPlant

_INVALID = "The channel sent is invalid on a Raspberry Pi"
_NO_BOUNCETIME = -666  # RPi.GPIO's own defaults: there is no other way to ask for none
_NO_TIMEOUT = -1
_ALL: list[int] = []  # stands for an argument that was left out
# Header pin -> BCM pin, of the 40-pin header.
_HEADER = {
    3: 2,
    5: 3,
    7: 4,
    8: 14,
    10: 15,
    11: 17,
    12: 18,
    13: 27,
    15: 22,
    16: 23,
    18: 24,
    19: 10,
    21: 9,
    22: 25,
    23: 11,
    24: 8,
}
_PULLED_UP_ON_BOARD = (2, 3)  # I2C
_HEADER |= {26: 7, 29: 5, 31: 6, 32: 12, 33: 13, 35: 19, 36: 16, 37: 26, 38: 20, 40: 21}


def _no_callback(_channel: int) -> None:
    """Stand for a callback that was left out; None is refused."""


class SimulatedGPIO:
    """The `RPi.GPIO` of one process, on the plant in `path`; what `import RPi.GPIO as GPIO` gives, as an object.

    Numbering mode, directions, PWMs and edge detections belong to this object; the pins themselves are shared with
    every process that opens the same file. `close()` ends the threads and leaves the pins as they are, as the end
    of a process does.
    """

    VERSION = "0.7.1"
    RPI_INFO: Mapping[str, str | int] = {
        "P1_REVISION": 3,
        "REVISION": "simulated",
        "TYPE": "Simulated",
        "MANUFACTURER": "Unknown",
        "PROCESSOR": "Unknown",
        "RAM": "Unknown",
    }
    BOARD, BCM = 10, 11
    OUT, IN = 0, 1
    LOW, HIGH = 0, 1
    PUD_OFF, PUD_DOWN, PUD_UP = 20, 21, 22
    RISING, FALLING, BOTH = edges.RISING, edges.FALLING, edges.BOTH
    UNKNOWN, SERIAL, SPI, I2C, HARD_PWM = -1, 40, 41, 42, 43

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        wiring: Mapping[int, str] | None = None,
        seed: int = 0,
    ) -> None:
        self._plant = SharedPlant(path, clock=clock, wiring=wiring, seed=seed)
        self._watcher = edges.EdgeWatcher(self._plant)
        self._mode = self.UNKNOWN
        self._warnings = True
        self._opened = False  # RPi.GPIO maps the registers at the first setup; a clean-up before does nothing at all
        self._directions: dict[int, int] = {}  # pin -> OUT or IN, of the pins that this process set up
        self._pwms: dict[int, _PWMRun] = {}  # pin -> the one PWM that this process has there

    @property
    def plant(self) -> SharedPlant:
        """The simulated reactor behind the pins, for the other seams of this process."""
        return self._plant

    def edge_clock(self) -> float:
        """Return the plant's time in s; within an edge's callback, the moment of that edge.

        A thread that is woken late, or once for many edges, so times each of them as it came. Edges before a time
        that was returned have been called back.
        """
        return self._watcher.now()

    def setmode(self, mode: int, /) -> None:
        """Number pins as BCM or BOARD; it cannot be changed later."""
        mode = operator.index(mode)
        if mode != self._mode and self._mode != self.UNKNOWN:
            raise ValueError("A different mode has already been set!")
        if mode not in (self.BCM, self.BOARD):
            raise ValueError("An invalid mode was passed to setmode()")
        self._mode = mode

    def getmode(self) -> int | None:
        """Return BCM, BOARD or None."""
        return None if self._mode == self.UNKNOWN else self._mode

    def setwarnings(self, state: bool, /) -> None:
        """Warn, or not, of a pin in use and of a clean-up without effect."""
        self._warnings = bool(operator.index(state))

    def setup(
        self,
        channel: int | Iterable[int],
        direction: int,
        pull_up_down: int = PUD_OFF,
        initial: int = -1,
    ) -> None:
        """Make pins inputs or outputs."""
        direction, pull_up_down, initial = map(operator.index, (direction, pull_up_down, initial))
        channels = _channels(channel)
        self._opened = True
        if direction not in (self.IN, self.OUT):
            raise ValueError("An invalid direction was passed to setup()")
        if direction == self.OUT and pull_up_down != self.PUD_OFF:
            raise ValueError("pull_up_down parameter is not valid for outputs")
        if direction == self.IN and initial != -1:
            raise ValueError("initial parameter is not valid for inputs")
        if pull_up_down not in (self.PUD_OFF, self.PUD_DOWN, self.PUD_UP):
            raise ValueError("Invalid value for pull_up_down - should be either PUD_OFF, PUD_UP or PUD_DOWN")
        for number in _numbers(channels):
            self._setup_one(self._pin(number), direction, pull_up_down - self.PUD_OFF, initial)

    def output(self, channel: int | Iterable[int], value: int | Iterable[int], /) -> None:
        """Write one level to pins, or a level to each."""
        channels = _channels(channel)
        if isinstance(value, int):
            values = [value] * len(channels)
        elif isinstance(value, list | tuple):
            values = list(value)
            if isinstance(channel, int) or len(values) != len(channels):
                raise RuntimeError("Number of channels != number of values")
        else:
            raise ValueError("Value must be an integer/boolean or a list/tuple of integers/booleans")
        for number, level in zip(_numbers(channels), values, strict=True):
            if not isinstance(level, int):
                raise ValueError("Value must be an integer or boolean")
            pin = self._pin(number)
            if self._directions.get(pin) != self.OUT:
                raise RuntimeError("The GPIO channel has not been set up as an OUTPUT")
            self._write_level(pin, level)

    def input(self, channel: int, /) -> int:
        """Return a pin's level, 0 or 1."""
        pin = self._pin(channel)
        if pin not in self._directions:
            raise RuntimeError("You must setup() the GPIO channel first")
        return self._plant.level(pin)

    def PWM(self, channel: int, frequency: float, /) -> "SimulatedPWM":  # noqa: N802 - RPi.GPIO's name
        """Return a new software PWM on an output; RPi.GPIO has a class of this name.

        Where the pin has one already, that one stops: the object that is refused goes, and takes the pin's PWM along.
        """
        frequency = _number(frequency)
        pin = self._pin(channel)
        if pin in self._pwms:
            self._stop_pwm(pin)
            raise RuntimeError("A PWM object already exists for this GPIO channel")
        if self._directions.get(pin) != self.OUT:
            raise RuntimeError("You must setup() the GPIO channel as an output first")
        self._pwms[pin] = _PWMRun(frequency_hz=_frequency(frequency))
        return SimulatedPWM(self, pin)

    def add_event_detect(
        self,
        gpio: int,
        edge: int,
        callback: Callable[[int], object] = _no_callback,
        bouncetime: int = _NO_BOUNCETIME,
    ) -> None:
        """Look for edges on an input, and call back at each."""
        edge, bouncetime = operator.index(edge), operator.index(bouncetime)
        if not callable(callback):
            raise TypeError("Parameter must be callable")
        pin = self._input_pin(gpio)
        bouncetime_ms = self._check_edge(edge, bouncetime)
        if self._watcher.get(pin) is not None:
            raise RuntimeError("Conflicting edge detection already enabled for this GPIO channel")
        callbacks = [] if callback is _no_callback else [callback]
        self._watcher.add(edges.Detection(pin, gpio, edge, bouncetime_ms, callbacks))

    def add_event_callback(self, gpio: int, callback: Callable[[int], object]) -> None:
        """Call back one more function at the edges that are looked for."""
        if not callable(callback):
            raise TypeError("Parameter must be callable")
        detection = self._watcher.get(self._input_pin(gpio))
        if detection is None:
            raise RuntimeError("Add event detection using add_event_detect first before adding a callback")
        detection.callbacks.append(callback)

    def event_detected(self, channel: int, /) -> bool:
        """Return whether an edge came since the last such question."""
        detection = self._watcher.get(self._pin(channel))
        if detection is None:
            return False
        occurred, detection.occurred = detection.occurred, False
        return occurred

    def remove_event_detect(self, channel: int, /) -> None:
        """Look for edges no more."""
        pin = self._pin(channel)
        if not self._opened:
            raise RuntimeError("No access to /dev/mem.  Try running as root!")
        self._watcher.remove(pin)

    def wait_for_edge(
        self, channel: int, edge: int, bouncetime: int = _NO_BOUNCETIME, timeout: int = _NO_TIMEOUT
    ) -> int | None:
        """Wait for an edge and return the channel, or None after `timeout` ms of the plant's time."""
        edge, bouncetime, timeout = map(operator.index, (edge, bouncetime, timeout))
        pin = self._input_pin(channel)
        bouncetime_ms = self._check_edge(edge, bouncetime)
        if timeout <= 0 and timeout != _NO_TIMEOUT:
            raise ValueError("Timeout must be greater than 0")
        detection = self._watcher.get(pin)
        if detection is not None and (detection.callbacks or detection.bouncetime_ms not in (None, bouncetime_ms)):
            raise RuntimeError("Conflicting edge detection events already exist for this GPIO channel")
        awaited = edges.Detection(pin, channel, edge, bouncetime_ms)
        came = self._watcher.wait_for(awaited, None if timeout == _NO_TIMEOUT else timeout / 1000.0)
        return channel if came else None

    def gpio_function(self, channel: int, /) -> int:
        """Return what a pin is, IN or OUT, whichever process made it so."""
        pin = self._pin(channel)
        self._opened = True
        return self.OUT if self._plant.pin_record(pin).out else self.IN

    def cleanup(self, channel: int | Iterable[int] = _ALL) -> None:
        """Make pins that this process set up floating inputs; without a channel, all, and forget the numbering mode."""
        channels = _channels(channel)
        found = False
        if not self._opened:
            pass
        elif channel is _ALL:
            self._watcher.close()
            found = sum(map(self._clean_up_one, list(self._directions))) > 0
            self._mode = self.UNKNOWN
        else:
            found = sum(self._clean_up_one(self._pin(number)) for number in _numbers(channels)) > 0
        if not found and self._warnings:
            warnings.warn(
                "No channels have been set up yet - nothing to clean up!  "
                "Try cleaning up at the end of your program instead!",
                RuntimeWarning,
                stacklevel=2,
            )

    def close(self) -> None:
        """End this process's part: threads and the mapped file. Pins stay as they are. May be called twice."""
        self._watcher.close()
        self._plant.close()

    def _pin(self, channel: int) -> int:
        """Return the BCM number of a channel."""
        if not isinstance(channel, int):
            raise TypeError(f"'{type(channel).__name__}' object cannot be interpreted as an integer")
        if self._mode == self.UNKNOWN:
            raise RuntimeError("Please set pin numbering mode using GPIO.setmode(GPIO.BOARD) or GPIO.setmode(GPIO.BCM)")
        pin = channel if self._mode == self.BCM else _HEADER.get(channel, -1)
        if not 0 <= pin < PIN_COUNT:
            raise ValueError(_INVALID)
        return pin

    def _input_pin(self, channel: int) -> int:
        pin = self._pin(channel)
        if self._directions.get(pin) != self.IN:
            raise RuntimeError("You must setup() the GPIO channel as an input first")
        return pin

    def _check_edge(self, edge: int, bouncetime: int) -> int | None:
        """Return the bounce time in ms, or None for none."""
        if edge not in (self.RISING, self.FALLING, self.BOTH):
            raise ValueError("The edge must be set to RISING, FALLING or BOTH")
        if bouncetime == _NO_BOUNCETIME:
            return None
        if bouncetime <= 0:
            raise ValueError("Bouncetime must be greater than 0")
        return bouncetime

    def _clean_up_one(self, pin: int) -> bool:
        """Free a pin; return whether this process had set it up."""
        self._watcher.remove(pin)
        if self._directions.pop(pin, None) is None:
            return False
        self._change(pin, lambda record: record._replace(out=False, pull=0))
        return True

    def _setup_one(self, pin: int, direction: int, pull: int, initial: int) -> None:
        if self._warnings and pin not in self._directions and self._plant.pin_record(pin).out:
            warnings.warn(
                "This channel is already in use, continuing anyway.  Use GPIO.setwarnings(False) to disable warnings.",
                RuntimeWarning,
                stacklevel=3,
            )
        if self._warnings and pull and pin in _PULLED_UP_ON_BOARD:
            warnings.warn(
                "A physical pull up resistor is fitted on this channel!",
                RuntimeWarning,
                stacklevel=3,
            )
        out = direction == self.OUT
        if out and initial in (self.LOW, self.HIGH) and not self._drives_by_pwm(pin):
            # The level first, in the same step: no old level shows, and the PWM of a dead process ends.
            self._change(pin, lambda record: record._replace(out=True, pull=0, level=initial, pwm=False))
        else:
            self._change(pin, lambda record: record._replace(out=out, pull=pull))
        self._directions[pin] = direction

    def _write_level(self, pin: int, value: int) -> None:
        # A PWM of this process goes on and would write over any level within one period. One that another process left
        # behind has nobody to do so.
        if not self._drives_by_pwm(pin):
            self._change(pin, lambda record: record._replace(level=int(bool(value)), pwm=False))

    def _drives_by_pwm(self, pin: int) -> bool:
        return pin in self._pwms and self._pwms[pin].running

    def _set_pwm(
        self, pin: int, *, frequency_hz: float | None = None, duty_cycle: float | None = None, start: bool = False
    ) -> None:
        run = self._pwms.setdefault(pin, _PWMRun())
        run.frequency_hz = run.frequency_hz if frequency_hz is None else frequency_hz
        run.duty_cycle = run.duty_cycle if duty_cycle is None else duty_cycle
        run.running = run.running or start
        if run.running:
            frequency_hz, duty_cycle = run.frequency_hz, run.duty_cycle
            self._change(pin, lambda r: r._replace(pwm=True, frequency_hz=frequency_hz, duty_cycle=duty_cycle))

    def _stop_pwm(self, pin: int) -> None:
        run = self._pwms.pop(pin, None)
        if run is not None and run.running:
            self._change(pin, lambda record: record._replace(pwm=False, level=self.LOW))

    def _change(self, pin: int, how: Callable[[PinRecord], PinRecord]) -> None:
        self._plant.change([pin], how)
        self._watcher.predict_again()


@dataclass
class _PWMRun:
    """What one pin's software PWM does; RPi.GPIO keeps this by pin, not by object, and begins with these numbers."""

    frequency_hz: float = 1000.0
    duty_cycle: float = 0.0
    running: bool = False


class SimulatedPWM:
    """A software PWM on one output, `RPi.GPIO.PWM`: when its last reference goes, whatever PWM the pin has stops."""

    def __init__(self, gpio: SimulatedGPIO, pin: int) -> None:
        self._gpio = gpio
        self._pin = pin

    def start(self, dutycycle: float, /) -> None:
        """Run at a duty cycle in %, 0..100."""
        self._gpio._set_pwm(self._pin, duty_cycle=_duty_cycle(dutycycle), start=True)

    def ChangeDutyCycle(self, dutycycle: float, /) -> None:  # noqa: N802 - RPi.GPIO's name
        """Take another duty cycle in %, 0..100."""
        self._gpio._set_pwm(self._pin, duty_cycle=_duty_cycle(dutycycle))

    def ChangeFrequency(self, frequency: float, /) -> None:  # noqa: N802 - RPi.GPIO's name
        """Take another frequency in Hz, above 0."""
        self._gpio._set_pwm(self._pin, frequency_hz=_frequency(frequency))

    def stop(self) -> None:
        """End, with the pin low."""
        self._gpio._stop_pwm(self._pin)

    def __del__(self) -> None:
        with contextlib.suppress(
            Exception
        ):  # nobody is there to hear of it: the plant may be closed, or the interpreter end
            self._gpio._stop_pwm(self._pin)


def _channels(channel: int | Iterable[int]) -> list[int]:
    """Return the channels as a list, whose members are yet to be checked."""
    if isinstance(channel, int):
        return [channel]
    if not isinstance(channel, list | tuple):
        raise ValueError("Channel must be an integer or list/tuple of integers")
    return list(channel)


def _numbers(channels: list[int]) -> Iterator[int]:
    """Check each channel when its turn comes: those before a wrong one are done."""
    for number in channels:
        if not isinstance(number, int):
            raise ValueError("Channel must be an integer")
        yield number


def _number(value: float) -> float:
    math.isnan(value)  # raises TypeError for what is no number
    return float(value)


def _frequency(frequency: float) -> float:
    frequency = _number(frequency)
    if math.isnan(frequency) or frequency <= 0.0:
        raise ValueError("frequency must be greater than 0.0")
    return frequency


def _duty_cycle(duty_cycle: float) -> float:
    duty_cycle = _number(duty_cycle)
    if math.isnan(duty_cycle) or not 0.0 <= duty_cycle <= 100.0:
        raise ValueError("dutycycle must have a value from 0.0 to 100.0")
    return duty_cycle
