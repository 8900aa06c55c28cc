"""Stirring: a fan with magnets under the vial, its speed read by a hall sensor and held by feedback."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from reactor_unit.config import Config
from reactor_unit.drivers.hall_sensor import HallSensor
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.drivers.stirrer import Stirrer
from reactor_unit.errors import Conflict, InvalidRequest
from reactor_unit.job_spec import JobSpec, Option, Setting
from reactor_unit.series import Series
from reactor_unit.workers.job import Job, JobRuntime
from reactor_unit.workers.job_desk import SLEEPING
from reactor_unit.workers.laws.pid import PID, clamp
from reactor_unit.workers.laws.stirring import StirringLaw, StirringState

log = logging.getLogger(__name__)

MAX_TARGET_RPM = 1500.0
KICK_S = 0.5  # at full power: static friction is more than what keeps the fan turning
SETTLE_S = 2.0  # between a change of the duty cycle and the next measurement, while searching
SEARCH_S = 60.0  # then the job goes on at its slow pace, and says so
MAX_CORRECTION = 7.5  # % duty cycle at once, by the PID
WINDOW_TURNS = 10  # of the stirrer in a measurement
WINDOW_LIMITS_S = (1.0, 5.0)
STALL_PAUSE_S = 0.75
STALL_MAX_DUTY_CYCLE = 60.0


class Stirring(Job):
    """Hold the stirrer at `target_rpm`, or at a fixed duty cycle when there is no speed feedback."""

    spec = JobSpec(
        name="stirring",
        help="Start the stirring of the vial.",
        options=(
            Option(
                "target_rpm",
                "float range",
                "Speed to hold; 0 stands still.",
                minimum=0.0,
                maximum=MAX_TARGET_RPM,
                unit="RPM",
            ),
            Option("use_rpm", "boolean", "Measure the speed and correct the duty cycle."),
            Option("duty_cycle", "float range", "Duty cycle to start with.", minimum=0.0, maximum=100.0, unit="%"),
        ),
        settings=(
            Setting(
                "target_rpm",
                "float",
                "RPM",
                settable=True,
                minimum=0.0,
                maximum=MAX_TARGET_RPM,
                series=Series("stirring.target_rpm"),
            ),
            Setting("measured_rpm", "MeasuredRPM", "RPM", series=Series("stirring.measured_rpm", value="measured_rpm")),
            Setting(
                "duty_cycle",
                "float",
                "%",
                settable=True,
                minimum=0.0,
                maximum=100.0,
                series=Series("stirring.duty_cycle"),
            ),
        ),
    )

    def __init__(self, runtime: JobRuntime, hardware: Hardware, config: Config, options: Mapping[str, Any]) -> None:
        super().__init__(runtime, hardware, config, options)
        self._use_rpm = _option(options, "use_rpm", config.get_boolean("stirring.config", "use_rpm"))
        self.target_rpm = (
            _option(options, "target_rpm", config.get_float("stirring.config", "initial_target_rpm"))
            if self._use_rpm
            else None
        )
        if self.target_rpm is not None and not 0 <= self.target_rpm <= MAX_TARGET_RPM:
            raise InvalidRequest(f"initial_target_rpm {self.target_rpm:g} is not within 0..{MAX_TARGET_RPM:g} rpm.")
        self._duty_cycle = _option(options, "duty_cycle", config.get_float("stirring.config", "initial_duty_cycle"))
        self._first_duty_cycle = self._duty_cycle
        self._changes = 0  # made from outside, while a measurement may be under way
        kp, ki, kd = (config.get_float("stirring.pid", gain) for gain in ("Kp", "Ki", "Kd"))
        self._law = StirringLaw(PID(kp, ki, kd, output_limit=MAX_CORRECTION))
        self._law_state = StirringState()
        self._interval_s = config.get_float("stirring.config", "duration_between_updates_seconds")
        if self._interval_s <= 0:
            raise InvalidRequest("[stirring.config] duration_between_updates_seconds has to be above 0.")
        self._stirrer: Stirrer | None = None

    @property
    def interval_s(self) -> float:
        """Seconds from one correction of the speed to the next."""
        return self._interval_s

    def start(self) -> float:
        """Kick the stirrer; the first measurement is left to the first tick, when the speed has settled."""
        if self.target_rpm == 0:
            self._duty_cycle = 0.0
        board, gpio = self.hardware.board, self.hardware.gpio
        pin = board.pwm_pin("stirring", self.config.pwm_assignment())
        hall = HallSensor(gpio, board.hall_sensor_pin, clock=self.hardware.edge_clock) if self._use_rpm else None
        self._stirrer = Stirrer(self.hardware.open_pwm(pin, self.config.get_float("stirring.config", "pwm_hz")), hall)
        self._kick()
        self.runtime.publish({"target_rpm": self.target_rpm})
        return SETTLE_S

    def _kick(self) -> None:
        """Go to the duty cycle by way of full power; it may be changed meanwhile."""
        if self._duty_cycle > 0:
            self._drive(100.0, remember=False)
            self.runtime.wait(KICK_S)
        self._drive(self._duty_cycle)

    def sleep(self) -> None:
        """Stand still until `wake`."""
        self._drive(0.0, remember=False)
        self.runtime.publish({"duty_cycle": 0.0})
        if self.target_rpm is not None:
            self._publish_measured(0.0)

    def wake(self) -> None:
        """Go on with the duty cycle that was there before, or that was set meanwhile."""
        self._law_state = StirringState()
        self._kick()
        self.runtime.schedule.bring_forward(self.runtime.clock() + SETTLE_S)

    def set_target_rpm(self, target_rpm: float) -> None:
        """Hold another speed. Raises Conflict without speed feedback."""
        if self.target_rpm is None:
            raise Conflict(
                "The speed is not measured, so it cannot be held.",
                remediation="Set duty_cycle, or start stirring with use_rpm.",
            )
        self.target_rpm = target_rpm
        self.runtime.publish({"target_rpm": target_rpm})
        if target_rpm == 0:
            self.set_duty_cycle(0.0)
        else:
            self.set_duty_cycle(self._duty_cycle or self._first_duty_cycle)

    def set_duty_cycle(self, duty_cycle: float) -> None:
        """Drive with another duty cycle, from a standstill by a kick; a sleeping job takes it when it wakes.

        With speed feedback it is where the search for the speed goes on from, soon.
        """
        stood_still = self._duty_cycle == 0
        self._duty_cycle = duty_cycle
        self._law_state = StirringState()
        self._changes += 1
        self.runtime.publish({"duty_cycle": duty_cycle})
        if self.runtime.state == SLEEPING:
            return
        if stood_still:
            self._kick()
        else:
            self._drive(duty_cycle)
        self.runtime.schedule.bring_forward(self.runtime.clock() + SETTLE_S)

    def tick(self) -> None:
        """Measure the speed and correct the duty cycle; search quickly while the speed is far from its target."""
        if self.target_rpm is None:
            return
        give_up_at = self.runtime.clock() + SEARCH_S
        while not self._measure_and_correct():
            if self.runtime.clock() >= give_up_at:
                log.warning("The stirrer did not reach %g rpm within %g s; still trying.", self.target_rpm, SEARCH_S)
                return
            self.runtime.wait(SETTLE_S)

    def _measure_and_correct(self) -> bool:
        """Make one step of the law; return whether the speed is near its target."""
        if self._stirrer is None or self.target_rpm is None:
            return True
        changes = self._changes
        measured_rpm = self._stirrer.measure_rpm(self._window_s(self.target_rpm), wait=self.runtime.wait)
        if changes != self._changes:
            return False  # the speed of two duty cycles, or for another target
        self._publish_measured(measured_rpm)
        if measured_rpm == 0 and self.target_rpm > 0:
            self._restart_stalled()
            return False
        duty_cycle, self._law_state = self._law.next_duty_cycle(
            self._duty_cycle, self._law_state, target_rpm=self.target_rpm, measured_rpm=measured_rpm
        )
        self._drive(duty_cycle)
        return self._law.is_near(target_rpm=self.target_rpm, measured_rpm=measured_rpm)

    def _publish_measured(self, measured_rpm: float) -> None:
        self.runtime.publish(
            {"measured_rpm": {"measured_rpm": measured_rpm, "timestamp": self.runtime.utc_timestamp()}}
        )

    def _restart_stalled(self) -> None:
        """Stop, kick, and go on with a little more power; a change from outside puts an end to it."""
        log.warning("The stirrer does not turn at a duty cycle of %g %%; kicking it.", self._duty_cycle)
        changes = self._changes
        for duty_cycle in (0.0, 100.0):
            self._drive(duty_cycle, remember=False)
            self.runtime.wait(STALL_PAUSE_S)
            if changes != self._changes:
                self._drive(self._duty_cycle)
                return
        self._drive(min(1.01 * (self._duty_cycle or self._first_duty_cycle), STALL_MAX_DUTY_CYCLE))

    def _drive(self, duty_cycle: float, *, remember: bool = True) -> None:
        if self._stirrer is None:
            raise RuntimeError("the stirrer has not been started")
        self._stirrer.set_duty_cycle(duty_cycle)
        if remember:
            self._duty_cycle = duty_cycle
            self.runtime.publish({"duty_cycle": duty_cycle})

    @staticmethod
    def _window_s(target_rpm: float) -> float:
        return clamp(WINDOW_TURNS * 60.0 / target_rpm, *WINDOW_LIMITS_S) if target_rpm > 0 else WINDOW_LIMITS_S[0]

    def close(self) -> None:
        """Stop the stirrer and leave its pin low."""
        if self._stirrer is not None:
            self._stirrer.close()
            self._stirrer = None


def _option(options: Mapping[str, Any], name: str, default: Any) -> Any:
    value = options.get(name)
    return default if value is None else value
