"""What a self-test is given, and how it says that it failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from reactor_unit.clock import ReactorTime
from reactor_unit.config import Config
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.drivers.stirrer import Stirrer
from reactor_unit.workers.od_reader import configured_intensity, photodiode_angles
from reactor_unit.workers.optics import REF, Optics

DEFAULT_INTENSITY = 70.0  # %, where the configuration leaves the infrared LED's intensity to be found


class Failed(Exception):
    """A self-test did not pass: `what` was found, with numbers and limits, and as `remedy` what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class LimitedTime:
    """Another one's clock and wait, until a real time is over: then a wait raises Failed.

    The limit is in real seconds, as that of a hanging process is: a busy computer is late for a fast reactor.
    """

    def __init__(self, time: ReactorTime, limit_s: float, real_clock: Callable[[], float]) -> None:
        self.clock = time.clock
        self._wait = time.wait
        self._limit_s = limit_s
        self._real_clock = real_clock
        self._until = real_clock() + limit_s

    def wait(self, seconds: float) -> None:
        """Wait so many of the reactor's seconds."""
        if self._real_clock() >= self._until:
            raise Failed(
                f"The test was not done within {self._limit_s:g} s.",
                "Look what keeps the computer busy, then run it again; if it stays, see the unit's log.",
            )
        self._wait(seconds)


@dataclass(frozen=True)
class Bench:
    """The reactor, what the configuration says of it, time, and a way to publish what was measured on the way."""

    hardware: Hardware
    config: Config
    time: ReactorTime
    publish: Callable[[Mapping[str, Any]], None]

    @property
    def angles(self) -> dict[str, str]:
        """The photodiodes: channel -> angle, or REF. Raises ConfigError."""
        return photodiode_angles(self.config, self.hardware.board.photodiode_channels)

    @property
    def ref_channel(self) -> str:
        """The channel of the reference photodiode. Raises Failed when there is none."""
        channel = next((channel for channel, angle in self.angles.items() if angle == REF), None)
        if channel is None:
            raise Failed(
                "No photodiode channel is REF, so the lamp is not followed.",
                "Set the reference photodiode's channel to REF in [od_config.photodiode_channel].",
            )
        return channel

    @property
    def ir_led_intensity(self) -> float:
        """The infrared LED's intensity in %. Raises ConfigError."""
        return configured_intensity(self.config) or DEFAULT_INTENSITY

    @property
    def stirring_duty_cycle(self) -> float:
        """The stirrer's duty cycle in % for its usual speed, without a look at the hall sensor."""
        return self.config.get_float("stirring.config", "initial_duty_cycle")

    @contextmanager
    def optics(self) -> Iterator[Optics]:
        """Open all photodiodes and the infrared LED, their darkness measured; the LED is dark afterwards."""
        with closing(Optics(self.time, self.hardware, self.config, list(self.angles))) as optics:
            optics.start()
            yield optics

    def stirrer(self) -> Stirrer:
        """Open the stirrer, standing; it stands again when it is closed."""
        frequency_hz = self.config.get_float("stirring.config", "pwm_hz")
        return self.hardware.open_stirrer(self.config.pwm_assignment(), frequency_hz)
