"""Stirring: a fan with magnets under the vial, its speed read by a hall sensor and held by feedback."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from reactor_unit.calibrations.curves import NoSolution, curve_from, domain_of, invert
from reactor_unit.config import Config
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.drivers.stirrer import Stirrer
from reactor_unit.errors import Conflict, InvalidRequest
from reactor_unit.job_spec import JobSpec, Option, Setting
from reactor_unit.series import Series
from reactor_unit.workers.heard_od_reading import SUBSCRIBED, HeardODReading
from reactor_unit.workers.job import Job, JobRuntime
from reactor_unit.workers.job_desk import SLEEPING
from reactor_unit.workers.laws.dodging import Dodging
from reactor_unit.workers.laws.pid import PID, clamp
from reactor_unit.workers.laws.stall import is_plausible_rpm
from reactor_unit.workers.laws.stirring import CHECK_INTERVAL_S, KICK_S, SETTLE_S, StirringLaw, StirringState
from reactor_unit.workers.stall_guard import StallGuard

log = logging.getLogger(__name__)

DEVICE = "stirring"  # whose calibration it takes
MAX_TARGET_RPM = 1500.0
SEARCH_S = 60.0  # then the job goes on at its slow pace, and says so
MAX_CORRECTION = 7.5  # % duty cycle at once, by the PID
WINDOW_TURNS = 10  # of the stirrer in a measurement
WINDOW_LIMITS_S = (1.0, 5.0)
FEWEST_TURNS = 2.5  # in a measurement of a stirrer at its target, for its speed to be seen at all
SHORT_SETTLE_S = 0.5  # the least there is between two readings that are dodged
COASTING_S = 5.0  # after a lower duty cycle, the speed may still be that of the one before
COMPLAINT_INTERVAL_S = 300.0  # between two warnings of the same kind


def _rpm(name: str, text: str) -> Option:
    return Option(name, "float range", text, minimum=0.0, maximum=MAX_TARGET_RPM, unit="RPM")


def _rpm_setting(name: str, series: Series | None = None) -> Setting:
    return Setting(name, "float", "RPM", settable=True, minimum=0.0, maximum=MAX_TARGET_RPM, series=series)


@dataclass
class Speed:
    """A speed to hold, and what is known of the duty cycle (%) that makes it; without feedback there is no target."""

    target_rpm: float | None
    duty_cycle: float
    law_state: StirringState = field(default_factory=StirringState)
    corrected_at: float = 0.0


class Stirring(Job):
    """Hold the stirrer at `target_rpm`, or at a fixed duty cycle when there is no speed feedback.

    While `od_reading` runs and `enable_dodging_od` is set, the stirrer is slow for each reading and fast in between.
    `duty_cycle_for` gives a first duty cycle (%) for a speed (rpm), where a calibration knows one.
    """

    spec = JobSpec(
        name="stirring",
        help="Start the stirring of the vial.",
        options=(
            _rpm("target_rpm", "Speed to hold; 0 stands still."),
            Option("use_rpm", "boolean", "Measure the speed and correct the duty cycle."),
            Option("duty_cycle", "float range", "Duty cycle to start with.", minimum=0.0, maximum=100.0, unit="%"),
            _rpm("target_rpm_during_od_reading", "Speed while optical density is read, when that is dodged."),
            _rpm("target_rpm_outside_od_reading", "Speed between the readings, when they are dodged."),
            Option("enable_dodging_od", "boolean", "Be slow while optical density is read."),
        ),
        settings=(
            Setting("enable_dodging_od", "boolean", settable=True),
            Setting("currently_dodging_od", "boolean"),
            _rpm_setting("target_rpm", Series("stirring.target_rpm")),
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
            _rpm_setting("target_rpm_during_od_reading"),
            _rpm_setting("target_rpm_outside_od_reading"),
            Setting("fault", "string"),
        ),
        subscribes=SUBSCRIBED,
        calibrations=(DEVICE,),
        interlocks=(
            "A silent hall sensor is answered by a kick at 100 %; after 3 kicks within a minute of one another the "
            "stirrer is turned off, the fault is latched as stirrer_stalled or no_stirrer_pulses, "
            "and the job ends.",
            "A speed that no motor makes of the duty cycle is not believed: it is neither published nor steered by.",
        ),
    )

    def __init__(self, runtime: JobRuntime, hardware: Hardware, config: Config, options: Mapping[str, Any]) -> None:
        super().__init__(runtime, hardware, config, options)
        self._use_rpm = bool(self._chosen("use_rpm"))
        duty_cycle = self._chosen("duty_cycle", "initial_duty_cycle")
        self._first_duty_cycle: float = duty_cycle
        self._fast = Speed(self._chosen_rpm("target_rpm", "initial_target_rpm") if self._use_rpm else None, duty_cycle)
        self._slow = Speed(self._chosen_rpm("target_rpm_during_od_reading"), 0.0)
        self._held = self._fast
        # A speed that was asked for goes before one in the configuration.
        asked_rpm = options.get("target_rpm") if options.get("target_rpm_outside_od_reading") is None else None
        self._outside_rpm = self._chosen_rpm("target_rpm_outside_od_reading") if asked_rpm is None else asked_rpm
        self._enable_dodging = bool(self._chosen("enable_dodging_od"))
        if self._enable_dodging and not self._use_rpm:
            raise InvalidRequest(
                "Readings of optical density cannot be dodged where the speed is not measured.",
                remediation="Set use_rpm, or leave enable_dodging_od out.",
            )
        self._delays = {
            f"{name}_delay_s": config.get_float("stirring.config", f"{name}_delay_duration") for name in ("pre", "post")
        }
        self._od = HeardODReading(runtime.clock, lambda: runtime.unit_clock.utc_now().timestamp())
        self._dodging: Dodging | None = None
        self._complained_at: dict[str, float] = {}
        self.duty_cycle_for: Callable[[float], float] | None = None
        kp, ki, kd = (config.get_float("stirring.pid", gain) for gain in ("Kp", "Ki", "Kd"))
        self._law = StirringLaw(PID(kp, ki, kd, output_limit=MAX_CORRECTION))
        self._trim_interval_s = config.get_float("stirring.config", "duration_between_updates_seconds")
        if self._trim_interval_s <= 0:
            raise InvalidRequest("[stirring.config] duration_between_updates_seconds has to be above 0.")
        self._changes = 0  # made from outside, while a measurement may be under way
        self._lowered_from = (-COASTING_S, 0.0)  # when, and the duty cycle before
        self._stall_guard = StallGuard(runtime, self._od)
        self._stirrer: Stirrer | None = None

    def _chosen(self, option: str, configured: str = "") -> Any:
        """Return an option's value, from the configuration where it was not given."""
        value = self.options.get(option)
        if value is not None:
            return value
        is_boolean = any(known.name == option and known.datatype == "boolean" for known in self.spec.options)
        read = self.config.get_boolean if is_boolean else self.config.get_float
        return read("stirring.config", configured or option)

    def _chosen_rpm(self, option: str, configured: str = "") -> float:
        rpm = float(self._chosen(option, configured))
        if not 0 <= rpm <= MAX_TARGET_RPM:
            raise InvalidRequest(f"{configured or option} {rpm:g} is not within 0..{MAX_TARGET_RPM:g} rpm.")
        return rpm

    @property
    def interval_s(self) -> float:
        """Seconds from one look at the speed to the next."""
        return min(CHECK_INTERVAL_S, self._trim_interval_s)

    def start(self) -> float:
        """Kick the stirrer; the first measurement is left to the first tick, when the speed has settled."""
        frequency_hz = self.config.get_float("stirring.config", "pwm_hz")
        self._stirrer = self.hardware.open_stirrer(self.config.pwm_assignment(), frequency_hz, measures=self._use_rpm)
        self.runtime.publish({"enable_dodging_od": self._enable_dodging, "currently_dodging_od": False})
        self._take_calibration()
        self._fast.duty_cycle = self._first_guess(self._fast)
        self._hold(self._fast)
        return SETTLE_S

    def close(self) -> None:
        """Stop the stirrer and leave its pin low."""
        if self._stirrer is not None:
            self._stirrer.close()
            self._stirrer = None

    # What reaches the job from outside

    def hear(self, job_name: str, setting: str, value: Any) -> None:
        """Take note of what od_reading publishes; dodge by it soon."""
        times = self._od.times
        self._od.hear(setting, value)
        if self._od.times != times and self._enable_dodging:
            self.runtime.schedule.bring_forward(self.runtime.clock())

    def sleep(self) -> None:
        """Stand still until `wake`."""
        self._drive(0.0)
        self.runtime.publish({"duty_cycle": 0.0})
        if self._use_rpm:
            self._publish_measured(0.0)

    def wake(self) -> None:
        """Go on with the duty cycle that was there before, or that was set meanwhile."""
        self._hold(self._held)
        self.runtime.schedule.bring_forward(self.runtime.clock() + SETTLE_S)

    def set_target_rpm(self, target_rpm: float) -> None:
        """Hold another speed, between readings where they are dodged. Raises Conflict without speed feedback."""
        self._require_feedback()
        self._outside_rpm = target_rpm
        self._aim(self._fast, target_rpm)

    def set_target_rpm_outside_od_reading(self, target_rpm: float) -> None:
        """Have another speed between readings. Raises Conflict when they are not dodged."""
        self._require_dodging()
        self.runtime.publish({"target_rpm_outside_od_reading": target_rpm})
        self.set_target_rpm(target_rpm)

    def set_target_rpm_during_od_reading(self, target_rpm: float) -> None:
        """Have another speed during readings. Raises Conflict when they are not dodged."""
        self._require_dodging()
        self.runtime.publish({"target_rpm_during_od_reading": target_rpm})
        self._aim(self._slow, target_rpm)

    def set_enable_dodging_od(self, enable: bool) -> None:
        """Dodge readings, or not any more. Raises Conflict without speed feedback."""
        if enable:
            self._require_feedback()
        self._enable_dodging = enable
        self.runtime.publish({"enable_dodging_od": enable})
        self.runtime.schedule.bring_forward(self.runtime.clock())

    def set_duty_cycle(self, duty_cycle: float) -> None:
        """Drive with another duty cycle, from a standstill by a kick; a sleeping job takes it when it wakes.

        With speed feedback it is where the search for the speed goes on from, soon.
        """
        self._changes += 1
        self._held.duty_cycle = duty_cycle
        self._held.law_state = StirringState()
        if self.runtime.state == SLEEPING:
            self.runtime.publish({"duty_cycle": duty_cycle})
        else:
            self._go_to(duty_cycle)
            self.runtime.schedule.bring_forward(self.runtime.clock() + SETTLE_S)

    def _aim(self, speed: Speed, target_rpm: float) -> None:
        """Give a speed another target; when it is the one that is held, go there."""
        self._changes += 1
        speed.target_rpm = target_rpm
        speed.duty_cycle = self._first_guess(speed)
        speed.law_state = StirringState()
        if speed is not self._held:
            return
        self.runtime.publish({"target_rpm": target_rpm})
        self.set_duty_cycle(speed.duty_cycle)

    def _take_calibration(self) -> None:
        """Begin each search for a speed where the active calibration, if there is one, has seen it."""
        record = self.runtime.calibrations.get(DEVICE)
        if record is None or not self._use_rpm:
            return
        name, pwm_hz = record["calibration_name"], self.config.get_float("stirring.config", "pwm_hz")
        log.info("Stirring begins with duty cycles of the calibration %r.", name)
        if record["pwm_hz"] != pwm_hz:
            log.warning("The calibration %r is of a PWM of %g Hz; this one has %g Hz.", name, record["pwm_hz"], pwm_hz)
        self.duty_cycle_for = partial(self._calibrated_duty_cycle, record)

    def _calibrated_duty_cycle(self, record: Mapping[str, Any], rpm: float) -> float:
        """Return the duty cycle (%) for a speed, no further than it was recorded; the usual one where there is none."""
        low, high = domain = domain_of(record["recorded_data"]["x"])
        try:
            duty_cycle = clamp(invert(curve_from(record["curve_data_"]), rpm, domain), low, high)
        except NoSolution as ex:
            log.warning("The calibration %r has no duty cycle for %g rpm: %s", record["calibration_name"], rpm, ex)
            return self._first_duty_cycle
        return duty_cycle if duty_cycle > 0 else self._first_duty_cycle

    def _first_guess(self, speed: Speed) -> float:
        """Return the duty cycle to begin with for a speed's target."""
        if speed.target_rpm == 0:
            return 0.0
        if self.duty_cycle_for is not None and speed.target_rpm is not None:
            return clamp(self.duty_cycle_for(speed.target_rpm), 0.0, 100.0)
        return speed.duty_cycle or self._first_duty_cycle

    def _first_guess_slow(self) -> float:
        """Return a duty cycle for the speed during readings, once that between them is known."""
        if self.duty_cycle_for is not None or not self._slow.target_rpm or not self._fast.target_rpm:
            return self._first_guess(self._slow)
        return clamp(self._fast.duty_cycle * self._slow.target_rpm / self._fast.target_rpm, 0.0, 100.0)

    def _require_feedback(self) -> None:
        if not self._use_rpm:
            raise Conflict(
                "The speed is not measured, so it cannot be held.",
                remediation="Set duty_cycle, or start stirring with use_rpm.",
            )

    def _require_dodging(self) -> None:
        if self._dodging is None:
            raise Conflict(
                "The readings of optical density are not dodged now.",
                remediation="Set enable_dodging_od, and start od_reading.",
            )

    # Tick

    def tick(self) -> None:
        """Look at the speed and correct the duty cycle; while readings are dodged, be slow or fast as is due."""
        if not self._use_rpm:
            return
        self._begin_or_end_dodging()
        if self._dodging is None:
            self._search()
        else:
            self._dodge(self._dodging)

    def _search(self) -> None:
        """Correct until the speed is near its target, for a while; when it is near already, that is one look."""
        give_up_at = self.runtime.clock() + SEARCH_S
        while not self._check(self._window_s()):
            if self.runtime.clock() >= give_up_at:
                self._complain(
                    "search",
                    f"The stirrer did not reach {self._held.target_rpm:g} rpm within {SEARCH_S:g} s; still trying.",
                )
                return
            self.runtime.wait(SETTLE_S)

    def _begin_or_end_dodging(self) -> None:
        before, self._dodging = self._dodging, self._wanted_dodging()
        if before is None and self._dodging is not None:
            log.info("Dodging the readings of optical density, which come each %g s.", self._dodging.interval_s)
            for warning in self._dodging.warnings:
                log.warning("%s", warning)
            self._aim(self._fast, self._outside_rpm)
            self.runtime.publish(
                {
                    "currently_dodging_od": True,
                    "target_rpm_during_od_reading": self._slow.target_rpm,
                    "target_rpm_outside_od_reading": self._outside_rpm,
                }
            )
            self._search()  # a first time, before readings leave only moments for it
            self._slow.duty_cycle = self._first_guess_slow()
        elif before is not None and self._dodging is None:
            log.info("The readings of optical density are not dodged any more.")
            self._hold(self._fast)
            names = ("target_rpm_during_od_reading", "target_rpm_outside_od_reading")
            self.runtime.publish({"currently_dodging_od": False, **dict.fromkeys(names)})
            self.runtime.wait(SETTLE_S)

    def _wanted_dodging(self) -> Dodging | None:
        if not self._enable_dodging:
            return None
        try:
            return self._od.dodging(**self._delays, speed_up_s=KICK_S)
        except ValueError as ex:
            self._complain(str(ex), f"{ex} Until then the stirrer stays at its speed.")
            return None

    def _dodge(self, dodging: Dodging) -> None:
        """Be slow or fast as is due now, use the time until the next change to look at the speed, and plan for that."""
        now = self.runtime.clock()
        step = dodging.next_step(now)
        self.runtime.schedule.plan(step.at_s)
        wanted = self._fast if step.slow else self._slow
        if wanted is not self._held:
            self._hold(wanted)
        while True:
            window_s = self._window_s()
            left_s = step.at_s - self.runtime.clock()
            settle_s = min(SETTLE_S, left_s - window_s)
            if settle_s < SHORT_SETTLE_S:
                window_s, settle_s = WINDOW_LIMITS_S[0], left_s - WINDOW_LIMITS_S[0]
            if settle_s < SHORT_SETTLE_S:
                return
            self.runtime.wait(settle_s)
            if self._check(window_s) or wanted is self._slow:
                return

    def _check(self, window_s: float) -> bool:
        """Measure once and make what follows from it; return whether the speed is near its target."""
        held, changes = self._held, self._changes
        if held.target_rpm is None:
            return True
        measured_rpm = self._measure(window_s)
        if changes != self._changes or measured_rpm is None:
            return False  # the speed of two duty cycles, or for another target, or none
        self._publish_measured(measured_rpm)
        if measured_rpm > 0:
            self._stall_guard.turns()
        elif held.target_rpm > 0 and held is self._fast:
            self._answer_standstill()
            return False
        if held.target_rpm == 0 or window_s * held.target_rpm / 60.0 >= FEWEST_TURNS:
            self._correct(held, measured_rpm)
        return self._law.is_near(target_rpm=held.target_rpm, measured_rpm=measured_rpm)

    def _correct(self, speed: Speed, measured_rpm: float) -> None:
        """Make one step of the law. What is learnt during a reading is for the next one, not to disturb this one."""
        target_rpm, now = speed.target_rpm or 0.0, self.runtime.clock()
        near = self._law.is_near(target_rpm=target_rpm, measured_rpm=measured_rpm)
        if near and now - speed.corrected_at < self._trim_interval_s:
            return
        speed.corrected_at = now
        speed.duty_cycle, speed.law_state = self._law.next_duty_cycle(
            speed.duty_cycle, speed.law_state, target_rpm=target_rpm, measured_rpm=measured_rpm
        )
        if speed is self._fast:
            self._drive(speed.duty_cycle)
            self.runtime.publish({"duty_cycle": speed.duty_cycle})

    def _measure(self, window_s: float) -> float | None:
        """Return the measured speed; None for one that cannot be."""
        if self._stirrer is None:
            raise RuntimeError("the stirrer has not been started")
        began_at = self.runtime.clock()
        measured_rpm = self._stirrer.measure_rpm(window_s, wait=self.runtime.wait)
        lowered_at, before = self._lowered_from
        highest = max(self._stirrer.duty_cycle, before if began_at - lowered_at < COASTING_S else 0.0)
        if is_plausible_rpm(measured_rpm, highest):
            return measured_rpm
        self._complain(
            "noise",
            f"A speed of {measured_rpm:g} rpm at a duty cycle of {highest:g} % is not believed: no motor does that. "
            "Something disturbs the hall sensor; look at its cable.",
        )
        return None

    def _answer_standstill(self) -> None:
        """Kick the stirrer and see what it says; a change from outside puts an end to it."""
        changes = self._changes

        def drive(duty_cycle: float) -> bool:
            if changes == self._changes:
                self._drive(duty_cycle)
            return changes == self._changes

        def measure(window_s: float) -> float:
            return self._measure(window_s) or 0.0

        speed = self._held
        duty_cycle = self._stall_guard.restart(
            speed.duty_cycle or self._first_duty_cycle,
            drive,
            measure,
            window_s=self._window_s(),
            readings_are_dodged=self._dodging is not None,
        )
        if duty_cycle is not None and changes == self._changes:
            speed.duty_cycle, speed.law_state = duty_cycle, StirringState()
            self.runtime.publish({"duty_cycle": duty_cycle})

    # Acting and saying

    def _hold(self, speed: Speed) -> None:
        """Go over to a speed."""
        self._held = speed
        speed.law_state = StirringState()
        self.runtime.publish({"target_rpm": speed.target_rpm})
        self._go_to(speed.duty_cycle)

    def _go_to(self, duty_cycle: float) -> None:
        """Go to a duty cycle, from a standstill by way of full power; it may be changed meanwhile."""
        changes = self._changes
        if duty_cycle > 0 and self._stirrer is not None and self._stirrer.duty_cycle == 0:
            self._drive(100.0)
            self.runtime.wait(KICK_S)
            if changes != self._changes:
                duty_cycle = self._held.duty_cycle
        self._drive(duty_cycle)
        self.runtime.publish({"duty_cycle": duty_cycle})

    def _drive(self, duty_cycle: float) -> None:
        if self._stirrer is None:
            raise RuntimeError("the stirrer has not been started")
        if duty_cycle < self._stirrer.duty_cycle:
            self._lowered_from = (self.runtime.clock(), self._stirrer.duty_cycle)
        self._stirrer.set_duty_cycle(duty_cycle)

    def _publish_measured(self, measured_rpm: float) -> None:
        self.runtime.publish(
            {"measured_rpm": {"measured_rpm": measured_rpm, "timestamp": self.runtime.utc_timestamp()}}
        )

    def _complain(self, topic: str, text: str) -> None:
        """Warn, of one topic not more often than once in 5 minutes."""
        now = self.runtime.clock()
        if now - self._complained_at.get(topic, -COMPLAINT_INTERVAL_S) >= COMPLAINT_INTERVAL_S:
            self._complained_at[topic] = now
            log.warning("%s", text)

    def _window_s(self) -> float:
        target_rpm = self._held.target_rpm
        return clamp(WINDOW_TURNS * 60.0 / target_rpm, *WINDOW_LIMITS_S) if target_rpm else WINDOW_LIMITS_S[0]
